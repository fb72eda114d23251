using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>The kernel's own tests of VFIO (contract §8.1), with their bytes: what passes there passes here.</summary>
public sealed class SelftestTests
{
    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    /// <summary>The request as it lies in memory, little-endian; what is there after the call.</summary>
    private (int Returned, string Bytes) Ioctl(int fd, uint number, params ReadOnlySpan<uint> words)
    {
        var bytes = MemoryMarshal.AsBytes(words);
        bytes.CopyTo(host.User.Memory(UserSpace.Argument, bytes.Length));
        var returned = host.User.Ioctl(fd, number, UserSpace.Argument);
        return (returned, Convert.ToHexString(host.User.Memory(UserSpace.Argument, bytes.Length)));
    }

    private static string Words(params ReadOnlySpan<uint> words) => Convert.ToHexString(MemoryMarshal.AsBytes(words));

    // ---- iommufd_setup_test ----------------------------------------------------------------------------------------------------------

    [Fact]
    public void Iommufd_setup_bind_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());

        Assert.Equal((0, Words(16, 0, (uint)iommufd, 1)), Ioctl(cdev, 0x3b76, 16, 0, (uint)iommufd, 0));
        Assert.Equal((0, Words(24, 0x3, 9, 5, 0, 0)), Ioctl(cdev, 0x3b6b, 24, 0, 0, 0, 0, 0));
    }

    [Fact]
    public void Iommufd_setup_get_info_without_bind_fails_IO_2() =>
        Assert.Equal((Minus(Errno.EINVAL), Words(24, 0, 0, 0, 0, 0)), Ioctl(host.Cdev(host.LeftCore), 0x3b6b, 24, 0, 0, 0, 0, 0));

    [Fact]
    public void Iommufd_setup_bind_bad_iommufd_fails_IO_100() =>
        Assert.Equal((Minus(Errno.EINVAL), Words(16, 0, 0xfffffffe, 0)), Ioctl(host.Cdev(host.LeftCore), 0x3b76, 16, 0, 0xfffffffe, 0));

    [Fact]
    public void Iommufd_setup_repeated_bind_fails_IO_100()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        Assert.Equal(0, Ioctl(cdev, 0x3b76, 16, 0, (uint)iommufd, 0).Returned);

        Assert.Equal(Minus(Errno.EINVAL), Ioctl(cdev, 0x3b76, 16, 0, (uint)iommufd, 0).Returned);
    }

    [Fact]
    public void Iommufd_setup_attach_detach_pt_IO_101_IO_102()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        Ioctl(cdev, 0x3b76, 16, 0, (uint)iommufd, 0);
        Assert.Equal((0, Words(12, 0, 2)), Ioctl(iommufd, 0x3b81, 12, 0, 0));

        Assert.Equal((0, Words(12, 0, 3)), Ioctl(cdev, 0x3b77, 12, 0, 2));
        Assert.Equal((0, Words(8, 0)), Ioctl(cdev, 0x3b78, 8, 0));
    }

    [Fact]
    public void Iommufd_setup_attach_invalid_pt_fails_IO_101()
    {
        var (cdev, iommufd) = (host.Cdev(host.LeftCore), host.Iommufd());
        Ioctl(cdev, 0x3b76, 16, 0, (uint)iommufd, 0);

        Assert.Equal((Minus(Errno.ENOENT), Words(12, 0, uint.MaxValue)), Ioctl(cdev, 0x3b77, 12, 0, uint.MaxValue));
    }

    // ---- sriov_uapi_test: how the VF's token compares to the PF's --------------------------------------------------------------------

    private static readonly Guid Different = Guid.Parse("fedcba98-7654-3210-fedc-ba9876543210");

    private static Guid? Named(string token) => token switch
    {
        "same" => Host.Token,
        "different" => Different,
        _ => null,
    };

    private int Open(VfioPciCore device, int iommufd, string token) => Named(token) is { } uuid
        ? host.Bind(host.Cdev(device), iommufd, uuid)
        : host.Bind(host.Cdev(device), iommufd);

    /// <summary>A PF opened with the token, then one VF made.</summary>
    private (int Physical, int Iommufd, VfioPciCore Virtual) OpenPhysical()
    {
        var (cdev, iommufd) = (host.Cdev(host.PhysicalCore), host.Iommufd());
        Assert.Equal(0, host.Bind(cdev, iommufd, Host.Token));
        Assert.True(host.PhysicalCore.WriteNumVfs("1").IsOk);
        var card = host.Bus.Cards.Single(card => card.IsVirtual);
        return (cdev, iommufd, host.Devices.Register(card, options: Host.Options).Value);
    }

    [Theory]
    [InlineData("same", 0)]
    [InlineData("different", Errno.EACCES)]
    [InlineData("none", Errno.EACCES)]
    public void Sriov_uapi_init_token_match_LC_41(string token, Errno errno)
    {
        var (_, iommufd, vf) = OpenPhysical();

        Assert.Equal(Minus(errno), Open(vf, iommufd, token));
    }

    [Theory]
    [InlineData("same", 0)]
    [InlineData("different", Errno.EACCES)]
    [InlineData("none", Errno.EACCES)]
    public void Sriov_uapi_pf_early_close_LC_40(string token, Errno errno)
    {
        var (physical, iommufd, vf) = OpenPhysical();
        host.User.Close(physical);

        Assert.Equal(Minus(errno), Open(vf, iommufd, token));
    }

    [Theory]
    [InlineData("same", Errno.EACCES)]
    [InlineData("different", 0)]
    [InlineData("none", Errno.EACCES)]
    public void Sriov_uapi_override_token_LC_40(string token, Errno errno)
    {
        var (physical, iommufd, vf) = OpenPhysical();
        Assert.Equal(0, host.FeatureOf(physical, FeatureOps.Set, new Fabric.Vfio.Uapi.VfToken(Different)));

        Assert.Equal(Minus(errno), Open(vf, iommufd, token));
    }

    // ---- device_test, in each mode ---------------------------------------------------------------------------------------------------

    public static TheoryData<string> Modes => ["vfio_type1_iommu", "vfio_type1v2_iommu", "iommufd_compat_type1", "iommufd_compat_type1v2", "iommufd"];

    private int OpenIn(string mode)
    {
        switch (mode)
        {
            case "iommufd":
                var iommufd = host.Iommufd();
                var cdev = host.OpenByCdev(host.LeftCore, iommufd);
                Assert.Equal(0, host.Attach(cdev, host.Ioas(iommufd)));
                return cdev;
            case "vfio_type1_iommu" or "vfio_type1v2_iommu":
                return host.GetDeviceFd(host.ReadyGroup(Host.LeftGroup, mode.Contains("v2") ? 3u : 1).Group, host.LeftCore);
            default:
                var (group, compatible) = (host.Group(Host.LeftGroup), host.Iommufd());
                Assert.Equal(0, host.SetContainer(group, compatible));
                Assert.Equal(0, host.User.Ioctl(compatible, ContainerIoctls.SetIommu, mode.Contains("v2") ? 3u : 1));
                return host.GetDeviceFd(group, host.LeftCore);
        }
    }

    private ushort Config(int fd, int offset)
    {
        var bytes = new byte[2];
        Assert.Equal(2, host.User[fd].ReadAt((7UL << 40) + (ulong)offset, bytes).Value);
        return BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Device_config_space_read_write(string mode)
    {
        var device = OpenIn(mode);
        Assert.Equal((0x1b36, 0), (Config(device, ConfigOffset.VendorId), Config(device, ConfigOffset.Command) & 4));

        Assert.Equal(2, host.User[device].WriteAt((7UL << 40) + 4, [6, 0]).Value);
        Assert.Equal(4, Config(device, ConfigOffset.Command) & 4);

        host.User[device].WriteAt((7UL << 40) + 4, [2, 0]);
        Assert.Equal(0, Config(device, ConfigOffset.Command) & 4);
        host.Healthy();
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Device_validate_bars(string mode)
    {
        var device = OpenIn(mode);
        for (var bar = 0u; bar < 6; bar++)
        {
            var info = new VfioRegionInfo(32, 0, bar, 0, 0, 0);
            Assert.Equal(0, host.User.Ioctl(device, DeviceIoctls.GetRegionInfo, ref info));

            var mapped = host.User[device].Map(info.Offset, Math.Max(info.Size, 1));

            Assert.Equal((info.Flags & RegionFlags.Mmap) != 0, mapped.IsOk);
            Assert.True(info.Size > 0 || !mapped.IsOk);
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Device_reset(string mode)
    {
        var device = OpenIn(mode);
        Assert.Equal((0, Words(16, 0x3, 9, 5)), Ioctl(device, 0x3b6b, 16, 0, 0, 0));

        Assert.Equal(0, host.User.Ioctl(device, 0x3b6f));

        host.Left.OnReset = Errno.EAGAIN;
        Assert.Equal(Minus(Errno.EAGAIN), host.User.Ioctl(device, 0x3b6f));
    }

    /// <summary>On a function that has vectors to give: enable with eventfds, send each, see each once, disable.</summary>
    [Theory]
    [InlineData(IrqIndex.Msi)]
    [InlineData(IrqIndex.Msix)]
    public void Device_enable_trigger_disable(IrqIndex index)
    {
        var cdev = OpenInterrupting(new InterruptingFunction());
        var eventfds = Enumerable.Range(0, 4).Select(_ => host.User.AddEventfd()).ToArray();
        var counts = eventfds.Select(_ => new FakeTarget()).ToArray();
        foreach (var (eventfd, count) in eventfds.Zip(counts))
            eventfd.Eventfd.Subscribe(count);

        Assert.Equal(0, Ioctl(cdev, 0x3b6e, [36, 4 | 32, (uint)index, 0, 4, .. eventfds.Select(eventfd => (uint)eventfd.Fd)]).Returned);
        Assert.All(counts, count => Assert.Equal(0, count.Signals));
        for (var vector = 0u; vector < 4; vector++)
            Assert.Equal(0, Ioctl(cdev, 0x3b6e, 20, 1 | 32, (uint)index, vector, 1).Returned);
        Assert.All(counts, count => Assert.Equal(1, count.Signals));
        Assert.Equal(0, Ioctl(cdev, 0x3b6e, 20, 1 | 32, (uint)index, 0, 0).Returned);
        Assert.Equal(Minus(Errno.EINVAL), Ioctl(cdev, 0x3b6e, 20, 1 | 32, (uint)index, 0, 1).Returned);
    }

    [Fact]
    public void Fewer_vectors_than_asked_for_are_a_positive_return_IO_42()
    {
        var cdev = OpenInterrupting(new InterruptingFunction { Available = 2 });
        var fd = (uint)host.User.AddEventfd().Fd;

        Assert.Equal(2, Ioctl(cdev, 0x3b6e, 36, 4 | 32, 2, 0, 4, fd, fd, fd, fd).Returned);
        Assert.Equal(0, Ioctl(cdev, 0x3b6e, 28, 4 | 32, 2, 0, 2, fd, fd).Returned);
    }

    private int OpenInterrupting(InterruptingFunction function)
    {
        function.Put(ConfigOffset.Status, (ushort)PciStatus.CapabilitiesList);
        function.Put(ConfigOffset.CapabilitiesPointer, 0x40);
        function.Put(0x40, (0x60 << 8) | 0x05);
        function.Put(0x42, 2 << 1);
        function.Put(0x60, 0x11);
        function.Put(0x62, 3);
        var devices = new VfioPciDevices();
        var core = devices.Register(function, options: new CoreOptions(AllowNoIommu: true)).Value;
        var cdev = host.User.Add(new VfioFiles(devices).OpenCdev(core.Address).Value);
        Assert.Equal(0, host.Bind(cdev, host.Iommufd()));
        return cdev;
    }
}
