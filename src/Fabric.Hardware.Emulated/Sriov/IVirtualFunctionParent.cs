namespace Fabric.Hardware.Emulated.Sriov;

/// <summary>A PF that can have VFs.</summary>
internal interface IVirtualFunctionParent
{
    int TotalVirtualFunctions { get; }

    /// <summary>They were there at the start and stay.</summary>
    bool HasStaticVirtualFunctions { get; }

    /// <summary>Sets the SR-IOV capability for so many VFs; without any, turns them off.</summary>
    void EnableVirtualFunctions(int count);

    /// <param name="number">From 1.</param>
    EmulatedFunction CreateVirtualFunction(int number);
}
