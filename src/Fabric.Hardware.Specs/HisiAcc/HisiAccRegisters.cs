namespace Fabric.Hardware.Specs.HisiAcc;

/// <summary>Ids of HiSilicon's accelerators: three kinds, one queue manager (QM) in each.</summary>
public static class HisiAccIds
{
    public const ushort Vendor = 0x19e5;

    /// <summary>Compression.</summary>
    public const ushort ZipPhysicalFunction = 0xa250;
    public const ushort ZipVirtualFunction = 0xa251;

    /// <summary>Symmetric encryption.</summary>
    public const ushort SecPhysicalFunction = 0xa255;
    public const ushort SecVirtualFunction = 0xa256;

    /// <summary>Public keys.</summary>
    public const ushort HprePhysicalFunction = 0xa258;
    public const ushort HpreVirtualFunction = 0xa259;

    public const uint EncryptionClass = 0x100000;
    public const uint ProcessingClass = 0x120000;
}

/// <summary>BAR 2 of a VF, its only one: what a guest works with, then what migration needs (VD-HIS-2).</summary>
public static class HisiAccBar
{
    public const int Number = 2;
    public const int Bytes = 0x10000;

    /// <summary>From here on it is migration control. A VF whose PF has that control instead decodes nothing there: it reads 0.</summary>
    public const int Control = Bytes / 2;
}

/// <summary>Registers of a VF's QM: offsets in BAR 2, u32 little-endian where nothing else is said.</summary>
public static class HisiAccRegister
{
    public const int AeqInterruptMask = 0x0004;
    public const int EqInterruptMask = 0x000c;
    public const int IfcInterruptSource = 0x0020;
    public const int IfcInterruptMask = 0x0024;

    /// <summary>Read-only: bits of what went wrong in the VF; 0 after a reset.</summary>
    public const int IfcInterruptStatus = 0x0028;
    public const int IfcInterruptSet = 0x002c;
    public const int PageSize = 0x0034;

    /// <summary><see cref="HisiAccVfState"/>; a guest's driver writes it.</summary>
    public const int VfState = 0x0060;

    /// <summary>Write 1: queue contexts go from the VF's cache to memory.</summary>
    public const int CacheWriteBackStart = 0x0204;

    /// <summary>Read-only: bit 0 when that is done.</summary>
    public const int CacheWriteBackDone = 0x0208;

    /// <summary>Four words, see <see cref="HisiAccMailbox"/>; a write of the first with its busy bit gives the command.</summary>
    public const int Mailbox = 0x0300;

    /// <summary>u64, write: see <see cref="HisiAccDoorbell"/>.</summary>
    public const int Doorbell = 0x1000;

    /// <summary>Context of the event queue, in migration control of the VF: <see cref="HisiAccQueueContext.Words"/> words.</summary>
    public const int EventQueueContext = HisiAccBar.Control;

    public const int AsyncEventQueueContext = HisiAccBar.Control + 0x20;

    /// <summary>The same two where the PF has migration control, once it has selected them.</summary>
    public const int EventQueueContextByPf = 0x1c00;

    public const int AsyncEventQueueContextByPf = 0x1c20;
}

/// <summary>Whether a guest's driver has set the VF up. At power-on none has.</summary>
public enum HisiAccVfState : uint
{
    Ready = 0,
    NotReady = 1,
}

/// <summary>Context of an event queue or an asynchronous one, by words.</summary>
public static class HisiAccQueueContext
{
    public const int Words = 7;
    public const int AddressLow = 1;
    public const int AddressHigh = 2;

    /// <summary>Events that were put in since the queue was set up.</summary>
    public const int Tail = 6;
}

/// <summary>Word 0: command (bits 0 to 7), <see cref="Busy"/>, <see cref="Reads"/>; words 1 and 2: an address or what was read; word 3: 0.</summary>
public static class HisiAccMailbox
{
    public const int Bytes = 16;

    /// <summary>Set by who gives the command, cleared by the QM.</summary>
    public const uint Busy = 1 << 13;

    /// <summary>Reads what the command otherwise sets.</summary>
    public const uint Reads = 1 << 14;

    /// <summary>Not 0: the QM refused it.</summary>
    public const uint Status = 0xf << 9;
}

public enum HisiAccMailboxCommand : uint
{
    /// <summary>Sets the event queue's address.</summary>
    EventQueue = 2,
    AsyncEventQueue = 3,

    /// <summary>The table of submission queues' contexts in memory: a <see cref="HisiAccSubmissionContext"/> each.</summary>
    SubmissionTable = 4,
    CompletionTable = 5,

    /// <summary>Read alone: which queues the VF has, bits 28 to 43 the first, bits 45 to 54 their number less 1.</summary>
    QueuesOfVf = 6,

    /// <summary>All queues stand until they are rung with priority. Read: how many stand.</summary>
    Pause = 0xe,
}

/// <summary>A queue's context in memory: tasks taken and tasks given, u16 each.</summary>
public static class HisiAccSubmissionContext
{
    public const int Bytes = 4;
}

/// <summary>
/// Queue (bits 0 to 11), 0 for a submission queue (12 to 15), tasks given so far (32 to 47), priority (48). With priority: the queue takes its
/// context from memory, where a table of them was given and not yet read, and goes on.
/// </summary>
public static class HisiAccDoorbell
{
    public const int Index = 32;
    public const ulong Priority = 1UL << 48;
}

/// <summary>One event in the event queue, a ring of <see cref="Ring"/>: queue u16, task u16, number of the event, from 1, u32.</summary>
public static class HisiAccEvent
{
    public const int Bytes = 8;
    public const int Ring = 64;
}

/// <summary>
/// What the PF's driver does for the driver of one VF, where the kernel's looks into the PF's registers and flags itself. A command: operation u32,
/// register u32, value u32; its reply: a u32.
/// </summary>
public static class HisiAccPf
{
    public const string Protocol = "hisi_qm";
    public const int CommandBytes = 12;
    public const int ReplyBytes = 4;

    /// <summary>Register: not 0 while the QM, for all VFs, has an error.</summary>
    public const uint AbnormalInterruptStatus = 0x100008;

    /// <summary>Register: how queues are isolated from each other; the same at both ends of a migration.</summary>
    public const uint QueueIsolation = 0x0030;

    /// <summary>Register: 1 shows the contexts of <see cref="HisiAccRegister.EventQueueContextByPf"/>.</summary>
    public const uint MigrationRegionSelect = 0x100198;

    /// <summary>From this version on the PF has migration control.</summary>
    public const uint VersionWithControl = 0x51;
}

public enum HisiAccPfOperation : uint
{
    /// <summary>Reply: the version of the hardware.</summary>
    ReadVersion = 1,
    ReadRegister = 2,
    WriteRegister = 3,

    /// <summary>The resetting bit of the PF's QM, taken: 1 where it was free, 0 where it is somebody's (VD-HIS-4).</summary>
    ClaimReset = 4,

    /// <summary>Gives it back.</summary>
    ReleaseReset = 5,
}
