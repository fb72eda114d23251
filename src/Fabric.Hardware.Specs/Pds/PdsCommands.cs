namespace Fabric.Hardware.Specs.Pds;

/// <summary>Ids of AMD Pensando's DPU.</summary>
public static class PdsIds
{
    public const ushort Vendor = 0x1dd8;
    public const ushort PhysicalFunction = 0x100c;
    public const ushort VirtualFunction = 0x1003;

    /// <summary>Network controller, Ethernet.</summary>
    public const uint ClassCode = 0x020000;
}

/// <summary>BARs of a VF. What its guest sees; migration is the PF's affair.</summary>
public static class PdsBar
{
    /// <summary><see cref="PdsRegister"/>.</summary>
    public const int Registers = 0;
    public const int RegisterBytes = 0x1000;

    /// <summary>Memory of the device.</summary>
    public const int Memory = 2;
    public const int MemoryBytes = 0x8000;
}

/// <summary>Registers of BAR 0: one queue, whose descriptors the device completes by DMA. Offsets in bytes, little-endian.</summary>
public static class PdsRegister
{
    /// <summary>u64: where completions go, a <see cref="PdsCompletionRecord"/> each.</summary>
    public const int RingIova = 0x00;

    /// <summary>u32.</summary>
    public const int RingSlots = 0x08;

    /// <summary>u32: descriptors given.</summary>
    public const int Producer = 0x10;

    /// <summary>u32, read-only: descriptors completed.</summary>
    public const int Consumer = 0x14;
}

/// <summary>Number of the descriptor u64, and the same times <see cref="Factor"/> u64.</summary>
public static class PdsCompletionRecord
{
    public const int Bytes = 16;
    public const ulong Factor = 0x9e37_79b9_7f4a_7c15;
}

/// <summary>
/// The admin queue's live-migration commands, as the kernel's pds_adminq.h has them. A command is a descriptor of <see cref="DescriptorBytes"/>; its
/// reply is a completion of <see cref="CompletionBytes"/>. What the kernel hands over by a scatter list that the PF's driver maps for DMA follows
/// them here: after the descriptor what the device reads, after the completion what it writes.
/// </summary>
public static class PdsAdminQueue
{
    public const string Protocol = "pds";
    public const int DescriptorBytes = 64;
    public const int CompletionBytes = 16;

    // Of a descriptor.

    /// <summary>u8, <see cref="PdsOpcode"/>. The PF's driver puts the VF's number into bytes 2 and 3.</summary>
    public const int Opcode = 0;

    /// <summary>u8: <see cref="PdsSuspension"/>, <see cref="PdsHostStatus"/>, or 1 for a log by sequence and acknowledgement.</summary>
    public const int Kind = 4;

    /// <summary>u8, of DirtyEnable: entries of <see cref="PdsRegion"/> that follow.</summary>
    public const int Regions = 5;

    /// <summary>u32, of DirtyReadSequence and DirtyWriteAcknowledgement: where in the bitmap, in bytes.</summary>
    public const int Offset = 4;

    /// <summary>u32, of the same: how many bytes.</summary>
    public const int Length = 8;

    // Of a completion.

    /// <summary>u8, <see cref="PdsStatus"/>.</summary>
    public const int Status = 0;

    /// <summary>u64, of StateSize.</summary>
    public const int Size = 4;

    /// <summary>u8, of DirtyStatus: regions that can be watched at once.</summary>
    public const int MaxRegions = 4;

    /// <summary>u8, of DirtyStatus and DirtyEnable: regions that are watched.</summary>
    public const int ActiveRegions = 5;

    public const byte SequenceAndAcknowledgement = 1;

    /// <summary>Bytes of a VF's state, whatever it holds (VD-PDS-2).</summary>
    public const int StateBytes = 0x10000;
}

public enum PdsOpcode : byte
{
    HostVfStatus = 1,
    StateSize = 16,

    /// <summary>Completes at once; when the VF stands, <see cref="SuspendStatus"/> says.</summary>
    Suspend = 18,

    /// <summary>Completes with Again while the VF is on its way, and with Invalid where it was not told to.</summary>
    SuspendStatus = 19,
    Resume = 20,

    /// <summary>For a VF that stands in full.</summary>
    Save = 21,

    /// <summary>For a VF that stands in full: all of the state or nothing.</summary>
    Restore = 22,
    DirtyStatus = 32,

    /// <summary>The reply gives the regions back, with as many pages as each has of the bitmap: as many as were asked for, or more.</summary>
    DirtyEnable = 33,
    DirtyDisable = 34,
    DirtyReadSequence = 35,
    DirtyWriteAcknowledgement = 36,
}

/// <summary>What stands, and what goes on.</summary>
public enum PdsSuspension : byte
{
    /// <summary>All of the VF.</summary>
    Full = 0,

    /// <summary>What starts DMA.</summary>
    PeerToPeer = 1,
}

/// <summary>What the host does with a VF (VD-PDS-1).</summary>
public enum PdsHostStatus : byte
{
    None = 0,
    InProgress = 1,
}

public enum PdsStatus : byte
{
    Success = 0,
    Opcode = 2,
    Io = 3,
    Again = 9,
    Busy = 12,
    Exists = 13,
    Invalid = 14,
    NoSpace = 15,
    NotSupported = 19,
}

/// <summary>
/// Memory that is watched: base u64, pages u32, log2 of the page size u8, 3 reserved. The bitmaps of all regions lie one behind the other, a bit a
/// page. A page is dirty where its bit of the device's sequence bitmap is not that of the acknowledgement bitmap, which the host writes (VD-PDS-4).
/// </summary>
public static class PdsRegion
{
    public const int Bytes = 16;
    public const int Base = 0;
    public const int Pages = 8;
    public const int PageShift = 12;

    /// <summary>A region begins with a word of the bitmap where those before it have a multiple of so many pages.</summary>
    public const int WordPages = 64;
}
