using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.HisiAcc;

/// <summary>
/// A VF of a HiSilicon accelerator: a queue manager whose queues take tasks when they are rung, and put an event into memory for each. Contexts of
/// queues are cached here, and lie in memory of the guest: what migrates beside that memory are the queue manager's own registers.
/// </summary>
public sealed class HisiAccVirtualFunction : CommandedVirtualFunction
{
    private const uint DmaFault = 1;

    internal static readonly PciBar[] BarsOf =
        [PciBar.None, PciBar.None, new(BarKind.Memory64, HisiAccBar.Bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None];

    private readonly HisiAccKind kind;
    private readonly HisiAccPhysicalFunction physical;
    private readonly Queue[] queues = new Queue[HisiAccPhysicalFunction.QueuesPerVf];
    private Registers registers = new();
    private IDmaSpace? dma;
    private long? writeBackFrom;
    private bool hasWrittenBack;
    private bool showsContexts;

    internal HisiAccVirtualFunction(PciAddress address, HisiAccKind kind, HisiAccPhysicalFunction parent)
        : base(
            address,
            CommandedModels.Virtual(new PciIds(HisiAccIds.Vendor, kind.Virtual, HisiAccIds.Vendor, 0, kind.Class), BarsOf), parent) =>
        (this.kind, physical) = (kind, parent);

    /// <summary>Tasks taken, tasks given.</summary>
    private struct Queue
    {
        public ushort Head;
        public ushort Tail;
        public bool IsPaused;

        /// <summary>What memory has of it is not newer.</summary>
        public bool IsCached;
    }

    private sealed class Registers
    {
        public uint AeqMask;
        public uint EqMask;
        public uint IfcSource;
        public uint IfcMask;
        public uint IfcStatus;
        public uint IfcSet;
        public uint PageSize;
        public HisiAccVfState State = HisiAccVfState.NotReady;
        public ulong SubmissionTable;
        public ulong CompletionTable;
        public readonly uint[] Events = new uint[HisiAccQueueContext.Words];
        public readonly uint[] AsyncEvents = new uint[HisiAccQueueContext.Words];
        public readonly uint[] Mailbox = new uint[HisiAccMailbox.Bytes / sizeof(uint)];
    }

    private ulong EventQueue =>
        ((ulong)registers.Events[HisiAccQueueContext.AddressHigh] << 32) | registers.Events[HisiAccQueueContext.AddressLow];

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply) => physical.Execute(this, command, reply);

    /// <summary>The PF, where it has migration control, shows the contexts of event queues among the registers.</summary>
    internal void SelectContexts(bool shown)
    {
        lock (Clock)
            showsContexts = shown;
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    internal override EmulatedFunction Renew() => new HisiAccVirtualFunction(Address, kind, physical);

    private protected override void OnReset()
    {
        registers = new Registers();
        Array.Clear(queues);
        (writeBackFrom, hasWrittenBack) = (null, false);
    }

    // ---- Registers -------------------------------------------------------------------------------------------------------------------

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        Span<byte> word = stackalloc byte[sizeof(uint)];
        lock (Clock)
        {
            for (var at = 0; at < destination.Length; at += sizeof(uint))
            {
                BinaryPrimitives.WriteUInt32LittleEndian(word, Read((int)offset + at));
                word[..Math.Min(sizeof(uint), destination.Length - at)].CopyTo(destination[at..]);
            }
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (offset == HisiAccRegister.Doorbell && source.Length == sizeof(ulong))
                Ring(BinaryPrimitives.ReadUInt64LittleEndian(source));
            for (var at = 0; offset != HisiAccRegister.Doorbell && at + sizeof(uint) <= source.Length; at += sizeof(uint))
                Write((int)offset + at, BinaryPrimitives.ReadUInt32LittleEndian(source[at..]));
            if (offset == HisiAccRegister.Mailbox && (registers.Mailbox[0] & HisiAccMailbox.Busy) != 0)
                Execute(ref registers.Mailbox[0]);
        }

        return VfioResult.Ok;
    }

