namespace Fabric.Hardware.Specs.Mtty;

/// <summary>
/// Registers of a port: a 16550A (National Semiconductor PC16550D, section 8), offsets in bytes. The wire behind it is a plug that loops
/// everything back at once, so that the transmitter is always empty, and the pause after which a receiver below its trigger level reports a
/// time-out has always passed.
/// </summary>
public static class UartRegister
{
    /// <summary>Read: the oldest byte received. Write: one to send. With <see cref="UartLineControl.DivisorLatch"/> the divisor's low byte.</summary>
    public const int Data = 0;

    /// <summary><see cref="UartInterruptEnable"/>. With <see cref="UartLineControl.DivisorLatch"/> the divisor's high byte.</summary>
    public const int InterruptEnable = 1;

    /// <summary>Read: <see cref="UartInterruptId"/>.</summary>
    public const int InterruptId = 2;

    /// <summary>Write: <see cref="UartFifoControl"/>.</summary>
    public const int FifoControl = 2;

    /// <summary><see cref="UartLineControl"/>.</summary>
    public const int LineControl = 3;

    /// <summary><see cref="UartModemControl"/>.</summary>
    public const int ModemControl = 4;

    /// <summary><see cref="UartLineStatus"/>; writes have no effect.</summary>
    public const int LineStatus = 5;

    /// <summary><see cref="UartModemStatus"/>; writes have no effect.</summary>
    public const int ModemStatus = 6;

    /// <summary>A byte that means nothing.</summary>
    public const int Scratch = 7;

    /// <summary>Bytes of the receiver's FIFO.</summary>
    public const int FifoBytes = 16;
}

[Flags]
public enum UartInterruptEnable : byte
{
    None = 0,
    ReceivedData = 1,
    TransmitterEmpty = 2,
    LineStatus = 4,
    ModemStatus = 8,
    All = 0xf,
}

/// <summary>What a port asks for an interrupt for, the highest priority first; with FIFOs on, <see cref="FifosEnabled"/> is added.</summary>
public enum UartInterruptId : byte
{
    /// <summary>Priority 1; ends with a read of the line status.</summary>
    LineStatus = 6,

    /// <summary>Priority 2: as many bytes as the trigger level; ends below it.</summary>
    ReceivedData = 4,

    /// <summary>Priority 2: fewer bytes than the trigger level; ends when they have been read.</summary>
    ReceiverTimeout = 12,

    /// <summary>Priority 3; ends when it has been read here, or with a byte to send.</summary>
    TransmitterEmpty = 2,

    /// <summary>Priority 4; ends with a read of the modem status.</summary>
    ModemStatus = 0,
    None = 1,
    FifosEnabled = 0xc0,
}

/// <summary>Without Enable the other bits have no effect; a change of Enable empties the FIFOs.</summary>
[Flags]
public enum UartFifoControl : byte
{
    None = 0,
    Enable = 1,
    ClearReceiver = 2,
    ClearTransmitter = 4,
    Trigger4 = 0x40,
    Trigger8 = 0x80,
    Trigger14 = 0xc0,
}

/// <summary>The frame on the wire. The plug does not look at it: all eight bits of a byte come back.</summary>
[Flags]
public enum UartLineControl : byte
{
    None = 0,
    DivisorLatch = 0x80,
}

[Flags]
public enum UartModemControl : byte
{
    None = 0,
    DataTerminalReady = 1,
    RequestToSend = 2,
    Out1 = 4,
    Out2 = 8,

    /// <summary>The modem's inputs are this register's outputs, and the outside is cut off.</summary>
    Loop = 0x10,
    All = 0x1f,
}

[Flags]
public enum UartLineStatus : byte
{
    None = 0,
    DataReady = 1,

    /// <summary>A byte was lost; cleared when it is read.</summary>
    Overrun = 2,
    HoldingEmpty = 0x20,
    TransmitterEmpty = 0x40,
}

/// <summary>
/// Lines, and what changed on them since this was last read. Without Loop the plug holds CTS, DSR and DCD on, as the kernel's sample does.
/// </summary>
[Flags]
public enum UartModemStatus : byte
{
    None = 0,
    ClearToSendChanged = 1,
    DataSetReadyChanged = 2,

    /// <summary>Only where it went off.</summary>
    RingEnded = 4,
    CarrierChanged = 8,
    Changes = 0xf,

    /// <summary>With Loop: RTS.</summary>
    ClearToSend = 0x10,

    /// <summary>With Loop: DTR.</summary>
    DataSetReady = 0x20,

    /// <summary>With Loop: OUT1.</summary>
    Ring = 0x40,

    /// <summary>With Loop: OUT2.</summary>
    Carrier = 0x80,
}
