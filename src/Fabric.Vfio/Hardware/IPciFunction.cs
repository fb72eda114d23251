using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>
/// The port between the core and hardware: one PCI function, software or real. Calls are made by one caller at a time, but the
/// function itself may run (DMA, interrupts) at any moment, as hardware does. What the standard puts into config space (power state,
/// capabilities, COMMAND, DisINTx) has no member of its own here: the core reads and writes it there.
/// </summary>
public interface IPciFunction
{
    PciAddress Address { get; }

    PciIds Ids { get; }

    /// <summary>What its bus, its firmware or a quirk table says of the function, and config space does not.</summary>
    FunctionTraits Traits { get; }

    bool IsVirtualFunction => (Traits & FunctionTraits.VirtualFunction) != 0;

    /// <summary>The PF of a VF; null for any other function.</summary>
    PciAddress? PhysicalFunction => null;

    /// <summary>Number of its IOMMU group; null where no IOMMU stands in front of it (LC-5).</summary>
    int? IommuGroup => null;

    /// <summary>Bytes of config space: 256 or 4096.</summary>
    int ConfigSize { get; }

    /// <summary>Six entries. A 64-bit BAR takes two, the second of them <see cref="PciBar.None"/>.</summary>
    IReadOnlyList<PciBar> Bars { get; }

    PciRom Rom => default;

    /// <summary>Sizes of atomic operation that it and the whole path to its root port complete (IO-10).</summary>
    AtomicCompletion Atomics => AtomicCompletion.None;

    /// <summary>Reset methods by their sysfs names (<see cref="ResetMethod"/>), in hardware's order (IO-51); empty where the function cannot be reset.</summary>
    IReadOnlyList<string> ResetMethods { get; }

    IFunctionInterrupts Interrupts => NoInterrupts.Instance;

    /// <summary>The driver that its bus wants in front of it, by name, where nobody chose another; null leaves that to the ids.</summary>
    string? WantedDriver => null;

    /// <summary>What people want to know of it and nothing here depends on: its name, its link, its error counters. Read anew each time.</summary>
    IReadOnlyList<FunctionFact> Facts => [];

    /// <summary>What there is of it beside itself, for its driver.</summary>
    IFunctionPlatform Platform => IFunctionPlatform.None;

    /// <summary>Reads raw config space. The range lies within <see cref="ConfigSize"/>.</summary>
    void ReadConfig(int offset, Span<byte> destination);

    /// <summary>Writes raw config space. The range lies within <see cref="ConfigSize"/>.</summary>
    void WriteConfig(int offset, ReadOnlySpan<byte> source);

    /// <summary>Claims and maps a BAR at open (LC-22). Errors: EBUSY claimed by another, ENOMEM cannot be mapped, ENODEV no address assigned.</summary>
    VfioResult ClaimBar(int bar) => VfioResult.Ok;

    void ReleaseBar(int bar)
    {
    }

    /// <summary>
    /// Reads a BAR (0 to 5), the ROM (6) or the legacy VGA ranges (8). The range lies within its size. Errors: EIO when the function does
    /// not answer.
    /// </summary>
    VfioResult ReadRegion(int region, ulong offset, Span<byte> destination);

    /// <summary>Writes a BAR (0 to 5) or the legacy VGA ranges (8). The range lies within its size. Errors: EIO when the function does not answer.</summary>
    VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source);

    /// <summary>
    /// Function reset by one of <see cref="ResetMethods"/>. Config space is after it as the method leaves it: the caller saves and restores
    /// (IO-51). Errors: ENOTTY where the function has no such method, EAGAIN under contention, EIO when it failed, ETIMEDOUT when the
    /// function did not come back from it.
    /// </summary>
    VfioResult Reset(string method);

    /// <summary>Puts the function's DMA behind an address space, or (null) cuts it off.</summary>
    void ConnectDma(IDmaSpace? space);

    /// <summary>Makes this many VFs exist, or none (SV-9, SV-10). They appear on the bus. Errors: ENOTTY where it has none, and the hardware's own.</summary>
    VfioResult SetVirtualFunctions(int count) => VfioResult.Fail(Errno.ENOTTY, "This function has no SR-IOV capability.");
}

/// <summary>Something to be known of a function, for people.</summary>
public readonly record struct FunctionFact(string Name, string Value);

/// <summary>What a function's DMA reaches: the IOVAs that its holder has mapped. Safe to use from the hardware's own thread.</summary>
public interface IDmaSpace
{
    /// <summary>False, with nothing written, where any byte of the range is not mapped.</summary>
    bool TryWrite(ulong iova, ReadOnlySpan<byte> source);

    /// <summary>False, with nothing read, where any byte of the range is not mapped.</summary>
    bool TryRead(ulong iova, Span<byte> destination);

    /// <summary>
    /// Tells hardware that keeps tables of its own what is mapped, now and at each change. Errors: EOPNOTSUPP where the space does not tell; those of
    /// the hardware.
    /// </summary>
    VfioResult Observe(IDmaObserver observer) => VfioResult.Fail(Errno.EOPNOTSUPP, "This address space does not tell what is mapped.");

    void Unobserve(IDmaObserver observer)
    {
    }
}
