using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>What ioctl(2) on a device returns.</summary>
/// <param name="Undo">
/// What is to be asked of the device because its answer did not reach the caller (EFAULT), as the kernel takes back what nobody learns of.
/// </param>
public readonly record struct DeviceReturn(VfioResult<int> Result, DeviceCall? Undo = null);

/// <summary>An answer of a device into its caller's memory and descriptors.</summary>
public static class DeviceEncoder
{
    /// <param name="call">What was asked, as it was decoded.</param>
    public static DeviceReturn Encode(DeviceCall call, VfioResult<DeviceAnswer> answer, IUserMemory memory, IFileTable files)
    {
        ArgumentNullException.ThrowIfNull(call);
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(files);
        if (!answer.IsOk)
            return new DeviceReturn(answer.Error);
        var payload = call.Argument + (ulong)VfioDeviceFeature.WireSize;
        return answer.Value switch
        {
            DeviceAnswer.Done done => new DeviceReturn(done.Value),
            DeviceAnswer.Info info => new DeviceReturn(Encode(call, info.Value, memory)),
            DeviceAnswer.Region region => new DeviceReturn(Encode(call, region.Value, memory)),
            DeviceAnswer.Irq irq => new DeviceReturn(memory.Respond(call.Argument, VfioIrqInfo.Of(irq.Value, call.Argsz), call.Argsz)),
            DeviceAnswer.HotReset reset => new DeviceReturn(Encode(call, reset.Value, memory)),
            DeviceAnswer.Attached attached => Encode(call, attached, memory),
            DeviceAnswer.Flags flags => Put(payload, new VfioDeviceFeatureMigration(flags.Value), memory),
            DeviceAnswer.State state => new DeviceReturn(Encode(payload, state, memory, files)),
            DeviceAnswer.DataSize size => Put(payload, new VfioDeviceFeatureMigDataSize(size.Bytes), memory),
            DeviceAnswer.LoggingStarted started => Put(payload, started.Control, memory, StopLogging),
            DeviceAnswer.Dirtied dirtied => new DeviceReturn(Encode(dirtied, memory)),
            DeviceAnswer.Exported exported => new DeviceReturn(Install(new DmaBufFile(exported.Buffer), files)),
            DeviceAnswer.Raw raw => new DeviceReturn(Encode(call, raw, memory)),
            _ => throw new InvalidOperationException($"{answer.Value.GetType().Name} is an answer that has no bytes."),
        };
    }

    private static DeviceCall StopLogging { get; } = new DeviceCall.Feature(
        0, VfioDeviceFeature.Of(DeviceFeature.DmaLoggingStop, FeatureOps.Set, 0), FeatureData.None.Instance);

    private static VfioResult<int> Encode(DeviceCall call, DeviceInfo info, IUserMemory memory)
    {
        InfoCapability[] own = info.Atomics == AtomicCompletion.None
            ? []
            : [new AtomicCompletionCapability((AtomicCompletionFlags)info.Atomics)];
        return memory.Respond(
            call.Argument, VfioDeviceInfo.Of(info, call.Argsz), call.Argsz, info.Caps.IsDefaultOrEmpty ? own : [.. own, .. info.Caps]);
    }

    private static VfioResult<int> Encode(DeviceCall call, RegionInfo info, IUserMemory memory)
    {
        var reply = VfioRegionInfo.Of(info, call.Argsz);
        return info.Caps.IsDefaultOrEmpty
            ? memory.Respond(call.Argument, reply, call.Argsz)
            : memory.Respond(call.Argument, reply, call.Argsz, info.Caps.Select(Encode).ToArray());
    }

    private static InfoCapability Encode(RegionCapability capability) => capability switch
    {
        RegionCapability.SparseMmap sparse =>
            new SparseMmapCapability([.. sparse.Areas.Select(static area => new VfioRegionSparseMmapArea(area.Offset, area.Length))]),
        RegionCapability.OfType type => new RegionTypeCapability(type.Type, type.Subtype),
        RegionCapability.MsixMappable => new MsixMappableCapability(),
        _ => throw new InvalidOperationException($"{capability.GetType().Name} is a capability that has no bytes."),
    };

