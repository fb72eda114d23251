using System.Collections.Immutable;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// A device's descriptor: system calls in, what its driver does out. <see cref="Decode"/>, <see cref="DeviceFramework.Answer"/> and
/// <see cref="DeviceEncoder"/> are what <see cref="VfioFile.Ioctl"/> does in one go; who has a mailbox between them does them apart.
/// </summary>
public abstract class DeviceFile : VfioFile, IDeviceOpening
{
    private const ulong PageBytes = 4096;

    private ulong position;

    private protected DeviceFile(IDeviceOps ops) => Ops = ops;

    public IDeviceOps Ops { get; }

    /// <summary>Whether anything but BIND is answered (LC-14).</summary>
    public abstract bool HasAccess { get; }

    public abstract bool IsCdev { get; }

    public virtual IommufdDevice? Iommufd => null;

    public abstract IHotResetOwnership Owning(int descriptors, VfioError fault, ImmutableArray<int> groups);

    /// <summary>The first third of an ioctl. Errors: EBADF, EINVAL without access (LC-14).</summary>
    public VfioResult<DeviceCall> Decode(uint number, ulong argument, IUserMemory memory, IFileTable files)
    {
        if (IsClosed)
            return new VfioError(Errno.EBADF, "The device's file is closed.");
        return HasAccess ? DeviceDecoder.Decode(number, argument, memory, files, this) : NoAccess;
    }

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files)
    {
        var call = Decode(number, argument, memory, files);
        if (!call.IsOk)
            return call.Error;
        var returned = DeviceEncoder.Encode(call.Value, DeviceFramework.Answer(Ops, call.Value), memory, files);
        if (returned.Undo is { } undo)
            DeviceFramework.Answer(Ops, undo);
        return returned.Result;
    }

    private protected override VfioResult<int> OnRead(Span<byte> destination) => Advance(OnReadAt(position, destination));

    private protected override VfioResult<int> OnWrite(ReadOnlySpan<byte> source) => Advance(OnWriteAt(position, source));

    private protected override VfioResult<int> OnReadAt(ulong position, Span<byte> destination)
    {
        if (!HasAccess)
            return NoAccess;
        if (position > long.MaxValue)
            return Negative;
        var (region, offset) = DeviceDecoder.Place(position);
        return Ops.Read(region, offset, destination);
    }

    private protected override VfioResult<int> OnWriteAt(ulong position, ReadOnlySpan<byte> source)
    {
        if (!HasAccess)
            return NoAccess;
        if (position > long.MaxValue)
            return Negative;
        var (region, offset) = DeviceDecoder.Place(position);
        return Ops.Write(region, offset, source);
    }

    private protected override VfioResult<RegionMapping> OnMap(ulong offset, ulong length, MapOptions options)
    {
        if (!HasAccess)
            return NoAccess;
        if (offset > long.MaxValue)
            return Negative;
        if (length == 0 || offset % PageBytes != 0)
            return new VfioError(Errno.EINVAL, "A mapping begins at a page, and is not empty.");
        var (region, start) = DeviceDecoder.Place(offset);
        return Ops.Map(region, start, length, options & MapOptions.Private);
    }

    private VfioResult<int> Advance(VfioResult<int> moved)
    {
        if (moved.IsOk)
            position += (ulong)moved.Value;
        return moved;
    }

    private static VfioError NoAccess => new(Errno.EINVAL, "The device is not bound; BIND_IOMMUFD comes before everything else.");

    private static VfioError Negative => new(Errno.EINVAL, "The position is negative; take it from GET_REGION_INFO.");
}

/// <summary>A device got from its group. Any number of them may be open at a time (LC-12).</summary>
public sealed class GroupDeviceFile : DeviceFile
{
    private readonly GroupFile group;

    internal GroupDeviceFile(IDeviceOps ops, GroupFile group)
        : base(ops) => this.group = group;

    public override bool HasAccess => true;

    public override bool IsCdev => false;

    public override IHotResetOwnership Owning(int descriptors, VfioError fault, ImmutableArray<int> groups) =>
        new GroupOwnership(descriptors, fault, groups);

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files)
    {
        if (number != DeviceIoctls.BindIommufd)
            return base.OnIoctl(number, argument, memory, files);
        var fetched = memory.Fetch<VfioDeviceBindIommufd>(argument);
        return fetched.IsOk
            ? new VfioError(Errno.EINVAL, "BIND_IOMMUFD: the device was got from its group; only a cdev is bound.")
            : fetched.Error;
    }

    private protected override void OnClose() => group.Closed(Ops);
}

