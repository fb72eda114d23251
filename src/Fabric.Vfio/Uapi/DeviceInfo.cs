using System.Collections.Immutable;

namespace Fabric.Vfio.Uapi;

/// <summary>Region indexes of a PCI device (contract §2.3).</summary>
public static class RegionIndex
{
    public const int Bar0 = 0;
    public const int Bar5 = 5;
    public const int Rom = 6;
    public const int Config = 7;
    public const int Vga = 8;

    /// <summary>Regions every PCI device has, present or empty.</summary>
    public const int Count = 9;
}

/// <summary>Interrupt indexes of a PCI device (contract §2.4).</summary>
public enum IrqIndex
{
    Intx = 0,
    Msi = 1,
    Msix = 2,
    Err = 3,
    Req = 4,
}

[Flags]
public enum DeviceFlags : uint
{
    None = 0,
    Reset = 1,
    Pci = 2,
    Caps = 0x80,
}

[Flags]
public enum RegionFlags : uint
{
    None = 0,
    Read = 1,
    Write = 2,
    Mmap = 4,
    Caps = 8,
}

[Flags]
public enum IrqFlags : uint
{
    None = 0,
    Eventfd = 1,
    Maskable = 2,
    AutoMasked = 4,
    NoResize = 8,
}

/// <summary>GET_INFO (IO-10).</summary>
/// <param name="Atomics">Capability PCI_ATOMIC_COMP; None where it is not in the chain.</param>
/// <param name="Caps">Capabilities that drivers add; default where they add none.</param>
public readonly record struct DeviceInfo(
    DeviceFlags Flags, int Regions, int Irqs, AtomicCompletion Atomics = AtomicCompletion.None, ImmutableArray<InfoCapability> Caps = default);

/// <summary>GET_REGION_INFO (contract §2.3). Size in bytes; offset is where the region starts in the device file (IO-20).</summary>
/// <param name="Caps">Its capabilities; default where it has none.</param>
public readonly record struct RegionInfo(int Index, RegionFlags Flags, ulong Size, ImmutableArray<RegionCapability> Caps = default)
{
    /// <summary>The chain of a BAR that holds the MSI-X table.</summary>
    public static ImmutableArray<RegionCapability> MsixMappable { get; } = [RegionCapability.MsixMappable.Instance];

    /// <summary>Where its file offsets begin; the core's are a shift of 40 bits apart (IO-20).</summary>
    public ulong Offset { get; init; } = (ulong)Index << 40;
}

/// <summary>GET_IRQ_INFO (contract §2.4).</summary>
public readonly record struct IrqInfo(IrqIndex Index, IrqFlags Flags, int Count);

/// <summary>PRECOPY_INFO (MG-25), in bytes: what is left of the start-up set, and what changed since.</summary>
/// <param name="Reinit">Version 2 (MG-26): a fresh start-up set appeared, and both count anew.</param>
public readonly record struct PrecopyInfo(ulong InitialBytes, ulong DirtyBytes, bool Reinit = false);

/// <summary>What an eventfd is in the kernel: something a device's interrupt signals. Called from any thread; must not block.</summary>
public interface IEventTarget
{
    void Signal();
}
