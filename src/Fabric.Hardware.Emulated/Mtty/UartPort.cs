using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mtty;

namespace Fabric.Hardware.Emulated.Mtty;

/// <summary>One 16550A with a loop-back plug (<see cref="UartRegister"/> says what each register does). Its card's lock is held.</summary>
internal sealed class UartPort
{
    private const UartModemStatus PluggedLines = UartModemStatus.ClearToSend | UartModemStatus.DataSetReady | UartModemStatus.Carrier;
    private const UartFifoControl KeptControl = UartFifoControl.Enable | UartFifoControl.Trigger14;

    /// <summary>The oldest byte first.</summary>
    private readonly byte[] fifo = new byte[UartRegister.FifoBytes];
    private int received;
    private ushort divisor;
    private UartInterruptEnable enabled;
    private UartFifoControl fifoControl;
    private UartLineControl lineControl;
    private UartModemControl modemControl;
    private bool overrun;
    private UartModemStatus changes;
    private byte scratch;
    private bool transmitterRequest;

    /// <summary>Whether it asks for an interrupt.</summary>
    public bool Requests => Source != UartInterruptId.None;

    private bool HasFifos => (fifoControl & UartFifoControl.Enable) != 0;

    private bool IsDivisorLatched => (lineControl & UartLineControl.DivisorLatch) != 0;

    private int Trigger => (fifoControl & UartFifoControl.Trigger14) switch
    {
        UartFifoControl.Trigger4 => 4,
        UartFifoControl.Trigger8 => 8,
        UartFifoControl.Trigger14 => 14,
        _ => 1,
    };

    private UartInterruptId Source =>
        overrun && IsEnabled(UartInterruptEnable.LineStatus) ? UartInterruptId.LineStatus :
        received >= Trigger && IsEnabled(UartInterruptEnable.ReceivedData) ? UartInterruptId.ReceivedData :
        received > 0 && IsEnabled(UartInterruptEnable.ReceivedData) ? UartInterruptId.ReceiverTimeout :
        transmitterRequest && IsEnabled(UartInterruptEnable.TransmitterEmpty) ? UartInterruptId.TransmitterEmpty :
        changes != UartModemStatus.None && IsEnabled(UartInterruptEnable.ModemStatus) ? UartInterruptId.ModemStatus :
        UartInterruptId.None;

    private UartModemStatus Lines => (modemControl & UartModemControl.Loop) == 0
        ? PluggedLines
        : (Has(UartModemControl.RequestToSend) ? UartModemStatus.ClearToSend : 0) |
          (Has(UartModemControl.DataTerminalReady) ? UartModemStatus.DataSetReady : 0) |
          (Has(UartModemControl.Out1) ? UartModemStatus.Ring : 0) |
          (Has(UartModemControl.Out2) ? UartModemStatus.Carrier : 0);

    public byte Read(int register) => register switch
    {
        UartRegister.Data => IsDivisorLatched ? (byte)divisor : TakeReceived(),
        UartRegister.InterruptEnable => IsDivisorLatched ? (byte)(divisor >> 8) : (byte)enabled,
        UartRegister.InterruptId => (byte)(TakeSource() | (HasFifos ? UartInterruptId.FifosEnabled : 0)),
        UartRegister.LineControl => (byte)lineControl,
        UartRegister.ModemControl => (byte)modemControl,
        UartRegister.LineStatus => (byte)TakeLineStatus(),
        UartRegister.ModemStatus => (byte)TakeModemStatus(),
        _ => scratch,
    };

    public void Write(int register, byte value)
    {
        switch (register)
        {
            case UartRegister.Data when IsDivisorLatched:
                divisor = (ushort)((divisor & 0xff00) | value);
                break;
            case UartRegister.Data:
                Receive(value);
                transmitterRequest = true;
                break;
            case UartRegister.InterruptEnable when IsDivisorLatched:
                divisor = (ushort)((divisor & 0xff) | (value << 8));
                break;
            case UartRegister.InterruptEnable:
                Enable((UartInterruptEnable)value & UartInterruptEnable.All);
                break;
            case UartRegister.FifoControl:
                ControlFifos((UartFifoControl)value);
                break;
            case UartRegister.LineControl:
                lineControl = (UartLineControl)value;
                break;
            case UartRegister.ModemControl:
                ControlModem((UartModemControl)value & UartModemControl.All);
                break;
            case UartRegister.Scratch:
                scratch = value;
                break;
        }
    }

