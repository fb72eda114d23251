using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The device's half of the writable data fd (MG-23): takes the stream in any chunks and keeps it; the header is checked as soon as it is
/// there. What was refused once stays refused, where the kernel's sample forgets it: a stream that was too long, or another card's, must not
/// pass for a whole one at the end (MG-24).
/// </summary>
internal sealed class MttyLoadStream(MttyCommands device) : IMigrationData
{
    private readonly byte[] bytes = new byte[MttyStreamFormat.BytesOf(device.Ports)];
    private int filled;
    private VfioError broken;

    /// <summary>
    /// Errors: ENOMEM for more than a stream is long, with nothing taken; EFAULT for a header that is not such a card's; either stays.
    /// </summary>
    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        if (broken.Errno == Errno.None)
            broken = Take(source);
        return broken;
    }

    /// <summary>
    /// The whole of the stream into the card, or nothing of it. Errors: EINVAL for one that is short, which may be gone on with, or damaged; what
    /// a write was refused with; those of the card.
    /// </summary>
    public VfioResult Finish()
    {
        if (broken.Errno != Errno.None)
            return broken;
        if (filled < bytes.Length)
            return VfioResult.Fail(Errno.EINVAL, "The migration stream is shorter than the device's state; write the rest of it.");
        for (var port = 0; port < device.Ports; port++)
        {
            var record = bytes.AsSpan(MttyStreamFormat.PortAt(port));
            if (!MttyStreamFormat.IsSealed(record, port))
                return VfioResult.Fail(Errno.EINVAL, "The migration stream is damaged; reset the device, and send it again from the start.");
            var written = device.WritePort(port, record);
            if (!written.IsOk)
                return written;
        }

        return device.Load();
    }

    private VfioError Take(ReadOnlySpan<byte> source)
    {
        if (source.Length > bytes.Length - filled)
            return new VfioError(Errno.ENOMEM, "The migration stream is longer than the device's state; reset the device, and send it once.");
        source.CopyTo(bytes.AsSpan(filled));
        var isHeaderNew = filled < MttyStreamFormat.HeaderBytes && filled + source.Length >= MttyStreamFormat.HeaderBytes;
        filled += source.Length;
        return isHeaderNew && !MttyStreamFormat.IsHeader(bytes.AsSpan(0, MttyStreamFormat.HeaderBytes), device.Ports)
            ? new VfioError(
                Errno.EFAULT, "The migration stream is not of a serial card of this version with as many ports; choose a target like its source.")
            : default;
    }
}
