using System.Buffers;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// The device's half of the writable data fd (VD-VIR-3): each record of parts goes to the device when it is complete, so that what the device
/// refuses is refused at the write. Errors: ENOMEM for a record that is too large, EOPNOTSUPP for a tag that is neither known nor optional, EINVAL
/// for parts that are not such a device's, for what does not match the end, and for what comes behind it. The first error stays.
/// </summary>
internal sealed class VirtioLoadStream : IMigrationData, IRecordSink
{
    private readonly VirtioCommands device;
    private readonly RecordReader records;
    private readonly ArrayBufferWriter<byte> payload = new();
    private VirtioStreamSum sum = new();
    private uint tag;
    private bool isEnded;

    private VirtioLoadStream(VirtioCommands device)
    {
        this.device = device;
        records = new RecordReader(VirtioStreamFormat.HeaderBytes, this);
    }

    /// <summary>Errors: those of the commands.</summary>
    public static VfioResult<VirtioLoadStream> Open(VirtioCommands device)
    {
        var created = device.Create(VirtioObjectFor.Setting);
        return created.IsOk ? new VirtioLoadStream(device) : created.Error;
    }

    public VfioResult Write(ReadOnlySpan<byte> source) => records.Write(source);

    /// <summary>Errors: what a write was refused with; EINVAL for a stream without its end, which may be gone on with.</summary>
    public VfioResult Finish()
    {
        var finished = records.Finish();
        return finished.IsOk && !isEnded
            ? VfioResult.Fail(Errno.EINVAL, "The migration stream has no end yet; write the rest of it.")
            : finished;
    }

    public void Close() => device.Destroy(VirtioObjectFor.Setting);

    VfioResult<ulong> IRecordSink.Begin(ReadOnlySpan<byte> header)
    {
        var (bytes, flags, of) = VirtioStreamFormat.ReadHeader(header);
        if (isEnded)
            return new VfioError(Errno.EINVAL, "The migration stream goes on behind its end; reset the device, and send it once.");
        if (bytes > VirtioStreamFormat.MaxRecord)
            return new VfioError(Errno.ENOMEM, "A record of the migration stream is larger than a virtio device's parts; reset the device.");
        if (of is not (VirtioStreamFormat.DeviceData or VirtioStreamFormat.End) && (flags & VirtioStreamFormat.Optional) == 0)
            return new VfioError(Errno.EOPNOTSUPP, "The migration stream is of a newer driver; choose a target that has it.");
        if (of == VirtioStreamFormat.End && (bytes, flags) != (VirtioStreamFormat.EndBytes, VirtioStreamFormat.Optional))
            return new VfioError(Errno.EINVAL, "The end of the migration stream is damaged; reset the device, and send it again.");
        tag = of;
        if (of != VirtioStreamFormat.End)
            sum.Add(header);
        payload.ResetWrittenCount();
        return bytes;
    }

    VfioResult IRecordSink.Take(ReadOnlySpan<byte> part)
    {
        if (tag != VirtioStreamFormat.End)
            sum.Add(part);
        if (tag is VirtioStreamFormat.DeviceData or VirtioStreamFormat.End)
            payload.Write(part);
        return VfioResult.Ok;
    }

    VfioResult IRecordSink.End() => tag switch
    {
        VirtioStreamFormat.DeviceData => device.SetParts(payload.WrittenSpan),
        VirtioStreamFormat.End => TakeEnd(),
        _ => VfioResult.Ok,
    };

    private VfioResult TakeEnd()
    {
        Span<byte> expected = stackalloc byte[VirtioStreamFormat.EndBytes];
        sum.Write(expected);
        isEnded = payload.WrittenSpan.SequenceEqual(expected);
        return isEnded
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "The migration stream is damaged or lacks a part; reset the device, and send it again.");
    }
}