    private uint Read(int offset) => offset switch
    {
        HisiAccRegister.AeqInterruptMask => registers.AeqMask,
        HisiAccRegister.EqInterruptMask => registers.EqMask,
        HisiAccRegister.IfcInterruptSource => registers.IfcSource,
        HisiAccRegister.IfcInterruptMask => registers.IfcMask,
        HisiAccRegister.IfcInterruptStatus => registers.IfcStatus,
        HisiAccRegister.IfcInterruptSet => registers.IfcSet,
        HisiAccRegister.PageSize => registers.PageSize,
        HisiAccRegister.VfState => (uint)registers.State,
        HisiAccRegister.CacheWriteBackDone => IsWrittenBack ? 1u : 0,
        >= HisiAccRegister.Mailbox and < HisiAccRegister.Mailbox + HisiAccMailbox.Bytes =>
            registers.Mailbox[(offset - HisiAccRegister.Mailbox) / sizeof(uint)],
        _ => Context(offset, out var at) is { } context ? context[at] : 0,
    };

    private void Write(int offset, uint value)
    {
        switch (offset)
        {
            case HisiAccRegister.AeqInterruptMask:
                registers.AeqMask = value;
                break;
            case HisiAccRegister.EqInterruptMask:
                registers.EqMask = value;
                break;
            case HisiAccRegister.IfcInterruptSource:
                registers.IfcSource = value;
                break;
            case HisiAccRegister.IfcInterruptMask:
                registers.IfcMask = value;
                break;
            case HisiAccRegister.IfcInterruptSet:
                registers.IfcSet = value;
                break;
            case HisiAccRegister.PageSize:
                registers.PageSize = value;
                break;
            case HisiAccRegister.VfState:
                registers.State = (HisiAccVfState)value;
                break;
            case HisiAccRegister.CacheWriteBackStart:
                WriteBack();
                break;
            case >= HisiAccRegister.Mailbox and < HisiAccRegister.Mailbox + HisiAccMailbox.Bytes:
                registers.Mailbox[(offset - HisiAccRegister.Mailbox) / sizeof(uint)] = value;
                break;
            default:
                if (Context(offset, out var at) is { } context)
                    context[at] = value;
                break;
        }
    }

    /// <summary>The context that an offset lies in, where the hardware of this version has it; null outside.</summary>
    private uint[]? Context(int offset, out int word)
    {
        var (events, asyncEvents) = physical.HasControl
            ? (HisiAccRegister.EventQueueContextByPf, HisiAccRegister.AsyncEventQueueContextByPf)
            : (HisiAccRegister.EventQueueContext, HisiAccRegister.AsyncEventQueueContext);
        word = (offset - (offset < asyncEvents ? events : asyncEvents)) / sizeof(uint);
        if (offset < events || word >= HisiAccQueueContext.Words || (physical.HasControl && !showsContexts))
            return null;
        return offset < asyncEvents ? registers.Events : registers.AsyncEvents;
    }

    // ---- The mailbox -----------------------------------------------------------------------------------------------------------------

    private void Execute(ref uint word)
    {
        var done = Execute((HisiAccMailboxCommand)(word & 0xff), (word & HisiAccMailbox.Reads) != 0);
        word = (word & ~HisiAccMailbox.Busy) | (done ? 0 : HisiAccMailbox.Status);
    }

    private bool Execute(HisiAccMailboxCommand command, bool reads)
    {
        var address = ((ulong)registers.Mailbox[2] << 32) | registers.Mailbox[1];
        switch (command, reads)
        {
            case (HisiAccMailboxCommand.EventQueue, false):
                SetAddress(registers.Events, address);
                return true;
            case (HisiAccMailboxCommand.AsyncEventQueue, false):
                SetAddress(registers.AsyncEvents, address);
                return true;
            case (HisiAccMailboxCommand.SubmissionTable, false):
                registers.SubmissionTable = address;
                for (var queue = 0; queue < queues.Length; queue++)
                    queues[queue].IsCached = false;
                return true;
            case (HisiAccMailboxCommand.CompletionTable, false):
                registers.CompletionTable = address;
                return true;
            case (HisiAccMailboxCommand.SubmissionTable, true):
                return Answer(registers.SubmissionTable);
            case (HisiAccMailboxCommand.CompletionTable, true):
                return Answer(registers.CompletionTable);
            case (HisiAccMailboxCommand.QueuesOfVf, true):
                return Answer(((ulong)queues.Length - 1) << 45 | (ulong)(Number * queues.Length) << 28);
            case (HisiAccMailboxCommand.Pause, false):
                for (var queue = 0; queue < queues.Length; queue++)
                    queues[queue].IsPaused = true;
                return true;
            case (HisiAccMailboxCommand.Pause, true):
                return Answer((ulong)queues.Count(static queue => queue.IsPaused));
            default:
                return false;
        }
    }