/// <summary>/dev/vfio/devices/vfioN: a device by itself. It may be opened many times, and bound once (LC-12).</summary>
public sealed class CdevFile : DeviceFile
{
    private readonly IommuGroup group;
    private readonly bool hasRawIo;
    private IommufdContext? context;
    private IommufdDevice? bound;

    internal CdevFile(IDeviceOps ops, IommuGroup group, bool hasRawIo)
        : base(ops)
    {
        (this.group, this.hasRawIo) = (group, hasRawIo);
        ops.Device.Hold();
    }

    public override bool HasAccess => context is not null;

    public override bool IsCdev => true;

    public override IommufdDevice? Iommufd => bound;

    /// <summary>The iommufd that it is bound to.</summary>
    public IommufdContext? Context => context;

    public override IHotResetOwnership Owning(int descriptors, VfioError fault, ImmutableArray<int> groups) =>
        context?.Ownership(descriptors) ?? new ContextOwnership([], [], groups: descriptors);

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files) =>
        number == DeviceIoctls.BindIommufd ? Bind(argument, memory, files) : base.OnIoctl(number, argument, memory, files);

    /// <summary>Unbinds (IO-103).</summary>
    private protected override void OnClose()
    {
        if (context is not null)
            Unbind();
        Ops.Device.Unhold();
    }

    /// <summary>In the order of IO-100. Errors: EFAULT, EINVAL, E2BIG, EBUSY, EACCES, EBADF, EBADFD, ENODEV, EPERM, and those of the open.</summary>
    private VfioResult<int> Bind(ulong argument, IUserMemory memory, IFileTable files)
    {
        var fetched = memory.Fetch<VfioDeviceBindIommufd>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        if (group.Block() is { IsOk: false } refused)
            return refused.Error;
        var done = Bind(fetched.Value, memory, files);
        if (!done.IsOk)
        {
            group.Unblock();
            return done.Error;
        }

        if (memory.TryPut(argument + (3 * sizeof(uint)), bound?.Id ?? 0))
            return 0;
        Unbind();
        return UserMemory.Fault;
    }

    private VfioResult Bind(VfioDeviceBindIommufd asked, IUserMemory memory, IFileTable files)
    {
        if (HasAccess)
            return VfioResult.Fail(Errno.EINVAL, "BIND_IOMMUFD: the device is bound; a close unbinds it.");
        Guid? token = null;
        if ((asked.Flags & BindFlags.Token) != 0)
        {
            if (!memory.TryGet(asked.TokenUuidPtr, out Uapi.VfToken raw))
                return UserMemory.Fault;
            token = raw.Uuid;
        }

        if (Ops.Match(token) is { IsOk: false } mismatch)
            return mismatch;
        var file = files.File(asked.Iommufd);
        if (!file.IsOk || file.Value is { IsClosed: true })
            return VfioResult.Fail(Errno.EBADF, "BIND_IOMMUFD: the descriptor is not open.");
        if (file.Value is not IommufdFile iommufd)
            return VfioResult.Fail(Errno.EBADFD, "BIND_IOMMUFD: the descriptor is not that of an iommufd.");
        if (group.Bind(Ops.Device.Address) is { IsOk: false } twice)
            return twice;
        var opened = FirstOpen(iommufd.Context);
        if (opened.IsOk)
            context = iommufd.Context;
        else
            group.Unbind(Ops.Device.Address);
        return opened;
    }

    /// <summary>LC-15: the driver must stay, then the iommufd, then the device; what fails undoes what came before it.</summary>
    private VfioResult FirstOpen(IommufdContext iommufd)
    {
        if (Ops.Device.Registration != RegistrationState.Registered)
            return VfioResult.Fail(Errno.ENODEV, "The device is being taken away.");
        if (group.Number is not null)
        {
            var binding = iommufd.Bind(Ops, group);
            if (!binding.IsOk)
                return binding.Error;
            bound = binding.Value;
        }

        var opened = Ops.OpenDevice(hasRawIo);
        if (opened.IsOk || bound is null)
            return opened;
        bound.Unbind();
        bound = null;
        return opened;
    }

    private void Unbind()
    {
        Ops.CloseDevice();
        bound?.Unbind();
        group.Unbind(Ops.Device.Address);
        group.Unblock();
        (bound, context) = (null, null);
    }
}
