using System.Buffers.Binary;
using Fabric.Drivers.HisiAcc;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.HisiAcc;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests.HisiAcc;

/// <summary>A VF of a HiSilicon card, its arcs and the machine that walks them; and a guest's driver in its memory.</summary>
internal sealed class HisiAccRig : IDisposable
{
    public const int Queues = HisiAccPhysicalFunction.QueuesPerVf;
    private const int SubmissionTable = 0;
    private const int CompletionTable = 0x100;
    private const int EventQueue = 0x200;
    private const int AsyncEventQueue = 0x800;

    private static readonly int[] Registers =
    [
        HisiAccRegister.AeqInterruptMask, HisiAccRegister.EqInterruptMask, HisiAccRegister.IfcInterruptSource, HisiAccRegister.IfcInterruptMask,
        HisiAccRegister.IfcInterruptSet, HisiAccRegister.PageSize,
    ];

    public HisiAccRig(string model = EmulatedModels.HisiSec)
    {
        Bench = new VfBench(model);
        Device = HisiAccCommands.Attach(
            Bench.Map(HisiAccBar.Number), new HisiAccPfCommands(Bench.Channel), Bench.Function.Ids.Device).Value;
        Machine = MigrationMachine.Register(new HisiAccArcs(Device, Bench.Time)).Value;
    }

    public VfBench Bench { get; }

    public HisiAccCommands Device { get; }

    public HisiAccPhysicalFunction Physical => (HisiAccPhysicalFunction)Bench.Physical;

    public MigrationMachine Machine { get; }

    public MigrationState State => Machine.State;

    public HisiAccVfState VfState => (HisiAccVfState)Bench.Read32(HisiAccBar.Number, HisiAccRegister.VfState);

    /// <summary>The guest's driver sets the VF up.</summary>
    public HisiAccRig SetUp(uint masks = 0)
    {
        Give(HisiAccMailboxCommand.EventQueue, EventQueue);
        Give(HisiAccMailboxCommand.AsyncEventQueue, AsyncEventQueue);
        Give(HisiAccMailboxCommand.SubmissionTable, SubmissionTable);
        Give(HisiAccMailboxCommand.CompletionTable, CompletionTable);
        foreach (var register in Registers)
            Bench.Write32(HisiAccBar.Number, register, masks * (uint)register);
        Bench.Write32(HisiAccBar.Number, HisiAccRegister.VfState, (uint)HisiAccVfState.Ready);
        return this;
    }

    /// <summary>The guest has given a queue so many tasks.</summary>
    public void Ring(int queue, int tasks) =>
        Bench.Write64(HisiAccBar.Number, HisiAccRegister.Doorbell, (uint)queue | ((ulong)tasks << HisiAccDoorbell.Index));

    /// <summary>The last events that were put into memory: queue and task of each, by the number of the event.</summary>
    public SortedDictionary<uint, (int Queue, int Task)> Events()
    {
        var events = new SortedDictionary<uint, (int, int)>();
        for (var at = EventQueue; at < EventQueue + (HisiAccEvent.Ring * HisiAccEvent.Bytes); at += HisiAccEvent.Bytes)
        {
            var entry = Bench.Memory.Bytes.AsSpan(at);
            if (BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]) is var number and not 0)
                events.Add(number, (BinaryPrimitives.ReadUInt16LittleEndian(entry), BinaryPrimitives.ReadUInt16LittleEndian(entry[2..])));
        }

        return events;
    }

    /// <summary>All that the guest can see of the VF.</summary>
    public uint[] Seen() => [.. Registers.Append(HisiAccRegister.VfState).Select(register => Bench.Read32(HisiAccBar.Number, register))];

    public VfioResult<MigrationDeviceState> Go(MigrationState target) => Bench.Go(Machine, target);

    /// <summary>Goes there, and gives the stream that this opened.</summary>
    public IMigrationStream Enter(MigrationState target)
    {
        var set = Go(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    public byte[] Save() => Chunks.Read(Enter(MigrationState.StopCopy));

    /// <summary>Stands in a state, in RESUMING with a whole stream written.</summary>
    public IMigrationStream? Stand(MigrationState at)
    {
        var stream = Enter(at);
        if (at == MigrationState.Resuming)
            Assert.True(stream.Write(GoodStream).IsOk);
        return stream;
    }

    /// <summary>Of a SEC VF that is set up, and whose first queue has taken three tasks.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    public void Reset()
    {
        Bench.Reset();
        Machine.Reset();
    }

    /// <summary>Guest memory moves beside the device.</summary>
    public void TakeMemoryOf(HisiAccRig source) => source.Bench.Memory.Bytes.CopyTo(Bench.Memory.Bytes.AsSpan());

    public void Dispose() => Bench.Dispose();

    private void Give(HisiAccMailboxCommand command, int at)
    {
        var words = new byte[HisiAccMailbox.Bytes];
        BinaryPrimitives.WriteUInt32LittleEndian(words, (uint)command | HisiAccMailbox.Busy);
        BinaryPrimitives.WriteUInt64LittleEndian(words.AsSpan(4), VfBench.Iova + (ulong)at);
        Assert.True(Bench.Function.WriteRegion(HisiAccBar.Number, HisiAccRegister.Mailbox, words).IsOk);
        Assert.Equal(0u, Bench.Read32(HisiAccBar.Number, HisiAccRegister.Mailbox) & (HisiAccMailbox.Busy | HisiAccMailbox.Status));
    }

    private static byte[] NewGoodStream()
    {
        using var rig = new HisiAccRig().SetUp(masks: 3);
        rig.Ring(0, 3);
        return rig.Save();
    }
}
