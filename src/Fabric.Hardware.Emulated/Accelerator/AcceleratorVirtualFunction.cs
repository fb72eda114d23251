using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>
/// A virtual function of the accelerator in software, with an engine that runs by itself as hardware does: it counts in its own state and
/// tells of every step by DMA. The engine and register accesses take turns on the function's clock, the state window does not.
/// </summary>
public sealed class AcceleratorVirtualFunction : EmulatedFunction
{
    private static readonly PciIds FunctionIds =
        new(AcceleratorIds.Vendor, AcceleratorIds.VirtualFunction, AcceleratorIds.Vendor, 1, AcceleratorIds.ClassCode);

    private static readonly ConfigLayout Config = ConfigLayout.Of(
        HeaderLayout.VirtualFunction(FunctionIds),
        StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
        ExtendedCapabilities.Aer());


    /// <summary>The engine wakes this often.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(2);

    /// <summary>An engine that was kept from running does not make up for more than this.</summary>
    private static readonly TimeSpan LongestBatch = TimeSpan.FromMilliseconds(20);

    private readonly TimeProvider time;
    private readonly ITimer engine;
    private readonly StateMemory state;
    private readonly AcceleratorPhysicalFunction? parent;
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
        : this(address, stateBytes, time, parent: null)
    {
    }

    /// <param name="parent">The PF that made it; null for one that was there from the start, and answers whatever its PF says.</param>
    internal AcceleratorVirtualFunction(PciAddress address, long stateBytes, TimeProvider time, AcceleratorPhysicalFunction? parent)
        : base(address, ModelOf(stateBytes))
    {
        ArgumentNullException.ThrowIfNull(time);
        (this.time, this.parent) = (time, parent);
        state = new StateMemory(stateBytes);
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

    public override PciAddress? PhysicalFunction => parent?.Address ?? Address with { Function = 0 };

    internal override EmulatedFunction? Parent => parent;

    private protected override bool IsEnabled => parent is null || parent.EnablesVirtualFunctions;

    /// <summary>Bytes of device state.</summary>
    public long StateBytes => state.Bytes;

    private protected override ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source)
    {
        ScheduleEngine();
        return ConfigEffects.None;
    }

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        switch (region)
        {
            case AcceleratorBar.Registers:
                lock (Clock)
                    ReadRegisters((int)offset, destination);
                return VfioResult.Ok;
            case AcceleratorBar.State:
                state.Read((long)offset, destination);
                return VfioResult.Ok;
            default:
                return ReadMigration((int)offset, destination);
        }
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        if (region == AcceleratorBar.State)
        {
            state.Write((long)offset, source);
            return VfioResult.Ok;
        }

        lock (Clock)
        {
            if (region == AcceleratorBar.Registers)
                WriteRegisters((int)offset, source);
            else
                WriteMigration((int)offset, source);
            ScheduleEngine();
        }

        return VfioResult.Ok;
    }

    private protected override void OnReset()
    {
        registers = Registers.PowerOn;
        activity = AcceleratorActivity.None;
        (stateLog, dmaLog, logIova, logLength) = (null, null, 0, 0);
        state.Clear();
        ScheduleEngine();
    }

    private protected override void OnVanished() => ScheduleEngine();

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    /// <summary>An uncorrectable internal error: the engine stands until the host's driver clears it.</summary>
    internal override void Fail()
    {
        lock (Clock)
        {
            registers.Status |= AcceleratorStatus.InternalError;
            ScheduleEngine();
        }
    }

    internal override EmulatedFunction Renew() => new AcceleratorVirtualFunction(Address, StateBytes, time, parent);

    public override void Dispose()
    {
        engine.Dispose();
        base.Dispose();
    }

    internal static IReadOnlyList<PciBar> BarsOf(long stateBytes) =>
    [
        Memory64(AcceleratorRegister.Bytes), PciBar.None,
        Memory64(BitOperations.RoundUpToPowerOf2((ulong)stateBytes)), PciBar.None,
        Memory64(AcceleratorMigration.Bytes), PciBar.None,
    ];

    private static FunctionModel ModelOf(long stateBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(stateBytes % AcceleratorState.Granule, 0);
        ArgumentOutOfRangeException.ThrowIfLessThan(stateBytes, AcceleratorState.Granule);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(stateBytes, AcceleratorMigration.MaxStateBytes);
        return new FunctionModel(FunctionIds, Config)
        {
            Traits = FunctionTraits.VirtualFunction,
            Bars = BarsOf(stateBytes),
            ResetMethods = OwnResets,
        };
    }

    private static readonly string[] OwnResets = [ResetMethod.FunctionLevel];

    private static PciBar Memory64(ulong bytes) => new(BarKind.Memory64, bytes, Prefetchable: true);

    private bool MayRun =>
        (registers.Control & AcceleratorRegister.ControlRun) != 0 && registers.Status == AcceleratorStatus.None &&
        (activity & (AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended)) == 0 &&
        MastersBus;

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
        if (!Clock.TryEnter())
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
            Clock.Exit();
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

        lock (Clock)
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
