using System.Runtime.InteropServices;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>A device's ioctls from bytes to bytes: gates, dispatch, replies.</summary>
public sealed class IoctlTests
{
    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    // ---- Gates and dispatch (IO-1 to IO-3) -------------------------------------------------------------------------------------------

    [Fact]
    public void The_numbers_are_of_type_semicolon_and_say_no_size_IO_1() =>
        Assert.Equal(((';' << 8) + 107u, 0x3b6bu), (DeviceIoctls.GetInfo, DeviceIoctls.GetInfo));

    [Fact]
    public void A_device_that_does_not_wake_is_EIO_before_anything_else_is_looked_at_IO_2()
    {
        var device = host.OpenByGroup(host.LeftCore);
        Assert.Equal(0, host.Feature(device, DeviceFeature.LowPowerEntry, FeatureOps.Set));
        host.Left.IsStuck = true;

        Assert.Equal(Minus(Errno.EIO), host.User.Ioctl(device, DeviceIoctls.GetInfo, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EIO), host.User.Ioctl(device, 0x1234));
        Assert.Equal(Minus(Errno.EIO), host.User.IoctlOf(device, DeviceIoctls.Feature, new VfioDeviceFeature(0, 0)));
        Assert.Equal(Errno.EIO, host.User[device].ReadAt(7UL << 40, new byte[4]).Error.Errno);
    }

    [Fact]
    public void Any_ioctl_wakes_a_device_even_one_that_it_does_not_have_LC_62()
    {
        var device = host.OpenByGroup(host.LeftCore);
        var (fd, eventfd) = host.User.AddEventfd();
        Assert.Equal(0, host.FeatureOf(device, FeatureOps.Set, new VfioDeviceLowPowerEntryWithWakeup(fd)));
        Assert.Equal(PciPowerState.D3Hot, host.Left.PowerState);
        var woken = new FakeTarget();
        eventfd.Subscribe(woken);

        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(device, 0x1234));

