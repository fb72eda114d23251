using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// An ioctl of a device from its caller's bytes. Whatever they are, a call comes of them: what is wrong the device answers in its turn. Nothing
/// that they claim costs more memory than they are.
/// </summary>
public static class DeviceDecoder
{
    /// <summary>More vectors than any interrupt of a PCI function has: such a request is refused before its data is looked at (IO-40).</summary>
    private const uint MostVectors = 2048;

    /// <summary>More descriptors than a reset can touch functions: such a request is refused before they are looked at (IO-62).</summary>
    private const uint MostGroups = 1 << 16;

    /// <summary>More ranges than the kernel finds memory for.</summary>
    private const uint MostRanges = 1 << 18;

    private const uint MostUnknownBytes = 4096;
    private const int ChunkElements = 64;

    /// <summary>The device's file position of an offset within a region (IO-20).</summary>
    private const int RegionShift = 40;

    public static DeviceCall Decode(uint number, ulong argument, IUserMemory memory, IFileTable files, IDeviceOpening opening)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(opening);
        return number switch
        {
            DeviceIoctls.GetInfo => Fetch<VfioDeviceInfo>(
                number, argument, memory, asked => new DeviceCall.GetInfo(argument, asked.Argsz)),
            DeviceIoctls.GetRegionInfo => Fetch<VfioRegionInfo>(
                number, argument, memory, asked => new DeviceCall.GetRegionInfo(argument, asked.Argsz, asked.Index)),
            DeviceIoctls.GetIrqInfo => Fetch<VfioIrqInfo>(
                number, argument, memory, asked => new DeviceCall.GetIrqInfo(argument, asked.Argsz, asked.Index)),
            DeviceIoctls.SetIrqs => Fetch<VfioIrqSet>(
                number, argument, memory, asked => new DeviceCall.SetIrqs(Irqs(asked, argument + (ulong)VfioIrqSet.WireSize, memory, files))),
            DeviceIoctls.Reset => new DeviceCall.Reset(),
            DeviceIoctls.GetPciHotResetInfo => Fetch<VfioPciHotResetInfo>(
                number, argument, memory, asked => new DeviceCall.GetHotResetInfo(argument, asked.Argsz, opening.Owning(0, default, []))),
            DeviceIoctls.PciHotReset => Fetch<VfioPciHotReset>(
                number, argument, memory, asked => new DeviceCall.HotReset(Groups(asked.Count, argument, memory, files, opening))),
            DeviceIoctls.Ioeventfd => Fetch<VfioDeviceIoeventfd>(number, argument, memory, asked => IoEventFd(asked, files)),
            DeviceIoctls.Feature => Fetch<VfioDeviceFeature>(
                number, argument, memory, head => new DeviceCall.Feature(argument, head, Data(head, argument, memory, files))),
            DeviceIoctls.AttachIommufdPt when opening.IsCdev => Fetch<VfioDeviceAttachIommufdPt>(
                number, argument, memory, asked => Attach(asked, argument, memory, opening)),
            DeviceIoctls.DetachIommufdPt when opening.IsCdev => Fetch<VfioDeviceDetachIommufdPt>(
                number, argument, memory, asked => Detach(asked, argument, memory, opening)),
            _ => new DeviceCall.Unknown(number, argument, Lent(argument, memory)),
        };
    }

    private static DeviceCall Fetch<T>(uint number, ulong argument, IUserMemory memory, Func<T, DeviceCall> call)
        where T : unmanaged, IUapiRequest<T>
    {
        var fetched = memory.Fetch<T>(argument);
        return fetched.IsOk ? call(fetched.Value) : new DeviceCall.Malformed(number, fetched.Error);
    }

    private static ReadOnlyMemory<byte> Lent(ulong argument, IUserMemory memory)
    {
        if (!memory.TryGet(argument, out uint size) || size is < sizeof(uint) or > MostUnknownBytes)
            return default;
        var bytes = new byte[size];
        return memory.TryRead(argument, bytes) ? bytes : default(ReadOnlyMemory<byte>);
    }

    // ---- SET_IRQS and IOEVENTFD ------------------------------------------------------------------------------------------------------

    private static SetIrqs Irqs(VfioIrqSet asked, ulong data, IUserMemory memory, IFileTable files)
    {
        var request = new SetIrqs(asked.Index, asked.Start, asked.Count, asked.Flags);
        if (asked.DataSize == 0 || asked.Count > MostVectors)
            return request;
        var bytes = new byte[asked.DataSize];
        if (!memory.TryRead(data, bytes))
            return request with { DataFault = UserMemory.Fault };
        if ((asked.Flags & IrqSetFlags.DataBool) != 0)
            return request with { Bools = bytes };
        var fds = MemoryMarshal.Cast<byte, int>(bytes.AsSpan());
        var events = new EventRef[fds.Length];
        for (var i = 0; i < events.Length; i++)
            events[i] = Eventfd(fds[i], files);
        return request with { Events = events };
    }

    private static EventRef Eventfd(int fd, IFileTable files) => fd < 0 ? new EventRef(fd, null) : files.Eventfd(fd);

    private static DeviceCall.SetIoEventFd IoEventFd(VfioDeviceIoeventfd asked, IFileTable files)
    {
        var (region, offset) = Place(asked.Offset);
        return new DeviceCall.SetIoEventFd(new IoEvent(region, offset, (int)asked.Flags, asked.Data), Eventfd(asked.Fd, files));
    }

    /// <summary>Region and offset of a position in a device's file (IO-20).</summary>
    internal static (int Region, ulong Offset) Place(ulong position) =>
        ((int)(position >> RegionShift), position & ((1UL << RegionShift) - 1));

    // ---- PCI_HOT_RESET ---------------------------------------------------------------------------------------------------------------

    /// <summary>As in the kernel, all descriptors are read before the first is looked at. Those of a cdev's holder are none (IO-62).</summary>
    private static IHotResetOwnership Groups(uint count, ulong argument, IUserMemory memory, IFileTable files, IDeviceOpening opening)
    {
        var at = argument + (ulong)VfioPciHotReset.WireSize;
        var counted = (int)Math.Min(count, int.MaxValue);
        if (opening.IsCdev || count is 0 or > MostGroups)
            return opening.Owning(counted, default, []);
        if (!IsReadable(memory, at, count))
            return opening.Owning(counted, UserMemory.Fault, []);
        var groups = ImmutableArray.CreateBuilder<int>();
        for (var i = 0u; i < count; i++)
        {
            memory.TryGet(at + (i * sizeof(int)), out int fd);
            var file = fd < 0 ? NotOpen : files.File(fd);
            if (!file.IsOk)
                return opening.Owning(counted, NotOpen, groups.ToImmutable());
            if (file.Value is not GroupFile { IsClosed: false } group)
                return opening.Owning(counted, NoGroup, groups.ToImmutable());
            if (group.Group.Number is { } number)
                groups.Add(number);
        }

        return opening.Owning(counted, default, groups.ToImmutable());
    }

    private static bool IsReadable(IUserMemory memory, ulong at, uint count)
    {
        Span<int> chunk = stackalloc int[ChunkElements];
        for (var left = count; left > 0;)
        {
            var part = MemoryMarshal.AsBytes(chunk[..(int)Math.Min(left, ChunkElements)]);
            if (!memory.TryRead(at, part))
                return false;
            at += (uint)part.Length;
            left -= (uint)part.Length / sizeof(int);
        }

        return true;
    }

    private static VfioError NotOpen => new(Errno.EBADF, "PCI_HOT_RESET: a descriptor is not open; pass those of the groups that the reset touches.");

    private static VfioError NoGroup => new(Errno.EINVAL, "PCI_HOT_RESET: a descriptor is not that of a group.");

    // ---- DEVICE_FEATURE --------------------------------------------------------------------------------------------------------------

    private static VfioResult<FeatureData> Data(VfioDeviceFeature head, ulong argument, IUserMemory memory, IFileTable files)
    {
        var at = argument + (ulong)VfioDeviceFeature.WireSize;
        var isAsked = (head.Ops & FeatureOps.Probe) == 0 && (head.Ops & (FeatureOps.Get | FeatureOps.Set)) != 0;
        var row = FeatureTable.Find(head.Feature);
        if (!isAsked)
            return FeatureData.None.Instance;
        if (row is null)
            return new FeatureData.Raw(Own(head, at, memory));
        if (head.Argsz < (uint)(VfioDeviceFeature.WireSize + row.PayloadSize))
            return FeatureData.None.Instance;
        return head.Feature switch
        {
            DeviceFeature.PciVfToken => Payload<Uapi.VfToken>(at, memory, static read => new FeatureData.Token(read.Uuid)),
            DeviceFeature.MigDeviceState => Payload<VfioDeviceFeatureMigState>(at, memory, static read => new FeatureData.State(read.DeviceState)),
            DeviceFeature.LowPowerEntryWithWakeup => Payload<VfioDeviceLowPowerEntryWithWakeup>(
                at, memory, read => new FeatureData.WakeUp(files.Eventfd(read.WakeupEventfd))),
            DeviceFeature.DmaLoggingStart => Payload<VfioDeviceFeatureDmaLoggingControl>(at, memory, read => LoggingStart(read, memory)),
            DeviceFeature.DmaLoggingReport => Payload<VfioDeviceFeatureDmaLoggingReport>(
                at, memory, static read => new FeatureData.LoggingReport(read)),
            DeviceFeature.DmaBuf => Payload<VfioDeviceFeatureDmaBuf>(
                at, memory, read => DmaBuf(read, at + (ulong)VfioDeviceFeatureDmaBuf.WireSize, memory)),
            _ => FeatureData.None.Instance,
        };
    }

    private static VfioResult<FeatureData> Payload<T>(ulong at, IUserMemory memory, Func<T, VfioResult<FeatureData>> data)
        where T : unmanaged, IFeaturePayload<T>
    {
        if (!memory.TryGet(at, out T payload))
            return UserMemory.Fault;
        var check = T.Check(payload);
        return check.IsOk ? data(payload) : check.Error;
    }

    private static VfioResult<FeatureData> LoggingStart(VfioDeviceFeatureDmaLoggingControl control, IUserMemory memory)
    {
        Span<LoggingRange> ranges = stackalloc LoggingRange[VfioDeviceFeatureDmaLoggingControl.MaxRanges];
        ranges = ranges[..(int)control.NumRanges];
        return memory.TryRead(control.Ranges, MemoryMarshal.AsBytes(ranges))
            ? new FeatureData.LoggingStart(control, [.. ranges])
            : UserMemory.Fault;
    }

    private static FeatureData.DmaBuf DmaBuf(VfioDeviceFeatureDmaBuf head, ulong at, IUserMemory memory)
    {
        if (head.NrRanges > MostRanges)
            return Missing(head, new VfioError(Errno.ENOMEM, "DMA_BUF: there is no memory for so many ranges; export fewer."));
        var ranges = ImmutableArray.CreateBuilder<DmaBufRange>();
        Span<DmaBufRange> chunk = stackalloc DmaBufRange[ChunkElements];
        while (ranges.Count < (int)head.NrRanges)
        {
            var part = chunk[..Math.Min((int)head.NrRanges - ranges.Count, ChunkElements)];
            var bytes = MemoryMarshal.AsBytes(part);
            if (!memory.TryRead(at, bytes))
                return Missing(head, UserMemory.Fault);
            ranges.AddRange(part);
            at += (uint)bytes.Length;
        }

        return new FeatureData.DmaBuf(head.RegionIndex, head.Flags, ranges.ToImmutable(), default);
    }

    private static FeatureData.DmaBuf Missing(VfioDeviceFeatureDmaBuf head, VfioError fault) =>
        new(head.RegionIndex, head.Flags, [default], fault);

    private static ReadOnlyMemory<byte> Own(VfioDeviceFeature head, ulong at, IUserMemory memory)
    {
        var size = head.Argsz - (uint)VfioDeviceFeature.WireSize;
        if (size is 0 or > MostUnknownBytes)
            return default;
        var bytes = new byte[size];
        return memory.TryRead(at, bytes) ? bytes : default(ReadOnlyMemory<byte>);
    }

    // ---- ATTACH and DETACH -----------------------------------------------------------------------------------------------------------

    private static DeviceCall Attach(VfioDeviceAttachIommufdPt asked, ulong argument, IUserMemory memory, IDeviceOpening opening) =>
        opening.Iommufd is { } device
            ? new DeviceCall.Attach(
                argument,
                asked.PtId,
                device,
                Pasid(asked.Flags, asked.Argsz, VfioDeviceAttachIommufdPt.WireSize, argument + (ulong)VfioDeviceAttachIommufdPt.MinSize, memory))
            : new DeviceCall.Malformed(DeviceIoctls.AttachIommufdPt, NoIommu);

    private static DeviceCall Detach(VfioDeviceDetachIommufdPt asked, ulong argument, IUserMemory memory, IDeviceOpening opening) =>
        opening.Iommufd is { } device
            ? new DeviceCall.Detach(
                device,
                Pasid(asked.Flags, asked.Argsz, VfioDeviceDetachIommufdPt.WireSize, argument + (ulong)VfioDeviceDetachIommufdPt.MinSize, memory))
            : new DeviceCall.Malformed(DeviceIoctls.DetachIommufdPt, NoIommu);

    private static PasidUse Pasid(AttachFlags flags, uint argsz, int covering, ulong at, IUserMemory memory)
    {
        if ((flags & AttachFlags.Pasid) == 0)
            return PasidUse.None;
        if (argsz < (uint)covering)
            return PasidUse.NotCovered;
        return memory.TryGet(at, out uint _) ? PasidUse.Wanted : PasidUse.Unreadable;
    }

    private static VfioError NoIommu => new(Errno.EINVAL, "No IOMMU stands in front of this device; there is nothing to attach it to.");
}
