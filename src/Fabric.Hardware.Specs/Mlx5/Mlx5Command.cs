namespace Fabric.Hardware.Specs.Mlx5;

/// <summary>
/// Commands that the PF's driver gives to firmware about one VF, and their replies: big-endian, offsets in bytes. Places and opcodes are those
/// of the kernel's mlx5_ifc.h, with three differences. There is no vhca_id, for a channel is one VF's. There are no memory keys: an image
/// lies behind the command or the reply. And what firmware knows of an image but has no field for is said in reserved ones.
/// </summary>
public static class Mlx5Command
{
    /// <summary>What <c>IPfChannel.Protocol</c> says.</summary>
    public const string Protocol = "mlx5";

    /// <summary>u16: an <see cref="Mlx5Opcode"/>.</summary>
    public const int Opcode = 0x00;

    /// <summary>u16: which half is meant, of SUSPEND_VHCA and RESUME_VHCA: a <see cref="Mlx5Half"/>.</summary>
    public const int Modifier = 0x06;

    /// <summary>u16: <see cref="Mlx5Flags"/>.</summary>
    public const int Flags = 0x08;

    /// <summary>u32: number of a queue pair or of an object.</summary>
    public const int Number = 0x0c;

    /// <summary>u32: bytes of the image behind the command, or of the room for it behind the reply.</summary>
    public const int Size = 0x1c;

    /// <summary>Bytes of any command; the image of LOAD, and the ranges of a page tracker, lie behind them.</summary>
    public const int Bytes = 0x20;
}

public enum Mlx5Opcode : ushort
{
    None = 0,

    /// <summary>Reply: <see cref="Mlx5Capabilities"/>.</summary>
    QueryCapabilities = 0x100,

    /// <summary>A queue pair by which firmware tells of dirty pages. Reply: its number.</summary>
    CreateQp = 0x500,
    DestroyQp = 0x501,

    /// <summary>A page tracker (<see cref="Mlx5Tracker"/>). Reply: its number.</summary>
    CreateTracker = 0xa00,

    /// <summary>Tells of the dirty pages of a range by the queue pair, and clears them.</summary>
    ReportTracker = 0xa01,
    DestroyTracker = 0xa03,
    SuspendVhca = 0xb02,
    ResumeVhca = 0xb03,

    /// <summary>Reply: <see cref="Mlx5StateSize"/>.</summary>
    QueryVhcaMigrationState = 0xb04,

    /// <summary>Reply: <see cref="Mlx5Saved"/>, and the image behind it.</summary>
    SaveVhcaState = 0xb05,

    /// <summary>Reply: <see cref="Mlx5Loaded"/>.</summary>
    LoadVhcaState = 0xb06,

    /// <summary>In place of a poll of the queue pair's own memory. Reply: <see cref="Mlx5TrackerReport"/>.</summary>
    PollQp = 0xf00,
}

/// <summary>Halves of a function (MG-2).</summary>
public enum Mlx5Half : ushort
{
    /// <summary>Starts no DMA; what is asked of it waits.</summary>
    Initiator = 0,

    /// <summary>Takes nothing either: registers and memory neither change nor answer. Suspended after the initiator, and resumed before it.</summary>
    Responder = 1,
}

[Flags]
public enum Mlx5Flags : ushort
{
    None = 0,

    /// <summary>QUERY and SAVE: what changed since the last image, in place of all.</summary>
    Incremental = 0x8000,

    /// <summary>SAVE: changes are tracked from this image on, and the function may run. Without it it stands, and the image is the last.</summary>
    Track = 0x4000,

    /// <summary>SAVE: the next chunk of the image that the last SAVE began.</summary>
    Continue = 0x2000,

    /// <summary>SAVE: no image; tracking ends, and what was saved is of no use any more.</summary>
    CleanUp = 0x1000,

    /// <summary>LOAD: the first chunk of a stream; what was loaded before is of no use any more.</summary>
    First = 0x0800,
}

/// <summary>Any reply.</summary>
public static class Mlx5Reply
{
    /// <summary>u8: an <see cref="Mlx5Status"/>.</summary>
    public const int Status = 0x00;

    /// <summary>u32: number of what was created.</summary>
    public const int Number = 0x08;

    /// <summary>Bytes of any reply; images, and what a tracker tells of, lie behind them.</summary>
    public const int Bytes = 0x20;
}

public enum Mlx5Status : byte
{
    Ok = 0x00,
    InternalError = 0x01,
    BadOperation = 0x02,
    BadParameter = 0x03,

    /// <summary>More than there is room for.</summary>
    LimitExceeded = 0x08,

    /// <summary>The function, or what the command is about, is not in a state for it.</summary>
    BadResourceState = 0x09,
}

public static class Mlx5Capabilities
{
    /// <summary>u32: bytes of the largest image that LOAD takes.</summary>
    public const int MaxLoadBytes = 0x08;

    /// <summary>u32: ranges of a page tracker.</summary>
    public const int MaxTrackerRanges = 0x0c;

    /// <summary>u64: page sizes of a tracker; bit n stands for 2^n bytes.</summary>
    public const int TrackerPageSizes = 0x10;
}

public static class Mlx5StateSize
{
    /// <summary>u32: 1 where any half is suspended or changes are tracked: a migration is under way, whoever began it.</summary>
    public const int IsMigrating = 0x08;

    /// <summary>u32: bytes of the next chunk, at most; 0 where there is nothing to save.</summary>
    public const int Required = 0x10;

    /// <summary>u64: bytes of all chunks of the image.</summary>
    public const int RemainingTotal = 0x18;
}

public static class Mlx5Saved
{
    /// <summary>u32: bytes of the image.</summary>
    public const int ActualImageSize = 0x08;

    /// <summary>u32: bytes of the next chunk, at most; 0 where this was the last.</summary>
    public const int NextRequired = 0x0c;
}

public static class Mlx5Loaded
{
    /// <summary>u32: 1 where the state is whole: the last chunk of a last image.</summary>
    public const int IsWhole = 0x08;
}

/// <summary>CREATE of a tracker: its <see cref="Mlx5Command.Number"/> is the queue pair's, and its ranges lie behind the command.</summary>
public static class Mlx5Tracker
{
    /// <summary>u32: binary logarithm of the page size in bytes.</summary>
    public const int PageShift = 0x10;

    /// <summary>REPORT, u64: first IOVA.</summary>
    public const int ReportFirst = 0x10;

    /// <summary>REPORT, u64: last IOVA.</summary>
    public const int ReportLast = 0x18;

    /// <summary>A range: u64 first IOVA, u64 last IOVA. <see cref="Mlx5Command.Size"/> is the bytes of all.</summary>
    public const int RangeBytes = 16;
}

/// <summary>What a queue pair holds.</summary>
public static class Mlx5TrackerReport
{
    /// <summary>u32: entries behind the reply, each the u64 IOVA of a dirty page.</summary>
    public const int Entries = 0x08;

    /// <summary>u32: a <see cref="Mlx5TrackerState"/>.</summary>
    public const int State = 0x0c;

    public const int EntryBytes = sizeof(ulong);

    /// <summary>Entries of one reply at most.</summary>
    public const int MaxEntries = 256;
}

public enum Mlx5TrackerState : uint
{
    /// <summary>All is told.</summary>
    Tracking = 0,

    /// <summary>There is more.</summary>
    Reporting = 1,

    /// <summary>What was dirty is lost, until tracker and queue pair are made anew.</summary>
    Error = 2,
}
