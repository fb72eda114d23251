using System.Buffers.Binary;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Drivers.Xe;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Xe;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Xe;

/// <summary>A VF, its PF, its arcs and the machine that walks them: the driver without an actor, in virtual time.</summary>
internal sealed class XeMachine : IDisposable
{
    public const int VramBytes = 256 << 10;

    private readonly EmulatedBus bus;

    public XeMachine()
    {
        bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(EmulatedModels.Xe, VirtualFunctions: 1)] }, Time);
        Card = bus.Functions.OfType<XePhysicalFunction>().Single();
        Function = bus.Functions.OfType<XeVirtualFunction>().Single();
        Channel = new Mlx5.TappedChannel(Function.Platform.PhysicalFunction!);
        Noted = new NotedArcs(new XeArcs(new XeCommands(Channel)));
        Machine = MigrationMachine.Register(Noted).Value;
    }

    public FakeTimeProvider Time { get; } = new();

    public XePhysicalFunction Card { get; }

    public XeVirtualFunction Function { get; }

    public Mlx5.TappedChannel Channel { get; }

    public NotedArcs Noted { get; }

    public MigrationMachine Machine { get; }

    public MigrationState State => Machine.State;

    /// <summary>Commands since this was last asked.</summary>
    public XeCall[] TakeCalls()
    {
        var taken = Channel.Commands.Select(command => (XeCall)BinaryPrimitives.ReadUInt32LittleEndian(command)).ToArray();
        Channel.Commands.Clear();
        return taken;
    }

    public void Write(int bar, int offset, params ReadOnlySpan<byte> bytes) => Assert.True(Function.WriteRegion(bar, (ulong)offset, bytes).IsOk);

    public void Submit(byte jobs) => Write(XeBar.Registers, XeRegister.Doorbell, jobs, 0, 0, 0);

    public ulong Read64(int register)
    {
        var bytes = new byte[8];
        Assert.True(Function.ReadRegion(XeBar.Registers, (ulong)register, bytes).IsOk);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    /// <summary>VRAM, GGTT and scratch registers that differ everywhere, and some jobs done.</summary>
    public XeMachine Used(int seed = 1)
    {
        var random = new Random(seed);
        var (vram, ggtt, scratch) = (new byte[VramBytes], new byte[XeRegister.GgttEntries * 8], new byte[XeRegister.ScratchCount * 4]);
        random.NextBytes(vram);
        random.NextBytes(ggtt);
        random.NextBytes(scratch);
        Write(XeBar.Vram, 0, vram);
        Write(XeBar.Registers, XeRegister.Ggtt, ggtt);
        Write(XeBar.Registers, XeRegister.Scratch, scratch);
        Submit(5);
        return this;
    }

    public void AssertWorks()
    {
        Assert.Equal(XeVfState.Running, Function.PfState);
        var done = Read64(XeRegister.Done);
        Submit(1);
        Assert.Equal((done + 1, 0ul), (Read64(XeRegister.Done), Read64(XeRegister.Pending)));
    }

    /// <summary>Goes there, and gives the stream that this opened.</summary>
    public IMigrationStream Enter(MigrationState target)
    {
        var set = Machine.Set(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>Goes there; into RESUMING with a whole stream written.</summary>
    public bool TryStand(MigrationState at)
    {
        if (at == MigrationState.Error)
        {
            Machine.Fail();
            return true;
        }

        var set = Machine.Set(at);
        if (set.IsOk && at == MigrationState.Resuming)
            Assert.True(set.Value.Stream!.Write(GoodStream).IsOk);
        return set.IsOk;
    }

    public byte[] Save() => ReadAll(Enter(MigrationState.StopCopy));

    public static byte[] ReadAll(IMigrationStream stream, int pieces = 100_000)
    {
        var (all, piece) = (new List<byte>(), new byte[pieces]);
        while (true)
        {
            var read = stream.Read(piece);
            Assert.True(read.IsOk, read.Error.ToString());
            if (read.Value == 0)
                return [.. all];
            all.AddRange(piece[..read.Value]);
        }
    }

    /// <summary>A target takes its stream, and holds what it holds.</summary>
    public void AssertMoves()
    {
        using var target = new XeMachine();
        Assert.True(target.Enter(MigrationState.Resuming).Write(Save()).IsOk);
        target.Enter(MigrationState.Stop);
        Assert.Equal(Function.State, target.Function.State);
        target.Enter(MigrationState.Running);
        target.AssertWorks();
    }

    /// <summary>The function is reset, and the machine told of it, as the core's reset does.</summary>
    public void Reset()
    {
        Assert.True(Function.Reset(ResetMethod.FunctionLevel).IsOk);
        Machine.Reset();
    }

    /// <summary>A stream that every such device takes.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    public void Dispose() => bus.Dispose();

    private static byte[] NewGoodStream()
    {
        using var machine = new XeMachine().Used();
        return machine.Save();
    }
}
