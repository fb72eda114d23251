namespace Fabric.Hardware.Specs.Mtty;

/// <summary>Ids of the serial card, as the kernel's sample has them.</summary>
public static class MttyIds
{
    public const ushort Vendor = 0x4348;
    public const ushort Device = 0x3253;
    public const byte Revision = 0x10;

    /// <summary>Simple communication controller, serial, 16550-compatible.</summary>
    public const uint ClassCode = 0x070002;
}

/// <summary>BAR numbers of the serial card.</summary>
public static class MttyBar
{
    /// <summary>I/O space: the registers of port 0.</summary>
    public const int Port0 = 0;

    /// <summary>I/O space: the registers of port 1, on a card that has it.</summary>
    public const int Port1 = 1;

    /// <summary>Memory: live migration control. For the host's driver alone.</summary>
    public const int Migration = 2;

    /// <summary>Bytes of a port's BAR.</summary>
    public const int PortBytes = 8;
}

/// <summary>Registers of BAR 2, the migration control: offsets in bytes, little-endian.</summary>
public static class MttyMigration
{
    /// <summary>u32, read-only: ports of the card, 1 or 2.</summary>
    public const int Ports = 0x00;

    /// <summary>u32, write: an <see cref="MttyCommand"/>; done when the write returns.</summary>
    public const int Command = 0x04;

    /// <summary>u32, read-only: <see cref="MttyStatus"/>.</summary>
    public const int Status = 0x08;

    /// <summary>
    /// One <see cref="MttyPortState"/> per port, one behind the other. Reads give the ports as they are. Writes go to a load buffer, and only
    /// while the card is suspended; <see cref="MttyCommand.Load"/> takes that over.
    /// </summary>
    public const int PortStates = 0x100;

    public const int Bytes = 0x1000;
}

public enum MttyCommand : uint
{
    /// <summary>Stands: no interrupt, and port registers neither answer nor change. Empties the load buffer.</summary>
    Suspend = 1,

    /// <summary>Goes on; an interrupt that a port asks for comes again.</summary>
    Resume = 2,

    /// <summary>All ports become what the load buffer holds, or none does. For a suspended card.</summary>
    Load = 3,
}

[Flags]
public enum MttyStatus : uint
{
    None = 0,
    Suspended = 1,

    /// <summary>The last Load found a state that no port can be in, or the card running; nothing was changed.</summary>
    LoadRefused = 2,
}

/// <summary>
/// All that a port holds, in <see cref="Bytes"/> bytes, little-endian. There is one encoding of each state: what no port can be in, and what
/// lies in unused bytes and is not zero, is refused.
/// </summary>
public static class MttyPortState
{
    /// <summary>u16.</summary>
    public const int Divisor = 0;
    public const int InterruptEnable = 2;

    /// <summary>Its enable and trigger bits.</summary>
    public const int FifoControl = 3;
    public const int LineControl = 4;
    public const int ModemControl = 5;

    /// <summary>The overrun bit of <see cref="UartLineStatus"/>, not yet read.</summary>
    public const int LineErrors = 6;

    /// <summary>The change bits of <see cref="UartModemStatus"/>, not yet read.</summary>
    public const int ModemChanges = 7;
    public const int Scratch = 8;

    /// <summary>1 where the transmitter asks for an interrupt.</summary>
    public const int TransmitterRequest = 9;

    /// <summary>Bytes received and not yet read: 0 to 16, at most 1 without FIFOs.</summary>
    public const int Received = 10;

    /// <summary>Those bytes, the oldest first; zeros behind them.</summary>
    public const int Fifo = 12;

    public const int Bytes = 32;
}
