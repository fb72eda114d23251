namespace Fabric.Hardware.Specs.Accelerator;

/// <summary>Ids of the accelerator. The vendor id is the one QEMU's maintainers set aside for examples.</summary>
public static class AcceleratorIds
{
    public const ushort Vendor = 0x1b36;
    public const ushort PhysicalFunction = 0xfab0;
    public const ushort VirtualFunction = 0xfab1;

    /// <summary>Processing accelerator (base class 0x12).</summary>
    public const uint ClassCode = 0x120000;
}

/// <summary>BAR numbers of the accelerator's virtual function.</summary>
public static class AcceleratorBar
{
    /// <summary>What its user programs.</summary>
    public const int Registers = 0;

    /// <summary>The device state itself, byte for byte; size rounded up to a power of two. For the host's driver alone.</summary>
    public const int State = 2;

    /// <summary>Live migration control. For the host's driver alone.</summary>
    public const int Migration = 4;
}

/// <summary>Registers of BAR 0: offsets in bytes, little-endian, naturally aligned.</summary>
public static class AcceleratorRegister
{
    /// <summary>u32, read-only: <see cref="MagicValue"/>.</summary>
    public const int Magic = 0x00;

    /// <summary>u32, read-only: version of this register map.</summary>
    public const int Version = 0x04;

    /// <summary>u64, read-only: bytes of device state.</summary>
    public const int StateBytes = 0x08;

    /// <summary>u64, read-only: steps done since reset.</summary>
    public const int Steps = 0x10;

    /// <summary>u64: IOVA of the ring of <see cref="AcceleratorRecord"/>s.</summary>
    public const int RingIova = 0x18;

    /// <summary>u64: records in the ring.</summary>
    public const int RingSlots = 0x20;

    /// <summary>u64: IOVA of one u64 to which the number of steps done is written after each batch.</summary>
    public const int HeadIova = 0x28;

    /// <summary>u32: steps per second; above <see cref="MaxPace"/> the engine runs at that.</summary>
    public const int Pace = 0x30;

    /// <summary>u32: bit 0 runs the engine.</summary>
    public const int Control = 0x34;

    /// <summary>u32: <see cref="AcceleratorStatus"/>; bits are cleared by writing ones.</summary>
    public const int Status = 0x38;

    /// <summary>u64, read-only: the sum of <see cref="AcceleratorState.Digest"/> over all counters, computed when it is read (a self-test).</summary>
    public const int StateDigest = 0x40;

    public const int Bytes = 0x1000;

    public const uint MagicValue = 0x43434146;       // "FACC"
    public const uint VersionValue = 1;
    public const uint ControlRun = 1;

    /// <summary>Steps per second.</summary>
    public const uint MaxPace = 1_000_000;
}

[Flags]
public enum AcceleratorStatus : uint
{
    None = 0,

    /// <summary>A DMA write reached no mapping; the engine stands.</summary>
    DmaFault = 1,

    /// <summary>An uncorrectable internal error; the engine stands until the host's driver clears this bit.</summary>
    InternalError = 2,
}

/// <summary>Registers of BAR 4, the migration control.</summary>
public static class AcceleratorMigration
{
    /// <summary>u32, write: an <see cref="AcceleratorCommand"/>; done when the write returns.</summary>
    public const int Command = 0x00;

    /// <summary>u32, read-only: <see cref="AcceleratorActivity"/>.</summary>
    public const int Activity = 0x04;

    /// <summary>u64: start of the IOVA range that DMA logging watches; u64 its bytes behind it. Set before StartDmaLog.</summary>
    public const int LogIova = 0x08;

    public const int LogLength = 0x10;

    /// <summary>The context: <see cref="ContextBytes"/> of registers, read when suspended, written when suspended.</summary>
    public const int Context = 0x100;

    public const int ContextBytes = 0x100;

    /// <summary>One bit per <see cref="AcceleratorState.BlockBytes"/> of device state that changed. Reading a u64 clears it.</summary>
    public const int StateLog = 0x1_0000;

    public const int StateLogBytes = 0x10_0000;

    /// <summary>The largest device state that the state log covers.</summary>
    public const long MaxStateBytes = (long)StateLogBytes * 8 * AcceleratorState.BlockBytes;

    /// <summary>One bit per 4 KiB of the watched IOVA range that DMA wrote. Reading a u64 clears it.</summary>
    public const int DmaLog = 0x20_0000;

    public const int DmaLogBytes = 0x20_0000;

    public const int Bytes = 0x40_0000;

    public const uint LogPageSize = 4096;

    /// <summary>The longest IOVA range the DMA log covers.</summary>
    public const ulong MaxLogLength = (ulong)DmaLogBytes * 8 * LogPageSize;
}

public enum AcceleratorCommand : uint
{
    /// <summary>Starts no further DMA; accepts what others send (RUNNING_P2P).</summary>
    SuspendInitiator = 1,

    /// <summary>Stands entirely (STOP).</summary>
    SuspendResponder = 2,
    ResumeResponder = 3,
    ResumeInitiator = 4,

    /// <summary>Starts the state log with every block marked.</summary>
    StartStateLog = 5,
    StopStateLog = 6,

    /// <summary>Starts the DMA log, nothing marked.</summary>
    StartDmaLog = 7,
    StopDmaLog = 8,
}

[Flags]
public enum AcceleratorActivity : uint
{
    None = 0,
    InitiatorSuspended = 1,
    ResponderSuspended = 2,
    StateLogOn = 4,
    DmaLogOn = 8,
}
