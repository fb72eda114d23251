using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>
/// A virtual function of the accelerator in software, with an engine that runs by itself as hardware does: it counts in its own state and
/// tells of every step by DMA. One lock stands for the function's clock domain; the engine and register accesses take turns on it, the
/// state window does not.
/// </summary>
public sealed class AcceleratorVirtualFunction : IPciFunction, IDisposable
{
    /// <summary>The engine wakes this often.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(2);

    /// <summary>An engine that was kept from running does not make up for more than this.</summary>
    private static readonly TimeSpan LongestBatch = TimeSpan.FromMilliseconds(20);

    private readonly Lock clock = new();
    private readonly TimeProvider time;
    private readonly ITimer engine;
    private readonly byte[] config;
    private readonly byte[] powerOnConfig;
    private readonly StateMemory state;
    private Registers registers = Registers.PowerOn;
    private AcceleratorActivity activity;
    private ChangeLog? stateLog;
    private DmaLog? dmaLog;
    private ulong logIova;
    private ulong logLength;
    private IDmaSpace? dma;
    private long lastTick;
    private double owedSteps;

    /// <param name="stateBytes">
    /// Bytes of device state; a multiple of <see cref="AcceleratorState.Granule"/>, at most <see cref="AcceleratorMigration.MaxStateBytes"/>.
    /// </param>
    /// <param name="time">What the engine's pace is measured by.</param>
    public AcceleratorVirtualFunction(PciAddress address, long stateBytes, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(time);
        ArgumentOutOfRangeException.ThrowIfNotEqual(stateBytes % AcceleratorState.Granule, 0);
        ArgumentOutOfRangeException.ThrowIfLessThan(stateBytes, AcceleratorState.Granule);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(stateBytes, AcceleratorMigration.MaxStateBytes);
        Address = address;
        this.time = time;
        state = new StateMemory(stateBytes);
        powerOnConfig = ConfigBytes.Type0(Ids);
        config = [.. powerOnConfig];
        Bars =
        [
            Memory(AcceleratorRegister.Bytes), PciBar.None,
            Memory(BitOperations.RoundUpToPowerOf2((ulong)stateBytes)), PciBar.None,
            Memory(AcceleratorMigration.Bytes), PciBar.None,
        ];
        engine = time.CreateTimer(_ => RunEngine(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>What its user programmed: kept together, because it is what moves as the context.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 8)]
    private struct Registers
    {
        public ulong Steps;
        public ulong RingIova;
        public ulong RingSlots;
        public ulong HeadIova;
        public uint Pace;
        public uint Control;
        public AcceleratorStatus Status;

        public static Registers PowerOn => new() { Pace = 1000 };
    }

    public PciAddress Address { get; }

    public PciIds Ids => new(AcceleratorIds.Vendor, AcceleratorIds.VirtualFunction, AcceleratorIds.Vendor, 1, AcceleratorIds.ClassCode);

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars { get; }

    public FunctionTraits Traits => FunctionTraits.VirtualFunction;

    public PciAddress? PhysicalFunction => Address with { Function = 0 };

    /// <summary>Every function stands behind the address space that it is connected to: a group of its own.</summary>
    public int? IommuGroup => Address.RoutingId;

    public IReadOnlyList<string> ResetMethods { get; } = [ResetMethod.FunctionLevel];

    /// <summary>Bytes of device state.</summary>
    public long StateBytes => state.Bytes;

    public void ReadConfig(int offset, Span<byte> destination)
    {
        lock (clock)
            config.AsSpan(offset, destination.Length).CopyTo(destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        lock (clock)
        {
            source.CopyTo(config.AsSpan(offset));
            ScheduleEngine();
        }
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        switch (region)
        {
            case AcceleratorBar.Registers:
                lock (clock)
                    ReadRegisters((int)offset, destination);
                return VfioResult.Ok;
            case AcceleratorBar.State:
                state.Read((long)offset, destination);
                return VfioResult.Ok;
            case AcceleratorBar.Migration:
                return ReadMigration((int)offset, destination);
            default:
                return VfioResult.Fail(Errno.EIO, "The function does not decode this BAR.");
        }
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        switch (region)
        {
            case AcceleratorBar.Registers:
                lock (clock)
                {
                    WriteRegisters((int)offset, source);
                    ScheduleEngine();
                }

                return VfioResult.Ok;
            case AcceleratorBar.State:
                state.Write((long)offset, source);
                return VfioResult.Ok;
            case AcceleratorBar.Migration:
                lock (clock)
                {
                    WriteMigration((int)offset, source);
                    ScheduleEngine();
                }

                return VfioResult.Ok;
            default:
                return VfioResult.Fail(Errno.EIO, "The function does not decode this BAR.");
        }
    }

    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "The function has no such reset.");
        lock (clock)
        {
            powerOnConfig.CopyTo(config.AsSpan());
            registers = Registers.PowerOn;
            activity = AcceleratorActivity.None;
            (stateLog, dmaLog, logIova, logLength) = (null, null, 0, 0);
            state.Clear();
            ScheduleEngine();
        }

        return VfioResult.Ok;
    }

