using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>Devices by themselves: bound to an iommufd, attached to its address spaces.</summary>
public sealed class CdevTests
{
    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    // ---- Before BIND (LC-14) ---------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(DeviceIoctls.GetInfo)]
    [InlineData(DeviceIoctls.Reset)]
    [InlineData(DeviceIoctls.Feature)]
    [InlineData(DeviceIoctls.AttachIommufdPt)]
    [InlineData(DeviceIoctls.DetachIommufdPt)]
    [InlineData(0x1234u)]
    public void Before_BIND_every_other_ioctl_is_EINVAL_LC_14(uint number) =>
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(host.Cdev(host.LeftCore), number, UserSpace.Nowhere));

    [Fact]
    public void Before_BIND_read_write_and_mmap_are_EINVAL_LC_14()
    {
        var file = host.User[host.Cdev(host.LeftCore)];

        Assert.Equal(Errno.EINVAL, file.Read(new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, file.ReadAt(7UL << 40, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, file.Write(new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, file.WriteAt(7UL << 40, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, file.Map(0, 0x1000).Error.Errno);
        Assert.Empty(host.Left.Calls);
    }

    [Fact]
    public void A_cdev_is_not_opened_once_the_device_is_on_its_way_out_LC_14()
    {
        host.LeftCore.Unregister();

        Assert.Equal(Errno.ENODEV, host.Files.OpenCdev(host.Left.Address).Error.Errno);
    }

    [Fact]
    public void A_cdev_that_is_open_and_not_bound_holds_the_registration_LC_32()
    {
        var cdev = host.Cdev(host.LeftCore);
        var leaving = host.LeftCore.Unregister();
        Assert.False(leaving.IsComplete);
        Assert.Equal(Minus(Errno.ENODEV), host.Bind(cdev, host.Iommufd()));

        host.User.Close(cdev);

        Assert.True(leaving.IsComplete);
    }

    // ---- BIND (IO-100) ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public void BIND_opens_the_device_and_returns_its_id_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        var bind = new VfioDeviceBindIommufd(16, BindFlags.None, iommufd, 0xffff, 0xdead);

        Assert.Equal(0, host.User.Ioctl(cdev, DeviceIoctls.BindIommufd, ref bind));

        Assert.Equal(new VfioDeviceBindIommufd(16, BindFlags.None, iommufd, 1, 0xdead), bind);
        Assert.True(host.LeftCore.IsOpen);
        host.Healthy();
    }

    [Fact]
    public void BIND_checks_its_bytes_first_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        var good = new VfioDeviceBindIommufd(16, BindFlags.None, iommufd, 0, 0);

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(cdev, DeviceIoctls.BindIommufd, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.BindIommufd, good with { Argsz = 15 }));
        Assert.Equal(Minus(Errno.E2BIG), host.User.IoctlOf(cdev, DeviceIoctls.BindIommufd, good with { Argsz = 26 }, 0, 1));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.BindIommufd, good with { Iommufd = -1 }));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.BindIommufd, good with { Flags = (BindFlags)2 }));
        Assert.Equal(0, host.User.IoctlOf(cdev, DeviceIoctls.BindIommufd, good with { Argsz = 26 }, 0, 0));
    }

    [Fact]
    public void BIND_checks_the_group_then_the_token_then_the_descriptor_IO_100()
    {
        var (cdev, bad) = (host.Cdev(host.LeftCore), 99);
        var group = host.Group(Host.LeftGroup);
        Assert.Equal(Minus(Errno.EBUSY), host.Bind(cdev, bad, Host.Token));

        host.User.Close(group);
        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(
            cdev, DeviceIoctls.BindIommufd, new VfioDeviceBindIommufd(24, BindFlags.Token, bad, 0, UserSpace.Nowhere)));
        Assert.Equal(Minus(Errno.EBADF), host.Bind(cdev, bad));
        Assert.Equal(Minus(Errno.EBADFD), host.Bind(cdev, host.Container()));
        Assert.Equal(Minus(Errno.EBADFD), host.Bind(cdev, host.User.AddOther()));
    }

    [Fact]
    public void A_device_got_from_its_group_is_not_bound_IO_100() =>
        Assert.Equal(Minus(Errno.EINVAL), host.Bind(host.OpenByGroup(host.LeftCore), host.Iommufd()));

    [Fact]
    public void A_device_is_bound_once_through_whichever_descriptor_LC_12_IO_100()
    {
        var iommufd = host.Iommufd();
        var (first, second) = (host.Cdev(host.LeftCore), host.Cdev(host.LeftCore));
        Assert.Equal(0, host.Bind(first, iommufd));

        Assert.Equal(Minus(Errno.EINVAL), host.Bind(first, iommufd));
        Assert.Equal(Minus(Errno.EINVAL), host.Bind(second, iommufd));
        Assert.Equal(Minus(Errno.EBADF), host.Bind(second, 99));

        host.User.Close(first);
        Assert.Equal(0, host.Bind(second, iommufd));
        host.Healthy();
    }

    [Fact]
    public void BIND_is_EPERM_without_isolated_interrupts_IO_100()
    {
        var open = new Host(leftTraits: FunctionTraits.NoInterruptIsolation);

        Assert.Equal(Minus(Errno.EPERM), open.Bind(open.Cdev(open.LeftCore), open.Iommufd()));
        Assert.DoesNotContain("reset", open.Left.Calls);
    }

    [Fact]
    public void BIND_is_EPERM_for_a_group_whose_DMA_another_iommufd_owns_IO_100()
    {
        var shared = new Host(rightGroup: Host.LeftGroup);
        shared.OpenByCdev(shared.LeftCore, shared.Iommufd());

        Assert.Equal(Minus(Errno.EPERM), shared.Bind(shared.Cdev(shared.RightCore), shared.Iommufd()));
        shared.Healthy();
    }

    [Theory]
    [InlineData(HostDmaUse.HostDriver, Errno.EPERM)]
    [InlineData(HostDmaUse.KernelDomain, Errno.EBUSY)]
    public void BIND_takes_no_group_that_the_host_uses_IO_100(HostDmaUse use, Errno errno)
    {
        host.Files.GroupOf(Host.LeftGroup).Host = use;

        Assert.Equal(Minus(errno), host.Bind(host.Cdev(host.LeftCore), host.Iommufd()));
    }

    [Fact]
    public void A_BIND_whose_open_fails_leaves_nothing_behind_LC_15_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        host.Left.OnReset = Errno.EAGAIN;

        Assert.Equal(Minus(Errno.EAGAIN), host.Bind(cdev, iommufd));

        Assert.Empty(((IommufdFile)host.User[iommufd]).Context.Devices);
        Assert.Equal(OpenKind.None, host.Files.GroupOf(Host.LeftGroup).Kind);
        Assert.False(host.Files.GroupOf(Host.LeftGroup).IsClaimed);
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(cdev, DeviceIoctls.Reset));
    }

    [Fact]
    public void The_IOMMU_is_asked_before_the_device_is_opened_LC_15()
    {
        host.Files.GroupOf(Host.LeftGroup).Host = HostDmaUse.HostDriver;

        host.Bind(host.Cdev(host.LeftCore), host.Iommufd());

        Assert.Empty(host.Left.Calls);
    }

    [Fact]
    public void A_BIND_whose_answer_cannot_be_written_closes_the_device_again_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        host.User.ReadOnlyFrom = UserSpace.Argument;

        Assert.Equal(Minus(Errno.EFAULT), host.Bind(cdev, iommufd));

        Assert.False(host.LeftCore.IsOpen);
        Assert.Equal(OpenKind.None, host.Files.GroupOf(Host.LeftGroup).Kind);
    }

    // ---- Tokens (LC-41) --------------------------------------------------------------------------------------------------------------

    [Fact]
    public void BIND_carries_the_token_as_16_raw_bytes_behind_a_flag_LC_41()
    {
        host.PhysicalCore.WriteNumVfs("1");
        var vf = host.Devices.Register(host.Bus.Cards.Single(card => card.IsVirtual), options: Host.Options).Value;
        var (cdev, iommufd) = (host.Cdev(vf), host.Iommufd());

        Assert.Equal(Minus(Errno.EACCES), host.Bind(cdev, iommufd));
        Assert.Equal(Minus(Errno.EACCES), host.Bind(cdev, iommufd, Guid.Empty));
        Assert.Equal(0, host.Bind(cdev, iommufd, Host.Token));
        byte[] raw = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        Assert.Equal(raw, host.User.Memory(UserSpace.Start, 16).ToArray());
    }

    [Fact]
    public void A_device_without_tokens_refuses_one_LC_41()
    {
        var plain = new CardFunction(Card.At(7), FunctionTraits.VirtualFunction) { IommuGroup = 30 };
        var device = host.Devices.Register(plain).Value;

        Assert.Equal(Minus(Errno.EINVAL), host.Bind(host.Cdev(device), host.Iommufd(), Host.Token));
    }

    // ---- ATTACH (IO-101) -------------------------------------------------------------------------------------------------------------

    [Fact]
    public void ATTACH_checks_its_bytes_then_the_PASID_then_the_id_IO_101()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var good = new VfioDeviceAttachIommufdPt(16, AttachFlags.None, host.Ioas(iommufd), 1);

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(cdev, DeviceIoctls.AttachIommufdPt, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { Argsz = 11 }));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { Flags = (AttachFlags)2 }));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { Argsz = 15, Flags = AttachFlags.Pasid }));
        Assert.Equal(Minus(Errno.ENOENT), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { PtId = 77, Flags = AttachFlags.Pasid }));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { Flags = AttachFlags.Pasid }));
        Assert.Equal(Minus(Errno.ENOENT), host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good with { PtId = 77 }));
        Assert.Equal(Minus(Errno.EINVAL), host.Attach(cdev, 1));
        Assert.Equal(0, host.User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, good));
    }

    [Fact]
    public void Only_plain_vfio_pci_knows_PASIDs_IO_101()
    {
        host.InFront = ops => new MigratingDeviceOps(ops, null);
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);

        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(
            cdev, DeviceIoctls.AttachIommufdPt, new VfioDeviceAttachIommufdPt(12, AttachFlags.Pasid, host.Ioas(iommufd), 0)));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(
            cdev, DeviceIoctls.DetachIommufdPt, new VfioDeviceDetachIommufdPt(8, AttachFlags.Pasid, 0)));
    }

    [Fact]
    public void ATTACH_by_an_address_space_writes_back_the_page_table_that_was_made_of_it_IO_101()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        var attach = new VfioDeviceAttachIommufdPt(12, AttachFlags.None, ioas, 0);

        Assert.Equal(0, host.User.Ioctl(cdev, DeviceIoctls.AttachIommufdPt, ref attach));

        Assert.NotEqual(ioas, attach.PtId);
        Assert.Equal(Minus(Errno.EBUSY), host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, ioas)));
        Assert.Equal(Minus(Errno.EBUSY), host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, attach.PtId)));
        Assert.Equal(0, host.Attach(cdev, attach.PtId));
        host.Detach(cdev);
        Assert.Equal(Minus(Errno.ENOENT), host.Attach(cdev, attach.PtId));
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, ioas)));
    }

    [Fact]
    public void ATTACH_while_attached_replaces_IO_101()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var (first, second) = (host.Ioas(iommufd), host.Ioas(iommufd));
        Assert.Equal(0, host.MapIoas(iommufd, first, 0x1000));
        Assert.Equal(0, host.MapIoas(iommufd, second, 0x2000));
        Assert.False(host.Left.Dma!.TryRead(0x1000, new byte[1]), "DMA reached something before ATTACH.");
        host.Attach(cdev, first);
        Assert.True(host.Left.Dma!.TryRead(0x1000, new byte[1]));

        Assert.Equal(0, host.Attach(cdev, second));

        Assert.False(host.Left.Dma!.TryRead(0x1000, new byte[1]));
        Assert.True(host.Left.Dma!.TryRead(0x2000, new byte[1]));
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, first)));
    }

    [Fact]
    public void Devices_of_one_group_are_attached_to_one_page_table_and_replaced_together_IO_101()
    {
        var shared = new Host(rightGroup: Host.LeftGroup);
        var iommufd = shared.Iommufd();
        var (left, right) = (shared.OpenByCdev(shared.LeftCore, iommufd), shared.OpenByCdev(shared.RightCore, iommufd));
        var (first, second) = (shared.Ioas(iommufd), shared.Ioas(iommufd));
        shared.MapIoas(iommufd, second, 0x2000);
        Assert.Equal(0, shared.Attach(left, first));
        Assert.Equal(Minus(Errno.EINVAL), shared.Attach(right, second));
        Assert.Equal(0, shared.Attach(right, first));

        Assert.Equal(0, shared.Attach(left, second));

        Assert.True(shared.Right.Dma!.TryRead(0x2000, new byte[1]));
        shared.Detach(left);
        Assert.Equal(Minus(Errno.EBUSY), shared.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, second)));
        shared.Detach(right);
        Assert.Equal(0, shared.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, second)));
    }

    [Fact]
    public void A_device_that_is_being_reset_is_attached_to_nothing_IO_101()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        var during = new List<int>();
        host.Left.DuringReset = () => during.Add(host.Attach(cdev, ioas));

        Assert.Equal(0, host.User.Ioctl(cdev, DeviceIoctls.Reset));

        Assert.Equal([Minus(Errno.EBUSY)], during);
        Assert.Equal(0, host.Attach(cdev, ioas));
    }

    [Fact]
    public void An_ATTACH_whose_answer_cannot_be_written_is_undone_IO_101()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        host.User.ReadOnlyFrom = UserSpace.Argument;

        Assert.Equal(Minus(Errno.EFAULT), host.Attach(cdev, ioas));

        host.User.ReadOnlyFrom = ulong.MaxValue;
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, ioas)));
    }

    // ---- DETACH and close (IO-102, IO-103) -------------------------------------------------------------------------------------------

    [Fact]
    public void DETACH_succeeds_attached_or_not_IO_102()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        host.MapIoas(iommufd, ioas, 0x1000);
        Assert.Equal(0, host.Detach(cdev));
        host.Attach(cdev, ioas);

        Assert.Equal(0, host.Detach(cdev));
        Assert.Equal(0, host.Detach(cdev));

        Assert.False(host.Left.Dma!.TryRead(0x1000, new byte[1]));
        int Detach(VfioDeviceDetachIommufdPt detach) => host.User.IoctlOf(cdev, DeviceIoctls.DetachIommufdPt, detach);
        Assert.Equal(Minus(Errno.EINVAL), Detach(new VfioDeviceDetachIommufdPt(7, AttachFlags.None, 0)));
        Assert.Equal(Minus(Errno.EINVAL), Detach(new VfioDeviceDetachIommufdPt(8, (AttachFlags)4, 0)));
        Assert.Equal(0, Detach(new VfioDeviceDetachIommufdPt(12, AttachFlags.Pasid, 5)));
    }

    [Theory]
    [InlineData(DeviceIoctls.AttachIommufdPt)]
    [InlineData(DeviceIoctls.DetachIommufdPt)]
    public void ATTACH_and_DETACH_of_a_device_got_from_its_group_are_ENOTTY_whatever_their_bytes_IO_102(uint number)
    {
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(device, number, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.ENOTTY), host.User.IoctlOf(device, number, new VfioDeviceAttachIommufdPt(4, (AttachFlags)8, 1, 0)));
    }

    [Fact]
    public void A_close_unbinds_IO_103()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        host.Attach(cdev, ioas);

        host.User.Close(cdev);

        Assert.False(host.LeftCore.IsOpen);
        Assert.Null(host.Left.Dma);
        Assert.Empty(((IommufdFile)host.User[iommufd]).Context.Devices);
        Assert.False(host.Files.GroupOf(Host.LeftGroup).IsClaimed);
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, ioas)));
        Assert.True(host.Files.OpenGroup(Host.LeftGroup).IsOk);
        host.Healthy();
    }

    [Fact]
    public void A_bound_device_goes_on_after_the_iommufd_is_closed_IO_103()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var ioas = host.Ioas(iommufd);
        host.MapIoas(iommufd, ioas, 0x1000);
        host.Attach(cdev, ioas);
        host.User.Close(iommufd);
        var dma = host.Left.Dma!;
        Assert.True(dma.TryRead(0x1000, new byte[1]));

        host.User.Close(cdev);

        Assert.False(dma.TryRead(0x1000, new byte[1]), "What was mapped outlived the iommufd and every device bound to it.");
    }

    [Fact]
    public void A_device_without_an_IOMMU_is_bound_with_CAP_SYS_RAWIO_and_attached_to_nothing_LC_5()
    {
        var card = new CardFunction(Card.At(9)) { IommuGroup = null };
        host.Devices.Register(card, options: new CoreOptions(AllowNoIommu: true));
        var iommufd = host.Iommufd();
        Assert.Equal(Minus(Errno.EPERM), host.Bind(host.User.Add(host.Files.OpenCdev(card.Address, hasRawIo: false).Value), iommufd));
        var cdev = host.User.Add(host.Files.OpenCdev(card.Address).Value);

        Assert.Equal(0, host.Bind(cdev, iommufd));

        Assert.Equal(Minus(Errno.EINVAL), host.Attach(cdev, host.Ioas(iommufd)));
        Assert.Equal(Minus(Errno.EINVAL), host.Detach(cdev));
        host.Healthy();
    }

    [Fact]
    public void A_closed_file_is_EBADF_in_every_call()
    {
        var file = host.User[host.Cdev(host.LeftCore)];
        file.Close();
        file.Close();

        Assert.Equal(Errno.EBADF, file.Ioctl(DeviceIoctls.GetInfo, 0, host.User, host.User).Error.Errno);
        Assert.Equal(Errno.EBADF, file.Read(new byte[1]).Error.Errno);
        Assert.Equal(Errno.EBADF, file.WriteAt(0, new byte[1]).Error.Errno);
        Assert.Equal(Errno.EBADF, file.Map(0, 1).Error.Errno);
        Assert.Equal(Errno.EBADF, ((DeviceFile)file).Decode(DeviceIoctls.GetInfo, 0, host.User, host.User).Error.Errno);
        Assert.Equal(0, host.LeftCore.References);
    }
}
