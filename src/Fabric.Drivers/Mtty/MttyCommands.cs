using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Drivers.Mtty;

/// <summary>The card's migration control, however it is reached.</summary>
internal interface IMttyWindow
{
    /// <summary>Errors: EIO when the card does not answer, ENODEV after its session.</summary>
    VfioResult Read(ulong offset, Span<byte> destination);

    /// <summary>Errors: EIO when the card does not answer, ENODEV after its session.</summary>
    VfioResult Write(ulong offset, ReadOnlySpan<byte> source);
}

/// <summary>By the mapping of one session.</summary>
internal sealed class MappedWindow(RegionMapping mapping) : IMttyWindow
{
    public VfioResult Read(ulong offset, Span<byte> destination) => mapping.Read(offset, destination);

    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source) => mapping.Write(offset, source);
}

/// <summary>How the serial card is told: registers of its migration control. Knows nothing of the uAPI.</summary>
internal sealed class MttyCommands
{
    private readonly IMttyWindow window;

    private MttyCommands(IMttyWindow window, int ports) => (this.window, Ports) = (window, ports);

    /// <summary>Ports of the card: 1 or 2.</summary>
    public int Ports { get; }

    /// <summary>Takes the card. Errors: EIO where what answers is no serial card, ENODEV when the session has ended.</summary>
    public static VfioResult<MttyCommands> Attach(IMttyWindow window)
    {
        Span<byte> value = stackalloc byte[sizeof(uint)];
        var read = window.Read(MttyMigration.Ports, value);
        if (!read.IsOk)
            return read.Error;
        var ports = BinaryPrimitives.ReadUInt32LittleEndian(value);
        return ports is 1 or 2
            ? new MttyCommands(window, (int)ports)
            : new VfioError(Errno.EIO, "The serial card tells no possible number of ports; reset it, or take it out of service.");
    }

    public VfioResult<bool> IsSuspended()
    {
        var status = ReadStatus();
        return status.IsOk ? (status.Value & MttyStatus.Suspended) != 0 : status.Error;
    }

    public VfioResult Execute(MttyCommand command)
    {
        Span<byte> value = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(value, (uint)command);
        return window.Write(MttyMigration.Command, value);
    }

    public VfioResult ReadPort(int port, Span<byte> state) => window.Read(StateOf(port), state[..MttyPortState.Bytes]);

    /// <summary>Puts a port's state down for <see cref="Load"/>.</summary>
    public VfioResult WritePort(int port, ReadOnlySpan<byte> state) => window.Write(StateOf(port), state[..MttyPortState.Bytes]);

    /// <summary>
    /// All ports become what was put down, or none does. Errors: EINVAL for what no port can be in, EIO for a card that is not suspended any more.
    /// </summary>
    public VfioResult Load()
    {
        var executed = Execute(MttyCommand.Load);
        if (!executed.IsOk)
            return executed;
        var status = ReadStatus();
        if (!status.IsOk)
            return status.Error;
        if ((status.Value & MttyStatus.Suspended) == 0)
            return VfioResult.Fail(Errno.EIO, "The serial card was reset while its state was loaded; reset the device, and send the stream again.");
        return (status.Value & MttyStatus.LoadRefused) == 0
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "The migration stream holds a state that no port can be in; reset the device, and send another.");
    }

    private VfioResult<MttyStatus> ReadStatus()
    {
        Span<byte> value = stackalloc byte[sizeof(uint)];
        var read = window.Read(MttyMigration.Status, value);
        return read.IsOk ? (MttyStatus)BinaryPrimitives.ReadUInt32LittleEndian(value) : read.Error;
    }

    private static ulong StateOf(int port) => MttyMigration.PortStates + ((ulong)port * MttyPortState.Bytes);
}