    public void ConnectDma(IDmaSpace? space)
    {
        lock (clock)
            dma = space;
    }

    /// <summary>An uncorrectable internal error: the engine stands until the host's driver clears it.</summary>
    internal void Fail()
    {
        lock (clock)
        {
            registers.Status |= AcceleratorStatus.InternalError;
            ScheduleEngine();
        }
    }

    public void Dispose() => engine.Dispose();

    private static PciBar Memory(ulong bytes) => new(BarKind.Memory64, bytes, Prefetchable: true);

    private bool MayRun =>
        (registers.Control & AcceleratorRegister.ControlRun) != 0 && registers.Status == AcceleratorStatus.None &&
        (activity & (AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended)) == 0 &&
        (config[ConfigOffset.Command] & (byte)PciCommand.BusMaster) != 0;

    private bool engineOn;

    /// <summary>Holds the timer to whether there is anything to do. The lock is held.</summary>
    private void ScheduleEngine()
    {
        if (MayRun == engineOn)
            return;
        engineOn = MayRun;
        (lastTick, owedSteps) = (time.GetTimestamp(), 0);
        engine.Change(engineOn ? Tick : Timeout.InfiniteTimeSpan, engineOn ? Tick : Timeout.InfiniteTimeSpan);
    }

    private void RunEngine()
    {
        // Ticks that find the lock taken leave their time to the next one: queued up they would take the thread pool's threads.
        if (!clock.TryEnter())
            return;
        try
        {
            if (!engineOn)
                return;
            var now = time.GetTimestamp();
            var elapsed = time.GetElapsedTime(lastTick, now);
            lastTick = now;
            owedSteps += (elapsed < LongestBatch ? elapsed : LongestBatch).TotalSeconds * Math.Min(registers.Pace, AcceleratorRegister.MaxPace);
            var steps = (long)owedSteps;
            owedSteps -= steps;
            if (steps > 0)
                RunSteps(steps);
            ScheduleEngine();
        }
        finally
        {
            clock.Exit();
        }
    }

    private void RunSteps(long count)
    {
        for (; count > 0 && registers.RingSlots > 0; count--)
        {
            var step = registers.Steps;
            var cell = AcceleratorState.CellOf(step, state.Cells);
            var record = AcceleratorRecord.Of(step, cell, state.Cell(cell) + 1);
            var slot = registers.RingIova + (step % registers.RingSlots * AcceleratorRecord.Bytes);
            if (!WriteByDma(slot, MemoryMarshal.AsBytes(new ReadOnlySpan<AcceleratorRecord>(in record))))
                break;

            state.Cell(cell)++;
            stateLog?.Mark(cell * AcceleratorState.CellBytes / AcceleratorState.BlockBytes);
            registers.Steps++;
        }

        // The holder looks at the head first: everything below it must be in memory by then.
        Span<byte> head = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(head, registers.Steps);
        Thread.MemoryBarrier();
        WriteByDma(registers.HeadIova, head);
    }

    private bool WriteByDma(ulong iova, ReadOnlySpan<byte> source)
    {
        if (dma is null || !dma.TryWrite(iova, source))
        {
            registers.Status |= AcceleratorStatus.DmaFault;
            return false;
        }

        // Marked after the write: a reader that took the mark before sees the page marked again.
        dmaLog?.Mark(iova, source.Length);
        return true;
    }

