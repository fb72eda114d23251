using System.Runtime.CompilerServices;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>REGION_READ, REGION_WRITE, REGION_WRITE_MULTI. An access lies within its region, or nothing of it is done.</summary>
internal sealed class RegionRequests(DeviceClient device, InfoRequests info, bool writesMultiple)
{
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<VfioResult> ReadAsync(Message request, Reply reply)
    {
        if (!request.Is<RegionAccessPayload>(out var asked))
            return Refused.Length;
        if (await CheckAsync(asked).ConfigureAwait(false) is { IsOk: false } refused)
            return refused;
        if (asked.Count == 0)
        {
            reply.Put(asked);
            return VfioResult.Ok;
        }

        var read = await device.ReadAsync((int)asked.Region, asked.Offset, (int)asked.Count).ConfigureAwait(false);
        if (!read.IsOk)
            return read.Error;
        if (read.Value.Length != (int)asked.Count)
            return Short;
        reply.Put(asked, read.Value.Span);
        return VfioResult.Ok;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<VfioResult> WriteAsync(Message request, Reply reply)
    {
        if (!request.Begins<RegionAccessPayload>(out var asked))
            return Refused.Length;
        var data = request.After<RegionAccessPayload>();
        if (asked.Count != (uint)data.Length)
            return Refused.Length;
        if (await CheckAsync(asked).ConfigureAwait(false) is { IsOk: false } refused)
            return refused;
        var written = asked.Count == 0 ? VfioResult.Ok : await device.WriteAsync((int)asked.Region, asked.Offset, data).ConfigureAwait(false);
        if (written.IsOk)
            reply.Put(asked);
        return written;
    }

    /// <summary>In order, up to the first that fails: the reply tells how many were done. Errors: that of the first, where none was.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<VfioResult> WriteMultiAsync(Message request, Reply reply)
    {
        if (!writesMultiple)
            return VfioResult.Fail(Errno.EINVAL, "REGION_WRITE_MULTI: VERSION did not agree on write_multiple.");
        if (request.Length < sizeof(ulong))
            return Refused.Length;
        var count = BitConverter.ToUInt64(request.Payload.Span);
        var entries = request.Payload[sizeof(ulong)..];
        if (entries.Length % WriteMultiEntry.WireSize != 0 || count != (ulong)(entries.Length / WriteMultiEntry.WireSize))
            return Refused.Length;
        for (var done = 0UL; done < count; done++)
        {
            var at = (int)done * WriteMultiEntry.WireSize;
            WriteMultiEntry.TryRead(entries.Span[at..], out var entry);
            var written = await WriteAsync(entry, entries[(at + WriteMultiEntry.WireSize - WriteMultiEntry.MaxBytes)..]).ConfigureAwait(false);
            if (!written.IsOk && done == 0)
                return written;
            if (!written.IsOk)
                count = done;
        }

        BitConverter.TryWriteBytes(reply.Payload(sizeof(ulong)), count);
        return VfioResult.Ok;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<VfioResult> WriteAsync(WriteMultiEntry entry, ReadOnlyMemory<byte> data)
    {
        if (entry.Count is 0 or > WriteMultiEntry.MaxBytes)
            return VfioResult.Fail(Errno.EINVAL, "REGION_WRITE_MULTI: a write is of 1 to 8 bytes.");
        return await CheckAsync(new RegionAccessPayload(entry.Offset, entry.Region, entry.Count)).ConfigureAwait(false) is { IsOk: false } refused
            ? refused
            : await device.WriteAsync((int)entry.Region, entry.Offset, data[..(int)entry.Count]).ConfigureAwait(false);
    }

    private async ValueTask<VfioResult> CheckAsync(RegionAccessPayload asked)
    {
        if (asked.Count > DeviceLimits.MaxTransfer)
            return VfioResult.Fail(Errno.EINVAL, "One access carries at most max_data_xfer_size bytes; split it.");
        var region = await info.FindRegionAsync(asked.Region).ConfigureAwait(false);
        if (!region.IsOk)
            return region.Error;
        // Written so that no sum can overflow.
        return asked.Offset <= region.Value.Size && asked.Count <= region.Value.Size - asked.Offset && region.Value.Size != 0
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "The access does not lie within its region; DEVICE_GET_REGION_INFO tells its size.");
    }

    private static VfioError Short => new(Errno.EIO, "The device read fewer bytes than its region has there.");
}
