using Fabric.Pci;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>What a write to config space sets off in the rest of the core. Called while the write is under way, in the order stated.</summary>
internal interface IConfigEffects
{
    /// <summary>
    /// Held around a read-modify-write of COMMAND in hardware, and never longer: an interrupt changes DisINTx there from another thread.
    /// </summary>
    Lock CommandGate { get; }

    /// <summary>MSI when that is the active interrupt type (CF-41).</summary>
    bool IsMsiActive { get; }

    /// <summary>The largest multiple-message-enable that the user may set, log2 (IO-46, CF-41).</summary>
    int MsiQueueMax { get; }

    /// <summary>Before hardware sees a COMMAND that turns memory decode off: mappings are zapped, DMA buffers revoked (CF-10).</summary>
    void BlockMemory();

    /// <summary>After a COMMAND write: if memory is usable now, DMA buffers are given back (CF-12).</summary>
    void UnblockMemory();

    /// <summary>INTx disable in COMMAND changed (CF-14).</summary>
    void SetIntxDisabled(bool disabled);

    /// <summary>The user wrote the power state field of PMCSR (CF-30, LC-64). What fails is not told to the writer.</summary>
    void ChangePowerState(PciPowerState state);

    /// <summary>Function level reset asked for by PCI Express or AF (CF-33, CF-35). What fails is not told to the writer.</summary>
    void ResetFunction();
}
