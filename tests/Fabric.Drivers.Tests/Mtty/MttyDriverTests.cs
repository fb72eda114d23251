using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Drivers.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>The driver as its device's holder sees it: what it hides, what it owns, what becomes of it.</summary>
public sealed class MttyDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    // ---- What it matches, shows and hides --------------------------------------------------------------------------------------------

    [Fact]
    public void It_is_chosen_by_the_cards_ids()
    {
        using var machine = new SerialMachine();
        var catalog = new DriverCatalog(Accelerator.AcceleratorDriver.Registration, MttyDriver.Registration);
        Assert.Same(MttyDriver.Registration, catalog.For(machine.Card.Ids));
    }

    [Fact]
    public async Task The_hosts_own_bar_is_hidden_from_the_holder()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var info = (await AskAsync<RegionInfoRead>(lab, new GetRegionInfo(lab.Client.Session, MttyBar.Migration))).Info;
        Assert.Equal(new RegionInfo(MttyBar.Migration, RegionFlags.None, 0), info);
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReadAsync(MttyBar.Migration, 0, 4)).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.WriteAsync(MttyBar.Migration, 0, new byte[4])).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.MapAsync(MttyBar.Migration)).Error.Errno);
    }

    [Theory]
    [InlineData(2, 0, 8)]
    [InlineData(2, 1, 8)]
    [InlineData(1, 1, 0)]
    [InlineData(2, 3, 0)]
    public async Task Each_port_is_a_bar_of_8_bytes(int ports, int bar, ulong size)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor, ports: ports);
        Assert.Equal(size, (await AskAsync<RegionInfoRead>(lab, new GetRegionInfo(lab.Client.Session, bar))).Info.Size);
    }

    [Theory]
    [InlineData(IrqIndex.Intx, Errno.None, Errno.None)]
    [InlineData(IrqIndex.Msi, Errno.None, Errno.None)]
    [InlineData(IrqIndex.Msix, Errno.EINVAL, Errno.ENOTTY)]
    [InlineData(IrqIndex.Err, Errno.EINVAL, Errno.ENOTTY)]
    [InlineData(IrqIndex.Req, Errno.EINVAL, Errno.ENOTTY)]
    public async Task It_has_INTx_and_one_MSI_vector_and_no_other_interrupt(IrqIndex index, Errno info, Errno trigger)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var told = await lab.Front.Ask<DeviceReply>(new GetIrqInfo(lab.Client.Session, (int)index), Cancelled);
        Assert.Equal((info, info == Errno.None ? 1 : 0), ((told as DeviceFailed)?.Error.Errno ?? Errno.None, (told as IrqInfoRead)?.Info.Count ?? 0));
        Assert.Equal(trigger, (await lab.Client.SetTriggerAsync(index, new SignalCounter())).Error.Errno);
    }

    [Theory]
    [InlineData(IrqIndex.Intx)]
    [InlineData(IrqIndex.Msi)]
    public async Task A_byte_that_is_received_signals_the_holder(IrqIndex index)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var target = new SignalCounter();
        Assert.True((await lab.Client.SetTriggerAsync(index, target)).IsOk);
        await lab.SendAsync(7);
        Assert.Equal(1, target.Signals);
        Assert.Equal([7], await lab.ReceivedAsync());
    }

    // ---- Migration -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task It_migrates_with_all_flags_and_tells_the_length_of_its_stream_MG_5_MG_27()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy, (await lab.Client.GetMigrationFlagsAsync()).Value);
        Assert.Equal(96UL, (await AskAsync<MigrationDataSizeRead>(lab, new GetMigrationDataSize(lab.Client.Session))).Bytes);
    }

    [Fact]
    public async Task A_move_brings_the_bytes_and_the_interrupt_that_was_pending()
    {
        using var source = await SerialLab.OpenAsync(Sys, TestActor, 1);
        using var target = await SerialLab.OpenAsync(Sys, TestActor, 2);
        var line = new SignalCounter();
        Assert.True((await target.Client.SetTriggerAsync(IrqIndex.Intx, line)).IsOk);
        await source.SendAsync(1, 2, 3);

        var (from, to) = (await source.EnterAsync(PreCopy), await target.EnterAsync(Resuming));
        Assert.True(to.Write(SerialMachine.ReadAll(from)).IsOk);
        await source.EnterAsync(PreCopyP2P);
        await source.WriteAsync(UartRegister.Data, 4);
        await source.EnterAsync(StopCopy);
        Assert.True(to.Write(SerialMachine.ReadAll(from)).IsOk);
        await target.EnterAsync(Stop);
        Assert.Equal(0, line.Signals);
        await target.EnterAsync(Running);

        Assert.Equal(1, line.Signals);
        Assert.Equal([1, 2, 3, 4], await target.ReceivedAsync());
    }

    [Theory]
    [MemberData(nameof(MttyArcTests.FlagCombinations), MemberType = typeof(MttyArcTests))]
    public async Task Every_row_of_the_kernels_table_is_walked_by_the_driver_MG_10_MG_12_MG_13_MG_20(MigrationFlags flags)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor, flags: flags);
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == flags))
        {
            Assert.True((await lab.Client.ResetAsync()).IsOk);
            if (row.Current == Error)
                await LoseAsync(lab);
            else if (MigrationArcs.IsSupported(row.Current, flags))
            {
                var standing = await lab.EnterAsync(row.Current);
                if (row.Current == Resuming)
                    Assert.True(standing.Write(SerialMachine.GoodStream).IsOk);
            }
            else
            {
                Assert.True(row.IsRefused && (await lab.Client.SetMigrationStateAsync(row.Current)).Error.Errno == Errno.EINVAL, row.ToString());
                continue;
            }

            var set = await lab.Client.SetMigrationStateAsync(row.Target);
            if (row.Current == Error && row.Target == Error)
                continue;
            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal(row.IsRefused ? row.Current : row.Target, await lab.StateAsync());
            if (set.IsOk)
                Assert.Equal(row.OpensStream, set.Value.Stream is not null);
        }
    }

    [Fact]
    public async Task The_holder_may_turn_decode_off_and_the_driver_works_on_CF_13()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        await lab.SendAsync(1);
        Assert.True((await lab.Client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[2])).IsOk);
        Assert.Equal(96, SerialMachine.ReadAll(await lab.EnterAsync(StopCopy)).Length);
    }

    /// <summary>MG-52 as far as a driver can show it: what the first barrier asks for stops no card, the second each by itself.</summary>
    [Fact]
    public async Task Two_cards_go_on_at_the_first_barrier_and_stand_one_by_one_at_the_second_TS_13()
    {
        SerialLab[] cards = [await SerialLab.OpenAsync(Sys, TestActor, 1), await SerialLab.OpenAsync(Sys, TestActor, 2)];
        foreach (var card in cards)
            await card.EnterAsync(PreCopy);
        foreach (var card in cards)
        {
            await card.EnterAsync(PreCopyP2P);
            // What its peer sends is still taken, by those that have passed as by those that have not.
            foreach (var other in cards)
                await other.SendAsync(1);
            Assert.All(cards, other => Assert.False(other.IsSuspended));
        }

        await cards[0].EnterAsync(StopCopy);
        Assert.Equal((true, false), (cards[0].IsSuspended, cards[1].IsSuspended));
        await cards[1].SendAsync(2);
        await cards[1].EnterAsync(StopCopy);
        Assert.All(cards, card => Assert.True(card.IsSuspended));

        // Back again, in either order.
        foreach (var card in cards.Reverse())
            await card.EnterAsync(RunningP2P);
        Assert.All(cards, card => Assert.False(card.IsSuspended));
        Assert.Equal([1, 1, 2], await cards[1].ReceivedAsync());
        Array.ForEach(cards, card => card.Dispose());
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(PreCopyP2P)]
    [InlineData(StopCopy)]
    [InlineData(Resuming)]
    public async Task A_reset_leaves_RUNNING_a_dead_stream_and_a_card_that_works_MG_34_IO_53(MigrationState at)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var stream = await lab.EnterAsync(at);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((Running, Errno.ENODEV, false), (await lab.StateAsync(), stream.GetPrecopyInfo().Error.Errno, lab.IsSuspended));
        await lab.SendAsync(5);
        Assert.Equal([5], await lab.ReceivedAsync());
    }

    [Theory]
    [InlineData(Running, Stop)]
    [InlineData(Running, StopCopy)]
    [InlineData(PreCopy, StopCopy)]
    [InlineData(Stop, Running)]
    [InlineData(Stop, PreCopy)]
    [InlineData(Resuming, Running)]
    public async Task A_reset_that_comes_while_an_arc_is_under_way_is_applied_right_after_it_MG_35_MG_36(MigrationState from, MigrationState to)
    {
        TappedFunction tapped = null!;
        using var lab = await SerialLab.OpenAsync(Sys, TestActor, wrap: card => tapped = new TappedFunction(card));
        var standing = await lab.EnterAsync(from);
        if (from == Resuming)
            Assert.True(standing.Write(SerialMachine.GoodStream).IsOk);
        Task<VfioResult>? reset = null;
        tapped.OnWrite = () =>
        {
            // Asked for in the middle of the arc, before any later SET can be.
            reset ??= lab.Client.ResetAsync();
            return VfioResult.Ok;
        };
        var set = await lab.Client.SetMigrationStateAsync(to);
        Assert.NotNull(reset);
        Assert.True((await reset).IsOk);

        Assert.Equal((Running, false), (await lab.StateAsync(), lab.IsSuspended));
        foreach (var stream in new[] { standing, set.IsOk ? set.Value.Stream : null })
            Assert.Equal(stream is null ? null : Errno.ENODEV, stream?.GetPrecopyInfo().Error.Errno);
    }

    [Theory]
    [InlineData(Stop, Running)]
    [InlineData(StopCopy, Stop)]
    [InlineData(Resuming, Stop)]
    public async Task A_link_reset_in_mid_migration_is_an_error_that_only_a_reset_leaves_ER_10_MG_31(MigrationState at, MigrationState next)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        await lab.EnterAsync(at);
        lab.Card.Reset(ResetMethod.DeviceSpecific);

        Assert.Equal(Errno.EIO, (await lab.Client.SetMigrationStateAsync(next)).Error.Errno);
        Assert.Equal((Error, Errno.EINVAL), (await lab.StateAsync(), (await lab.Client.SetMigrationStateAsync(Running)).Error.Errno));
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        await lab.EnterAsync(PreCopy);
    }

    [Fact]
    public async Task A_stream_that_was_taken_before_a_link_reset_is_whole_ER_10()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        await lab.SendAsync(1, 2, 3);
        var stream = await lab.EnterAsync(StopCopy);
        lab.Card.Reset(ResetMethod.DeviceSpecific);

        using var target = await SerialLab.OpenAsync(Sys, TestActor, 2);
        Assert.True((await target.EnterAsync(Resuming)).Write(SerialMachine.ReadAll(stream)).IsOk);
        await target.EnterAsync(Running);
        Assert.Equal([1, 2, 3], await target.ReceivedAsync());
    }

    // ---- Sessions and the driver's own failure ---------------------------------------------------------------------------------------

    [Theory]
    [InlineData(Stop)]
    [InlineData(PreCopy)]
    [InlineData(Resuming)]
    public async Task A_close_ends_it_and_the_next_open_is_RUNNING_MG_1_MG_21(MigrationState at)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var stream = await lab.EnterAsync(at);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        Assert.Equal(stream is null ? null : Errno.ENODEV, stream?.GetPrecopyInfo().Error.Errno);

        await lab.ReopenAsync(TestActor);
        Assert.Equal((Running, false), (await lab.StateAsync(), lab.IsSuspended));
        await lab.SendAsync(5);
        Assert.Equal([5], await lab.ReceivedAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_close_or_reset_of_another_session_leaves_this_one_as_it_is_INV_3(bool close)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var stream = await lab.EnterAsync(StopCopy);
        lab.Front.Tell(close ? new CloseDevice(new SessionId(1)) : new ResetDevice(new SessionId(1)), TestActor);
        Assert.Equal(Errno.ENODEV, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);
        Assert.Equal((StopCopy, true, true), (await lab.StateAsync(), lab.IsSuspended, stream.Read(new byte[10]).IsOk));
    }

    [Theory]
    [InlineData(Stop)]
    [InlineData(StopCopy)]
    [InlineData(Resuming)]
    public async Task A_driver_that_fails_leaves_a_standing_card_standing_for_it_may_run_elsewhere_MG_31(MigrationState at)
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        var stream = await lab.EnterAsync(at);
        lab.FailDriver();

        Assert.Equal((Error, true), (await lab.StateAsync(), lab.IsSuspended));
        Assert.Equal(stream is null ? null : Errno.ENODEV, stream?.GetPrecopyInfo().Error.Errno);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((Running, false), (await lab.StateAsync(), lab.IsSuspended));
    }

    [Fact]
    public async Task A_driver_that_fails_while_the_card_runs_is_replaced_by_one_that_goes_on()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        await lab.SendAsync(1, 2);
        lab.FailDriver();
        Assert.Equal(Running, await lab.StateAsync());
        Assert.Equal([1, 2], await lab.ReceivedAsync());
    }

    [Fact]
    public async Task An_open_that_the_driver_cannot_follow_leaves_nothing_open_LC_25()
    {
        // It has no such BAR.
        var function = new Hardware.Emulated.Accelerator.AcceleratorPhysicalFunction(new PciAddress(0xfab0, 1, 0, 0));
        var core = Sys.ActorOf(VfioPciCoreActor.Props(new CoreContext(
            function, new VfioPciDevices(), "mtty", DeviceOptions.Default, new LaneThreads(), TimeProvider.System, new CoreSlot(1),
            ActorRefs.Nobody, ActorRefs.Nobody)));
        var driver = Sys.ActorOf(MttyDriver.Registration.Create(new DriverContext(function.Address, function.Ids, core)));
        for (var times = 0; times < 2; times++)
        {
            driver.Tell(new OpenDevice("the test", TestActor), TestActor);
            Assert.Equal(Errno.EINVAL, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);
        }

        core.Tell(new OpenDevice("the test", TestActor), TestActor);
        await ExpectMsgAsync<DeviceOpened>(cancellationToken: Cancelled);
    }

    // ---- Dirty logging ---------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_dma_log_keeps_the_rules_and_has_no_page_MG_40_MG_41_MG_42()
    {
        using var lab = await SerialLab.OpenAsync(Sys, TestActor);
        Assert.Equal(Errno.EINVAL, (await lab.Client.ReportDmaLoggingAsync()).Error.Errno);
        Assert.True((await lab.Client.StartDmaLoggingAsync(0x10000, 1 << 20)).IsOk);
        Assert.Equal(Errno.EINVAL, (await lab.Client.StartDmaLoggingAsync(0x10000, 1 << 20)).Error.Errno);
        await lab.SendAsync(1, 2, 3);
        SerialMachine.ReadAll(await lab.EnterAsync(StopCopy));
        var dirty = (await lab.Client.ReportDmaLoggingAsync()).Value;
        Assert.Equal((0x10000UL, 0), (dirty.Iova, dirty.DirtyPages));
        Assert.True((await lab.Client.StopDmaLoggingAsync()).IsOk);
        Assert.True((await lab.Client.StopDmaLoggingAsync()).IsOk);
    }

    [Theory]
    [InlineData(1UL)]
    [InlineData(4096UL)]
    [InlineData(1UL << 30)]
    public void The_dma_log_takes_any_page_size_and_as_many_ranges_as_there_may_be_MG_40_MG_43(ulong pageSize)
    {
        var log = new DirtyLog(new SilentDmaLog());
        var ranges = Enumerable.Range(0, DirtyLog.MaxRanges).Select(index => new LoggingRange((ulong)index << 32, 1 << 30)).ToArray();
        Assert.Equal(pageSize, log.Start(pageSize, ranges).Value);
        Assert.Equal(ranges.Length, log.Watched.Count);
        var bitmap = new ulong[16];
        Assert.True(log.Report(0, 1 << 22, DirtyLog.MinReportPage, bitmap).IsOk);
        Assert.All(bitmap, word => Assert.Equal(0UL, word));
    }

    private static async Task<T> AskAsync<T>(SerialLab lab, DeviceRequest request)
        where T : DeviceReply => await lab.Front.Ask<T>(request, Cancelled);

    /// <summary>ERROR, by a link reset of a card that stands.</summary>
    private static async Task LoseAsync(SerialLab lab)
    {
        await lab.EnterAsync(Stop);
        lab.Card.Reset(ResetMethod.DeviceSpecific);
        Assert.Equal(Errno.EIO, (await lab.Client.SetMigrationStateAsync(Running)).Error.Errno);
    }
}
