using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>
/// The port between the core and hardware: one PCI function, software or real. Calls are made by one caller at a time, but the
/// function itself may run (and use DMA) at any moment, as hardware does.
/// </summary>
public interface IPciFunction
{
    PciAddress Address { get; }

    PciIds Ids { get; }

    /// <summary>Bytes of config space: 256 or 4096.</summary>
    int ConfigSize { get; }

    /// <summary>Bytes of each BAR, six entries; 0 where there is none.</summary>
    IReadOnlyList<ulong> BarSizes { get; }

    /// <summary>Whether this is a virtual function: its ids read 0xffff and it has no memory-enable bit of its own (CF-13).</summary>
    bool IsVirtualFunction { get; }

    /// <summary>Reset methods by their sysfs names, tried in this order (IO-51); empty where the function cannot be reset.</summary>
    IReadOnlyList<string> ResetMethods { get; }

    /// <summary>Reads raw config space. The range lies within <see cref="ConfigSize"/>.</summary>
    void ReadConfig(int offset, Span<byte> destination);

    /// <summary>Writes raw config space. The range lies within <see cref="ConfigSize"/>.</summary>
    void WriteConfig(int offset, ReadOnlySpan<byte> source);

    /// <summary>Reads a BAR. The range lies within its size. Errors: EIO when the function does not answer.</summary>
    VfioResult ReadBar(int bar, ulong offset, Span<byte> destination);

    /// <summary>Writes a BAR. The range lies within its size. Errors: EIO when the function does not answer.</summary>
    VfioResult WriteBar(int bar, ulong offset, ReadOnlySpan<byte> source);

    /// <summary>Function reset: everything but BAR addresses goes to power-on. Errors: ENOTTY without a method, EIO when it failed.</summary>
    VfioResult Reset();

    /// <summary>Puts the function's DMA behind an address space, or (null) cuts it off.</summary>
    void ConnectDma(IDmaSpace? space);
}

/// <summary>What a function's DMA reaches: the IOVAs that its holder has mapped. Safe to use from the hardware's own thread.</summary>
public interface IDmaSpace
{
    /// <summary>False, with nothing written, where any byte of the range is not mapped.</summary>
    bool TryWrite(ulong iova, ReadOnlySpan<byte> source);

    /// <summary>False, with nothing read, where any byte of the range is not mapped.</summary>
    bool TryRead(ulong iova, Span<byte> destination);
}

/// <summary>The functions of one host, and what happens on the bus around them.</summary>
public interface IPciBus
{
    /// <summary>In bus-walk order.</summary>
    IReadOnlyList<IPciFunction> Functions { get; }

    /// <summary>Everything under the upstream port of a function, in bus-walk order: who takes part in a recovery (contract §4.3).</summary>
    IReadOnlyList<PciAddress> RecoveryScope(PciAddress source);

    /// <summary>Resets the link above a function, without saving or restoring config space (ER-10).</summary>
    VfioResult ResetLink(PciAddress source);

    /// <summary>Where errors are reported from now on; called from the hardware's own thread.</summary>
    void ReportErrorsTo(Action<AerRecord> sink);
}

/// <summary>A bus whose functions can be made to fail: emulated ones.</summary>
public interface IFaultInjection
{
    /// <summary>Makes a function report an error. Errors: ENODEV where the function is not one of this bus.</summary>
    VfioResult InjectAer(PciAddress source, AerSeverity severity);
}
