using System.Runtime.InteropServices;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Files;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Tests.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>DEVICE_FEATURE through a device's file: who answers what, in which order, and what reaches the caller's memory.</summary>
public sealed class FeatureFileTests
{
    private const MigrationFlags All = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;
    private const ulong Payload = UserSpace.Argument + 8;

    private static int Minus(Errno errno) => -(int)errno;

    // ---- The order of checks (IO-80, IO-81) ------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(8, 0x80000u | 5)]
    [InlineData(8, 0x8000_0000u | 5)]
    [InlineData(8, 0x30000u | 5)]
    [InlineData(8, 0x30000u | 999)]
    [InlineData(7, 0x20000u | 5)]
    public void Unknown_bits_and_GET_with_SET_are_EINVAL_whatever_the_feature_IO_80(uint argsz, uint flags)
    {
        var host = new Host();
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(device, DeviceIoctls.Feature, new VfioDeviceFeature(argsz, flags)));
    }

    public static TheoryData<DeviceFeature> Features => [.. FeatureTable.All.Select(row => row.Feature)];

    /// <summary>Right, a plain device without tokens; left, one whose driver migrates and logs.</summary>
    [Theory]
    [MemberData(nameof(Features))]
    public void A_feature_exists_then_knows_the_operation_then_is_asked_for_one_then_has_its_payload_IO_81(DeviceFeature feature)
    {
        var host = new Host(new FakeMigration(All), new MemoryLog());
        var device = host.OpenByGroup(host.LeftCore);
        var row = FeatureTable.Find(feature)!;
        int Ask(FeatureOps ops, uint argsz) =>
            host.User.IoctlOf(device, DeviceIoctls.Feature, new VfioDeviceFeature(argsz, (uint)feature | (uint)ops));
        if (feature is DeviceFeature.BusMaster or DeviceFeature.ZpciError)
        {
            Assert.Equal(Minus(Errno.ENOTTY), Ask(row.Ops, 8));
            Assert.Equal(Minus(Errno.ENOTTY), Ask(FeatureOps.None, 8));
            return;
        }

        var wrong = (FeatureOps.Get | FeatureOps.Set) & ~row.Ops;
        if (wrong != FeatureOps.None)
        {
            Assert.Equal(Minus(Errno.EINVAL), Ask(wrong, 8));
            Assert.Equal(Minus(Errno.EINVAL), Ask(wrong | FeatureOps.Probe, 8));
        }

        Assert.Equal(0, Ask(row.Ops | FeatureOps.Probe, 8));
        Assert.Equal(0, Ask(FeatureOps.Probe, 8));
        Assert.Equal(Minus(Errno.EINVAL), Ask(FeatureOps.None, 8));
        var one = row.Ops.HasFlag(FeatureOps.Get) ? FeatureOps.Get : FeatureOps.Set;
        if (row.PayloadSize > 0)
            Assert.Equal(Minus(Errno.EINVAL), Ask(one, (uint)row.PayloadSize + 7));
    }

    [Theory]
    [MemberData(nameof(Features))]
    public void A_feature_whose_payload_is_not_there_is_EFAULT_after_its_checks_IO_81(DeviceFeature feature)
    {
        var host = new Host(new FakeMigration(All), new MemoryLog());
        var device = host.OpenByGroup(host.LeftCore);
        var row = FeatureTable.Find(feature)!;
        if (row.PayloadSize == 0 || feature is DeviceFeature.BusMaster or DeviceFeature.ZpciError)
            return;
        const ulong End = UserSpace.Start + UserSpace.Bytes - 8;
        foreach (var ops in new[] { FeatureOps.Get, FeatureOps.Set }.Where(ops => row.Ops.HasFlag(ops)))
        {
            host.User.Put(End, VfioDeviceFeature.Of(feature, ops, row.PayloadSize));

            Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(device, DeviceIoctls.Feature, End));
        }
    }

    /// <summary>A probe tells of existence and touches nothing: not the device, not its state, not the caller's memory (TS-10).</summary>
    [Theory]
    [MemberData(nameof(Features))]
    public void PROBE_never_changes_anything_IO_81(DeviceFeature feature)
    {
        var migration = new FakeMigration(All);
        var host = new Host(migration, new MemoryLog());
        var device = host.OpenByGroup(host.LeftCore);
        var before = (string.Join(' ', host.Left.Calls), host.Migration.View, Tree(host.LeftCore), host.User.Descriptors);
        foreach (var ops in new[] { FeatureOps.None, FeatureOps.Get, FeatureOps.Set, FeatureOps.Get | FeatureOps.Set })
        {
            var request = new byte[128];
            request.AsSpan().Fill(0xa5);
            MemoryMarshal.Write(request, VfioDeviceFeature.Of(feature, ops | FeatureOps.Probe, 64));
            request.CopyTo(host.User.Memory(UserSpace.Argument, request.Length));

            host.User.Ioctl(device, DeviceIoctls.Feature, UserSpace.Argument);

            Assert.Equal(request, host.User.Memory(UserSpace.Argument, request.Length).ToArray());
        }

        Assert.Equal(before, (string.Join(' ', host.Left.Calls), host.Migration.View, Tree(host.LeftCore), host.User.Descriptors));
        Assert.Empty(migration.Arcs);
    }

    private static string Tree(VfioPciCore core) => core.Inspect().ToString();

    // ---- Who answers (IO-82) ---------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_framework_answers_migration_and_logging_before_the_driver_is_asked_IO_82()
    {
        var host = new Host(new FakeMigration(All), new MemoryLog());
        var asked = new List<DeviceFeature>();
        host.InFront = ops => new Watching(ops, asked);
        var device = host.OpenByGroup(host.LeftCore);

        foreach (var row in FeatureTable.All)
            host.User.IoctlOf(device, DeviceIoctls.Feature, VfioDeviceFeature.Of(row.Feature, FeatureOps.Probe, 0));

        Assert.Equal(FeatureTable.All.Where(row => !row.ByFramework).Select(row => row.Feature), asked);
    }

    private sealed class Watching(IDeviceOps next, List<DeviceFeature> asked) : DeviceOpsInFront(next)
    {
        public override VfioResult<DeviceAnswer> Feature(DeviceCall.Feature call)
        {
            asked.Add(call.Head.Feature);
            return base.Feature(call);
        }
    }

    [Theory]
    [InlineData(DeviceFeature.Migration, Errno.ENOTTY)]
    [InlineData(DeviceFeature.MigDeviceState, Errno.ENOTTY)]
    [InlineData(DeviceFeature.MigDataSize, Errno.ENOTTY)]
    [InlineData(DeviceFeature.DmaLoggingStart, Errno.ENOTTY)]
    [InlineData(DeviceFeature.DmaLoggingStop, Errno.ENOTTY)]
    [InlineData(DeviceFeature.DmaLoggingReport, Errno.ENOTTY)]
    [InlineData(DeviceFeature.MigPrecopyInfoV2, Errno.EINVAL)]
    [InlineData(DeviceFeature.PciVfToken, Errno.ENOTTY)]
    [InlineData((DeviceFeature)14, Errno.ENOTTY)]
    [InlineData((DeviceFeature)0xffff, Errno.ENOTTY)]
    public void A_plain_device_does_not_have_what_only_drivers_have_IO_82(DeviceFeature feature, Errno errno)
    {
        var host = new Host();
        var card = new CardFunction(Card.At(7), FunctionTraits.VirtualFunction) { IommuGroup = 30 };
        var device = host.OpenByGroup(host.Devices.Register(card).Value);

        Assert.Equal(Minus(errno), host.Feature(device, feature, FeatureOps.Probe));
    }

    [Fact]
    public void DMA_BUF_without_a_provider_is_EOPNOTSUPP_even_for_a_probe_IO_90()
    {
        var host = new Host();
        var card = new CardFunction(Card.At(7)) { IommuGroup = 30 };
        var driver = new DriverDeclaration("no-dma-buf") { ProvidesDmaBufs = false };
        var device = host.OpenByGroup(host.Devices.Register(card, driver).Value);

        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.Feature(device, DeviceFeature.DmaBuf, FeatureOps.Probe));
        Assert.Equal(Minus(Errno.EOPNOTSUPP), host.Feature(device, DeviceFeature.DmaBuf, FeatureOps.Set));
    }

    [Fact]
    public void A_driver_adds_a_feature_of_its_own_IO_82()
    {
        var host = new Host { InFront = ops => new Adding(ops) };
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(Payload, 41u);

        Assert.Equal(0, host.User.IoctlOf(device, DeviceIoctls.Feature, VfioDeviceFeature.Of((DeviceFeature)0x700, FeatureOps.Get, 4)));

        Assert.Equal(42u, host.User.Get<uint>(Payload));
    }

    private sealed class Adding(IDeviceOps next) : DeviceOpsInFront(next)
    {
        public override VfioResult<DeviceAnswer> Feature(DeviceCall.Feature call) =>
            call.Head.Feature == (DeviceFeature)0x700 && call.Data.Value is FeatureData.Raw raw
                ? new DeviceAnswer.Raw(BitConverter.GetBytes(BitConverter.ToUInt32(raw.Bytes.Span) + 1))
                : base.Feature(call);
    }

    [Fact]
    public void Low_power_is_entered_and_left_LC_60_LC_62()
    {
        var host = new Host();
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(0, host.Feature(device, DeviceFeature.LowPowerEntry, FeatureOps.Set));
        Assert.Equal(PciPowerState.D3Hot, host.Left.PowerState);
        Assert.Equal(Minus(Errno.EINVAL), host.Feature(device, DeviceFeature.LowPowerEntry, FeatureOps.Set));
        Assert.Equal(0, host.Feature(device, DeviceFeature.LowPowerExit, FeatureOps.Set));
        Assert.Equal(0, host.Feature(device, DeviceFeature.LowPowerExit, FeatureOps.Set));
        Assert.Equal(Minus(Errno.EINVAL), host.FeatureOf(device, FeatureOps.Set, new VfioDeviceLowPowerEntryWithWakeup(-1)));
        Assert.Equal(Minus(Errno.EBADF), host.FeatureOf(device, FeatureOps.Set, new VfioDeviceLowPowerEntryWithWakeup(99)));
        Assert.Equal(Minus(Errno.EINVAL), host.FeatureOf(device, FeatureOps.Set, new VfioDeviceLowPowerEntryWithWakeup(host.User.AddOther())));
        Assert.Equal(PciPowerState.D0, host.Left.PowerState);
        host.Healthy();
    }

    // ---- MIG_DEVICE_STATE (IO-83) ----------------------------------------------------------------------------------------------------

    private static (int Returned, VfioDeviceFeatureMigState Answer) Set(Host host, int device, MigrationState state)
    {
        var payload = new VfioDeviceFeatureMigState(state, 1234);
        return (host.Feature(device, FeatureOps.Set, ref payload), payload);
    }

    private static VfioDeviceFeatureMigState Get(Host host, int device)
    {
        var payload = new VfioDeviceFeatureMigState((MigrationState)77, 1234);
        Assert.Equal(0, host.Feature(device, FeatureOps.Get, ref payload));
        return payload;
    }

    [Fact]
    public void GET_tells_the_state_and_no_stream_IO_83()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(new VfioDeviceFeatureMigState(MigrationState.Running), Get(host, device));
    }

    [Fact]
    public void SET_gives_a_descriptor_where_a_stream_opened_and_minus_1_where_none_did_IO_83()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal((0, new VfioDeviceFeatureMigState(MigrationState.Stop)), Set(host, device, MigrationState.Stop));
        var (returned, answer) = Set(host, device, MigrationState.StopCopy);

        Assert.Equal((0, MigrationState.StopCopy), (returned, answer.DeviceState));
        Assert.IsType<MigrationDataFile>(host.User[answer.DataFd]);
        Assert.Equal(new VfioDeviceFeatureMigState(MigrationState.StopCopy), Get(host, device));
    }

    [Theory]
    [InlineData((MigrationState)99)]
    [InlineData(MigrationState.Error)]
    public void SET_that_fails_is_answered_with_minus_1_all_the_same_IO_83(MigrationState target)
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal((Minus(Errno.EINVAL), new VfioDeviceFeatureMigState(target)), Set(host, device, target));
    }

    [Fact]
    public void SET_that_fails_on_the_way_may_have_advanced_IO_83()
    {
        var host = new Host(new FakeMigration(All)
        {
            Instead = (_, to) => to == MigrationState.StopCopy ? ArcResult.Fails(new VfioError(Errno.ENOMEM, "No memory.")) : null,
        });
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal((Minus(Errno.ENOMEM), new VfioDeviceFeatureMigState(MigrationState.StopCopy)), Set(host, device, MigrationState.StopCopy));
        Assert.Equal(MigrationState.Stop, Get(host, device).DeviceState);
    }

    [Fact]
    public void EMFILE_after_a_transition_leaves_it_and_drops_the_stream_IO_83()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);
        host.User.MaxDescriptors = host.User.Descriptors;

        Assert.Equal((Minus(Errno.EMFILE), new VfioDeviceFeatureMigState(MigrationState.PreCopy, 1234)), Set(host, device, MigrationState.PreCopy));

        Assert.Equal(MigrationState.PreCopy, Get(host, device).DeviceState);
    }

    [Fact]
    public void EFAULT_after_a_transition_leaves_it_and_the_descriptor_is_not_used_IO_83()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);
        var before = host.User.Descriptors;
        host.User.ReadOnlyFrom = UserSpace.Argument;

        Assert.Equal(Minus(Errno.EFAULT), Set(host, device, MigrationState.PreCopy).Returned);

        Assert.Equal(before, host.User.Descriptors);
        Assert.Equal(MigrationState.PreCopy, host.Migration.State);
    }

    [Fact]
    public void Flags_and_data_size_are_read_MG_5_MG_27()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);
        var (flags, size) = (default(VfioDeviceFeatureMigration), new VfioDeviceFeatureMigDataSize(0));

        Assert.Equal(0, host.Feature(device, FeatureOps.Get, ref flags));
        Assert.Equal(0, host.Feature(device, FeatureOps.Get, ref size));

        Assert.Equal((7ul, 4096ul), (flags.Flags, size.StopCopyLength));
    }

    [Fact]
    public void RESET_makes_the_device_RUNNING_and_its_stream_useless_MG_34()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);
        var stream = Set(host, device, MigrationState.StopCopy).Answer.DataFd;

        Assert.Equal(0, host.User.Ioctl(device, DeviceIoctls.Reset));

        Assert.Equal(MigrationState.Running, Get(host, device).DeviceState);
        Assert.Equal(Errno.ENODEV, host.User[stream].Read(new byte[1]).Error.Errno);
    }

    [Fact]
    public void The_last_close_ends_the_stream_and_the_opt_in_LC_30()
    {
        var host = new Host(new FakeMigration(All));
        var device = host.OpenByGroup(host.LeftCore);
        Assert.Equal(0, host.Feature(device, DeviceFeature.MigPrecopyInfoV2, FeatureOps.Set));
        var stream = Set(host, device, MigrationState.PreCopy).Answer.DataFd;

        host.User.Close(device);

        Assert.Equal(new MigrationView(MigrationState.Running, StreamDirection.None, false, false, false), host.Migration.View);
        Assert.Equal(Errno.ENODEV, host.User[stream].Read(new byte[1]).Error.Errno);
    }

    // ---- The data fd (contract §6.4) -------------------------------------------------------------------------------------------------

    [Fact]
    public void PRECOPY_INFO_is_refused_in_the_order_of_its_rule_MG_25()
    {
        var migration = new FakeMigration(All);
        var host = new Host(migration);
        var device = host.OpenByGroup(host.LeftCore);
        var stream = Set(host, device, MigrationState.PreCopy).Answer.DataFd;
        migration.Opened[0].Info = new PrecopyInfo(10, 20, Reinit: true);
        var info = new VfioPrecopyInfo(24, 0, 0, 0);

        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(stream, 0x3b78, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EFAULT), host.User.Ioctl(stream, MigrationDataIoctls.GetPrecopyInfo, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), host.User.IoctlOf(stream, MigrationDataIoctls.GetPrecopyInfo, info with { Argsz = 23 }));
        Assert.Equal(0, host.User.Ioctl(stream, MigrationDataIoctls.GetPrecopyInfo, ref info));
        Assert.Equal(new VfioPrecopyInfo(24, PrecopyFlags.None, 0, 30), info);
        host.Feature(device, DeviceFeature.MigPrecopyInfoV2, FeatureOps.Set);
        migration.Opened[0].Info = new PrecopyInfo(5, 6);
        Assert.Equal(0, host.User.Ioctl(stream, MigrationDataIoctls.GetPrecopyInfo, ref info));
        Assert.Equal(new VfioPrecopyInfo(24, PrecopyFlags.Reinit, 5, 6), info);
        Set(host, device, MigrationState.StopCopy);
        Assert.Equal(Minus(Errno.EINVAL), host.User.Ioctl(stream, MigrationDataIoctls.GetPrecopyInfo, ref info));
        Set(host, device, MigrationState.Stop);
        Assert.Equal(Minus(Errno.ENODEV), host.User.Ioctl(stream, MigrationDataIoctls.GetPrecopyInfo, ref info));
    }

    [Fact]
    public void A_stream_is_read_or_written_in_order_and_has_no_positions_MG_22_MG_23()
    {
        var migration = new FakeMigration(All);
        var host = new Host(migration);
        var device = host.OpenByGroup(host.LeftCore);
        var saving = host.User[Set(host, device, MigrationState.StopCopy).Answer.DataFd];
        migration.Opened[0].Left = 5;

        Assert.Equal(4, saving.Read(new byte[4]).Value);
        Assert.Equal(1, saving.Read(new byte[4]).Value);
        Assert.Equal(0, saving.Read(new byte[4]).Value);
        Assert.Equal(Errno.ESPIPE, saving.ReadAt(0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, saving.Write(new byte[4]).Error.Errno);
        saving.Close();
        Assert.Equal(Errno.EBADF, saving.Read(new byte[4]).Error.Errno);
        Assert.Equal(MigrationState.StopCopy, Get(host, device).DeviceState);

        var loading = host.User[Set(host, device, MigrationState.Resuming).Answer.DataFd];
        Assert.Equal(7, loading.Write(new byte[7]).Value);
        Assert.Equal(7, migration.Opened[1].Written);
        Assert.Equal(Errno.ESPIPE, loading.WriteAt(0, new byte[4]).Error.Errno);
        var info = loading.Ioctl(MigrationDataIoctls.GetPrecopyInfo, UserSpace.Nowhere, host.User, host.User);
        Assert.Equal(Errno.ENOTTY, info.Error.Errno);
    }

    // ---- DMA logging (MG-40, MG-41) --------------------------------------------------------------------------------------------------

    private static int Start(Host host, int device, uint ranges, ulong at, ulong pageSize = 0x1000) =>
        host.FeatureOf(device, FeatureOps.Set, new VfioDeviceFeatureDmaLoggingControl(pageSize, ranges, 0, at));

    private static int Report(Host host, int device, ulong iova, ulong length, ulong bitmap, ulong pageSize = 0x1000) =>
        host.FeatureOf(device, FeatureOps.Get, new VfioDeviceFeatureDmaLoggingReport(iova, length, pageSize, bitmap));

    [Fact]
    public void START_reads_its_ranges_by_their_pointer_and_writes_the_page_size_back_MG_40()
    {
        var log = new MemoryLog();
        var host = new Host(log: log);
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(UserSpace.Start, (0x10000ul, 0x10000ul));
        host.User.Put(UserSpace.Start + 16, (0x40000ul, 0x10000ul));
        var control = new VfioDeviceFeatureDmaLoggingControl(0x10000, 2, 0, UserSpace.Start);

        Assert.Equal(0, host.Feature(device, FeatureOps.Set, ref control));

        Assert.Equal(0x1000ul, control.PageSize);
        Assert.Equal([new IovaRange(0x10000, 0x1ffff), new IovaRange(0x40000, 0x4ffff)], log.Watched);
    }

    [Fact]
    public void START_is_refused_by_number_then_by_pointer_then_by_content_MG_40()
    {
        var host = new Host(log: new MemoryLog());
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(UserSpace.Start, (0x10000ul, 0x1001ul));

        Assert.Equal(Minus(Errno.EINVAL), Start(host, device, 0, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.E2BIG), Start(host, device, 257, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EFAULT), Start(host, device, 1, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), Start(host, device, 1, UserSpace.Start));
        host.User.Put(UserSpace.Start, (0xffff_ffff_ffff_0000ul, 0x10000ul));
        Assert.Equal(Minus(Errno.EOVERFLOW), Start(host, device, 1, UserSpace.Start));
    }

    [Fact]
    public void START_whose_answer_cannot_be_written_stops_the_log_again_MG_40()
    {
        var log = new MemoryLog();
        var host = new Host(log: log);
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(UserSpace.Start, (0x10000ul, 0x10000ul));
        host.User.ReadOnlyFrom = UserSpace.Argument;

        Assert.Equal(Minus(Errno.EFAULT), Start(host, device, 1, UserSpace.Start));

        Assert.Null(log.Watched);
        host.User.ReadOnlyFrom = ulong.MaxValue;
        Assert.Equal(0, Start(host, device, 1, UserSpace.Start));
    }

    [Fact]
    public void REPORT_sets_bits_and_clears_none_MG_41()
    {
        var log = new MemoryLog();
        var host = new Host(log: log);
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(UserSpace.Start, (0x0ul, 0x100000ul));
        Start(host, device, 1, UserSpace.Start);
        log.Dirty.AddRange([(0x3000, 1), (0x8fff, 2), (0x20000, 0x8000), (0xff000, 0x1000)]);
        host.User.Put(UserSpace.Start + 0x100, 0x8000_0000_0000_0001ul);

        Assert.Equal(0, Report(host, device, 0, 0x80000, UserSpace.Start + 0x100));

        Assert.Equal(0x8000_0000_0000_0001ul | (1ul << 3) | (1ul << 8) | (1ul << 9) | (0xfful << 32), host.User.Get<ulong>(UserSpace.Start + 0x100));
        Assert.Equal(0, Report(host, device, 0x80000, 0x80000, UserSpace.Start + 0x200));
        Assert.Equal((0ul, 1ul << 63), (host.User.Get<ulong>(UserSpace.Start + 0x200), host.User.Get<ulong>(UserSpace.Start + 0x208)));
    }

    [Fact]
    public void REPORT_is_refused_by_its_numbers_then_by_the_log_then_by_its_pointer_MG_41()
    {
        var log = new MemoryLog();
        var host = new Host(log: log);
        var device = host.OpenByGroup(host.LeftCore);

        Assert.Equal(Minus(Errno.EINVAL), Report(host, device, 0, 0x1000, UserSpace.Nowhere, 0x800));
        Assert.Equal(Minus(Errno.EINVAL), Report(host, device, 0, 0x1000, UserSpace.Nowhere, 0x3000));
        Assert.Equal(Minus(Errno.EOVERFLOW), Report(host, device, ulong.MaxValue, 0x1000, UserSpace.Nowhere));
        Assert.Equal(Minus(Errno.EINVAL), Report(host, device, 0, 0x1000, UserSpace.Nowhere));
        host.User.Put(UserSpace.Start, (0x0ul, 0x100000ul));
        Start(host, device, 1, UserSpace.Start);
        log.Dirty.Add((0, 1));
        Assert.Equal(Minus(Errno.EFAULT), Report(host, device, 0, 0x1000, UserSpace.Nowhere));
    }

    [Fact]
    public void REPORT_of_the_whole_address_space_takes_as_much_memory_as_there_is_dirt_MG_41()
    {
        var log = new MemoryLog();
        var host = new Host(log: log);
        var device = host.OpenByGroup(host.LeftCore);
        host.User.Put(UserSpace.Start, (0x0ul, 0xffff_ffff_ffff_f000ul));
        Start(host, device, 1, UserSpace.Start);
        log.Dirty.Add((0x5000, 0x1000));
        var before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Equal(0, Report(host, device, 0, 0xffff_ffff_ffff_f000, UserSpace.Start));

        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 16 << 10);
        Assert.Equal(1 << 5, host.User.Get<byte>(UserSpace.Start));
    }

    [Fact]
    public void STOP_is_a_no_op_when_nothing_is_logged_MG_42()
    {
        var host = new Host(log: new MemoryLog());

        Assert.Equal(0, host.Feature(host.OpenByGroup(host.LeftCore), DeviceFeature.DmaLoggingStop, FeatureOps.Set));
    }

    // ---- DMA_BUF (IO-90) -------------------------------------------------------------------------------------------------------------

    private static int Export(Host host, int device, VfioDeviceFeatureDmaBuf head, params ReadOnlySpan<VfioRegionDmaRange> ranges)
    {
        MemoryMarshal.AsBytes(ranges).CopyTo(host.User.Memory(Payload + 16, ranges.Length * 16));
        return host.FeatureOf(device, FeatureOps.Get, head);
    }

    [Fact]
    public void DMA_BUF_returns_a_descriptor_IO_90()
    {
        var host = new Host();
        var device = host.OpenByGroup(host.LeftCore);

        VfioRegionDmaRange[] ranges = [new(0, 0x1000), new(0x1000, 0x1000)];
        var fd = Export(host, device, new VfioDeviceFeatureDmaBuf(0, 0, 0, 2), ranges);

        var buffer = Assert.IsType<DmaBufFile>(host.User[fd]).Buffer;
        Assert.Equal([new DmaBufRange(0, 0x1000), new DmaBufRange(0x1000, 0x1000)], buffer.Ranges);
        Assert.Equal(Minus(Errno.ENOTTY), host.User.Ioctl(fd, 1));
    }

    [Fact]
    public void DMA_BUF_is_refused_by_its_head_then_its_region_then_its_pointer_then_its_ranges_IO_90()
    {
        var host = new Host();
        var device = host.OpenByGroup(host.LeftCore);
        var good = new VfioDeviceFeatureDmaBuf(0, 0, 0, 1);
        int FarOut(VfioDeviceFeatureDmaBuf head)
        {
            const ulong End = UserSpace.Start + UserSpace.Bytes - 24;
            host.User.Put(End, VfioDeviceFeature.Of(DeviceFeature.DmaBuf, FeatureOps.Get, 16));
            host.User.Put(End + 8, head);
            return host.User.Ioctl(device, DeviceIoctls.Feature, End);
        }

        Assert.Equal(Minus(Errno.EINVAL), FarOut(good with { NrRanges = 0 }));
        Assert.Equal(Minus(Errno.EINVAL), FarOut(good with { Flags = 1, RegionIndex = 6 }));
        Assert.Equal(Minus(Errno.ENODEV), FarOut(good with { RegionIndex = 6 }));
        Assert.Equal(Minus(Errno.ENODEV), FarOut(good with { RegionIndex = 1 }));
        Assert.Equal(Minus(Errno.ENODEV), FarOut(good with { RegionIndex = uint.MaxValue, NrRanges = uint.MaxValue }));
        Assert.Equal(Minus(Errno.EFAULT), FarOut(good));
        Assert.Equal(Minus(Errno.ENOMEM), FarOut(good with { NrRanges = uint.MaxValue }));
        Assert.Equal(Minus(Errno.EINVAL), Export(host, device, good, new VfioRegionDmaRange(0, 0x800)));
        Assert.Equal(Minus(Errno.EINVAL), Export(host, device, good, new VfioRegionDmaRange(0x1000, 0x2000)));
        Assert.Equal(Minus(Errno.EOVERFLOW), Export(host, device, good, new VfioRegionDmaRange(0xffff_ffff_ffff_f000, 0x1000)));
    }

    [Fact]
    public void A_buffer_whose_descriptor_is_closed_or_never_came_to_be_returns_its_reference_IO_92()
    {
        var host = new Host();
        var device = host.OpenByGroup(host.LeftCore);
        var good = new VfioDeviceFeatureDmaBuf(0, 0, 0, 1);
        var fd = Export(host, device, good, new VfioRegionDmaRange(0, 0x1000));
        Assert.Equal(2, host.LeftCore.References);
        host.User.MaxDescriptors = host.User.Descriptors;
        Assert.Equal(Minus(Errno.EMFILE), Export(host, device, good, new VfioRegionDmaRange(0, 0x1000)));
        Assert.Equal(2, host.LeftCore.References);

        host.User.Close(fd);

        Assert.Equal(1, host.LeftCore.References);
    }

    /// <summary>A log in memory: what a test says is dirty, once.</summary>
    private sealed class MemoryLog : IDirtyLogOps
    {
        public List<(ulong Iova, ulong Length)> Dirty { get; } = [];

        public IReadOnlyList<IovaRange>? Watched { get; private set; }

        public int MaxRanges => 256;

        public ulong PageSizes => 0x1000;

        public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize)
        {
            Watched = ranges;
            return VfioResult.Ok;
        }

        public VfioResult Stop()
        {
            Watched = null;
            return VfioResult.Ok;
        }

        public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
        {
            foreach (var (iova, length) in Dirty)
                dirty.Mark(iova, length);
            return VfioResult.Ok;
        }
    }
}
