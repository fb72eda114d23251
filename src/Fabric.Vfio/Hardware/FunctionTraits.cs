namespace Fabric.Vfio;

/// <summary>What is known of a function beside its config space.</summary>
[Flags]
public enum FunctionTraits
{
    None = 0,

    /// <summary>A VF: its ids read 0xffff, it has neither a memory-enable bit (CF-13) nor INTx.</summary>
    VirtualFunction = 1 << 0,

    /// <summary>Hardware without a memory-enable bit that is no VF (CF-13).</summary>
    NoMemoryEnable = 1 << 1,

    /// <summary>INTx is broken: kept disabled, hidden from the user (CF-63).</summary>
    BrokenIntx = 1 << 2,

    /// <summary>No BAR may be mapped (LC-23).</summary>
    UnmappableBars = 1 << 3,

    /// <summary>Decodes the legacy VGA ranges (§2.3, IO-113).</summary>
    Vga = 1 << 4,

    /// <summary>Its IOMMU cannot enforce cache coherency: refused (LC-5).</summary>
    NonCoherentDma = 1 << 5,

    /// <summary>Its interrupts are not isolated from other devices' DMA: BIND is refused with EPERM (IO-100).</summary>
    NoInterruptIsolation = 1 << 6,

    /// <summary>On the denylist of plain vfio-pci (LC-2).</summary>
    Denied = 1 << 7,

    /// <summary>Hardware of this machine, not software.</summary>
    Physical = 1 << 8,
}

public enum BarKind
{
    None,
    Io,
    Memory32,
    Memory64,
}

/// <summary>One BAR as the host has it.</summary>
/// <param name="Size">Bytes, a power of two; 0 where there is none.</param>
/// <param name="SharesPage">Smaller than a page, and somebody else's in part or not aligned to it: it cannot be mapped alone (LC-23).</param>
public readonly record struct PciBar(BarKind Kind, ulong Size, bool Prefetchable = false, bool SharesPage = false)
{
    public static PciBar None => default;

    public bool IsMemory => Kind is BarKind.Memory32 or BarKind.Memory64;
}

/// <summary>The expansion ROM (IO-113, CF-21).</summary>
/// <param name="BarSize">Bytes of the ROM BAR; 0 without one.</param>
/// <param name="ContentBytes">Bytes that can be read; 0 where the content is unreadable.</param>
/// <param name="ShadowBytes">Bytes of a copy that firmware left in memory, for a function without a ROM BAR; else 0.</param>
public readonly record struct PciRom(ulong BarSize, ulong ContentBytes, ulong ShadowBytes);

[Flags]
public enum AtomicCompletion : uint
{
    None = 0,
    Bits32 = 1 << 0,
    Bits64 = 1 << 1,
    Bits128 = 1 << 2,
}
