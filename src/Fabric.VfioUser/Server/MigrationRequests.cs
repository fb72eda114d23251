using System.Runtime.CompilerServices;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>Migration v2: the state as a feature, and the device's data stream, which is kept here instead of behind a descriptor.</summary>
internal sealed class MigrationRequests(DeviceClient device, uint mostBytes) : IDisposable
{
    private IMigrationStream? stream;

    /// <summary>Errors: ENOTTY.</summary>
    public async Task<VfioResult<FeatureOps>> FindAsync(FeatureOps operations)
    {
        var flags = await device.GetMigrationFlagsAsync().ConfigureAwait(false);
        return flags.IsOk ? operations : flags.Error;
    }

    public async Task<VfioResult> GetFlagsAsync(VfioDeviceFeature head, Reply reply)
    {
        var flags = await device.GetMigrationFlagsAsync().ConfigureAwait(false);
        return flags.IsOk ? Answer(head, reply, new VfioDeviceFeatureMigration(flags.Value)) : flags.Error;
    }

    public async Task<VfioResult> GetStateAsync(VfioDeviceFeature head, Reply reply)
    {
        var state = await device.GetMigrationStateAsync().ConfigureAwait(false);
        return state.IsOk ? Answer(head, reply, new DeviceStatePayload(state.Value, -1)) : state.Error;
    }

    public async Task<VfioResult> GetSizeAsync(VfioDeviceFeature head, Reply reply)
    {
        var size = await device.GetMigrationDataSizeAsync().ConfigureAwait(false);
        return size.IsOk ? Answer(head, reply, new VfioDeviceFeatureMigDataSize(size.Value)) : size.Error;
    }

    /// <summary>The transition is over when it is answered. Errors: EINVAL, and the device's; it may have advanced then (MG-30).</summary>
    public async Task<VfioResult> SetStateAsync(Message request, Reply reply)
    {
        // All eight bytes are there, or nothing is done (facts §11: others obey what lies behind a short request).
        var data = request.After<VfioDeviceFeature>();
        if (data.Length != DeviceStatePayload.WireSize || !DeviceStatePayload.TryRead(data.Span, out var asked))
            return Refused.Length;
        if (!Enum.IsDefined(asked.State))
            return VfioResult.Fail(Errno.EINVAL, "MIG_DEVICE_STATE: there is no such state.");
        var set = await device.SetMigrationStateAsync(asked.State).ConfigureAwait(false);
        if (!set.IsOk)
            return set.Error;
        if (set.Value.Stream is { } opened)
            Replace(opened);
        else if (set.Value.State is not (MigrationState.PreCopy or MigrationState.PreCopyP2P or MigrationState.StopCopy or MigrationState.Resuming))
            Replace(null);
        reply.Echo(request);
        return VfioResult.Ok;
    }

    /// <summary>
    /// As many bytes as were asked for; fewer are the end, in PRE_COPY for now (facts §8). Errors: EINVAL without a stream, or for more than
    /// max_data_xfer_size; those of the stream.
    /// </summary>
    public VfioResult Read(Message request, Reply reply)
    {
        if (!request.Is<MigDataPayload>(out var asked))
            return Refused.Length;
        if (asked.Length > mostBytes)
            return TooLong;
        if (asked.Argsz < (ulong)MigDataPayload.WireSize + asked.Length)
            return Refused.Argsz;
        if (stream is null)
            return NoStream;
        var room = reply.Payload(MigDataPayload.WireSize + (int)asked.Length);
        var data = room[MigDataPayload.WireSize..];
        var filled = 0;
        while (filled < data.Length)
        {
            var read = stream.Read(data[filled..]);
            if (read.Error.Errno == Errno.ENOMSG || read is { IsOk: true, Value: 0 })
                break;
            if (!read.IsOk)
                return read.Error;
            filled += read.Value;
        }

        var length = MigDataPayload.WireSize + filled;
        new MigDataPayload((uint)length, (uint)filled).Encode(room);
        reply.Shorten(length);
        return VfioResult.Ok;
    }

    /// <summary>Errors: EINVAL without a stream, or for a size that is not that of the data; those of the stream.</summary>
    public VfioResult Write(Message request)
    {
        if (!request.Begins<MigDataPayload>(out var asked))
            return Refused.Length;
        var data = request.After<MigDataPayload>();
        if (asked.Length != (uint)data.Length)
            return Refused.Length;
        return stream is null ? NoStream : stream.Write(data.Span);
    }

    public void Dispose() => Replace(null);

    private static VfioResult Answer<T>(VfioDeviceFeature head, Reply reply, T payload) where T : unmanaged, IUapiStruct<T>
    {
        var size = VfioDeviceFeature.WireSize + Unsafe.SizeOf<T>();
        if (head.Argsz < (uint)size)
            return Refused.Argsz;
        var room = reply.Payload(size);
        (head with { Argsz = (uint)size }).Encode(room);
        payload.Encode(room[VfioDeviceFeature.WireSize..]);
        return VfioResult.Ok;
    }

    private void Replace(IMigrationStream? opened)
    {
        if (!ReferenceEquals(stream, opened))
            stream?.Close();
        stream = opened;
    }

    private static VfioError NoStream => new(Errno.EINVAL, "There is no migration data now: set PRE_COPY or STOP_COPY to read, RESUMING to write.");

    private static VfioError TooLong => new(Errno.EINVAL, "MIG_DATA_READ asks for more than max_data_xfer_size; ask for less at a time.");
}