    /// <summary>ENOSPC with the count, where there is no room for all (IO-60).</summary>
    private static VfioResult<int> Encode(DeviceCall call, HotResetInfo info, IUserMemory memory)
    {
        var devices = info.Dependents.Select(static dependent => VfioPciDependentDevice.Of(dependent.Id, dependent.Address)).ToArray();
        var flags = !info.ByDeviceId ? HotResetFlags.None : HotResetFlags.DevId | (info.AllOwned ? HotResetFlags.DevIdOwned : HotResetFlags.None);
        var buffer = new byte[VfioPciHotResetInfo.WireSize + (devices.Length * VfioPciDependentDevice.WireSize)];
        var encoded = VfioPciHotResetInfo.EncodeReply(buffer, call.Argsz, flags, devices);
        var length = encoded.IsOk ? buffer.Length : VfioPciHotResetInfo.WireSize;
        if (!memory.TryWrite(call.Argument, buffer.AsSpan(0, length)))
            return UserMemory.Fault;
        return encoded.IsOk ? 0 : encoded.Error;
    }

    /// <summary>The id alone is written back; where it cannot be, the device is detached again (IO-101).</summary>
    private static DeviceReturn Encode(DeviceCall call, DeviceAnswer.Attached attached, IUserMemory memory) =>
        memory.TryPut(call.Argument + (2 * sizeof(uint)), attached.PtId)
            ? new DeviceReturn(0)
            : new DeviceReturn(UserMemory.Fault, new DeviceCall.Detach(attached.Device, PasidUse.None));

    /// <summary>IO-83: a stream that cannot be handed over is dropped, and the transition stands.</summary>
    private static VfioResult<int> Encode(ulong payload, DeviceAnswer.State state, IUserMemory memory, IFileTable files)
    {
        var (reached, stream, _) = state.Value;
        if (stream is null)
        {
            if (!memory.TryPut(payload, new VfioDeviceFeatureMigState(reached)))
                return UserMemory.Fault;
            return state.Error.Errno == Errno.None ? 0 : state.Error;
        }

        var fd = files.Reserve();
        if (fd.IsOk && memory.TryPut(payload, new VfioDeviceFeatureMigState(reached, fd.Value)))
        {
            files.Install(fd.Value, new MigrationDataFile(stream));
            return 0;
        }

        stream.Close();
        if (!fd.IsOk)
            return fd.Error;
        files.Release(fd.Value);
        return UserMemory.Fault;
    }

    private static VfioResult<int> Encode(DeviceAnswer.Dirtied dirtied, IUserMemory memory)
    {
        var (asked, pageShift) = (dirtied.Report, ulong.TrailingZeroCount(dirtied.Report.PageSize));
        foreach (var run in dirtied.Dirty)
        {
            var first = (run.First - asked.Iova) >> (int)pageShift;
            var last = (run.Last - asked.Iova) >> (int)pageShift;
            if (!UserBitmap.TrySet(memory, asked.Bitmap, first, last))
                return UserMemory.Fault;
        }

        return 0;
    }

    private static VfioResult<int> Encode(DeviceCall call, DeviceAnswer.Raw raw, IUserMemory memory)
    {
        var at = call is DeviceCall.Feature ? call.Argument + (ulong)VfioDeviceFeature.WireSize : call.Argument;
        var lent = call is DeviceCall.Feature ? call.Argsz - (uint)VfioDeviceFeature.WireSize : call.Argsz;
        var bytes = raw.Bytes.Span[..(int)Math.Min(lent, (uint)raw.Bytes.Length)];
        return bytes.IsEmpty || memory.TryWrite(at, bytes) ? raw.Value : UserMemory.Fault;
    }

    private static DeviceReturn Put<T>(ulong address, T payload, IUserMemory memory, DeviceCall? undo = null) where T : unmanaged =>
        memory.TryPut(address, payload) ? new DeviceReturn(0) : new DeviceReturn(UserMemory.Fault, undo);

    private static VfioResult<int> Install(VfioFile file, IFileTable files)
    {
        var fd = files.Reserve();
        if (fd.IsOk)
            files.Install(fd.Value, file);
        else
            file.Close();
        return fd;
    }
}
