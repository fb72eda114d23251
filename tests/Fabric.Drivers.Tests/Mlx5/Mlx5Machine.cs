using System.Buffers.Binary;
using Fabric.Drivers.Mlx5;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mlx5;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>Memory that a function's DMA reaches, from <see cref="Iova"/> on.</summary>
internal sealed class DmaWindow(int bytes) : IDmaSpace
{
    public const ulong Iova = 0x10_0000;

    public byte[] Bytes { get; } = new byte[bytes];

    public bool TryWrite(ulong iova, ReadOnlySpan<byte> source) =>
        iova >= Iova && source.TryCopyTo(Bytes.AsSpan((int)Math.Min(iova - Iova, (ulong)Bytes.Length)));

    public bool TryRead(ulong iova, Span<byte> destination)
    {
        var at = (int)Math.Min(iova - Iova, (ulong)Bytes.Length);
        return iova >= Iova && Bytes.Length - at >= destination.Length && Bytes.AsSpan(at, destination.Length).TryCopyTo(destination);
    }
}

/// <summary>A VF, its PF, its arcs and the machine that walks them: the driver without an actor, in virtual time.</summary>
internal sealed class Mlx5Machine : IDisposable
{
    public const int MemoryBytes = 256 << 10;

    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(1);

    private readonly EmulatedBus bus;

