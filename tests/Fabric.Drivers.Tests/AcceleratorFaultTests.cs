using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Drivers.Accelerator;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests;

/// <summary>The driver where something goes wrong: the device reset behind its back, a holder gone, another one's request, its own failure.</summary>
public sealed class AcceleratorFaultTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private static readonly PciAddress Address = new(0xfab0, 1, 0, 1);

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(MigrationState.PreCopy, MigrationState.PreCopyP2P)]
    [InlineData(MigrationState.PreCopy, MigrationState.Running)]
    [InlineData(MigrationState.PreCopyP2P, MigrationState.StopCopy)]
    [InlineData(MigrationState.StopCopy, MigrationState.Stop)]
    [InlineData(MigrationState.Stop, MigrationState.StopCopy)]
    [InlineData(MigrationState.RunningP2P, MigrationState.Stop)]
    [InlineData(MigrationState.Resuming, MigrationState.Stop)]
    public async Task A_link_reset_in_mid_migration_is_an_error_that_only_a_reset_leaves_ER_10_MG_31(MigrationState at, MigrationState next)
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        await lab.EnterAsync(at);
        lab.Function.Reset(ResetMethod.FunctionLevel);

        Assert.Equal(Errno.EIO, (await lab.Client.SetMigrationStateAsync(next)).Error.Errno);
        Assert.Equal(MigrationState.Error, (await lab.Client.GetMigrationStateAsync()).Value);
        Assert.Equal(Errno.EINVAL, (await lab.Client.SetMigrationStateAsync(MigrationState.Running)).Error.Errno);

        Assert.True((await lab.Client.ResetAsync()).IsOk);
        await lab.EnterAsync(MigrationState.PreCopy);
    }

    [Fact]
    public async Task A_link_reset_while_state_is_read_does_not_end_as_a_whole_stream_ER_10()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await lab.EnterAsync(MigrationState.StopCopy);
        Assert.True(stream.Read(new byte[100_000]).IsOk);
        lab.Function.Reset(ResetMethod.FunctionLevel);

        var buffer = new byte[Lab.StateBytes * 2];
        VfioResult<int> read;
        do
            read = stream.Read(buffer);
        while (read is { IsOk: true, Value: > 0 });
        Assert.Equal(Errno.EIO, read.Error.Errno);
    }

    [Fact]
    public async Task A_link_reset_in_pre_copy_is_seen_by_who_asks_how_much_is_left_ER_10()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await lab.EnterAsync(MigrationState.PreCopy);
        lab.Function.Reset(ResetMethod.FunctionLevel);
        Assert.Equal(Errno.EIO, stream.GetPrecopyInfo().Error.Errno);
    }

    [Fact]
    public async Task A_dma_log_that_a_link_reset_wiped_is_no_report_of_clean_pages_ER_10_MG_41()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        Assert.True((await lab.Client.StartDmaLoggingAsync(Lab.Iova, Lab.MemoryBytes)).IsOk);
        lab.Function.Reset(ResetMethod.FunctionLevel);
        Assert.Equal(Errno.EIO, (await lab.Client.ReportDmaLoggingAsync()).Error.Errno);

        Assert.True((await lab.Client.StopDmaLoggingAsync()).IsOk);
        Assert.True((await lab.Client.StartDmaLoggingAsync(Lab.Iova, Lab.MemoryBytes)).IsOk);
        Assert.True((await lab.Client.ReportDmaLoggingAsync()).IsOk);
    }

    [Theory]
    [InlineData(ulong.MaxValue - 0xfff, 0x2000UL)]
    [InlineData(ulong.MaxValue - 0xfff, 0x1000UL)]
    [InlineData(0x1000UL, ulong.MaxValue - 0xfff)]
    public async Task A_logged_range_past_the_end_of_the_address_space_is_refused_MG_40(ulong iova, ulong length)
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        Assert.Equal(Errno.EOVERFLOW, (await lab.Client.StartDmaLoggingAsync(iova, length)).Error.Errno);
    }

    [Fact]
    public async Task A_close_of_another_session_leaves_the_streams_of_this_one_INV_3()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await lab.EnterAsync(MigrationState.PreCopy);
        lab.Front.Tell(new CloseDevice(new SessionId(1)), TestActor);
        Assert.Equal(Errno.ENODEV, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);

        Assert.True(stream.Read(new byte[10]).IsOk);
        Assert.Equal(MigrationState.PreCopy, (await lab.Client.GetMigrationStateAsync()).Value);
    }

    [Fact]
    public async Task A_reset_of_another_session_leaves_the_streams_of_this_one_INV_3()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await lab.EnterAsync(MigrationState.PreCopy);
        lab.Front.Tell(new ResetDevice(new SessionId(1)), TestActor);
        Assert.Equal(Errno.ENODEV, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);

        Assert.True(stream.Read(new byte[10]).IsOk);
    }

    [Fact]
    public async Task The_stream_does_not_reach_a_function_that_is_being_reset_and_is_dead_after_MG_34_IO_53()
    {
        TappedFunction tapped = null!;
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1, wrap: function => tapped = new TappedFunction(function));
        var stream = await lab.EnterAsync(MigrationState.PreCopy);
        Errno? seen = null;
        tapped.OnReset = () => seen = stream.Read(new byte[10]).Error.Errno;

        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((Errno.EAGAIN, Errno.ENODEV), (seen, stream.Read(new byte[10]).Error.Errno));
    }

    [Fact]
    public async Task The_streams_of_a_driver_that_failed_reach_nothing_MG_21()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        var stream = await lab.EnterAsync(MigrationState.PreCopy);
        lab.FailDriver();

        Assert.Equal(MigrationState.Error, (await lab.Client.GetMigrationStateAsync()).Value);
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[10]).Error.Errno);
    }

    [Fact]
    public async Task An_open_that_the_driver_cannot_follow_leaves_nothing_open_LC_25()
    {
        // It has none of the driver's own BARs.
        var (core, driver) = Chain(new AcceleratorPhysicalFunction(Address));
        for (var times = 0; times < 2; times++)
        {
            driver.Tell(new OpenDevice("the test", TestActor), TestActor);
            Assert.Equal(Errno.EINVAL, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);
        }

        core.Tell(new OpenDevice("the test", TestActor), TestActor);
        await ExpectMsgAsync<DeviceOpened>(cancellationToken: Cancelled);
    }

    [Fact]
    public async Task A_device_whose_holder_died_in_mid_recovery_is_not_given_up_ER_2()
    {
        using var function = new AcceleratorVirtualFunction(Address, Lab.StateBytes, new FakeTimeProvider());
        var (core, driver) = Chain(function);
        var session = await OpenAsync(driver);
        core.Tell(new CloseDevice(session), TestActor);
        await ExpectMsgAsync<DeviceDone>(cancellationToken: Cancelled);

        // The core knows by now, and nobody has told the driver.
        Assert.Equal(RecoveryVote.None, await VoteAsync(driver));
        driver.Tell(new SetMigrationState(session, MigrationState.PreCopy), TestActor);
        Assert.Equal(Errno.ENODEV, (await ExpectMsgAsync<DeviceFailed>(cancellationToken: Cancelled)).Error.Errno);
    }

    [Fact]
    public async Task A_device_that_does_not_answer_in_mmio_enabled_is_given_up_ER_2()
    {
        TappedFunction tapped = null!;
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1, wrap: function => tapped = new TappedFunction(function));
        tapped.OnWrite = () => VfioResult.Fail(Errno.EIO, "It does not answer.");
        Assert.Equal(RecoveryVote.Disconnect, await VoteAsync(lab.Front));
    }

    [Fact]
    public async Task A_device_that_nobody_has_open_has_no_vote_in_mmio_enabled_ER_2()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        Assert.Equal(RecoveryVote.None, await VoteAsync(lab.Front));
    }

    [Fact]
    public async Task A_restarted_driver_that_was_asked_nothing_since_clears_the_engines_error_ER_2()
    {
        using var lab = await Lab.OpenAsync(Sys, TestActor, 1);
        await lab.RunAsync();
        lab.FailDriver();
        lab.Function.Fail();

        Assert.Equal(RecoveryVote.Recovered, await VoteAsync(lab.Front));
        lab.Advance(10);
        Assert.Equal(10UL, await lab.ReadAsync(AcceleratorRegister.Steps));
    }

    private async Task<RecoveryVote> VoteAsync(IActorRef device)
    {
        device.Tell(new MmioEnabled(), TestActor);
        return (await ExpectMsgAsync<RecoveryVoted>(cancellationToken: Cancelled)).Vote;
    }

    private async Task<SessionId> OpenAsync(IActorRef driver)
    {
        driver.Tell(new OpenDevice("the test", TestActor), TestActor);
        return (await ExpectMsgAsync<DeviceOpened>(cancellationToken: Cancelled)).Session;
    }

    /// <summary>A driver in front of a core, and nobody above them who passes anything on.</summary>
    private (IActorRef Core, IActorRef Driver) Chain(IPciFunction function)
    {
        var core = Sys.ActorOf(VfioPciCoreActor.Props(new CoreContext(
            function, new VfioPciDevices(), "accelerator", DeviceOptions.Default, new LaneThreads(), TimeProvider.System, new CoreSlot(1),
            ActorRefs.Nobody, ActorRefs.Nobody)));
        return (core, Sys.ActorOf(AcceleratorDriver.Registration.Create(new DriverContext(function.Address, function.Ids, core))));
    }
}
