using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>Groups, their containers, and the devices that are got from them.</summary>
public sealed class GroupTests
{
    private const string Token = "vf_token=01234567-89ab-cdef-0123-456789abcdef";

    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    // ---- Names (LC-10) ---------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("0000:3b:02.0")]
    [InlineData("0000:3b:02.0 ")]
    [InlineData("0000:3b:02.0 " + Token)]
    [InlineData("0000:3b:02.0   " + Token + "  ")]
    public void A_name_is_the_address_with_options_behind_spaces_LC_10(string name)
    {
        var fd = host.GetDeviceFd(host.ReadyGroup(Host.PhysicalGroup).Group, name);

        Assert.IsType<GroupDeviceFile>(host.User[fd]);
        Assert.True(host.PhysicalCore.IsOpen);
    }

    [Theory]
    [InlineData("")]
    [InlineData("0000:3b:02.1")]
    [InlineData("0000:3b:02")]
    [InlineData("3b:02.0")]
    [InlineData(" 0000:3b:02.0")]
    [InlineData("0000:3b:02.01")]
    [InlineData("0000:3b:02.0,vf_token=x")]
    [InlineData("0000:3b:01.0")]
    public void A_name_of_another_device_or_of_none_is_ENODEV_LC_10(string name) =>
        Assert.Equal(Minus(Errno.ENODEV), host.GetDeviceFd(host.ReadyGroup(Host.PhysicalGroup).Group, name));

    [Theory]
    [InlineData("0000:3b:02.0 vf_token=01234567-89ab-cdef-0123-456789abcde")]
    [InlineData("0000:3b:02.0 vf_token=0123456789abcdef0123456789abcdef0000")]
    [InlineData("0000:3b:02.0 vf_token=g1234567-89ab-cdef-0123-456789abcdef")]
    [InlineData("0000:3b:02.0 vf_token=")]
    [InlineData("0000:3b:02.0 " + Token + " " + Token)]
    [InlineData("0000:3b:02.0 " + Token + Token)]
    [InlineData("0000:3b:02.0 " + Token + "0")]
    [InlineData("0000:3b:02.0 token=1")]
    [InlineData("0000:3b:02.0 VF_TOKEN=01234567-89ab-cdef-0123-456789abcdef")]
    [InlineData("0000:3b:02.0 x")]
    public void An_option_that_is_short_unparsable_repeated_or_unknown_is_EINVAL_LC_10(string name) =>
        Assert.Equal(Minus(Errno.EINVAL), host.GetDeviceFd(host.ReadyGroup(Host.PhysicalGroup).Group, name));