    /// <param name="chunkBytes">Of each of the two buffers; so small that an image of all memory is some ten chunks.</param>
    public Mlx5Machine(int chunkBytes = 32 << 10)
    {
        bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(EmulatedModels.Mlx5, VirtualFunctions: 1)] }, Time);
        Card = bus.Functions.OfType<Mlx5PhysicalFunction>().Single();
        Function = bus.Functions.OfType<Mlx5VirtualFunction>().Single();
        Function.ConnectDma(Dma);
        MasterBus();
        Channel = new TappedChannel(Function.Platform.PhysicalFunction!);
        var device = Mlx5Commands.Attach(Channel).Value;
        var log = new Mlx5DmaLog(device);
        Noted = new NotedArcs(Arcs = new Mlx5Arcs(device, Time, chunkBytes));
        Machine = MigrationMachine.Register(Noted).Value;
        Log = new DirtyLog(log);
        Channel.ReportTo(happened =>
        {
            Arcs.Hear(happened);
            log.Hear(happened);
        });
        Channel.Commands.Clear();
    }

    public FakeTimeProvider Time { get; } = new();

    public Mlx5PhysicalFunction Card { get; }

    public Mlx5VirtualFunction Function { get; }

    public DmaWindow Dma { get; } = new(1 << 20);

    public TappedChannel Channel { get; }

    public Mlx5Arcs Arcs { get; }

    public NotedArcs Noted { get; }

    public MigrationMachine Machine { get; }

    public DirtyLog Log { get; }

    public MigrationState State => Machine.State;

    /// <summary>Commands since this was last asked.</summary>
    public Mlx5Opcode[] TakeOpcodes()
    {
        var taken = Channel.Commands.Select(command => (Mlx5Opcode)BinaryPrimitives.ReadUInt16BigEndian(command)).ToArray();
        Channel.Commands.Clear();
        return taken;
    }

    // ---- What its user does ----------------------------------------------------------------------------------------------------------

    public void WriteMemory(int offset, params ReadOnlySpan<byte> bytes) =>
        Assert.True(Function.WriteRegion(Mlx5Bar.Memory, (ulong)offset, bytes).IsOk);

    public void Program(ulong iova = DmaWindow.Iova, uint entries = 1024)
    {
        var value = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(value, iova);
        Assert.True(Function.WriteRegion(Mlx5Bar.Registers, Mlx5Register.RingIova, value).IsOk);
        Write32(Mlx5Register.RingEntries, entries);
    }

    public void Post(uint requests) => Write32(Mlx5Register.Doorbell, requests);

    public void Write32(int register, uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Assert.True(Function.WriteRegion(Mlx5Bar.Registers, (ulong)register, bytes).IsOk);
    }

    public uint Read32(int register)
    {
        var bytes = new byte[4];
        Assert.True(Function.ReadRegion(Mlx5Bar.Registers, (ulong)register, bytes).IsOk);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    /// <summary>Memory that differs from page to page, a ring, and some work done.</summary>
    public Mlx5Machine Used(int seed = 1)
    {
        var memory = new byte[MemoryBytes];
        new Random(seed).NextBytes(memory);
        WriteMemory(0, memory);
        Program();
        Post(5);
        return this;
    }

    /// <summary>It works: a request is done, and told of by DMA.</summary>
    public void AssertWorks()
    {
        Assert.True(Read32(Mlx5Register.Pending) == 0 && Read32(Mlx5Register.Fault) == 0, "Work waits.");
        Program();
        var done = Read32(Mlx5Register.Done);
        Post(1);
        Assert.Equal(done + 1, Read32(Mlx5Register.Done));
        Assert.Equal(done, BinaryPrimitives.ReadUInt64LittleEndian(Dma.Bytes.AsSpan((int)(done % 1024) * Mlx5Completion.Bytes)));
    }

    // ---- Migration -------------------------------------------------------------------------------------------------------------------

    /// <summary>Goes there, with as much time as it takes.</summary>
    public VfioResult<MigrationDeviceState> Set(MigrationState target)
    {
        var set = Machine.Set(target);
        while (set is { IsOk: true, Value.ContinuesAfter: { } after })
        {
            Time.Advance(after);
            set = Machine.Continue();
        }

        return set;
    }

    /// <summary>Goes there, and gives the stream that this opened.</summary>
    public IMigrationStream Enter(MigrationState target)
    {
        var set = Set(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>Goes there if there is such a state; into RESUMING with a whole stream written.</summary>
    public bool TryStand(MigrationState at)
    {
        if (at == MigrationState.Error)
        {
            Machine.Fail();
            return true;
        }

        var set = Set(at);
        if (set.IsOk && at == MigrationState.Resuming)
            Assert.True(set.Value.Stream!.Write(GoodStream).IsOk);
        return set.IsOk;
    }

    /// <summary>All of a stopped device's stream.</summary>
    public byte[] Save() => Read(Enter(MigrationState.StopCopy)).Value;

    /// <summary>Reads what there is and comes to be by itself: in STOP_COPY to the end; errors that are not "later" are given.</summary>
    public VfioResult<byte[]> Read(IMigrationStream stream, int pieces = 9000)
    {
        var (all, piece, idle) = (new List<byte>(), new byte[pieces], false);
        while (true)
        {
            var read = stream.Read(piece);
            if (read.Error.Errno is Errno.EAGAIN or Errno.ENOMSG)
            {
                if (read.Error.Errno == Errno.ENOMSG && idle)
                    return all.ToArray();
                Time.Advance(Step);
                idle = true;
                continue;
            }

            if (!read.IsOk)
                return read.Error;
            if (read.Value == 0)
                return all.ToArray();
            idle = false;
            all.AddRange(piece[..read.Value]);
        }
    }

    /// <summary>Reads until there is nothing more, and looks at PRECOPY_INFO before each piece. Returns the bytes.</summary>
    public long ReadAndLook(IMigrationStream stream, Action<PrecopyInfo> look)
    {
        var (piece, total, idle) = (new byte[3000], 0L, 0);
        while (idle < 2)
        {
            look(stream.GetPrecopyInfo().Value);
            var read = stream.Read(piece);
            idle = read.IsOk ? 0 : idle + 1;
            if (read.IsOk)
                total += read.Value;
            else
                Time.Advance(Step);
        }

        return total;
    }

    /// <summary>A target takes these bytes, and holds then what this device holds.</summary>
    public void AssertAccepted(byte[] stream)
    {
        using var target = new Mlx5Machine();
        var written = target.Enter(MigrationState.Resuming).Write(stream);
        Assert.True(written.IsOk, written.Error.ToString());
        target.Enter(MigrationState.Stop);
        Assert.Equal(Function.State, target.Function.State);
        target.Enter(MigrationState.Running);
        target.AssertWorks();
    }

    /// <summary>It moves: a target that takes its stream holds what it holds.</summary>
    public void AssertMoves() => AssertAccepted(Save());

    /// <summary>The function is reset, and the machine told of it, as the core's reset does.</summary>
    public void Reset()
    {
        ResetFunction();
        Machine.Reset();
    }

    /// <summary>The function is reset, and nobody told (ER-10).</summary>
    public void ResetFunction()
    {
        Assert.True(Function.Reset(ResetMethod.FunctionLevel).IsOk);
        MasterBus();
    }

    /// <summary>A stream that every such device takes.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    public void Dispose() => bus.Dispose();

    private static byte[] NewGoodStream()
    {
        using var machine = new Mlx5Machine().Used();
        return machine.Save();
    }

    private void MasterBus() => Function.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.BusMaster, 0]);
}