        Assert.Equal(1, woken.Signals);
        Assert.Equal(PciPowerState.D0, host.Left.PowerState);
    }

    [Theory]
    [InlineData(0x1234u)]
    [InlineData(DeviceIoctls.QueryGfxPlane)]
    [InlineData(DeviceIoctls.GetGfxDmabuf)]
    [InlineData(0x3b79u)]
    [InlineData(0u)]
    [InlineData(uint.MaxValue)]
    public void An_unknown_number_is_ENOTTY_IO_2(uint number) =>
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(host.OpenByGroup(host.LeftCore), number, UserSpace.Nowhere));

    [Fact]
    public void The_framework_answers_regions_and_features_itself_and_gives_the_driver_the_rest_IO_3()
    {
        var seen = new List<DeviceCall>();
        host.InFront = ops => new Watching(ops, seen);
        var device = host.OpenByGroup(host.LeftCore);

        host.User.IoctlOf(device, DeviceIoctls.GetRegionInfo, new VfioRegionInfo(32, 0, 0, 0, 0, 0));
        host.User.IoctlOf(device, DeviceIoctls.Feature, VfioDeviceFeature.Of(DeviceFeature.Migration, FeatureOps.Probe, 0));
        host.User.IoctlOf(device, DeviceIoctls.AttachIommufdPt, new VfioDeviceAttachIommufdPt(16, 0, 1, 0));
        host.User.IoctlOf(device, DeviceIoctls.GetInfo, new VfioDeviceInfo(16, 0, 0, 0, 0, 0));
        host.User.IoctlOf(device, 0x1234, 4);

        Assert.Equal([typeof(DeviceCall.Unknown), typeof(DeviceCall.GetInfo), typeof(DeviceCall.Unknown)], seen.Select(call => call.GetType()));
    }

    private sealed class Watching(IDeviceOps next, List<DeviceCall> seen) : DeviceOpsInFront(next)
    {
        public override VfioResult<DeviceAnswer> Ioctl(DeviceCall call)
        {
            seen.Add(call);
            return base.Ioctl(call);
        }
    }

    [Fact]
    public void A_driver_that_leaves_an_op_empty_does_not_support_it_IO_3()
    {
        host.InFront = ops => new Empty(ops);
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(device, DeviceIoctls.Reset));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.GetRegionInfo, new VfioRegionInfo(32, 0, 0, 0, 0, 0)));
        Assert.Equal(Minus(Errno.ENOTTY), host.Feature(device, DeviceFeature.LowPowerExit, FeatureOps.Set));
        Assert.Equal(Errno.EINVAL, host.User[device].Read(new byte[1]).Error.Errno);
        Assert.Equal(Errno.EINVAL, host.User[device].Write(new byte[1]).Error.Errno);
        Assert.Equal(Errno.EINVAL, host.User[device].Map(0, 4096).Error.Errno);
    }

    private sealed class Empty(IDeviceOps core) : IDeviceOps
    {
        public VfioPciCore Device => core.Device;

        public VfioResult OpenDevice(bool hasRawIo) => core.OpenDevice(hasRawIo);

        public void CloseDevice() => core.CloseDevice();

        public VfioResult AttachIoas(IDmaSpace space) => core.AttachIoas(space);
    }

    [Fact]
    public void A_driver_answers_a_number_of_its_own_with_bytes_of_its_own_IO_3()
    {
        host.InFront = ops => new Own(ops);
        var device = host.OpenByGroup(host.LeftCore);
        var argument = (Size: 8u, Value: 7u);

        Assert.Equal(5, host.User.Ioctl(device, 0x1234, ref argument));

        Assert.Equal((8u, 8u), argument);
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(device, 0x1234, UserSpace.Nowhere));
    }

    private sealed class Own(IDeviceOps next) : DeviceOpsInFront(next)
    {
        public override VfioResult<DeviceAnswer> Ioctl(DeviceCall call)
        {
            if (call is not DeviceCall.Unknown { Number: 0x1234 } own)
                return base.Ioctl(call);
            if (own.Bytes.IsEmpty)
                return new VfioError(Errno.EFAULT, "The argument is not there.");
            var bytes = own.Bytes.ToArray();
            bytes[4]++;
            return new DeviceAnswer.Raw(new byte[64].Select((_, i) => i < bytes.Length ? bytes[i] : (byte)0xee).ToArray(), 5);
        }
    }

    [Fact]
    public void The_three_thirds_of_an_ioctl_may_be_done_apart()
    {
        var device = (DeviceFile)host.User[host.OpenByGroup(host.LeftCore)];
        host.User.Put(UserSpace.Argument, new VfioIrqInfo(16, 0, 2, 0));

        var call = device.Decode(DeviceIoctls.GetIrqInfo, UserSpace.Argument, host.User, host.User).Value;
        var answer = DeviceFramework.Answer(device.Ops, call);
        var returned = DeviceEncoder.Encode(call, answer, host.User, host.User);

        Assert.Equal(new DeviceCall.GetIrqInfo(UserSpace.Argument, 16, 2), call);
        Assert.Equal(0, returned.Result.Value);
        Assert.Equal(4u, host.User.Get<VfioIrqInfo>(UserSpace.Argument).Count);
    }

    // ---- Bytes that are not there (IO-2) ---------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(DeviceIoctls.GetInfo)]
    [InlineData(DeviceIoctls.GetRegionInfo)]
    [InlineData(DeviceIoctls.GetIrqInfo)]
    [InlineData(DeviceIoctls.SetIrqs)]
    [InlineData(DeviceIoctls.GetPciHotResetInfo)]
    [InlineData(DeviceIoctls.PciHotReset)]
    [InlineData(DeviceIoctls.Ioeventfd)]
    [InlineData(DeviceIoctls.Feature)]
    public void A_bad_pointer_is_EFAULT_IO_2(uint number) =>
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(host.OpenByGroup(host.LeftCore), number, UserSpace.Nowhere));

    [Fact]
    public void An_answer_that_cannot_be_written_is_EFAULT_IO_2()
    {
        var device = host.OpenByGroup(host.LeftCore);
        host.User.ReadOnlyFrom = UserSpace.Argument;

        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(device, DeviceIoctls.GetInfo, new VfioDeviceInfo(16, 0, 0, 0, 0, 0)));
        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(device, DeviceIoctls.GetRegionInfo, new VfioRegionInfo(64, 0, 2, 0, 0, 0)));
        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(device, DeviceIoctls.GetPciHotResetInfo, new VfioPciHotResetInfo(64, 0, 0)));
        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(device, DeviceIoctls.GetPciHotResetInfo, new VfioPciHotResetInfo(12, 0, 0)));
    }

    [Fact]
    public void SET_IRQS_tells_of_missing_data_only_when_the_request_fits_the_device_IO_40()
    {
        var device = host.OpenByGroup(host.LeftCore);
        const ulong End = UserSpace.Start + UserSpace.Bytes - 20;
        var flags = IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger;
        host.User.Put(End, new VfioIrqSet(24, flags, 2, 0, 1));
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(device, DeviceIoctls.SetIrqs, End));

        host.User.Put(End, new VfioIrqSet(24, flags, 2, 4, 1));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(device, DeviceIoctls.SetIrqs, End));
        host.User.Put(End, new VfioIrqSet(uint.MaxValue, flags, 2, 0, 1 << 29));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(device, DeviceIoctls.SetIrqs, End));
    }

    [Fact]
    public void SET_IRQS_tells_of_a_descriptor_only_when_its_turn_comes_IO_43_IO_47()
    {
        var device = host.OpenByGroup(host.LeftCore);
        var other = host.User.AddOther();
        var head = new VfioIrqSet(24, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 3, 0, 1);

        Assert.Equal(Minus(Errno.EBADF), host.User.IoctlOf(device, DeviceIoctls.SetIrqs, head, BitConverter.GetBytes(99)));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.SetIrqs, head, BitConverter.GetBytes(other)));
        Assert.Equal(0, host.User.IoctlOf(device, DeviceIoctls.SetIrqs, head, BitConverter.GetBytes(-1)));
    }

    [Fact]
    public void IOEVENTFD_tells_of_a_descriptor_after_everything_else_IO_70()
    {
        var device = host.OpenByGroup(host.LeftCore);
        var good = new VfioDeviceIoeventfd(28, IoeventfdWidth.Four, 0x10, 0xabcd, 99, 0);

        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good with { Offset = 7UL << 40 }));
        Assert.Equal(Minus(Errno.EBADF), host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good with { Fd = host.User.AddOther() }));
        Assert.Equal(Minus(Errno.ENODEV), host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good with { Fd = -1 }));

        var (fd, eventfd) = host.User.AddEventfd();
        Assert.Equal(0, host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good with { Fd = fd }));
        Assert.Equal(Minus(Errno.EEXIST), host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good));
        eventfd.Signal();
        Assert.Equal(0xcd, host.Left.Memory(0, 0x10));
        Assert.Equal(0, host.User.IoctlOf(device, DeviceIoctls.Ioeventfd, good with { Fd = -1 }));
        Assert.False(eventfd.IsListenedTo);
    }

    // ---- Replies with capabilities (IO-4) --------------------------------------------------------------------------------------------

    [Fact]
    public void A_chain_that_does_not_fit_is_success_with_the_size_that_it_takes_IO_4()
    {
        var device = host.OpenByGroup(host.LeftCore);
        var info = new VfioRegionInfo(32, 0, CardFunction.MsixBar, 0, 0, 0);

        Assert.Equal(0, host.User.Ioctl(device, DeviceIoctls.GetRegionInfo, ref info));

        const RegionFlags Flags = RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap | RegionFlags.Caps;
        Assert.Equal(new VfioRegionInfo(40, Flags, CardFunction.MsixBar, 0, CardFunction.MemoryBytes, 2UL << 40), info);
        Assert.Equal(0ul, host.User.Get<ulong>(UserSpace.Argument + 32));
        Assert.Equal(0, host.User.Ioctl(device, DeviceIoctls.GetRegionInfo, ref info));
        Assert.Equal((40u, 32u), (info.Argsz, info.CapOffset));
        Assert.Equal(new VfioInfoCapHeader(RegionCapabilityIds.MsixMappable, 1, 0), host.User.Get<VfioInfoCapHeader>(UserSpace.Argument + 32));
    }

    [Theory]
    [InlineData(16)]
    [InlineData(20)]
    [InlineData(24)]
    [InlineData(39)]
    [InlineData(40)]
    [InlineData(64)]
    public void GET_INFO_with_a_capability_writes_what_argsz_covers_and_no_byte_beyond_IO_2_IO_4(int argsz)
    {
        var card = new CardFunction(Card.At(5)) { IommuGroup = 9, Atomics = AtomicCompletion.Bits32 | AtomicCompletion.Bits64 };
        var device = host.OpenByGroup(host.Devices.Register(card).Value);
        host.User.Memory(UserSpace.Argument, 128).Fill(0xaa);
        host.User.Put(UserSpace.Argument, argsz);

        Assert.Equal(0, host.User.Ioctl(device, DeviceIoctls.GetInfo, UserSpace.Argument));

        var written = argsz >= 40 ? 40 : Math.Min(argsz, 24);
        Assert.Equal(-1, host.User.Memory(UserSpace.Argument + (ulong)written, 88).IndexOfAnyExcept((byte)0xaa));
        var info = host.User.Get<VfioDeviceInfo>(UserSpace.Argument);
        Assert.Equal(argsz >= 40 ? (uint)argsz : 40, info.Argsz);
        Assert.Equal(DeviceFlags.Pci | DeviceFlags.Reset | DeviceFlags.Caps, info.Flags);
        if (argsz < 24)
            return;
        Assert.Equal(argsz >= 40 ? 24u : 0, info.CapOffset);
        if (argsz >= 40)
        {
            Assert.Equal(
                new VfioDeviceInfoCapPciAtomicComp(new(5, 1, 0), AtomicCompletionFlags.Bits32 | AtomicCompletionFlags.Bits64, 0),
                host.User.Get<VfioDeviceInfoCapPciAtomicComp>(UserSpace.Argument + 24));
        }
    }

    // ---- argsz of every device ioctl through the file (TS-11) ------------------------------------------------------------------------

    public static TheoryData<uint, int, int> Argsizes => new()
    {
        { DeviceIoctls.GetInfo, 16, 24 },
        { DeviceIoctls.GetRegionInfo, 32, 32 },
        { DeviceIoctls.GetIrqInfo, 16, 16 },
        { DeviceIoctls.SetIrqs, 20, 20 },
        { DeviceIoctls.GetPciHotResetInfo, 12, 12 },
        { DeviceIoctls.PciHotReset, 12, 12 },
        { DeviceIoctls.Ioeventfd, 28, 32 },
        { DeviceIoctls.Feature, 8, 8 },
        { DeviceIoctls.BindIommufd, 16, 24 },
        { DeviceIoctls.AttachIommufdPt, 12, 16 },
        { DeviceIoctls.DetachIommufdPt, 8, 12 },
    };

    /// <summary>Well-formed requests but for their argsz; what each comes to with enough of it is known.</summary>
    [Theory]
    [MemberData(nameof(Argsizes))]
    public void An_argsz_is_refused_below_the_minimum_and_taken_from_there_on_IO_2(uint number, int minimum, int size)
    {
        for (var argsz = 0; argsz < size + 40; argsz++)
        {
            var fresh = new Host();
            var iommufd = fresh.Iommufd();
            var device = number == DeviceIoctls.BindIommufd ? fresh.Cdev(fresh.LeftCore) : fresh.OpenByCdev(fresh.LeftCore, iommufd);
            var ioas = fresh.Ioas(iommufd);
            var request = WellFormed(number, iommufd, ioas);
            MemoryMarshal.Write(request, argsz);
            request.CopyTo(fresh.User.Memory(UserSpace.Argument, request.Length));

            var returned = fresh.User.Ioctl(device, number, UserSpace.Argument);

            Assert.Equal((argsz, argsz < minimum ? Minus(Errno.EINVAL) : Enough(number, argsz)), (argsz, returned));
        }
    }

    private static byte[] WellFormed(uint number, int iommufd, uint ioas)
    {
        var request = new byte[128];
        switch (number)
        {
            case DeviceIoctls.SetIrqs:
                MemoryMarshal.Write(request, new VfioIrqSet(0, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 4, 0, 1));
                MemoryMarshal.Write(request.AsSpan(20), -1);
                break;
            case DeviceIoctls.Ioeventfd:
                MemoryMarshal.Write(request, new VfioDeviceIoeventfd(0, IoeventfdWidth.Four, 0, 0, -1, 0));
                break;
            case DeviceIoctls.Feature:
                MemoryMarshal.Write(request, VfioDeviceFeature.Of(DeviceFeature.LowPowerExit, FeatureOps.Set, 0));
                break;
            case DeviceIoctls.BindIommufd:
                MemoryMarshal.Write(request, new VfioDeviceBindIommufd(0, BindFlags.None, iommufd, 0, 0));
                break;
            case DeviceIoctls.AttachIommufdPt:
                MemoryMarshal.Write(request, new VfioDeviceAttachIommufdPt(0, AttachFlags.None, ioas, 0));
                break;
            default:
                break;
        }

        return request;
    }

    private static int Enough(uint number, int argsz) => number switch
    {
        DeviceIoctls.SetIrqs when argsz < 24 => Minus(Errno.EINVAL),
        DeviceIoctls.GetPciHotResetInfo when argsz < 28 => Minus(Errno.ENOSPC),
        DeviceIoctls.PciHotReset => Minus(Errno.EINVAL),
        DeviceIoctls.Ioeventfd => Minus(Errno.ENODEV),
        _ => 0,
    };

    // ---- read, write, mmap -----------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_device_is_read_and_written_by_the_offsets_of_its_regions_IO_20()
    {
        var device = host.User[host.OpenByGroup(host.LeftCore)];
        var ids = new byte[4];

        Assert.Equal(4, device.ReadAt(7UL << 40, ids).Value);
        Assert.Equal([0x36, 0x1b], ids[..2]);
        Assert.Equal(8, device.WriteAt(0x20, new byte[8]).Value);
        Assert.Equal(0, host.Left.Memory(0, 0x20));
        Assert.Equal(Errno.EINVAL, device.ReadAt(9UL << 40, ids).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.ReadAt(ulong.MaxValue, ids).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.WriteAt(1UL << 63, ids).Error.Errno);
    }

    [Fact]
    public void The_file_itself_begins_at_BAR_0_and_goes_on()
    {
        var device = host.User[host.OpenByGroup(host.LeftCore)];
        device.WriteAt(0, [1, 2, 3, 4, 5, 6, 7, 8]);
        var bytes = new byte[4];

        device.Read(bytes);
        device.Read(bytes);

        Assert.Equal([5, 6, 7, 8], bytes);
    }

    [Fact]
    public void A_BAR_is_mapped_shared_from_a_page_on_IO_114()
    {
        var device = host.User[host.OpenByGroup(host.LeftCore)];

        Assert.True(device.Map(0x1000, 0x1000).IsOk);
        Assert.Equal(Errno.EINVAL, device.Map(0x800, 0x1000).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.Map(0, 0).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.Map(0, 0x1000, MapOptions.Private).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.Map(7UL << 40, 0x1000, MapOptions.DriverOwned).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.Map(1UL << 63, 0x1000).Error.Errno);
    }

    [Fact]
    public void Reading_and_writing_a_device_allocates_nothing()
    {
        var device = host.User[host.OpenByGroup(host.LeftCore)];
        var bytes = new byte[4];
        device.ReadAt(7UL << 40, bytes);
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 100; i++)
            device.ReadAt(7UL << 40, bytes);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>GET_INFO from bytes to bytes makes a call, an answer, and what reads the one and makes the other: no more.</summary>
    [Fact]
    public void An_ioctl_allocates_little_beyond_its_call_and_its_answer()
    {
        var device = host.User[host.OpenByGroup(host.LeftCore)];
        host.User.Put(UserSpace.Argument, 16u);
        device.Ioctl(DeviceIoctls.GetInfo, UserSpace.Argument, host.User, host.User);
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 100; i++)
            device.Ioctl(DeviceIoctls.GetInfo, UserSpace.Argument, host.User, host.User);

        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 100, 1, 512);
    }

    [Fact]
    public void A_file_that_is_no_device_is_neither_read_nor_mapped()
    {
        var container = host.User[host.Container()];

        Assert.Equal(Errno.EINVAL, container.Read(new byte[1]).Error.Errno);
        Assert.Equal(Errno.EINVAL, container.WriteAt(0, new byte[1]).Error.Errno);
        Assert.Equal(Errno.ENODEV, container.Map(0, 0x1000).Error.Errno);
    }
}