    [Fact]
    public void A_name_that_memory_cuts_off_is_EFAULT_and_one_longer_than_a_page_EINVAL_LC_10()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        const ulong LastByte = UserSpace.Start + UserSpace.Bytes - 1;
        host.User.Put(LastByte, (byte)'0');
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(group, GroupIoctls.GetDeviceFd, LastByte));

        host.User.Memory(UserSpace.Start, 4096).Fill((byte)'0');
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(group, GroupIoctls.GetDeviceFd, UserSpace.Start));
    }

    [Fact]
    public void The_wrong_token_of_a_name_is_EACCES_LC_10() =>
        Assert.Equal(Minus(Errno.EACCES), RightTokenOnVirtualFunction(Guid.Empty));

    [Fact]
    public void The_token_of_a_name_is_that_of_the_PF_LC_10_LC_41() => Assert.True(RightTokenOnVirtualFunction(Host.Token) >= 0);

    private int RightTokenOnVirtualFunction(Guid token)
    {
        host.PhysicalCore.WriteNumVfs("1");
        var card = host.Bus.Cards.Single(card => card.IsVirtual);
        var vf = host.Devices.Register(card, options: Host.Options).Value;
        return host.GetDeviceFd(host.ReadyGroup(vf.IommuGroup!.Value).Group, $"{vf.Address} vf_token={token}");
    }

    // ---- A container is needed (LC-11) -----------------------------------------------------------------------------------------------

    [Fact]
    public void A_group_without_a_container_gives_no_device_LC_11() =>
        Assert.Equal(Minus(Errno.EINVAL), host.GetDeviceFd(host.Group(Host.LeftGroup), host.LeftCore));

    [Fact]
    public void A_container_without_SET_IOMMU_gives_no_device_LC_11()
    {
        var group = host.Group(Host.LeftGroup);
        Assert.Equal(0, host.SetContainer(group, host.Container()));

        Assert.Equal(Minus(Errno.EINVAL), host.GetDeviceFd(group, host.LeftCore));
        Assert.Equal(0, host.Files.GroupOf(Host.LeftGroup).OpensOf(host.Left.Address));
        host.Healthy();
    }

    [Fact]
    public void An_iommufd_will_do_as_a_container_without_SET_IOMMU_LC_11()
    {
        var (group, iommufd) = (host.Group(Host.LeftGroup), host.Iommufd());
        Assert.Equal(0, host.SetContainer(group, iommufd));

        Assert.True(host.GetDeviceFd(group, host.LeftCore) >= 0);

        Assert.Equal(0, host.User.IoctlOf(
            iommufd, ContainerIoctls.IommuMapDma, new VfioIommuType1DmaMap(32, DmaMapFlags.Read, UserSpace.Start, 0x1000, 0x1000)));
        Assert.True(host.Left.Dma!.TryRead(0x1000, new byte[16]));
        host.Healthy();
    }

    // ---- Several descriptors of one device (LC-12) -----------------------------------------------------------------------------------

    [Fact]
    public void Only_the_first_descriptor_opens_the_device_and_only_the_last_closes_it_LC_12()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        var (first, second) = (host.GetDeviceFd(group, host.LeftCore), host.GetDeviceFd(group, host.LeftCore));
        Assert.Equal(1, host.Left.Calls.Count(call => call == "dma off") + host.Left.Calls.Count(call => call == "reset"));

        host.User.Close(first);
        Assert.True(host.LeftCore.IsOpen);
        Assert.Equal(1, host.Files.GroupOf(Host.LeftGroup).OpensOf(host.Left.Address));

        host.User.Close(second);
        Assert.False(host.LeftCore.IsOpen);
        host.Healthy();
    }

    // ---- Group and cdev exclude each other (LC-13) -----------------------------------------------------------------------------------

    [Fact]
    public void A_group_is_opened_once_LC_13()
    {
        host.Group(Host.LeftGroup);

        Assert.Equal(Errno.EBUSY, host.Files.OpenGroup(Host.LeftGroup).Error.Errno);
    }

    [Fact]
    public void BIND_is_EBUSY_while_the_group_is_open_LC_13()
    {
        host.Group(Host.LeftGroup);

        Assert.Equal(Minus(Errno.EBUSY), host.Bind(host.Cdev(host.LeftCore), host.Iommufd()));
    }

    [Fact]
    public void A_group_is_EBUSY_while_one_of_its_cdevs_is_bound_LC_13_INV_4()
    {
        var cdev = host.OpenByCdev(host.LeftCore, host.Iommufd());
        Assert.Equal(Errno.EBUSY, host.Files.OpenGroup(Host.LeftGroup).Error.Errno);
        Assert.Equal(OpenKind.Cdev, host.Files.GroupOf(Host.LeftGroup).Kind);

        host.User.Close(cdev);
        Assert.True(host.Files.OpenGroup(Host.LeftGroup).IsOk);
    }

    [Fact]
    public void A_BIND_that_failed_does_not_keep_the_group_LC_13()
    {
        Assert.Equal(Minus(Errno.EBADF), host.Bind(host.Cdev(host.LeftCore), 99));

        Assert.True(host.Files.OpenGroup(Host.LeftGroup).IsOk);
    }

    [Fact]
    public void Devices_got_from_a_group_keep_it_open_after_its_own_descriptor_is_closed_LC_13_INV_4()
    {
        var (group, container) = host.ReadyGroup(Host.LeftGroup);
        var device = host.GetDeviceFd(group, host.LeftCore);
        host.User.Close(group);
        host.User.Close(container);

        Assert.Equal(Errno.EBUSY, host.Files.OpenGroup(Host.LeftGroup).Error.Errno);
        Assert.Equal(Minus(Errno.EBUSY), host.Bind(host.Cdev(host.LeftCore), host.Iommufd()));

        host.User.Close(device);
        Assert.Equal(OpenKind.None, host.Files.GroupOf(Host.LeftGroup).Kind);
        Assert.True(host.Files.OpenGroup(Host.LeftGroup).IsOk);
    }

    [Fact]
    public void A_group_without_devices_of_vfio_is_ENODEV() => Assert.Equal(Errno.ENODEV, host.Files.OpenGroup(77).Error.Errno);

    // ---- The order of a first open (LC-15) -------------------------------------------------------------------------------------------

    [Fact]
    public void A_device_on_its_way_out_is_not_found_LC_15()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        host.LeftCore.Unregister();

        Assert.Equal(Minus(Errno.ENODEV), host.GetDeviceFd(group, host.LeftCore));
    }

    [Fact]
    public void A_failed_open_is_unwound_and_the_count_returns_to_0_LC_15()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        var before = host.User.Descriptors;
        host.Left.OnReset = Errno.EAGAIN;

        Assert.Equal(Minus(Errno.EAGAIN), host.GetDeviceFd(group, host.LeftCore));

        Assert.Equal(0, host.Files.GroupOf(Host.LeftGroup).OpensOf(host.Left.Address));
        Assert.Equal(before, host.User.Descriptors);
        host.Healthy();
        host.Left.OnReset = Errno.None;
        Assert.True(host.GetDeviceFd(group, host.LeftCore) >= 0);
    }

    [Fact]
    public void A_failed_open_by_an_iommufd_leaves_nothing_bound_LC_15()
    {
        var (group, iommufd) = (host.Group(Host.LeftGroup), host.Iommufd());
        Assert.Equal(0, host.SetContainer(group, iommufd));
        host.Left.OnReset = Errno.EAGAIN;

        Assert.Equal(Minus(Errno.EAGAIN), host.GetDeviceFd(group, host.LeftCore));

        Assert.Empty(((IommufdFile)host.User[iommufd]).Context.Devices);
        Assert.False(host.Files.GroupOf(Host.LeftGroup).IsClaimed);
    }

    [Fact]
    public void Without_a_descriptor_left_no_device_is_opened_LC_15()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        host.User.MaxDescriptors = host.User.Descriptors;

        Assert.Equal(Minus(Errno.EMFILE), host.GetDeviceFd(group, host.LeftCore));
        Assert.Empty(host.Left.Calls);
    }

    [Fact]
    public void DMA_reaches_what_the_container_maps_and_ends_with_the_open()
    {
        var (group, container) = host.ReadyGroup(Host.LeftGroup);
        var device = host.GetDeviceFd(group, host.LeftCore);
        Assert.Equal(0, host.User.IoctlOf(
            container,
            ContainerIoctls.IommuMapDma,
            new VfioIommuType1DmaMap(32, DmaMapFlags.Read | DmaMapFlags.Write, UserSpace.Start, 0x1000, 0x1000)));
        var dma = host.Left.Dma!;

        Assert.True(dma.TryWrite(0x1004, [1, 2, 3]));

        Assert.Equal([1, 2, 3], host.User.Memory(UserSpace.Start + 4, 3).ToArray());
        host.User.Close(device);
        Assert.Null(host.Left.Dma);
    }

    // ---- Group ioctls (LC-16) --------------------------------------------------------------------------------------------------------

    [Fact]
    public void GET_STATUS_wants_8_bytes_and_tells_of_the_container_LC_16()
    {
        var group = host.Group(Host.LeftGroup);
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(group, GroupIoctls.GetStatus, new VfioGroupStatus(7, GroupFlags.None)));
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(group, GroupIoctls.GetStatus, UserSpace.Nowhere));
        Assert.Equal(GroupFlags.Viable, Status(group));

        host.SetContainer(group, host.Container());
        Assert.Equal(GroupFlags.Viable | GroupFlags.ContainerSet, Status(group));
    }

    [Fact]
    public void A_group_with_a_host_driver_is_not_viable_LC_16()
    {
        host.Files.GroupOf(Host.LeftGroup).Host = HostDmaUse.HostDriver;

        Assert.Equal(GroupFlags.None, Status(host.Group(Host.LeftGroup)));
    }

    private GroupFlags Status(int group)
    {
        var status = new VfioGroupStatus(8, GroupFlags.None);
        Assert.Equal(0, host.User.Ioctl(group, GroupIoctls.GetStatus, ref status));
        return status.Flags;
    }

    [Fact]
    public void SET_CONTAINER_is_refused_by_what_it_is_given_LC_16()
    {
        var group = host.Group(Host.LeftGroup);

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(group, GroupIoctls.SetContainer, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EBADF), host.SetContainer(group, 99));
        Assert.Equal(Minus(Errno.EBADF), host.SetContainer(group, -1));
        Assert.Equal(Minus(Errno.EBADFD), host.SetContainer(group, host.User.AddOther()));
        Assert.Equal(Minus(Errno.EBADFD), host.SetContainer(group, host.User.AddEventfd().Fd));
        Assert.Equal(Minus(Errno.EBADFD), host.SetContainer(group, host.Group(Host.RightGroup)));
        Assert.Equal(0, host.SetContainer(group, host.Container()));
        Assert.Equal(Minus(Errno.EINVAL), host.SetContainer(group, host.Container()));
        Assert.Equal(Minus(Errno.EBADF), host.SetContainer(group, 99));
    }

    [Theory]
    [InlineData(HostDmaUse.HostDriver, Errno.EPERM)]
    [InlineData(HostDmaUse.KernelDomain, Errno.EBUSY)]
    public void SET_CONTAINER_takes_no_group_that_the_host_uses_LC_16(HostDmaUse use, Errno errno)
    {
        var group = host.Group(Host.LeftGroup);
        host.Files.GroupOf(Host.LeftGroup).Host = use;

        Assert.Equal(Minus(errno), host.SetContainer(group, host.Container()));
    }

    [Fact]
    public void UNSET_CONTAINER_is_EINVAL_without_one_and_EBUSY_while_a_device_is_open_LC_16()
    {
        var group = host.Group(Host.LeftGroup);
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(group, GroupIoctls.UnsetContainer));
        var container = host.Container();
        host.SetContainer(group, container);
        host.User.Ioctl(container, ContainerIoctls.SetIommu, 1);
        var device = host.GetDeviceFd(group, host.LeftCore);
        Assert.Equal(Minus(Errno.EBUSY), host.User.Ioctl(group, GroupIoctls.UnsetContainer));

        host.User.Close(device);

        Assert.Equal(0, host.User.Ioctl(group, GroupIoctls.UnsetContainer));
        Assert.False(host.Files.GroupOf(Host.LeftGroup).IsClaimed);
        Assert.Equal(0, host.SetContainer(group, container));
    }

    [Fact]
    public void Another_number_on_a_group_is_ENOTTY_IO_2() =>
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(host.Group(Host.LeftGroup), DeviceIoctls.GetInfo, UserSpace.Argument));

    // ---- Without an IOMMU (LC-5) -----------------------------------------------------------------------------------------------------

    [Fact]
    public void A_device_without_an_IOMMU_is_got_from_a_group_of_its_own_with_CAP_SYS_RAWIO_alone_LC_5()
    {
        var card = new CardFunction(Card.At(9)) { IommuGroup = null };
        var device = host.Devices.Register(card, options: new CoreOptions(AllowNoIommu: true)).Value;
        Assert.Equal(Errno.EPERM, host.Files.OpenNoIommuGroup(card.Address, hasRawIo: false).Error.Errno);
        var (group, container) = (host.User.Add(host.Files.OpenNoIommuGroup(card.Address, hasRawIo: true).Value), host.Container());
        Assert.Equal(0, host.SetContainer(group, container));
        Assert.Equal(Minus(Errno.ENODEV), host.User.Ioctl(container, ContainerIoctls.SetIommu, 1));
        Assert.Equal(1, host.User.Ioctl(container, ContainerIoctls.CheckExtension, 8));
        Assert.Equal(0, host.User.Ioctl(container, ContainerIoctls.SetIommu, 8));
        Assert.Equal(Minus(Errno.EPERM), host.SetContainer(host.Group(Host.LeftGroup), container));

        Assert.True(host.GetDeviceFd(group, device) >= 0);

        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(container, ContainerIoctls.IommuMapDma, UserSpace.Argument));
        host.Healthy();
    }

    [Fact]
    public void A_group_whose_interrupts_are_not_isolated_gets_no_IOMMU()
    {
        var open = new Host(leftTraits: FunctionTraits.NoInterruptIsolation);
        var (group, container) = (open.Group(Host.LeftGroup), open.Container());
        Assert.Equal(0, open.SetContainer(group, container));

        Assert.Equal(Minus(Errno.EPERM), open.User.Ioctl(container, ContainerIoctls.SetIommu, 1));
    }
}