    /// <summary>Writes all that it holds, by <see cref="MttyPortState"/>.</summary>
    public void Save(Span<byte> state)
    {
        state.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(state[MttyPortState.Divisor..], divisor);
        state[MttyPortState.InterruptEnable] = (byte)enabled;
        state[MttyPortState.FifoControl] = (byte)fifoControl;
        state[MttyPortState.LineControl] = (byte)lineControl;
        state[MttyPortState.ModemControl] = (byte)modemControl;
        state[MttyPortState.LineErrors] = (byte)(overrun ? UartLineStatus.Overrun : 0);
        state[MttyPortState.ModemChanges] = (byte)changes;
        state[MttyPortState.Scratch] = scratch;
        state[MttyPortState.TransmitterRequest] = transmitterRequest ? (byte)1 : (byte)0;
        state[MttyPortState.Received] = (byte)received;
        fifo.AsSpan(0, received).CopyTo(state[MttyPortState.Fifo..]);
    }

    /// <summary>The port of a saved state; null for what no port can be in.</summary>
    public static UartPort? Load(ReadOnlySpan<byte> state)
    {
        var port = new UartPort
        {
            divisor = BinaryPrimitives.ReadUInt16LittleEndian(state[MttyPortState.Divisor..]),
            enabled = (UartInterruptEnable)state[MttyPortState.InterruptEnable] & UartInterruptEnable.All,
            fifoControl = (UartFifoControl)state[MttyPortState.FifoControl] & KeptControl,
            lineControl = (UartLineControl)state[MttyPortState.LineControl],
            modemControl = (UartModemControl)state[MttyPortState.ModemControl] & UartModemControl.All,
            overrun = state[MttyPortState.LineErrors] != 0,
            changes = (UartModemStatus)state[MttyPortState.ModemChanges] & UartModemStatus.Changes,
            scratch = state[MttyPortState.Scratch],
            transmitterRequest = state[MttyPortState.TransmitterRequest] != 0,
        };
        port.received = Math.Min(state[MttyPortState.Received], port.HasFifos ? UartRegister.FifoBytes : 1);
        state.Slice(MttyPortState.Fifo, port.received).CopyTo(port.fifo);
        if (!port.HasFifos)
            port.fifoControl = UartFifoControl.None;

        // One state, one encoding: whatever was dropped above, or lies where nothing is kept, shows as a difference.
        Span<byte> again = stackalloc byte[MttyPortState.Bytes];
        port.Save(again);
        return state.SequenceEqual(again) ? port : null;
    }

    private bool IsEnabled(UartInterruptEnable source) => (enabled & source) != 0;

    private bool Has(UartModemControl output) => (modemControl & output) != 0;

    /// <summary>A byte that nobody reads in time is lost with FIFOs, and without takes the place of the one before it.</summary>
    private void Receive(byte value)
    {
        var room = HasFifos ? UartRegister.FifoBytes : 1;
        if (received < room)
        {
            fifo[received++] = value;
            return;
        }

        overrun = true;
        if (!HasFifos)
            fifo[0] = value;
    }

    private byte TakeReceived()
    {
        if (received == 0)
            return 0;
        var oldest = fifo[0];
        received--;
        fifo.AsSpan(1, received).CopyTo(fifo);
        return oldest;
    }

    private UartInterruptId TakeSource()
    {
        var source = Source;
        if (source == UartInterruptId.TransmitterEmpty)
            transmitterRequest = false;
        return source;
    }

    private UartLineStatus TakeLineStatus()
    {
        var status = UartLineStatus.HoldingEmpty | UartLineStatus.TransmitterEmpty |
                     (received > 0 ? UartLineStatus.DataReady : 0) | (overrun ? UartLineStatus.Overrun : 0);
        overrun = false;
        return status;
    }

    private UartModemStatus TakeModemStatus()
    {
        var status = Lines | changes;
        changes = UartModemStatus.None;
        return status;
    }

    /// <summary>The transmitter is empty whenever its interrupt is turned on, so that this alone brings one.</summary>
    private void Enable(UartInterruptEnable value)
    {
        var changed = enabled ^ value;
        enabled = value;
        if ((changed & UartInterruptEnable.TransmitterEmpty) != 0)
            transmitterRequest = IsEnabled(UartInterruptEnable.TransmitterEmpty);
    }

    private void ControlFifos(UartFifoControl value)
    {
        if ((value & UartFifoControl.Enable) == 0)
            value = UartFifoControl.None;
        if (((value ^ fifoControl) & UartFifoControl.Enable) != 0 || (value & UartFifoControl.ClearReceiver) != 0)
            received = 0;
        fifoControl = value & KeptControl;
    }

    private void ControlModem(UartModemControl value)
    {
        var before = Lines;
        modemControl = value;
        var changed = before ^ Lines;
        changes |= (changed.HasFlag(UartModemStatus.ClearToSend) ? UartModemStatus.ClearToSendChanged : 0) |
                   (changed.HasFlag(UartModemStatus.DataSetReady) ? UartModemStatus.DataSetReadyChanged : 0) |
                   ((changed & before).HasFlag(UartModemStatus.Ring) ? UartModemStatus.RingEnded : 0) |
                   (changed.HasFlag(UartModemStatus.Carrier) ? UartModemStatus.CarrierChanged : 0);
    }
}
