using System.Buffers.Binary;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;

namespace Fabric.Drivers.HisiAcc;

/// <summary>How the accelerator is told: registers and mailbox of the VF's queue manager, and a few registers of the PF's.</summary>
internal sealed class HisiAccCommands
{
    private readonly HisiAccRegisters registers;
    private readonly HisiAccPfCommands physical;
    private readonly uint firstQueue;
    private readonly int events;
    private readonly int asyncEvents;

    private HisiAccCommands(HisiAccRegisters registers, HisiAccPfCommands physical, bool byPf, HisiAccMatch match, uint firstQueue)
    {
        (this.registers, this.physical, this.firstQueue) = (registers, physical, firstQueue);
        (events, asyncEvents) = byPf
            ? (HisiAccRegister.EventQueueContextByPf, HisiAccRegister.AsyncEventQueueContextByPf)
            : (HisiAccRegister.EventQueueContext, HisiAccRegister.AsyncEventQueueContext);
        (ControlIsInBar, Match) = (!byPf, match);
    }

    /// <summary>The upper half of the BAR is migration control, which a user must not see (VD-HIS-2).</summary>
    public bool ControlIsInBar { get; }

    public HisiAccMatch Match { get; }

    /// <summary>Takes the VF. Errors: ENOTCONN, EIO, ENODEV, as of all that is asked of it.</summary>
    public static VfioResult<HisiAccCommands> Attach(IRegisters bar, HisiAccPfCommands physical, ushort deviceId)
    {
        var version = physical.ReadVersion();
        var byPf = version is { IsOk: true, Value: >= HisiAccPf.VersionWithControl };
        var selected = byPf ? physical.WriteRegister(HisiAccPf.MigrationRegionSelect, 1) : version;
        var isolation = selected.IsOk ? physical.ReadRegister(HisiAccPf.QueueIsolation) : selected;
        if (!isolation.IsOk)
            return isolation.Error;
        var registers = new HisiAccRegisters(bar);
        var queues = registers.Ask(HisiAccMailboxCommand.QueuesOfVf);
        var asked = registers.Take();
        return asked.IsOk
            ? new HisiAccCommands(
                registers, physical, byPf,
                new HisiAccMatch((uint)((queues >> 45) & 0x3ff) + 1, deviceId, isolation.Value), (uint)(queues >> 28) & 0xffff)
            : asked.Error;
    }

    public VfioResult<bool> IsReady()
    {
        var state = (HisiAccVfState)registers[HisiAccRegister.VfState];
        var read = registers.Take();
        return read.IsOk ? state == HisiAccVfState.Ready : read.Error;
    }

    /// <summary>Queues stand, as only a driver makes them.</summary>
    public VfioResult<bool> IsStopped()
    {
        var standing = registers.Ask(HisiAccMailboxCommand.Pause);
        var read = registers.Take();
        return read.IsOk ? standing != 0 : read.Error;
    }

    /// <summary>
    /// All queues stand, and their contexts are on the way to memory. Errors: EBUSY, with nothing done, while the PF's queue manager has an error.
    /// </summary>
    public VfioResult Stop()
    {
        var abnormal = physical.ReadRegister(HisiAccPf.AbnormalInterruptStatus);
        if (!abnormal.IsOk)
            return abnormal.Error;
        if (abnormal.Value != 0)
            return VfioResult.Fail(Errno.EBUSY, "The accelerator's queue manager has an error; reset the PF, and try again.");
        registers.Tell(HisiAccMailboxCommand.Pause);
        registers[HisiAccRegister.CacheWriteBackStart] = 1;
        return registers.Take();
    }

    public VfioResult<bool> IsWrittenBack()
    {
        var done = registers[HisiAccRegister.CacheWriteBackDone] & 1;
        var read = registers.Take();
        return read.IsOk ? done != 0 : read.Error;
    }

