namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>What a function's traits mean for its config space.</summary>
internal static class ConfigTraits
{
    /// <summary>The memory bit of COMMAND is the shadow's alone, and memory is always decoded (CF-13).</summary>
    public static bool HasNoMemoryEnable(this IPciFunction function) =>
        (function.Traits & (FunctionTraits.VirtualFunction | FunctionTraits.NoMemoryEnable)) != 0;

    public static bool HasBrokenIntx(this IPciFunction function) => (function.Traits & FunctionTraits.BrokenIntx) != 0;

    /// <summary>A VF has no INTx; a broken pin is hidden, and so is one that the host has no interrupt for (contract §3.2, CF-63).</summary>
    public static bool HidesInterruptPin(this IPciFunction function) =>
        (function.Traits & (FunctionTraits.VirtualFunction | FunctionTraits.BrokenIntx)) != 0 || !function.Interrupts.HasLine;
}
