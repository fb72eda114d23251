using Fabric.Drivers.Mtty;
using Fabric.Hardware.Emulated.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>Counts how often it was signalled, as an eventfd does.</summary>
internal sealed class SignalCounter : IEventTarget
{
    private int signals;

    public int Signals => Volatile.Read(ref signals);

    public void Signal() => Interlocked.Increment(ref signals);
}

/// <summary>The card's migration control without a core between: every access goes by a test, which may do things before and after.</summary>
internal sealed class TappedWindow(IPciFunction card) : IRegisters
{
    public Func<VfioResult> Before { get; set; } = () => VfioResult.Ok;

    public Action After { get; set; } = () => { };

    /// <summary>Commands that reached the card, in order.</summary>
    public List<MttyCommand> Commands { get; } = [];

    public VfioResult Read(ulong offset, Span<byte> destination)
    {
        var before = Before();
        if (!before.IsOk)
            return before;
        var read = card.ReadRegion(MttyBar.Migration, offset, destination);
        After();
        return read;
    }

    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
    {
        var before = Before();
        if (!before.IsOk)
            return before;
        if (offset == MttyMigration.Command)
            Commands.Add((MttyCommand)source[0]);
        var written = card.WriteRegion(MttyBar.Migration, offset, source);
        After();
        return written;
    }
}

/// <summary>A driver's arcs, noted as they are performed.</summary>
internal sealed class NotedArcs(IMigrationOps inner) : IMigrationOps
{
    public List<(MigrationState From, MigrationState To)> Arcs { get; } = [];

    public MigrationFlags Flags => inner.Flags;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        Arcs.Add((from, to));
        return inner.Perform(from, to);
    }

    public void Refused() => inner.Refused();

    public VfioResult<ulong> GetDataSize() => inner.GetDataSize();

    public void Forget() => inner.Forget();
}

/// <summary>A card, its arcs and the machine that walks them: the driver's migration part alone.</summary>
internal sealed class SerialMachine : IDisposable
{
    public SerialMachine(MigrationFlags flags = MttyMigrationOps.Everything, int ports = 2)
    {
        Card = MttyFunction.Create(new PciAddress(0xfab0, 9, 0, 0), ports, new MttyPortPool()).Value;
        Card.WriteConfig(ConfigOffset.Command, [(byte)(PciCommand.IoSpace | PciCommand.BusMaster), 0]);
        Window = new TappedWindow(Card);
        Noted = new NotedArcs(new MttyMigrationOps(Window, ports, flags));
        Machine = MigrationMachine.Register(Noted).Value;
    }

    public MttyFunction Card { get; }

    public TappedWindow Window { get; }

    public NotedArcs Noted { get; }

    public MigrationMachine Machine { get; }

    public MigrationState State => Machine.State;

    public bool IsSuspended => (ReadControl(MttyMigration.Status, 4)[0] & (byte)MttyStatus.Suspended) != 0;

    public byte this[int register, int port = 0]
    {
        get
        {
            var value = new byte[1];
            Assert.True(Card.ReadRegion(port, (ulong)register, value).IsOk);
            return value[0];
        }
        set => Assert.True(Card.WriteRegion(port, (ulong)register, [value]).IsOk);
    }

    /// <summary>FIFOs on, and bytes sent that nobody has read.</summary>
    public SerialMachine With(params ReadOnlySpan<byte> bytes)
    {
        this[UartRegister.FifoControl] = (byte)UartFifoControl.Enable;
        foreach (var sent in bytes)
            this[UartRegister.Data] = sent;
        return this;
    }

    public byte[] Received(int port = 0)
    {
        var all = new List<byte>();
        while ((this[UartRegister.LineStatus, port] & (byte)UartLineStatus.DataReady) != 0)
            all.Add(this[UartRegister.Data, port]);
        return [.. all];
    }

    /// <summary>What both ports hold, as the host's driver sees it.</summary>
    public byte[] Ports() => ReadControl(MttyMigration.PortStates, 2 * MttyPortState.Bytes);

    /// <summary>Goes there, and gives the stream that this opened.</summary>
    public IMigrationStream Enter(MigrationState target)
    {
        var set = Machine.Set(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>
    /// Goes there if there is such a state; into RESUMING with a whole stream written. False for a state that cannot be reached.
    /// </summary>
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

    /// <summary>The stream of a card with two ports, the first of which has bytes 1, 2 and 3 received.</summary>
    public static byte[] GoodStream { get; } = NewGoodStream();

    private static byte[] NewGoodStream()
    {
        using var machine = new SerialMachine().With(1, 2, 3);
        return machine.Save();
    }

    /// <summary>All of a stopped card's stream.</summary>
    public byte[] Save() => ReadAll(Enter(MigrationState.StopCopy));

    /// <summary>The card is reset, and the machine told of it, as the core's reset does.</summary>
    public void Reset()
    {
        Assert.True(Card.Reset(ResetMethod.DeviceSpecific).IsOk);
        Card.WriteConfig(ConfigOffset.Command, [(byte)(PciCommand.IoSpace | PciCommand.BusMaster), 0]);
        Machine.Reset();
    }

    public static byte[] ReadAll(IMigrationStream stream)
    {
        var (all, buffer) = (new List<byte>(), new byte[7]);
        while (stream.Read(buffer) is { IsOk: true, Value: > 0 } read)
            all.AddRange(buffer[..read.Value]);
        return [.. all];
    }

    public void Dispose() => Card.Dispose();

    private byte[] ReadControl(int offset, int length)
    {
        var bytes = new byte[length];
        Assert.True(Card.ReadRegion(MttyBar.Migration, (ulong)offset, bytes).IsOk);
        return bytes;
    }
}
