using System.Runtime.InteropServices;
using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>What devices reach: containers of type 1, and the address spaces of an iommufd.</summary>
public sealed class AddressSpaceTests
{
    private const DmaMapFlags ReadWrite = DmaMapFlags.Read | DmaMapFlags.Write;
    private const IoasMapFlags Fixed = IoasMapFlags.FixedIova | IoasMapFlags.Readable | IoasMapFlags.Writeable;

    private readonly Host host = new();

    private static int Minus(Errno errno) => -(int)errno;

    private int Map(int container, ulong iova, ulong size, DmaMapFlags flags = ReadWrite, ulong from = UserSpace.Start) =>
        host.User.IoctlOf(container, ContainerIoctls.IommuMapDma, new VfioIommuType1DmaMap(32, flags, from, iova, size));

    private (int Returned, ulong Size) Unmap(int container, ulong iova, ulong size, DmaUnmapFlags flags = DmaUnmapFlags.None)
    {
        var unmap = new VfioIommuType1DmaUnmap(24, flags, iova, size);
        return (host.User.Ioctl(container, ContainerIoctls.IommuUnmapDma, ref unmap), unmap.Size);
    }

    // ---- Containers ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_container_answers_what_needs_no_IOMMU_before_it_has_one()
    {
        var container = host.Container();

        Assert.Equal(0, host.User.Ioctl(container, ContainerIoctls.GetApiVersion));
        var extensions = Enumerable.Range(0, 11).Select(extension => host.User.Ioctl(container, ContainerIoctls.CheckExtension, (ulong)extension));
        Assert.Equal([0, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0], extensions);
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(container, ContainerIoctls.SetIommu, 1));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0, 0x1000));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(container, 0x1234));
    }

    [Fact]
    public void SET_IOMMU_is_done_once_and_with_a_type_that_there_is()
    {
        var (group, container) = (host.Group(Host.LeftGroup), host.Container());
        host.SetContainer(group, container);

        Assert.Equal(Minus(Errno.ENODEV), host.User.Ioctl(container, ContainerIoctls.SetIommu, 7));
        Assert.Equal(0, host.User.Ioctl(container, ContainerIoctls.SetIommu, 3));
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(container, ContainerIoctls.SetIommu, 3));
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(container, 0x1234));
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(container, ContainerIoctls.IommuEnable));
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(container, ContainerIoctls.EehPeOp));
    }

    [Fact]
    public void IOMMU_GET_INFO_has_its_page_sizes_and_a_chain_IO_4()
    {
        var container = host.ReadyGroup(Host.LeftGroup).Container;
        var info = new VfioIommuType1Info(15, 0, 0, 0, 0);
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(container, ContainerIoctls.IommuGetInfo, ref info));
        info = new VfioIommuType1Info(24, 0, 0, 0, 0);
        Assert.Equal(0, host.User.Ioctl(container, ContainerIoctls.IommuGetInfo, ref info));
        Assert.Equal(new VfioIommuType1Info(104, IommuInfoFlags.PageSizes | IommuInfoFlags.Caps, 0x4020_1000, 0, 0), info);

        Assert.Equal(0, host.User.Ioctl(container, ContainerIoctls.IommuGetInfo, ref info));

        var chain = InfoReply.DecodeCapabilities<VfioIommuType1Info>(host.User.Memory(UserSpace.Argument, 104)).Value;
        Assert.Equal([1, 3, 2], chain.Select(capability => (int)capability.Id));
        Assert.Equal(DmaMap.MaxMappings, MemoryMarshal.Read<int>(((RawCapability)chain[1]).Body.Span));
    }

    [Fact]
    public void MAP_DMA_is_refused_in_its_order()
    {
        var container = host.ReadyGroup(Host.LeftGroup).Container;

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(container, ContainerIoctls.IommuMapDma, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(
            container, ContainerIoctls.IommuMapDma, new VfioIommuType1DmaMap(31, ReadWrite, UserSpace.Start, 0, 0x1000)));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0, 0x1000, (DmaMapFlags)8));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), Map(container, 0, 0x1000, DmaMapFlags.Vaddr));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0, 0x1000, DmaMapFlags.None));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0, 0));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0x800, 0x1000));
        Assert.Equal(Minus(Errno.EINVAL), Map(container, 0, 0x1000, from: UserSpace.Start + 1));
        Assert.Equal(Minus(Errno.EOVERFLOW), Map(container, 0xffff_ffff_ffff_f000, 0x2000));
        Assert.Equal(Minus(Errno.EFAULT), Map(container, 0, 0x1000, from: UserSpace.Nowhere));
        Assert.Equal(0, Map(container, 0xffff_ffff_ffff_f000, 0x1000));
        Assert.Equal(Minus(Errno.EEXIST), Map(container, 0xffff_ffff_ffff_e000, 0x2000));
    }

    [Fact]
    public void UNMAP_DMA_tells_how_much_it_was_and_cuts_no_mapping_in_two()
    {
        var container = host.ReadyGroup(Host.LeftGroup).Container;
        Map(container, 0x10000, 0x2000);
        Map(container, 0x20000, 0x1000);

        Assert.Equal(Minus(Errno.EINVAL), Unmap(container, 0x11000, 0x1000).Returned);
        Assert.Equal(Minus(Errno.EINVAL), Unmap(container, 0x10000, 0x1000).Returned);
        Assert.Equal(Minus(Errno.EOVERFLOW), Unmap(container, 0xffff_ffff_ffff_f000, 0x2000).Returned);
        Assert.Equal(Minus(Errno.EINVAL), Unmap(container, 0, 0).Returned);
        Assert.Equal((0, 0x2000ul), Unmap(container, 0xf000, 0x8000));
        Assert.Equal((0, 0ul), Unmap(container, 0xf000, 0x8000));
        Assert.Equal(Minus(Errno.EINVAL), Unmap(container, 0, 0x1000, DmaUnmapFlags.All).Returned);
        Assert.Equal((0, 0x1000ul), Unmap(container, 0, 0, DmaUnmapFlags.All));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), Unmap(container, 0, 0x1000, DmaUnmapFlags.Vaddr).Returned);
    }

    [Fact]
    public void In_version_1_a_range_undoes_the_mappings_that_start_in_it()
    {
        var container = host.ReadyGroup(Host.LeftGroup, type: 1).Container;
        Map(container, 0x10000, 0x2000);

        Assert.Equal((0, 0ul), Unmap(container, 0x11000, 0x1000));
        Assert.Equal((0, 0x2000ul), Unmap(container, 0x10000, 0x1000));
        Assert.Equal(Minus(Errno.EACCES), host.User.IoctlOf(
            container, ContainerIoctls.IommuDirtyPages, new VfioIommuType1DirtyBitmap(8, DirtyPagesFlags.Start)));
    }

    [Fact]
    public void With_dirty_tracking_all_that_is_mapped_is_dirty_MG_44()
    {
        var container = host.ReadyGroup(Host.LeftGroup).Container;
        Map(container, 0x3000, 0x2000);
        Map(container, 0x9000, 0x1000);
        int Get(ulong size, ulong bitmapSize, ulong page = 0x1000)
        {
            var get = new VfioIommuType1DirtyBitmapGet(0, size, new VfioBitmap(page, bitmapSize, UserSpace.Start + 0x100));
            return host.User.IoctlOf(
                container,
                ContainerIoctls.IommuDirtyPages,
                new VfioIommuType1DirtyBitmap(48, DirtyPagesFlags.GetBitmap),
                MemoryMarshal.AsBytes(new ReadOnlySpan<VfioIommuType1DirtyBitmapGet>(in get)));
        }

        int Set(DirtyPagesFlags flags) => host.User.IoctlOf(container, ContainerIoctls.IommuDirtyPages, new VfioIommuType1DirtyBitmap(8, flags));
        Assert.Equal(Minus(Errno.EINVAL), Get(0x10000, 8));
        Assert.Equal(Minus(Errno.EINVAL), Set(DirtyPagesFlags.Start | DirtyPagesFlags.Stop));
        Assert.Equal(Minus(Errno.EINVAL), Set(DirtyPagesFlags.GetBitmap));
        Assert.Equal(0, Set(DirtyPagesFlags.Start));

        Assert.Equal(Minus(Errno.EINVAL), Get(0x10000, 7));
        Assert.Equal(Minus(Errno.EINVAL), Get(0x10000, 8, page: 0x2000));
        Assert.Equal(Minus(Errno.EINVAL), Get(0x4000, 8));
        Assert.Equal(0, Get(0x10000, 8));

        Assert.Equal(0b10_0001_1000ul, host.User.Get<ulong>(UserSpace.Start + 0x100));
        Assert.Equal(0, Set(DirtyPagesFlags.Stop));
        Assert.Equal(Minus(Errno.EINVAL), Get(0x10000, 8));
    }

    [Fact]
    public void UNMAP_DMA_reports_the_last_dirt_of_what_it_undoes_MG_44()
    {
        var container = host.ReadyGroup(Host.LeftGroup).Container;
        Map(container, 0x3000, 0x2000);
        host.User.IoctlOf(container, ContainerIoctls.IommuDirtyPages, new VfioIommuType1DirtyBitmap(8, DirtyPagesFlags.Start));
        var bitmap = new VfioBitmap(0x1000, 8, UserSpace.Start + 0x100);
        var tail = MemoryMarshal.AsBytes(new ReadOnlySpan<VfioBitmap>(in bitmap));
        var unmap = new VfioIommuType1DmaUnmap(24, DmaUnmapFlags.GetDirtyBitmap, 0x2000, 0x4000);
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(container, ContainerIoctls.IommuUnmapDma, unmap, tail));

        Assert.Equal(0, host.User.IoctlOf(container, ContainerIoctls.IommuUnmapDma, unmap with { Argsz = 48 }, tail));

        Assert.Equal(0b110ul, host.User.Get<ulong>(UserSpace.Start + 0x100));
        Assert.Equal((0, 0ul), Unmap(container, 0x3000, 0x2000));
    }

    [Fact]
    public void Mappings_end_with_the_last_group_and_are_shared_by_groups_until_then()
    {
        var (left, container) = host.ReadyGroup(Host.LeftGroup);
        var right = host.Group(Host.RightGroup);
        Assert.Equal(0, host.SetContainer(right, container));
        Map(container, 0x1000, 0x1000, DmaMapFlags.Read);
        host.GetDeviceFd(left, host.LeftCore);
        var device = host.GetDeviceFd(right, host.RightCore);
        var dma = host.Right.Dma!;
        Assert.True(dma.TryRead(0x1000, new byte[1]) && !dma.TryWrite(0x1000, new byte[1]));

        host.User.Close(device);
        host.User.Close(right);
        Assert.True(host.Left.Dma!.TryRead(0x1000, new byte[1]));
        foreach (var file in host.User.Files.ToArray())
            file.Close();

        Assert.False(dma.TryRead(0x1000, new byte[1]));
        Assert.Equal(OpenKind.None, host.Files.GroupOf(Host.LeftGroup).Kind);
        Assert.False(host.Files.GroupOf(Host.LeftGroup).IsClaimed);
    }

    // ---- An iommufd ------------------------------------------------------------------------------------------------------------------

    private int MapIoas(int iommufd, IommuIoasMap map) => host.User.IoctlOf(iommufd, IommufdIoctls.IoasMap, map);

    [Fact]
    public void IOAS_MAP_is_refused_in_its_order()
    {
        var iommufd = host.Iommufd();
        var good = new IommuIoasMap(40, Fixed, host.Ioas(iommufd), 0, UserSpace.Start, 0x1000, 0x1000);

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(iommufd, IommufdIoctls.IoasMap, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), MapIoas(iommufd, good with { Size = 39 }));
        Assert.Equal(Minus(Errno.E2BIG), host.User.IoctlOf(iommufd, IommufdIoctls.IoasMap, good with { Size = 44 }, 0, 0, 0, 1));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), MapIoas(iommufd, good with { Reserved = 1 }));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), MapIoas(iommufd, good with { Flags = (IoasMapFlags)8 }));
        Assert.Equal(Minus(Errno.EOVERFLOW), MapIoas(iommufd, good with { Length = ulong.MaxValue }));
        Assert.Equal(Minus(Errno.EINVAL), MapIoas(iommufd, good with { Flags = IoasMapFlags.FixedIova }));
        Assert.Equal(Minus(Errno.ENOENT), MapIoas(iommufd, good with { IoasId = 9 }));
        Assert.Equal(Minus(Errno.EINVAL), MapIoas(iommufd, good with { Length = 0 }));
        Assert.Equal(Minus(Errno.EINVAL), MapIoas(iommufd, good with { Iova = 1 }));
        Assert.Equal(Minus(Errno.EOVERFLOW), MapIoas(iommufd, good with { Iova = 0xffff_ffff_ffff_f000, Length = 0x2000 }));
        Assert.Equal(Minus(Errno.EFAULT), MapIoas(iommufd, good with { UserVa = UserSpace.Nowhere }));
        Assert.Equal(Minus(Errno.EOVERFLOW), MapIoas(iommufd, good with { UserVa = 0xffff_ffff_ffff_f000, Length = 0x2000 }));
        Assert.Equal(0, MapIoas(iommufd, good));
        Assert.Equal(Minus(Errno.EEXIST), MapIoas(iommufd, good));
    }

    [Fact]
    public void Without_a_fixed_IOVA_the_lowest_free_one_is_chosen_and_written_back()
    {
        var iommufd = host.Iommufd();
        var ioas = host.Ioas(iommufd);
        host.MapIoas(iommufd, ioas, 0x1000);
        var map = new IommuIoasMap(40, IoasMapFlags.Readable, ioas, 0, UserSpace.Start, 0x2000, 0x77);

        Assert.Equal(0, host.User.Ioctl(iommufd, IommufdIoctls.IoasMap, ref map));

        Assert.Equal(0x2000ul, map.Iova);
    }

    [Fact]
    public void IOAS_UNMAP_undoes_whole_mappings_and_tells_how_much()
    {
        var iommufd = host.Iommufd();
        var ioas = host.Ioas(iommufd);
        host.MapIoas(iommufd, ioas, 0x1000, 0x2000);
        host.MapIoas(iommufd, ioas, 0x8000);
        (int, ulong) Undo(ulong iova, ulong length)
        {
            var unmap = new IommuIoasUnmap(24, ioas, iova, length);
            return (host.User.Ioctl(iommufd, IommufdIoctls.IoasUnmap, ref unmap), unmap.Length);
        }

        Assert.Equal(Minus(Errno.ENOENT), host.User.IoctlOf(iommufd, IommufdIoctls.IoasUnmap, new IommuIoasUnmap(24, 9, 0, 0x1000)));
        Assert.Equal(Minus(Errno.ENOENT), Undo(0x1000, 0x1000).Item1);
        Assert.Equal(Minus(Errno.ENOENT), Undo(0x2000, 0x1000).Item1);
        Assert.Equal(Minus(Errno.ENOENT), Undo(0x4000, 0x1000).Item1);
        Assert.Equal(Minus(Errno.EINVAL), Undo(0x1000, 0).Item1);
        Assert.Equal(Minus(Errno.EOVERFLOW), Undo(0x1000, ulong.MaxValue).Item1);
        Assert.Equal(Minus(Errno.EOVERFLOW), Undo(0x2000, 0xffff_ffff_ffff_f000).Item1);
        Assert.Equal((0, 0x2000ul), Undo(0x1000, 0x2000));
        Assert.Equal((0, 0x1000ul), Undo(0, ulong.MaxValue));
        Assert.Equal((0, 0ul), Undo(0, ulong.MaxValue));
    }

    [Fact]
    public void IOAS_COPY_shares_what_is_mapped_and_gives_no_more_rights_than_it_had()
    {
        var iommufd = host.Iommufd();
        var cdev = host.OpenByCdev(host.LeftCore, iommufd);
        var (from, to) = (host.Ioas(iommufd), host.Ioas(iommufd));
        MapIoas(iommufd, new IommuIoasMap(40, Fixed, from, 0, UserSpace.Start, 0x2000, 0x1000));
        MapIoas(iommufd, new IommuIoasMap(40, IoasMapFlags.FixedIova | IoasMapFlags.Readable, from, 0, UserSpace.Start, 0x1000, 0x3000));
        var copy = new IommuIoasCopy(40, Fixed, to, from, 0x1000, 0x9000, 0x2000);
        int Copy(IommuIoasCopy request) => host.User.IoctlOf(iommufd, IommufdIoctls.IoasCopy, request);

        Assert.Equal(Minus(Errno.ENOENT), Copy(copy with { SrcIova = 0x8000 }));
        Assert.Equal(Minus(Errno.ENOENT), Copy(copy with { Length = 0x3000 }));
        Assert.Equal(Minus(Errno.EPERM), Copy(copy with { Length = 0x2000 }));
        Assert.Equal(Minus(Errno.EINVAL), Copy(copy with { Length = 0 }));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), Copy(copy with { Flags = (IoasMapFlags)16 }));
        Assert.Equal(0, Copy(copy));
        Assert.Equal(Minus(Errno.EEXIST), Copy(copy));
        Assert.Equal(0, Copy(copy with { Flags = IoasMapFlags.FixedIova | IoasMapFlags.Readable, DstIova = 0x20000, Length = 0x2000 }));

        host.Attach(cdev, to);
        Assert.True(host.Left.Dma!.TryWrite(0x9010, [0x5a]));
        Assert.Equal(0x5a, host.User.Get<byte>(UserSpace.Start + 0x1010));
        Assert.False(host.Left.Dma!.TryWrite(0x21000, [1]));
    }

    [Fact]
    public void IOVA_RANGES_tells_of_one_range_and_of_how_many_there_are()
    {
        var iommufd = host.Iommufd();
        var ranges = new IommuIoasIovaRanges(32, host.Ioas(iommufd), 0, 0, UserSpace.Start, 0);
        Assert.Equal(Minus(Errno.EMSGSIZE), host.User.Ioctl(iommufd, IommufdIoctls.IoasIovaRanges, ref ranges));
        Assert.Equal((1u, 4096ul), (ranges.NumIovas, ranges.OutIovaAlignment));

        Assert.Equal(0, host.User.Ioctl(iommufd, IommufdIoctls.IoasIovaRanges, ref ranges));

        Assert.Equal((0ul, ulong.MaxValue), host.User.Get<(ulong, ulong)>(UserSpace.Start));
        Assert.Equal(Minus(Errno.ENOENT), host.User.IoctlOf(iommufd, IommufdIoctls.IoasIovaRanges, ranges with { IoasId = 9 }));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(iommufd, IommufdIoctls.IoasIovaRanges, ranges with { Reserved = 9 }));
        Assert.Equal(Minus(Errno.EFAULT), host.User.IoctlOf(iommufd, IommufdIoctls.IoasIovaRanges, ranges with { AllowedIovas = UserSpace.Nowhere }));
    }

    [Fact]
    public void Objects_are_destroyed_by_id_and_ids_are_used_again()
    {
        var iommufd = host.Iommufd();
        uint[] ids = [host.Ioas(iommufd), host.Ioas(iommufd), host.Ioas(iommufd)];
        Assert.Equal([1, 2, 3], ids);
        int Destroy(uint id) => host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, id));

        Assert.Equal(Minus(Errno.ENOENT), Destroy(0));
        Assert.Equal(0, Destroy(2));
        Assert.Equal(Minus(Errno.ENOENT), Destroy(2));
        Assert.Equal(2u, host.Ioas(iommufd));
        host.OpenByCdev(host.LeftCore, iommufd);
        Assert.Equal(Minus(Errno.EBUSY), Destroy(4));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(iommufd, IommufdIoctls.IoasAlloc, new IommuIoasAlloc(12, 1, 0)));
    }

    public static TheoryData<uint> Refused =>
    [
        IommufdIoctls.IoasAllowIovas, IommufdIoctls.Option, IommufdIoctls.HwptAlloc, IommufdIoctls.GetHwInfo,
        IommufdIoctls.HwptSetDirtyTracking, IommufdIoctls.HwptGetDirtyBitmap, IommufdIoctls.HwptInvalidate, IommufdIoctls.FaultQueueAlloc,
        IommufdIoctls.ViommuAlloc, IommufdIoctls.VdeviceAlloc, IommufdIoctls.IoasChangeProcess, IommufdIoctls.VeventqAlloc,
        IommufdIoctls.HwQueueAlloc, IommufdIoctls.IoasNoiommuGetPa,
    ];

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_an_iommufd_has_no_behaviour_for_is_EOPNOTSUPP_once_its_bytes_are_right(uint number)
    {
        var iommufd = host.Iommufd();
        var row = IoctlTable.Find(FdKind.Iommufd, number)!;

        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(iommufd, number, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(iommufd, number, row.MinSize - 1));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(iommufd, number, row.Size));
    }

    [Fact]
    public void An_unknown_number_on_an_iommufd_is_ENOTTY_IO_2()
    {
        var iommufd = host.Iommufd();

        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(iommufd, 0x3b96));
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(iommufd, ContainerIoctls.IommuDirtyPages));
    }

    [Fact]
    public void VFIOs_own_requests_need_the_address_space_that_they_mean()
    {
        var iommufd = host.Iommufd();
        Assert.Equal(0, host.User.Ioctl(iommufd, ContainerIoctls.GetApiVersion));
        Assert.Equal(1, host.User.Ioctl(iommufd, ContainerIoctls.CheckExtension, 3));
        Assert.Equal(Minus(Errno.ENODEV), host.User.Ioctl(iommufd, ContainerIoctls.SetIommu, 1));
        Assert.Equal(Minus(Errno.ENODEV), Map(iommufd, 0, 0x1000));
        var request = new IommuVfioIoas(12, host.Ioas(iommufd), 0, 0);
        Assert.Equal(Minus(Errno.ENODEV), host.User.IoctlOf(iommufd, IommufdIoctls.VfioIoas, request));
        Assert.Equal(Minus(Errno.ENOENT), host.User.IoctlOf(iommufd, IommufdIoctls.VfioIoas, request with { Op = 1, IoasId = 9 }));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.User.IoctlOf(iommufd, IommufdIoctls.VfioIoas, request with { Op = 3 }));

        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.VfioIoas, request with { Op = 1 }));

        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(iommufd, ContainerIoctls.SetIommu, 2));
        Assert.Equal(0, host.User.Ioctl(iommufd, ContainerIoctls.SetIommu, 3));
        Assert.Equal(0, Map(iommufd, 0, 0x1000));
        Assert.Equal((0, 0x1000ul), Unmap(iommufd, 0, 0x1000));
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.VfioIoas, request with { Op = 2 }));
        Assert.Equal(Minus(Errno.ENODEV), Map(iommufd, 0, 0x1000));
    }

    // ---- Device memory as a target (IO-93) -------------------------------------------------------------------------------------------

    private int Export(int device, params ReadOnlySpan<VfioRegionDmaRange> ranges)
    {
        MemoryMarshal.AsBytes(ranges).CopyTo(host.User.Memory(UserSpace.Argument + 24, ranges.Length * 16));
        var fd = host.FeatureOf(device, FeatureOps.Get, new VfioDeviceFeatureDmaBuf(0, 0, 0, (uint)ranges.Length));
        Assert.True(fd >= 0, $"DMA_BUF returned {fd}.");
        return fd;
    }

    private int MapFile(int iommufd, uint ioas, int fd, ulong start = 0, ulong length = 0x1000, ulong iova = 0x5000) =>
        host.User.IoctlOf(iommufd, IommufdIoctls.IoasMapFile, new IommuIoasMapFile(40, Fixed, ioas, fd, start, length, iova));

    [Fact]
    public void An_iommufd_maps_a_buffer_of_exactly_one_range_IO_93()
    {
        var iommufd = host.Iommufd();
        var (left, right) = (host.OpenByCdev(host.LeftCore, iommufd), host.OpenByCdev(host.RightCore, iommufd));
        var ioas = host.Ioas(iommufd);
        host.Attach(right, ioas);

        var two = Export(left, new VfioRegionDmaRange(0, 0x1000), new VfioRegionDmaRange(0x1000, 0x1000));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), MapFile(iommufd, ioas, two));
        var one = Export(left, new VfioRegionDmaRange(0x1000, 0x1000));
        Assert.Equal(Minus(Errno.EINVAL), MapFile(iommufd, ioas, one, length: 0x2000));
        Assert.Equal(Minus(Errno.EINVAL), MapFile(iommufd, ioas, one, start: 0x1000));
        Assert.Equal(Minus(Errno.EBADF), MapFile(iommufd, ioas, 99));
        Assert.Equal(Minus(Errno.EINVAL), MapFile(iommufd, ioas, left));
        Assert.Equal(0, MapFile(iommufd, ioas, one));
        Assert.Equal(Minus(Errno.EEXIST), MapFile(iommufd, ioas, one));

        Assert.True(host.Right.Dma!.TryWrite(0x5008, [0x77]));
        Assert.Equal(0x77, host.Left.Memory(0, 0x1008));
        host.Healthy();
    }

    [Fact]
    public void A_buffer_that_was_revoked_is_reached_no_more_until_it_is_mapped_anew_IO_93()
    {
        var iommufd = host.Iommufd();
        var (left, right) = (host.OpenByCdev(host.LeftCore, iommufd), host.OpenByCdev(host.RightCore, iommufd));
        var ioas = host.Ioas(iommufd);
        host.Attach(right, ioas);
        var buffer = Export(left, new VfioRegionDmaRange(0, 0x1000));
        MapFile(iommufd, ioas, buffer);
        var dma = host.Right.Dma!;
        Assert.True(dma.TryRead(0x5000, new byte[1]));

        host.User[left].WriteAt((7UL << 40) + 4, [0, 0]);
        Assert.False(dma.TryRead(0x5000, new byte[1]));
        Assert.Equal(Minus(Errno.ENODEV), MapFile(iommufd, ioas, buffer, iova: 0x9000));
        host.User[left].WriteAt((7UL << 40) + 4, [2, 0]);
        Assert.False(dma.TryRead(0x5000, new byte[1]));

        Assert.Equal(0, MapFile(iommufd, ioas, buffer, iova: 0x9000));
        Assert.True(dma.TryRead(0x9000, new byte[1]));
        host.Healthy();
    }

    [Fact]
    public void A_mapped_buffer_holds_its_device_until_every_mapping_and_copy_of_it_is_gone_IO_92_IO_93()
    {
        var iommufd = host.Iommufd();
        var left = host.OpenByCdev(host.LeftCore, iommufd);
        var (first, second) = (host.Ioas(iommufd), host.Ioas(iommufd));
        var buffer = Export(left, new VfioRegionDmaRange(0, 0x1000));
        MapFile(iommufd, first, buffer);
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.IoasCopy, new IommuIoasCopy(40, Fixed, second, first, 0x1000, 0x9000, 0x5000)));
        host.User.Close(buffer);
        Assert.Equal(3, host.LeftCore.References);
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.IoasUnmap, new IommuIoasUnmap(24, first, 0x5000, 0x1000)));
        Assert.Equal(3, host.LeftCore.References);

        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.Destroy, new IommuDestroy(8, second)));

        Assert.Equal(2, host.LeftCore.References);
    }

    /// <summary>DMA that would wait for a reset may be what the reset waits for: it fails instead.</summary>
    [Fact]
    public void An_access_at_once_does_not_wait_for_who_has_memory_alone()
    {
        var gate = new MemoryGate();
        Assert.True(gate.TryEnterAtOnce(MemoryBlocks.None));
        gate.Leave();
        gate.Lock();
        Assert.False(new OtherThread<bool>(() => gate.TryEnterAtOnce(MemoryBlocks.None)).Result);
        gate.Unlock();
        gate.Block(MemoryBlocks.Decode);

        Assert.False(gate.TryEnterAtOnce(MemoryBlocks.None));
        Assert.True(gate.TryEnterAtOnce(MemoryBlocks.Decode));
        gate.Leave();
    }

    [Fact]
    public void DMA_to_a_device_that_is_being_reset_fails_IO_93()
    {
        var iommufd = host.Iommufd();
        var (left, right) = (host.OpenByCdev(host.LeftCore, iommufd), host.OpenByCdev(host.RightCore, iommufd));
        var ioas = host.Ioas(iommufd);
        host.Attach(right, ioas);
        MapFile(iommufd, ioas, Export(left, new VfioRegionDmaRange(0, 0x1000)));
        var reached = new List<bool>();
        host.Left.DuringReset = () => reached.Add(new OtherThread<bool>(() => host.Right.Dma!.TryRead(0x5000, new byte[1])).Result);

        Assert.Equal(0, host.User.Ioctl(left, DeviceIoctls.Reset));

        Assert.Equal([false], reached);
    }

    [Fact]
    public void A_copy_of_device_memory_reaches_the_same_bytes()
    {
        var iommufd = host.Iommufd();
        var (left, right) = (host.OpenByCdev(host.LeftCore, iommufd), host.OpenByCdev(host.RightCore, iommufd));
        var (first, second) = (host.Ioas(iommufd), host.Ioas(iommufd));
        Assert.Equal(0, MapFile(iommufd, first, Export(left, new VfioRegionDmaRange(0, 0x2000)), length: 0x2000));
        Assert.Equal(0, host.User.IoctlOf(iommufd, IommufdIoctls.IoasCopy, new IommuIoasCopy(40, Fixed, second, first, 0x1000, 0x9000, 0x6000)));
        host.Attach(right, second);

        Assert.True(host.Right.Dma!.TryWrite(0x9000, [0x42]));

        Assert.Equal(0x42, host.Left.Memory(CardFunction.MemoryBar, 0x1000));
    }
}
