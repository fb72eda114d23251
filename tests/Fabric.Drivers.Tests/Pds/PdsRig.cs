using System.Buffers.Binary;
using Fabric.Drivers.Pds;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Pds;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests.Pds;

/// <summary>A VF of a Pensando card with its arcs, their machine and its DMA log; and a guest that gives it descriptors.</summary>
internal sealed class PdsRig : IDisposable
{
    /// <summary>One record a page would be rare: a ring of so many slots crosses pages often enough.</summary>
    public const uint Slots = VfBench.MemoryBytes / PdsCompletionRecord.Bytes;

    public PdsRig(byte maxRegions = 4)
    {
        Bench = new VfBench(EmulatedModels.Pds);
        Physical.MaxRegions = maxRegions;
        var device = new PdsCommands(Bench.Channel);
        var host = new PdsHost(device);
        LogOps = new PdsDmaLog(device, host, device.GetMaxRegions().Value);
        Arcs = new PdsArcs(device, host, LogOps, Bench.Time);
        Machine = MigrationMachine.Register(Arcs).Value;
        Log = new DirtyLog(LogOps);
        Bench.Channel.Commands.Clear();
        SetUp();
    }

    public VfBench Bench { get; }

    public PdsPhysicalFunction Physical => (PdsPhysicalFunction)Bench.Physical;

    public PdsVirtualFunction Function => (PdsVirtualFunction)Bench.Function;

    public PdsArcs Arcs { get; }

    public PdsDmaLog LogOps { get; }

    public MigrationMachine Machine { get; }

    public DirtyLog Log { get; }

    public MigrationState State => Machine.State;

    public uint Consumer => Bench.Read32(PdsBar.Registers, PdsRegister.Consumer);

    /// <summary>What was commanded since this was last read: opcode, and kind where it has one.</summary>
    public IEnumerable<string> Commanded()
    {
        var commanded = Bench.Channel.Commands.Select(static command => ((PdsOpcode)command[0], command[PdsAdminQueue.Kind]) switch
        {
            (PdsOpcode.HostVfStatus, var kind) => $"{(PdsHostStatus)kind}",
            (PdsOpcode.Suspend or PdsOpcode.SuspendStatus or PdsOpcode.Resume, var kind) => $"{(PdsOpcode)command[0]} {(PdsSuspension)kind}",
            var (opcode, _) => $"{opcode}",
        }).ToArray();
        Bench.Channel.Commands.Clear();
        return commanded;
    }

    public void SetUp()
    {
        Bench.Write64(PdsBar.Registers, PdsRegister.RingIova, VfBench.Iova);
        Bench.Write32(PdsBar.Registers, PdsRegister.RingSlots, Slots);
    }

    /// <summary>The guest gives so many descriptors more.</summary>
    public void Give(uint count) =>
        Bench.Write32(PdsBar.Registers, PdsRegister.Producer, Bench.Read32(PdsBar.Registers, PdsRegister.Producer) + count);

    /// <summary>The guest puts the ring elsewhere in its memory, and gives descriptors.</summary>
    public void GiveAt(ulong offset, uint count)
    {
        Bench.Write64(PdsBar.Registers, PdsRegister.RingIova, VfBench.Iova + offset - (Consumer % Slots * PdsCompletionRecord.Bytes));
        Give(count);
    }

    /// <summary>Whether all descriptors up to this one have been completed with their own records, of those that the ring still holds.</summary>
    public bool HasRecords(uint count)
    {
        for (var number = count > Slots ? count - Slots : 0; number < count; number++)
        {
            var record = Bench.Memory.Bytes.AsSpan((int)(number % Slots * PdsCompletionRecord.Bytes));
            if (BinaryPrimitives.ReadUInt64LittleEndian(record) != number
                || BinaryPrimitives.ReadUInt64LittleEndian(record[8..]) != number * PdsCompletionRecord.Factor)
                return false;
        }

        return true;
    }

    public byte[] DeviceMemory
    {
        get
        {
            var bytes = new byte[PdsBar.MemoryBytes];
            Assert.True(Bench.Function.ReadRegion(PdsBar.Memory, 0, bytes).IsOk);
            return bytes;
        }
    }

    public VfioResult<MigrationDeviceState> Go(MigrationState target) => Bench.Go(Machine, target);

    public IMigrationStream Enter(MigrationState target)
    {
        var set = Go(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>Stands in a state, in RESUMING with a whole stream written.</summary>
    public IMigrationStream? Stand(MigrationState at)
    {
        var stream = Enter(at);
        if (at == MigrationState.Resuming)
            Assert.True(stream.Write(GoodStream).IsOk);
        return stream;
    }

    public byte[] Save() => Chunks.Read(Enter(MigrationState.StopCopy));

    /// <summary>Of a VF that has completed seven descriptors.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    public void Reset()
    {
        Bench.Reset();
        Machine.Reset();
    }

    public void Dispose() => Bench.Dispose();

    private static byte[] NewGoodStream()
    {
        using var rig = new PdsRig();
        rig.Give(7);
        return rig.Save();
    }
}
