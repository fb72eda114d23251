using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Tests.Mtty;

/// <summary>Counts how often it was signalled; does what a test says while it is.</summary>
internal sealed class SignalCounter : IEventTarget
{
    public int Signals { get; private set; }

    public Action OnSignal { get; set; } = () => { };

    public void Signal()
    {
        Signals++;
        OnSignal();
    }
}

/// <summary>A serial card on a bench, I/O decode on, and its registers by name.</summary>
internal sealed class SerialBench : IDisposable
{
    public const int Msi = 0x50;

    public SerialBench(int ports = 2, PciCommand command = PciCommand.IoSpace)
    {
        Card = MttyFunction.Create(new PciAddress(0xfab0, 9, 0, 0), ports, Pool).Value;
        Command = command;
    }

    public MttyPortPool Pool { get; } = new();

    public MttyFunction Card { get; }

    public PciCommand Command
    {
        get => (PciCommand)Config16(ConfigOffset.Command);
        set => SetConfig16(ConfigOffset.Command, (ushort)value);
    }

    public bool IsInterruptPending => (Config16(ConfigOffset.Status) & (ushort)PciStatus.InterruptPending) != 0;

    public MttyStatus Status => (MttyStatus)BinaryPrimitives.ReadUInt32LittleEndian(Read(MttyBar.Migration, MttyMigration.Status, 4));

    public byte this[int register, int port = 0]
    {
        get => Read(port, register, 1)[0];
        set => Assert.True(Card.WriteRegion(port, (ulong)register, [value]).IsOk);
    }

    /// <summary>FIFOs on with a trigger level, and these interrupts on.</summary>
    public SerialBench WithFifos(UartFifoControl trigger = UartFifoControl.None, UartInterruptEnable interrupts = UartInterruptEnable.None)
    {
        this[UartRegister.FifoControl] = (byte)(UartFifoControl.Enable | trigger);
        this[UartRegister.InterruptEnable] = (byte)interrupts;
        return this;
    }

    public void Send(params ReadOnlySpan<byte> bytes)
    {
        foreach (var sent in bytes)
            this[UartRegister.Data] = sent;
    }

    public UartInterruptId InterruptId(int port = 0) => (UartInterruptId)(this[UartRegister.InterruptId, port] & 0xf);

    public UartLineStatus LineStatus(int port = 0) => (UartLineStatus)this[UartRegister.LineStatus, port];

    public UartModemStatus ModemStatus(int port = 0) => (UartModemStatus)this[UartRegister.ModemStatus, port];

    public byte[] Read(int region, int offset, int length)
    {
        var bytes = new byte[length];
        Assert.True(Card.ReadRegion(region, (ulong)offset, bytes).IsOk);
        return bytes;
    }

    public ushort Config16(int offset)
    {
        var word = new byte[2];
        Card.ReadConfig(offset, word);
        return BinaryPrimitives.ReadUInt16LittleEndian(word);
    }

    public uint Config32(int offset) => Config16(offset) | ((uint)Config16(offset + 2) << 16);

    public void SetConfig16(int offset, ushort value)
    {
        var word = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(word, value);
        Card.WriteConfig(offset, word);
    }

    public void SetConfig32(int offset, uint value)
    {
        var dword = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(dword, value);
        Card.WriteConfig(offset, dword);
    }

    public SignalCounter ConnectLine()
    {
        var target = new SignalCounter();
        Assert.True(Card.Interrupts.ConnectLine(target, exclusive: false).IsOk);
        return target;
    }

    public SignalCounter ConnectMsi()
    {
        var target = new SignalCounter();
        Assert.Equal(1, Card.Interrupts.Allocate(IrqIndex.Msi, 1).Value);
        Assert.True(Card.Interrupts.Connect(0, target).IsOk);
        return target;
    }

    public bool MsiIsOn => (Config16(Msi + MsiCapability.Control) & MsiCapability.Enable) != 0;

    public void Execute(MttyCommand command)
    {
        var value = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(value, (uint)command);
        Assert.True(Card.WriteRegion(MttyBar.Migration, MttyMigration.Command, value).IsOk);
    }

    public byte[] SaveState(int ports = 2) => Read(MttyBar.Migration, MttyMigration.PortStates, ports * MttyPortState.Bytes);

    /// <summary>Whether the card took the state.</summary>
    public bool LoadState(byte[] state)
    {
        Assert.True(Card.WriteRegion(MttyBar.Migration, MttyMigration.PortStates, state).IsOk);
        Execute(MttyCommand.Load);
        return (Status & MttyStatus.LoadRefused) == 0;
    }

    public void Dispose() => Card.Dispose();
}