    /// <summary>Queues take their contexts from memory, and go on.</summary>
    public VfioResult Start()
    {
        for (var queue = 0; queue < Match.Queues; queue++)
            registers.Ring(queue);
        return registers.Take();
    }

    public VfioResult ReadMatch(Span<byte> destination)
    {
        var state = registers[HisiAccRegister.VfState];
        HisiAccStreamFormat.WriteMatch(destination, Match, firstQueue, state);
        return registers.Take();
    }

    /// <summary>What follows the match data in the stream of a VF that stands.</summary>
    public VfioResult ReadState(Span<byte> stream)
    {
        stream[HisiAccStreamFormat.MatchBytes..].Clear();
        foreach (var (register, at) in Moved)
            BinaryPrimitives.WriteUInt32LittleEndian(stream[at..], registers[register]);
        ReadContext(events, stream[HisiAccStreamFormat.EventQueueContext..], stream[HisiAccStreamFormat.EventQueue..]);
        ReadContext(asyncEvents, stream[HisiAccStreamFormat.AsyncEventQueueContext..], stream[HisiAccStreamFormat.AsyncEventQueue..]);
        BinaryPrimitives.WriteUInt64LittleEndian(stream[HisiAccStreamFormat.SubmissionTable..], registers.Ask(HisiAccMailboxCommand.SubmissionTable));
        BinaryPrimitives.WriteUInt64LittleEndian(stream[HisiAccStreamFormat.CompletionTable..], registers.Ask(HisiAccMailboxCommand.CompletionTable));
        return registers.Take();
    }

    /// <summary>A VF that was set up at the source is set up here; its queues stand until <see cref="Start"/>.</summary>
    public VfioResult WriteState(ReadOnlySpan<byte> stream)
    {
        registers.Tell(HisiAccMailboxCommand.Pause);
        foreach (var (register, at) in Moved)
            registers[register] = BinaryPrimitives.ReadUInt32LittleEndian(stream[at..]);
        for (var word = 0; word < HisiAccQueueContext.Words; word++)
        {
            var at = word * sizeof(uint);
            registers[events + at] = BinaryPrimitives.ReadUInt32LittleEndian(stream[(HisiAccStreamFormat.EventQueueContext + at)..]);
            registers[asyncEvents + at] = BinaryPrimitives.ReadUInt32LittleEndian(stream[(HisiAccStreamFormat.AsyncEventQueueContext + at)..]);
        }

        registers.Tell(
            HisiAccMailboxCommand.SubmissionTable, BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.SubmissionTable..]));
        registers.Tell(
            HisiAccMailboxCommand.CompletionTable, BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.CompletionTable..]));
        registers[HisiAccRegister.VfState] = (uint)HisiAccVfState.Ready;
        return registers.Take();
    }

    private static readonly (int Register, int At)[] Moved =
    [
        (HisiAccRegister.AeqInterruptMask, HisiAccStreamFormat.AeqInterruptMask),
        (HisiAccRegister.EqInterruptMask, HisiAccStreamFormat.EqInterruptMask),
        (HisiAccRegister.IfcInterruptSource, HisiAccStreamFormat.IfcInterruptSource),
        (HisiAccRegister.IfcInterruptMask, HisiAccStreamFormat.IfcInterruptMask),
        (HisiAccRegister.IfcInterruptSet, HisiAccStreamFormat.IfcInterruptSet),
        (HisiAccRegister.PageSize, HisiAccStreamFormat.PageSize),
    ];

    private void ReadContext(int context, Span<byte> words, Span<byte> address)
    {
        for (var word = 0; word < HisiAccQueueContext.Words; word++)
            BinaryPrimitives.WriteUInt32LittleEndian(words[(word * sizeof(uint))..], registers[context + (word * sizeof(uint))]);
        words.Slice(HisiAccQueueContext.AddressLow * sizeof(uint), sizeof(ulong)).CopyTo(address);
    }
}
