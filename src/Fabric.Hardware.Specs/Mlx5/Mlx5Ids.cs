namespace Fabric.Hardware.Specs.Mlx5;

/// <summary>Ids of a ConnectX network card.</summary>
public static class Mlx5Ids
{
    public const ushort Vendor = 0x15b3;
    public const ushort PhysicalFunction = 0x101d;

    /// <summary>What the kernel's mlx5-vfio-pci matches.</summary>
    public const ushort VirtualFunction = 0x101e;

    /// <summary>Network controller, Ethernet.</summary>
    public const uint ClassCode = 0x020000;
}

/// <summary>BAR numbers of the VF. Both are the user's: migration goes by the PF.</summary>
public static class Mlx5Bar
{
    public const int Registers = 0;

    /// <summary>The memory of the function, in which its contexts lie; in pages of <see cref="PageBytes"/>.</summary>
    public const int Memory = 2;

    public const int PageBytes = 4096;
}

/// <summary>
/// Registers of BAR 0, offsets in bytes, little-endian. In place of a network card's queues there is one, plain enough to be compared byte by
/// byte: work request k, counted from 0, adds k + 1 to the u64 cell k of the function's memory (around and around) and writes a
/// <see cref="Mlx5Completion"/> by DMA.
/// </summary>
public static class Mlx5Register
{
    /// <summary>u64: IOVA of the ring of completions.</summary>
    public const int RingIova = 0x08;

    /// <summary>u32: completions that the ring has room for; without any, work waits.</summary>
    public const int RingEntries = 0x10;

    /// <summary>u32, write: so many work requests more.</summary>
    public const int Doorbell = 0x14;

    /// <summary>u64, read-only: work requests that are done.</summary>
    public const int Done = 0x18;

    /// <summary>u32, read-only: work requests that wait: for bus mastering, for the ring, or until the initiator is resumed.</summary>
    public const int Pending = 0x20;

    /// <summary>u32: 1 where a DMA write did not get through, and work stands; written back it goes on.</summary>
    public const int Fault = 0x24;

    public const int Bytes = 0x1000;
}

/// <summary>What a work request writes by DMA, little-endian.</summary>
public static class Mlx5Completion
{
    /// <summary>u64: which work request.</summary>
    public const int Request = 0;

    /// <summary>u64: what its cell holds now.</summary>
    public const int Cell = 8;

    public const int Bytes = 16;
}
