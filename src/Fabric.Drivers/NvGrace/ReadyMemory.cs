using Fabric.Hardware.Specs.NvGrace;
using Fabric.Vfio;

namespace Fabric.Drivers.NvGrace;

/// <summary>
/// Memory of the GPU as it may be touched: only when its status says that it is ready, for what touches it sooner is an error of the host's memory
/// (VD-NVG-4). Nothing waits here; who waits is the driver. From any thread.
/// </summary>
/// <param name="control">BAR 0, by its mapping.</param>
internal sealed class ReadyMemory(IRegisters control, IPlatformMemory memory) : IRegisters
{
    /// <summary>Errors: EIO where BAR 0 does not answer, ENODEV after the session.</summary>
    public static VfioResult<bool> IsReady(IRegisters control)
    {
        var link = control.Read32(NvGraceRegister.Link);
        if (!link.IsOk || link.Value != NvGraceRegister.Ready)
            return link.IsOk ? false : link.Error;
        var training = control.Read32(NvGraceRegister.MemoryTraining);
        return training.IsOk ? training.Value == NvGraceRegister.Ready : training.Error;
    }

    /// <summary>Errors: EIO where it is not ready or does not answer, EINVAL past its end, ENODEV after the session.</summary>
    public VfioResult Read(ulong offset, Span<byte> destination)
    {
        var may = MayTouch();
        return may.IsOk ? memory.Read(offset, destination) : may;
    }

    /// <summary>Errors: EIO where it is not ready or does not answer, EINVAL past its end, ENODEV after the session.</summary>
    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
    {
        var may = MayTouch();
        return may.IsOk ? memory.Write(offset, source) : may;
    }

    private VfioResult MayTouch()
    {
        var ready = IsReady(control);
        if (!ready.IsOk)
            return ready.Error;
        return ready.Value
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EIO, "The GPU's memory is not ready after a reset; read the region, which waits for it, or come back later.");
    }
}
