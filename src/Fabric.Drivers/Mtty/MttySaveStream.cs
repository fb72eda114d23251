using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The device's half of the readable data fd: the header from the start, and the ports once the card has stopped. They are taken at that
/// moment, so that nothing is asked of the card while the stream is read.
/// </summary>
internal sealed class MttySaveStream : IMigrationData
{
    private readonly byte[] bytes;
    private readonly int ports;
    private int filled = MttyStreamFormat.HeaderBytes;
    private int position;

    public MttySaveStream(int ports)
    {
        this.ports = ports;
        bytes = new byte[MttyStreamFormat.BytesOf(ports)];
        MttyStreamFormat.WriteHeader(bytes, ports);
    }

    /// <summary>The card has stopped: takes its ports. Errors: those of the card.</summary>
    public VfioResult Stop(MttyCommands device)
    {
        for (var port = 0; port < ports; port++)
        {
            var record = bytes.AsSpan(MttyStreamFormat.PortAt(port));
            var read = device.ReadPort(port, record);
            if (!read.IsOk)
                return read;
            MttyStreamFormat.Seal(record, port);
        }

        filled = bytes.Length;
        return VfioResult.Ok;
    }

    public VfioResult<int> Read(Span<byte> destination)
    {
        var part = Math.Min(destination.Length, filled - position);
        bytes.AsSpan(position, part).CopyTo(destination);
        position += part;
        return part;
    }

    /// <summary>The header is all there is before the card stops, and it does not change (MG-25).</summary>
    public VfioResult<PrecopyInfo> GetPrecopyInfo() => new PrecopyInfo((ulong)(filled - position), 0);
}
