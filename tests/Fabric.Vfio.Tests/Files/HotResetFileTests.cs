using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>Hot reset with real descriptors: who owns what, by groups and by iommufds (TS-6).</summary>
public sealed class HotResetFileTests
{
    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    private int Reset(int device, params ReadOnlySpan<int> groups) => host.User.IoctlOf(
        device, DeviceIoctls.PciHotReset, new VfioPciHotReset(12 + (4 * (uint)groups.Length), 0, (uint)groups.Length), MemoryMarshal.AsBytes(groups));

    private (int Returned, VfioPciHotResetInfo Head, int[] Ids) Info(int device, uint argsz = 28)
    {
        host.User.Memory(UserSpace.Argument, 64).Fill(0xaa);
        var head = new VfioPciHotResetInfo(argsz, (HotResetFlags)0xff, 0xff);
        var returned = host.User.Ioctl(device, DeviceIoctls.GetPciHotResetInfo, ref head);
        int[] ids = [host.User.Get<int>(UserSpace.Argument + 12), host.User.Get<int>(UserSpace.Argument + 20)];
        return (returned, head, ids);
    }

    // ---- GET_PCI_HOT_RESET_INFO (IO-60, IO-61) ---------------------------------------------------------------------------------------

    [Fact]
    public void A_buffer_too_small_is_ENOSPC_with_the_count_filled_IO_60()
    {
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.EINVAL), Info(device, 11).Returned);
        for (var argsz = 12u; argsz < 28; argsz++)
        {
            var (returned, head, ids) = Info(device, argsz);

            Assert.Equal((Minus(Errno.ENOSPC), 2u), (returned, head.Count));
            Assert.Equal(unchecked((int)0xaaaaaaaa), ids[0]);
        }
    }

    [Fact]
    public void Without_a_slot_or_bus_reset_it_is_ENODEV_whatever_the_room_IO_60()
    {
        host.Bus.Scope = null;

        Assert.Equal(Minus(Errno.ENODEV), Info(host.OpenByGroup(host.LeftCore), 12).Returned);
    }

    [Fact]
    public void By_group_a_function_without_one_is_EPERM_IO_60()
    {
        var without = new Core.Cards.CardFunction(Core.Cards.Card.At(9)) { IommuGroup = null };
        host.Bus.Add(without);
        host.Bus.Scope = host.Bus.Scope! with { Affected = host.Bus.Scope.Affected.Add(without.Address) };

        Assert.Equal(Minus(Errno.EPERM), Info(host.OpenByGroup(host.LeftCore)).Returned);
    }

    [Fact]
    public void By_group_the_ids_are_groups_IO_61()
    {
        var (returned, head, ids) = Info(host.OpenByGroup(host.LeftCore));

        Assert.Equal((0, HotResetFlags.None, 2u), (returned, head.Flags, head.Count));
        Assert.Equal([Host.LeftGroup, Host.RightGroup], ids);
        var entry = host.User.Get<VfioPciDependentDevice>(UserSpace.Argument + 20);
        Assert.Equal(host.Right.Address, entry.Address);
    }

    [Fact]
    public void By_cdev_the_ids_are_those_of_the_iommufd_IO_61()
    {
        var iommufd = host.Iommufd();
        var left = host.OpenByCdev(host.LeftCore, iommufd);
        Assert.Equal([1, VfioPciDependentDevice.NotOwned], Info(left).Ids);
        Assert.Equal(HotResetFlags.DevId, Info(left).Head.Flags);

        host.OpenByCdev(host.RightCore, iommufd);

        Assert.Equal([1, 2], Info(left).Ids);
        Assert.Equal(HotResetFlags.DevId | HotResetFlags.DevIdOwned, Info(left).Head.Flags);
    }

    [Fact]
    public void By_cdev_a_device_that_is_not_bound_is_owned_with_its_group_IO_61_LC_54()
    {
        var shared = new HotResetFileTests(new Host(rightGroup: Host.LeftGroup));
        var left = shared.host.OpenByCdev(shared.host.LeftCore, shared.host.Iommufd());

        Assert.Equal([1, VfioPciDependentDevice.OwnedNotBound], shared.Info(left).Ids);
        Assert.Equal(HotResetFlags.DevId | HotResetFlags.DevIdOwned, shared.Info(left).Head.Flags);
        Assert.Equal(0, shared.Reset(left));
    }

    public HotResetFileTests()
    {
    }

    private HotResetFileTests(Host host) => this.host = host;

    // ---- PCI_HOT_RESET (IO-62) -------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_head_is_checked_first_IO_62()
    {
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.PciHotReset, new VfioPciHotReset(11, 0, 1)));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.PciHotReset, new VfioPciHotReset(16, 1, 1)));
    }

    [Fact]
    public void By_group_it_takes_groups_and_by_cdev_none_IO_62()
    {
        var device = host.OpenByGroup(host.LeftCore);
        Assert.Equal(Minus(Errno.EINVAL), Reset(device));

        var cdev = host.OpenByCdev(host.RightCore, host.Iommufd());
        Assert.Equal(Minus(Errno.EINVAL), Reset(cdev, 99));
        host.Bus.Scope = null;
        Assert.Equal(Minus(Errno.ENODEV), Reset(cdev));
        Assert.Equal(Minus(Errno.ENODEV), Reset(device, 99));
    }

    [Fact]
    public void The_count_is_checked_before_descriptors_are_read_and_all_are_read_before_one_is_looked_at_IO_62()
    {
        var device = host.OpenByGroup(host.LeftCore);
        const ulong End = UserSpace.Start + UserSpace.Bytes - 16;
        host.User.Put(End, new VfioPciHotReset(24, 0, uint.MaxValue));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(device, DeviceIoctls.PciHotReset, End));
        host.User.Put(End, new VfioPciHotReset(24, 0, 3));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(device, DeviceIoctls.PciHotReset, End));
        host.User.Put(End, new VfioPciHotReset(24, 0, 2));
        host.User.Put(End + 12, 99);
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(device, DeviceIoctls.PciHotReset, End));
        Assert.Equal(Minus(Errno.EBADF), Reset(device, 99, 99));
    }

    [Fact]
    public void A_bad_descriptor_is_EBADF_and_one_of_another_kind_EINVAL_IO_62()
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        var device = host.GetDeviceFd(group, host.LeftCore);

        Assert.Equal(Minus(Errno.EBADF), Reset(device, group, 99));
        Assert.Equal(Minus(Errno.EBADF), Reset(device, -1));
        Assert.Equal(Minus(Errno.EINVAL), Reset(device, group, device));
        Assert.Equal(Minus(Errno.EINVAL), Reset(device, group, host.User.AddOther()));
        Assert.Equal(0, host.Bus.HotResets);
    }

    [Theory]
    [InlineData(true, true, 0)]
    [InlineData(true, false, Errno.EINVAL)]
    [InlineData(false, true, Errno.EINVAL)]
    public void By_group_every_group_that_the_reset_touches_has_to_be_shown_LC_54_IO_62(bool left, bool right, Errno errno)
    {
        var group = host.ReadyGroup(Host.LeftGroup).Group;
        var device = host.GetDeviceFd(group, host.LeftCore);
        var other = host.Group(Host.RightGroup);
        int[] shown = [.. left ? [group] : Array.Empty<int>(), .. right ? [other] : Array.Empty<int>()];

        Assert.Equal(Minus(errno), Reset(device, shown));
        Assert.Equal(errno == Errno.None ? 1 : 0, host.Bus.HotResets);
        host.Healthy();
    }

    [Theory]
    [InlineData("the same iommufd", 0)]
    [InlineData("another iommufd", Errno.EINVAL)]
    [InlineData("not bound", Errno.EINVAL)]
    [InlineData("its group", Errno.EINVAL)]
    public void By_cdev_every_device_that_the_reset_touches_has_to_be_of_the_same_iommufd_LC_54_IO_62(string right, Errno errno)
    {
        var iommufd = host.Iommufd();
        var device = host.OpenByCdev(host.LeftCore, iommufd);
        _ = right switch
        {
            "the same iommufd" => host.OpenByCdev(host.RightCore, iommufd),
            "another iommufd" => host.OpenByCdev(host.RightCore, host.Iommufd()),
            "its group" => host.OpenByGroup(host.RightCore),
            _ => 0,
        };

        Assert.Equal(Minus(errno), Reset(device));
        Assert.Equal(errno == Errno.None ? 1 : 0, host.Bus.HotResets);
        host.Healthy();
    }

    [Fact]
    public void By_an_iommufd_as_container_a_device_is_still_reset_with_groups_IO_62()
    {
        var iommufd = host.Iommufd();
        int[] groups = [host.Group(Host.LeftGroup), host.Group(Host.RightGroup)];
        host.SetContainer(groups[0], iommufd);
        var device = host.GetDeviceFd(groups[0], host.LeftCore);

        Assert.Equal(0, Reset(device, groups));
        Assert.Equal([Host.LeftGroup, Host.RightGroup], Info(device).Ids);
    }

    [Fact]
    public void What_the_bus_says_comes_back_IO_62()
    {
        var iommufd = host.Iommufd();
        var device = host.OpenByCdev(host.LeftCore, iommufd);
        host.OpenByCdev(host.RightCore, iommufd);
        host.Bus.OnHotReset = Errno.EAGAIN;

        Assert.Equal(Minus(Errno.EAGAIN), Reset(device));
    }
}