    private int Number => Address.RoutingId - physical.Address.RoutingId;

    private bool Answer(ulong value)
    {
        (registers.Mailbox[1], registers.Mailbox[2]) = ((uint)value, (uint)(value >> 32));
        return true;
    }

    private static void SetAddress(uint[] context, ulong address)
    {
        Array.Clear(context);
        (context[HisiAccQueueContext.AddressLow], context[HisiAccQueueContext.AddressHigh]) = ((uint)address, (uint)(address >> 32));
    }

    // ---- Queues ----------------------------------------------------------------------------------------------------------------------

    private bool IsWrittenBack =>
        hasWrittenBack && writeBackFrom is { } from && physical.Time.GetElapsedTime(from) >= physical.WriteBackTime;

    /// <summary>The contexts go to memory at once; that they are there shows later.</summary>
    private void WriteBack()
    {
        Span<byte> contexts = stackalloc byte[queues.Length * HisiAccSubmissionContext.Bytes];
        for (var queue = 0; queue < queues.Length; queue++)
        {
            var context = contexts[(queue * HisiAccSubmissionContext.Bytes)..];
            BinaryPrimitives.WriteUInt16LittleEndian(context, queues[queue].Head);
            BinaryPrimitives.WriteUInt16LittleEndian(context[2..], queues[queue].Tail);
            queues[queue].IsCached = true;
        }

        (writeBackFrom, hasWrittenBack) = (physical.Time.GetTimestamp(), TryWrite(registers.SubmissionTable, contexts));
    }

    private void Ring(ulong doorbell)
    {
        var number = (int)(doorbell & 0xfff);
        if (number >= queues.Length)
            return;
        ref var queue = ref queues[number];
        if ((doorbell & HisiAccDoorbell.Priority) == 0)
            queue.Tail = (ushort)(doorbell >> HisiAccDoorbell.Index);
        else if (TryRestart(number, ref queue))
            queue.IsPaused = false;
        while (!queue.IsPaused && registers.State == HisiAccVfState.Ready && queue.Head != queue.Tail && TryTake(number, ref queue))
            queue.Head++;
    }

    private bool TryRestart(int number, ref Queue queue)
    {
        if (queue.IsCached || registers.SubmissionTable == 0)
            return true;
        Span<byte> context = stackalloc byte[HisiAccSubmissionContext.Bytes];
        if (!MastersBus || dma?.TryRead(registers.SubmissionTable + (ulong)(number * HisiAccSubmissionContext.Bytes), context) != true)
        {
            registers.IfcStatus |= DmaFault;
            return false;
        }

        (queue.Head, queue.Tail, queue.IsCached) =
            (BinaryPrimitives.ReadUInt16LittleEndian(context), BinaryPrimitives.ReadUInt16LittleEndian(context[2..]), true);
        return true;
    }

    private bool TryTake(int number, ref Queue queue)
    {
        Span<byte> taken = stackalloc byte[HisiAccEvent.Bytes];
        var tail = registers.Events[HisiAccQueueContext.Tail];
        BinaryPrimitives.WriteUInt16LittleEndian(taken, (ushort)number);
        BinaryPrimitives.WriteUInt16LittleEndian(taken[2..], queue.Head);
        BinaryPrimitives.WriteUInt32LittleEndian(taken[4..], tail + 1);
        if (!TryWrite(EventQueue + (tail % HisiAccEvent.Ring * HisiAccEvent.Bytes), taken))
            return false;
        registers.Events[HisiAccQueueContext.Tail] = tail + 1;
        return true;
    }

    private bool TryWrite(ulong iova, ReadOnlySpan<byte> source)
    {
        if (MastersBus && dma?.TryWrite(iova, source) == true)
            return true;
        registers.IfcStatus |= DmaFault;
        return false;
    }
}
