namespace Fabric.Hardware.Specs.Xe;

/// <summary>
/// What the PF's driver does about one VF for who migrates it: the calls of the kernel's xe_sriov_vfio.h, put into bytes for a channel.
/// Little-endian, offsets in bytes.
/// </summary>
public static class XeCommand
{
    /// <summary>What <c>IPfChannel.Protocol</c> says.</summary>
    public const string Protocol = "xe";

    /// <summary>u32: an <see cref="XeCall"/>.</summary>
    public const int Call = 0;

    /// <summary>u32: of ReadData the most bytes that the reply may bring; of WriteData those that follow.</summary>
    public const int Length = 4;

    public const int Bytes = 8;
}

public enum XeCall : uint
{
    None = 0,

    /// <summary>The VF stands: its jobs wait.</summary>
    Suspend = 1,
    Resume = 2,

    /// <summary>Of a suspended VF: its state is read from here on.</summary>
    EnterStopCopy = 3,
    ExitStopCopy = 4,

    /// <summary>Of a suspended VF: its state is written from here on.</summary>
    EnterResumeData = 5,

    /// <summary>The state is whole, and the VF has it. A VF whose state was not is of no use until it is reset.</summary>
    ExitResumeData = 6,

    /// <summary>The VF is stopped for good, until it is reset (xe_sriov_vfio_error).</summary>
    StopForGood = 7,

    /// <summary>Reply: bytes of the state; none at its end.</summary>
    ReadData = 8,
    WriteData = 9,

    /// <summary>Reply: bytes that the whole of the state comes to.</summary>
    StopCopySize = 10,

    /// <summary>An FLR is coming: the PF has something to clean up from here on.</summary>
    PrepareReset = 11,

    /// <summary>Reply: an <see cref="XeVfState"/>.</summary>
    QueryState = 12,
}

/// <summary>Where the PF has a VF.</summary>
public enum XeVfState : uint
{
    Running = 0,
    Paused = 1,
    Saving = 2,
    Restoring = 3,

    /// <summary>By <see cref="XeCall.StopForGood"/>, or because it was lost in mid-migration.</summary>
    Stopped = 4,

    /// <summary>Reset, or about to be; the PF still clears what was the VF's.</summary>
    CleaningUp = 5,
}

public static class XeReply
{
    /// <summary>u32: 0, or a Linux errno.</summary>
    public const int Errno = 0;

    /// <summary>u32: bytes of data behind the reply.</summary>
    public const int Length = 4;

    /// <summary>u64: what was asked for.</summary>
    public const int Value = 8;

    public const int Bytes = 16;
}

/// <summary>
/// A packet of the stream (VD-XE-1): a header in the manner of the kernel's xe_sriov_packet.h, little-endian, and a payload. They come in the
/// order of <see cref="XePacketType"/>, each kind once but for VRAM, whose chunks follow each other without a gap.
/// </summary>
public static class XePacket
{
    public const byte CurrentVersion = 1;

    /// <summary>u8.</summary>
    public const int Version = 0;

    /// <summary>u8: an <see cref="XePacketType"/>.</summary>
    public const int Type = 1;

    /// <summary>u8: 0, for there is one tile.</summary>
    public const int Tile = 2;

    /// <summary>u8: 0, for there is one GT.</summary>
    public const int Gt = 3;

    /// <summary>u32: 0.</summary>
    public const int Flags = 4;

    /// <summary>u64: where in VRAM the payload belongs; else 0.</summary>
    public const int Offset = 8;

    /// <summary>u64: bytes of payload.</summary>
    public const int Size = 16;

    public const int HeaderBytes = 24;

    /// <summary>Bytes of a chunk of VRAM, but for the last.</summary>
    public const int VramChunkBytes = 64 << 10;
}

public enum XePacketType : byte
{
    None = 0,

    /// <summary>Which device it is of: <see cref="XeDescriptor"/>.</summary>
    Descriptor = 1,

    /// <summary>The VF's GGTT: u64 each.</summary>
    Ggtt = 2,

    /// <summary>The scratch registers: u32 each.</summary>
    Mmio = 3,

    /// <summary>What firmware knows of the VF: jobs done u64, jobs that wait u64.</summary>
    Guc = 4,
    Vram = 5,

    /// <summary>The end, without payload.</summary>
    Trailer = 6,
}

/// <summary>Pairs of a key and a value, as the kernel's KLVs; a key that is not known is passed over.</summary>
public static class XeDescriptor
{
    /// <summary>u16.</summary>
    public const int Key = 0;

    /// <summary>u16: bytes of the value.</summary>
    public const int Length = 2;

    public const int HeadBytes = 4;

    /// <summary>u32.</summary>
    public const ushort DeviceId = 1;

    /// <summary>u32.</summary>
    public const ushort RevisionId = 2;

    /// <summary>u32: bytes of VRAM. The emulated card's own.</summary>
    public const ushort VramBytes = 3;

    public const int MaxBytes = 1024;
}
