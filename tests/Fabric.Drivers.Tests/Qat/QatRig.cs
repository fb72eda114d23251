using System.Buffers.Binary;
using Fabric.Drivers.Qat;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Qat;
using Fabric.Hardware.Specs.Qat;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests.Qat;

/// <summary>A QuickAssist VF with its arcs and their machine; and a guest that submits jobs.</summary>
internal sealed class QatRig : IDisposable
{
    public const int Entries = 64;
    private const int Requests = 0;
    private const int Responses = 0x4000;
    private const int Texts = 0x8000;

    public QatRig(string model = EmulatedModels.Qat)
    {
        Bench = new VfBench(model);
        Device = new QatCommands(Bench.Channel);
        Machine = MigrationMachine.Register(new QatArcs(Device)).Value;
        SetUp();
    }

    public VfBench Bench { get; }

    public QatCommands Device { get; }

    public QatPhysicalFunction Physical => (QatPhysicalFunction)Bench.Physical;

    public MigrationMachine Machine { get; }

    public MigrationState State => Machine.State;

    /// <summary>The guest sets up its rings.</summary>
    public void SetUp()
    {
        for (var bank = 0; bank < QatBank.Count; bank++)
        {
            Bench.Write64(QatBar.Rings, At(bank, QatBank.RequestIova), VfBench.Iova + Requests + RingAt(bank, QatRequest.Bytes));
            Bench.Write64(QatBar.Rings, At(bank, QatBank.ResponseIova), VfBench.Iova + Responses + RingAt(bank, QatResponse.Bytes));
            Bench.Write32(QatBar.Rings, At(bank, QatBank.Entries), Entries);
        }
    }

    /// <summary>The guest submits one job more to a bank: 16 bytes at a place of its own, under a key.</summary>
    public void Submit(int bank, byte key)
    {
        var tail = Read(bank, QatBank.RequestTail);
        var request = Bench.Memory.Bytes.AsSpan(Requests + (int)RingAt(bank, QatRequest.Bytes) + (int)(tail % Entries * QatRequest.Bytes));
        var text = VfBench.Iova + (ulong)TextAt(bank);
        BinaryPrimitives.WriteUInt64LittleEndian(request, text);
        BinaryPrimitives.WriteUInt64LittleEndian(request[8..], text);
        BinaryPrimitives.WriteUInt32LittleEndian(request[16..], 16);
        BinaryPrimitives.WriteUInt32LittleEndian(request[20..], key);
        BinaryPrimitives.WriteUInt64LittleEndian(request[24..], tail + 1UL);
        Bench.Write32(QatBar.Rings, At(bank, QatBank.RequestTail), tail + 1);
    }

    /// <summary>What the jobs of a bank have made of zeros: the XOR of all their keys.</summary>
    public byte Text(int bank) => Bench.Memory.Bytes[TextAt(bank) + 15];

    public uint Done(int bank) => Read(bank, QatBank.ResponseTail);

    public uint Read(int bank, int register) => Bench.Read32(QatBar.Rings, At(bank, register));

    /// <summary>All registers that a guest sees.</summary>
    public string Seen()
    {
        var bytes = new byte[(QatBank.Count * QatBank.Bytes) + 8];
        Assert.True(Bench.Function.ReadRegion(QatBar.Rings, 0, bytes.AsSpan(8)).IsOk);
        Assert.True(Bench.Function.ReadRegion(QatBar.Misc, 0, bytes.AsSpan(0, 8)).IsOk);
        return Convert.ToHexString(bytes);
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

    /// <summary>Of a VF with one job done and one that waits in bank 1.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    public void Reset()
    {
        Bench.Reset();
        Machine.Reset();
    }

    public void TakeMemoryOf(QatRig source) => source.Bench.Memory.Bytes.CopyTo(Bench.Memory.Bytes.AsSpan());

    public void Dispose() => Bench.Dispose();

    private static int At(int bank, int register) => (bank * QatBank.Bytes) + register;

    private static ulong RingAt(int bank, int entryBytes) => (ulong)(bank * Entries * entryBytes);

    private static int TextAt(int bank) => Texts + (bank * 16);

    private static byte[] NewGoodStream()
    {
        using var rig = new QatRig();
        rig.Submit(1, 3);
        rig.Enter(MigrationState.RunningP2P);
        rig.Submit(1, 4);
        return rig.Save();
    }
}
