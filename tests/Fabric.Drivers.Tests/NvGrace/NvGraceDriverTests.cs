using System.Buffers.Binary;
using Akka.TestKit.Xunit;
using CsCheck;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.NvGrace;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.NvGrace;
using Fabric.Hardware.Specs.NvGrace;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.NvGrace;

/// <summary>Memory beside PCI shown as BARs: what of it there is, its registers, and when it may be touched (contract §7.3).</summary>
public sealed class NvGraceDriverTests() : TestKit(
    """
    akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }
    akka.scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit"
    """)
{
    private const int Usable = NvGraceBar.Usable;
    private const int Reserved = NvGraceBar.Reserved;
    private const ulong MiB = 1 << 20;
    private const ulong GiB = 1 << 30;

    [Fact]
    public void It_is_chosen_by_the_ids_of_the_kernels_table()
    {
        var catalog = new DriverCatalog([.. NvGraceDriver.Registrations]);
        Assert.All(new ushort[] { 0x2342, 0x2345, 0x2348, 0x2941, 0x31c2 }, device => Assert.NotNull(catalog.For(new PciIds(0x10de, device))));
        Assert.Null(catalog.For(new PciIds(0x10de, 0x2343)));
    }

    // ---- Which BARs there are (VD-NVG-1, VD-NVG-2) -----------------------------------------------------------------------------------

    [Theory]
    [InlineData(EmulatedModels.GraceHopper, Usable, 4 * GiB, 2560 * MiB)]
    [InlineData(EmulatedModels.GraceHopper, Reserved, 2 * GiB, 1280 * MiB)]
    [InlineData(EmulatedModels.GraceBlackwell, Usable, 4 * GiB, 3 * GiB)]
    public async Task A_BAR_is_the_next_power_of_two_and_its_sparse_mapping_the_real_part_VD_NVG_1_VD_NVG_2(
        string model, int bar, ulong size, ulong real)
    {
        using var lab = await NvGraceLab.OpenAsync(Sys, TestActor, model);
        var info = await lab.InfoAsync(bar);
        Assert.Equal((RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap, size, (ulong)bar << 40), (info.Flags, info.Size, info.Offset));
        Assert.Equal([new RegionArea(0, real)], Assert.IsType<RegionCapability.SparseMmap>(Assert.Single(info.Caps)).Areas);
        Assert.Equal(0ul, (await lab.InfoAsync(bar + 1)).Size);
    }

    [Fact]
    public async Task A_GPU_without_the_erratum_has_no_reserved_memory_VD_NVG_1()
    {
        using var lab = await NvGraceLab.OpenAsync(Sys, TestActor, EmulatedModels.GraceBlackwell);
        Assert.Equal((0ul, 0u), ((await lab.InfoAsync(Reserved)).Size, await ConfigAsync(lab, ConfigOffset.Bar0 + (4 * Reserved))));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1400 * MiB)]
    public async Task Without_memory_that_firmware_describes_or_enough_of_it_everything_is_the_cores_VD_NVG_1(ulong memory)
    {
        using var lab = await NvGraceLab.OpenAsync(Sys, TestActor, memory);
        Assert.Equal((0ul, 0ul), ((await lab.InfoAsync(Usable)).Size, (await lab.InfoAsync(Reserved)).Size));
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReadAsync(Usable, 0, 4)).Error.Errno);
        Assert.Equal(0u, await ConfigAsync(lab, ConfigOffset.Bar0 + (4 * Usable)));
        Assert.Equal(Errno.ENODEV, await lab.RefusedAsync(IoEvent(lab, NvGraceRegister.Bar)));
    }

    [Fact]
    public async Task The_reserved_memory_is_what_comes_behind_the_usable_VD_NVG_1()
    {
        using var lab = await OpenReadyAsync();
        await lab.WriteAsync(Usable, (2560 * MiB) - 4, 1, 2, 3, 4);
        await lab.WriteAsync(Reserved, 0, 5, 6, 7, 8);
        var memory = new byte[8];
        var all = lab.Gpu.Platform.MapMemory(NvGraceFunction.MemoryBase, 3840 * MiB).Value;
        Assert.True(all.Read((2560 * MiB) - 4, memory).IsOk);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], memory);
    }

    [Fact]
    public async Task Past_the_real_memory_reads_give_ones_and_writes_are_dropped_and_past_the_BAR_is_EINVAL_VD_NVG_2()
    {
        using var lab = await OpenReadyAsync();
        const ulong end = 2560 * MiB;
        await lab.WriteAsync(Usable, end - 2, 1, 2, 3, 4);
        Assert.Equal([1, 2, 0xff, 0xff], await lab.ReadAsync(Usable, end - 2, 4));
        Assert.Equal([0xff, 0xff], await lab.ReadAsync(Usable, end, 2));
        await lab.WriteAsync(Usable, end, 9);
        Assert.Equal([0, 0], await lab.ReadAsync(Reserved, 0, 2));
        Assert.Equal(2, (await lab.ReadAsync(Usable, (4 * GiB) - 2, 8)).Length);
        var written = await lab.AskAsync(new WriteRegion(lab.Client.Session, Usable, (4 * GiB) - 2, new byte[8]));
        Assert.Equal(2, Assert.IsType<RegionWritten>(written).Length);
        Assert.Equal((Errno.EINVAL, Errno.EINVAL), (
            (await lab.Client.ReadAsync(Usable, 4 * GiB, 1)).Error.Errno,
            (await lab.Client.WriteAsync(Usable, ulong.MaxValue, new byte[1])).Error.Errno));
    }

    [Fact]
    public async Task A_transfer_of_nothing_is_nothing_and_one_that_is_too_long_EINVAL()
    {
        using var lab = await OpenReadyAsync();
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReadAsync(Usable, 0, DeviceLimits.MaxTransfer + 1)).Error.Errno);
        Assert.Equal(DeviceLimits.MaxTransfer, (await lab.ReadAsync(Usable, 0, DeviceLimits.MaxTransfer)).Length);
    }

    // ---- Mappings --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_mapping_is_of_the_real_part_and_reaches_what_reads_reach_VD_NVG_2()
    {
        using var lab = await OpenReadyAsync();
        var mapping = (await lab.Client.MapAsync(Usable)).Value;
        Assert.Equal(2560 * MiB, mapping.Length);
        Assert.True(mapping.Write(GiB, [1, 2, 3]).IsOk);
        Assert.Equal([1, 2, 3], await lab.ReadAsync(Usable, GiB, 3));
        Assert.Equal(Errno.EFAULT, mapping.Read((2560 * MiB) - 1, new byte[2]).Error.Errno);
        lab.FailDriver();
        await lab.ReadAsync(Usable, GiB, 3);
        Assert.True(mapping.Read(GiB, new byte[3]).IsOk);
    }

    [Fact]
    public async Task A_mapping_is_EIO_while_the_memory_is_not_ready_or_off_and_ENODEV_after_its_session_VD_NVG_4_INV_1_INV_3()
    {
        using var lab = await OpenReadyAsync();
        var mapping = (await lab.Client.MapAsync(Usable)).Value;
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(Errno.EIO, mapping.Read(0, new byte[1]).Error.Errno);
        await lab.PassAsync(5);
        Assert.True(mapping.Read(0, new byte[1]).IsOk);
        await lab.WriteAsync(RegionIndex.Config, ConfigOffset.Command, 0, 0);
        Assert.Equal(Errno.EIO, mapping.Write(0, new byte[1]).Error.Errno);
        await lab.TurnOnAsync();
        Assert.True(mapping.Write(0, new byte[1]).IsOk);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        Assert.Equal((Errno.ENODEV, 0), (mapping.Read(0, new byte[1]).Error.Errno, lab.Gpu.EarlyAccesses));
    }

    // ---- Registers (VD-NVG-3) --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_fake_BAR_sizes_as_64_bits_prefetchable_and_RESET_clears_it_VD_NVG_3()
    {
        using var lab = await OpenReadyAsync();
        const int at = ConfigOffset.Bar0 + (4 * Usable);
        await lab.WriteAsync(RegionIndex.Config, at, 0xff, 0xff, 0xff, 0xff);
        await lab.WriteAsync(RegionIndex.Config, at + 4, 0xff, 0xff, 0xff, 0xff);
        Assert.Equal((0xcu, uint.MaxValue), (await ConfigAsync(lab, at), await ConfigAsync(lab, at + 4)));
        await lab.WriteAsync(RegionIndex.Config, at, 0, 0, 0, 0x40, 0x10, 0, 0, 0);
        Assert.Equal((0xcu, 0x10u), (await ConfigAsync(lab, at), await ConfigAsync(lab, at + 4)));
        Assert.Equal((0xcu, 0u), (await ConfigAsync(lab, at - 8), await ConfigAsync(lab, at - 4)));
        lab.FailDriver();
        Assert.Equal(0x10u, await ConfigAsync(lab, at + 4));
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((0xcu, 0u), (await ConfigAsync(lab, at), await ConfigAsync(lab, at + 4)));
    }

    [Fact]
    public async Task The_next_holder_finds_a_fake_BAR_as_at_first_VD_NVG_3()
    {
        using var lab = await OpenReadyAsync();
        await lab.WriteAsync(RegionIndex.Config, ConfigOffset.Bar0 + (4 * Usable) + 4, 0x10);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        await lab.ReopenAsync(TestActor);
        Assert.Equal(0u, await ConfigAsync(lab, ConfigOffset.Bar0 + (4 * Usable) + 4));
    }

    /// <summary>However accesses are cut, each byte is what it is in one of the whole register.</summary>
    [Fact]
    public void Any_access_to_a_part_of_its_register_is_that_part_VD_NVG_3() =>
        Gen.Select(Gen.Int[0, 80], Gen.Byte.Array[1, 40], Gen.Int[0, 80], Gen.Int[1, 40]).Sample((at, written, from, length) =>
        {
            var bar = new FakeBar(Usable, 0, 3 * MiB);
            var raw = new byte[128];
            bar.Take((ulong)at, written);
            written.CopyTo(raw, at);
            var value = (BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(0x20)) & ~((4 * MiB) - 1)) | 0xc;
            var expected = new byte[128];
            BinaryPrimitives.WriteUInt64LittleEndian(expected.AsSpan(0x20), value);
            var answered = new byte[length];
            bar.Show((ulong)from, answered);
            Assert.Equal(expected[from..(from + length)], answered);
        });

    [Theory]
    [InlineData(Usable)]
    [InlineData(NvGraceRegister.Bar)]
    public async Task It_takes_no_ioeventfd_VD_NVG_3(int bar)
    {
        using var lab = await OpenReadyAsync();
        Assert.Equal(Errno.ENOTTY, await lab.RefusedAsync(IoEvent(lab, bar)));
    }

    // ---- Readiness (VD-NVG-4) --------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("read")]
    [InlineData("write")]
    [InlineData("map")]
    public async Task The_first_touch_after_a_reset_waits_until_the_memory_is_ready_VD_NVG_4(string touch)
    {
        using var lab = await OpenReadyAsync();
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        var touching = lab.AskAsync(touch switch
        {
            "read" => new ReadRegion(lab.Client.Session, Usable, 0, 4),
            "write" => new WriteRegion(lab.Client.Session, Usable, 0, new byte[4]),
            _ => new MapRegion(lab.Client.Session, Usable),
        });
        var after = lab.AskAsync(new GetRegionInfo(lab.Client.Session, 0));
        await lab.PassAsync(4);
        Assert.False(touching.IsCompleted || after.IsCompleted);
        await lab.PassAsync(1);
        Assert.IsNotType<DeviceFailed>(await touching);
        Assert.IsType<RegionInfoRead>(await after);
        Assert.Equal(0, lab.Gpu.EarlyAccesses);
    }

    [Fact]
    public async Task A_reset_waits_for_nothing_and_what_is_no_touch_neither_VD_NVG_4()
    {
        using var lab = await NvGraceLab.OpenAsync(Sys, TestActor);
        lab.Gpu.TrainingTime = null;
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(4 * GiB, (await lab.InfoAsync(Usable)).Size);
        Assert.Equal(4, (await lab.ReadAsync(NvGraceRegister.Bar, NvGraceRegister.Link, 4)).Length);
    }

    [Fact]
    public async Task Memory_that_is_not_ready_in_30_seconds_is_ETIME_and_the_next_touch_waits_anew_VD_NVG_4()
    {
        using var lab = await NvGraceLab.OpenAsync(Sys, TestActor);
        lab.Gpu.TrainingTime = null;
        var first = lab.Client.ReadAsync(Usable, 0, 4);
        await lab.PassAsync(29);
        Assert.False(first.IsCompleted);
        await lab.PassAsync(1);
        Assert.Equal(Errno.ETIME, (await first).Error.Errno);
        var second = lab.Client.ReadAsync(Usable, 0, 4);
        await lab.PassAsync(3);
        lab.Gpu.TrainingTime = TimeSpan.FromSeconds(30);
        await lab.PassAsync(1);
        Assert.True((await second).IsOk);
        Assert.Equal(0, lab.Gpu.EarlyAccesses);
    }

    [Fact]
    public async Task A_GPU_that_is_gone_is_ENODEV_at_once_and_while_it_is_waited_for_VD_NVG_4()
    {
        using var lab = await OpenReadyAsync();
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        var touching = lab.Client.ReadAsync(Usable, 0, 4);
        await lab.PassAsync(1);
        lab.Gpu.Vanish();
        await lab.PassAsync(1);
        Assert.Equal(Errno.ENODEV, (await touching).Error.Errno);
        Assert.Equal(Errno.ENODEV, (await lab.Client.WriteAsync(Reserved, 0, new byte[1])).Error.Errno);
    }

    [Fact]
    public async Task With_memory_decode_off_a_touch_is_EIO_VD_NVG_4()
    {
        using var lab = await OpenReadyAsync();
        await lab.WriteAsync(RegionIndex.Config, ConfigOffset.Command, 0, 0);
        Assert.Equal(Errno.EIO, (await lab.Client.ReadAsync(Usable, 0, 4)).Error.Errno);
    }

    // ---- DMA buffers (VD-NVG-5), and what it has not ---------------------------------------------------------------------------------

    [Fact]
    public async Task A_DMA_buffer_of_a_fake_BAR_is_of_its_real_part_and_revoked_as_a_BARs_is_VD_NVG_5_IO_90_IO_91()
    {
        using var lab = await OpenReadyAsync();
        const ulong end = 2560 * MiB;
        Assert.Equal(Errno.EINVAL, await lab.RefusedAsync(Buffer(lab, new DmaBufRange(end, 4096))));
        Assert.Equal(Errno.EINVAL, await lab.RefusedAsync(Buffer(lab, new DmaBufRange(1, 4096))));
        Assert.Equal(Errno.EOVERFLOW, await lab.RefusedAsync(Buffer(lab, new DmaBufRange(ulong.MaxValue & ~0xffful, 8192))));
        var buffer = Assert.IsType<DmaBufGot>(await lab.AskAsync(Buffer(lab, new DmaBufRange(end - 4096, 4096)))).Buffer;
        Assert.Equal((Usable, false), (buffer.Bar, buffer.IsRevoked));
        await lab.WriteAsync(RegionIndex.Config, ConfigOffset.Command, 0, 0);
        Assert.True(buffer.IsRevoked);
        await lab.TurnOnAsync();
        Assert.False(buffer.IsRevoked);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        Assert.True(buffer.IsDetached);
    }

    [Fact]
    public async Task It_migrates_nothing_and_logs_nothing()
    {
        using var lab = await OpenReadyAsync();
        Assert.Equal((Errno.ENOTTY, Errno.ENOTTY, Errno.ENOTTY), (
            (await lab.Client.GetMigrationFlagsAsync()).Error.Errno, (await lab.Client.GetMigrationStateAsync()).Error.Errno,
            (await lab.Client.StartDmaLoggingAsync(0, 4096)).Error.Errno));
    }

    [Fact]
    public async Task A_closed_session_reaches_no_fake_BAR_LC_15()
    {
        using var lab = await OpenReadyAsync();
        var stale = lab.Client;
        Assert.True((await stale.CloseAsync()).IsOk);
        Assert.Equal(Errno.ENODEV, (await stale.ReadAsync(Usable, 0, 4)).Error.Errno);
        await lab.ReopenAsync(TestActor);
        Assert.Equal((Errno.ENODEV, Errno.ENODEV), (
            (await stale.ReadAsync(Usable, 0, 4)).Error.Errno, await lab.RefusedAsync(new GetRegionInfo(stale.Session, Usable))));
    }

    private async Task<NvGraceLab> OpenReadyAsync() => (await NvGraceLab.OpenAsync(Sys, TestActor)).Ready();

    private static async Task<uint> ConfigAsync(NvGraceLab lab, int offset) =>
        BinaryPrimitives.ReadUInt32LittleEndian(await lab.ReadAsync(RegionIndex.Config, (ulong)offset, 4));

    private static GetDmaBuf Buffer(NvGraceLab lab, DmaBufRange range) => new(lab.Client.Session, Usable, [range]);

    /// <summary>Takes one away that is not there: the core would look for it.</summary>
    private static SetIoEventFd IoEvent(NvGraceLab lab, int bar) => new(lab.Client.Session, new IoEvent(bar, 0, 4, 1), null);
}