    private void ReadRegisters(int offset, Span<byte> destination)
    {
        Span<byte> page = stackalloc byte[AcceleratorRegister.StateDigest + 8];
        page.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorRegister.Magic..], AcceleratorRegister.MagicValue);
        BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorRegister.Version..], AcceleratorRegister.VersionValue);
        BinaryPrimitives.WriteInt64LittleEndian(page[AcceleratorRegister.StateBytes..], state.Bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorRegister.Steps..], registers.Steps);
        BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorRegister.RingIova..], registers.RingIova);
        BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorRegister.RingSlots..], registers.RingSlots);
        BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorRegister.HeadIova..], registers.HeadIova);
        BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorRegister.Pace..], registers.Pace);
        BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorRegister.Control..], registers.Control);
        BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorRegister.Status..], (uint)registers.Status);
        if (offset == AcceleratorRegister.StateDigest)
            BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorRegister.StateDigest..], state.Digest());
        destination.Clear();
        if (offset < page.Length)
            page.Slice(offset, Math.Min(destination.Length, page.Length - offset)).CopyTo(destination);
    }

    private void WriteRegisters(int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (AcceleratorRegister.RingIova, 8):
                registers.RingIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (AcceleratorRegister.RingSlots, 8):
                registers.RingSlots = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (AcceleratorRegister.HeadIova, 8):
                registers.HeadIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (AcceleratorRegister.Pace, 4):
                registers.Pace = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (AcceleratorRegister.Control, 4):
                registers.Control = BinaryPrimitives.ReadUInt32LittleEndian(source) & AcceleratorRegister.ControlRun;
                break;
            case (AcceleratorRegister.Status, 4):
                registers.Status &= ~(AcceleratorStatus)BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
        }
    }

    private VfioResult ReadMigration(int offset, Span<byte> destination)
    {
        if (offset >= AcceleratorMigration.StateLog)
        {
            var (log, within) = offset >= AcceleratorMigration.DmaLog
                ? (dmaLog?.Pages, offset - AcceleratorMigration.DmaLog)
                : (stateLog, offset - AcceleratorMigration.StateLog);
            if (((within | destination.Length) & 7) != 0)
                return VfioResult.Fail(Errno.EIO, "The change logs answer to aligned 8-byte reads only.");
            for (var i = 0; i < destination.Length; i += 8)
                BinaryPrimitives.WriteUInt64LittleEndian(destination[i..], log?.Take((within + i) / 8) ?? 0);
            return VfioResult.Ok;
        }

        lock (clock)
        {
            Span<byte> page = stackalloc byte[AcceleratorMigration.Context + AcceleratorMigration.ContextBytes];
            page.Clear();
            BinaryPrimitives.WriteUInt32LittleEndian(page[AcceleratorMigration.Activity..], (uint)activity);
            BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorMigration.LogIova..], logIova);
            BinaryPrimitives.WriteUInt64LittleEndian(page[AcceleratorMigration.LogLength..], logLength);
            MemoryMarshal.Write(page[AcceleratorMigration.Context..], in registers);
            destination.Clear();
            if (offset < page.Length)
                page.Slice(offset, Math.Min(destination.Length, page.Length - offset)).CopyTo(destination);
        }

        return VfioResult.Ok;
    }

    private void WriteMigration(int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (AcceleratorMigration.Command, 4):
                Execute((AcceleratorCommand)BinaryPrimitives.ReadUInt32LittleEndian(source));
                break;
            case (AcceleratorMigration.LogIova, 8):
                logIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (AcceleratorMigration.LogLength, 8):
                logLength = Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(source), AcceleratorMigration.MaxLogLength);
                break;
            case (AcceleratorMigration.Context, AcceleratorMigration.ContextBytes)
                when (activity & AcceleratorActivity.ResponderSuspended) != 0:
                registers = MemoryMarshal.Read<Registers>(source);
                break;
        }
    }

    private void Execute(AcceleratorCommand command)
    {
        switch (command)
        {
            case AcceleratorCommand.SuspendInitiator:
                activity |= AcceleratorActivity.InitiatorSuspended;
                break;
            case AcceleratorCommand.SuspendResponder:
                activity |= AcceleratorActivity.ResponderSuspended;
                break;
            case AcceleratorCommand.ResumeResponder:
                activity &= ~AcceleratorActivity.ResponderSuspended;
                break;
            case AcceleratorCommand.ResumeInitiator:
                activity &= ~AcceleratorActivity.InitiatorSuspended;
                break;
            case AcceleratorCommand.StartStateLog:
                stateLog = new ChangeLog(state.Bytes / AcceleratorState.BlockBytes);
                stateLog.MarkAll();
                activity |= AcceleratorActivity.StateLogOn;
                break;
            case AcceleratorCommand.StopStateLog:
                stateLog = null;
                activity &= ~AcceleratorActivity.StateLogOn;
                break;
            case AcceleratorCommand.StartDmaLog:
                dmaLog = new DmaLog(logIova, logLength);
                activity |= AcceleratorActivity.DmaLogOn;
                break;
            case AcceleratorCommand.StopDmaLog:
                dmaLog = null;
                activity &= ~AcceleratorActivity.DmaLogOn;
                break;
        }
    }
}
