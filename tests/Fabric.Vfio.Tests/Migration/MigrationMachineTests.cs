using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>The framework's half of migration v2: states, arcs, failures, resets.</summary>
public sealed class MigrationMachineTests
{
    private const MigrationFlags Everything = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private static readonly VfioError Broken = new(Errno.EIO, "The device does not answer.");

    private readonly FakeMigration driver = new(Everything);
    private readonly MigrationMachine machine;

    public MigrationMachineTests() => machine = MigrationMachine.Register(driver).Value;

    [Fact]
    public void A_device_starts_RUNNING_MG_1() => Assert.Equal(Running, machine.State);

    [Theory]
    [InlineData(Error, 0)]
    [InlineData(Stop, 1)]
    [InlineData(Running, 2)]
    [InlineData(StopCopy, 3)]
    [InlineData(Resuming, 4)]
    [InlineData(RunningP2P, 5)]
    [InlineData(PreCopy, 6)]
    [InlineData(PreCopyP2P, 7)]
    public void States_have_the_kernels_numbers_MG_1(MigrationState state, int number) => Assert.Equal(number, (int)state);

    [Fact]
    public void A_target_is_reached_one_primitive_arc_at_a_time_MG_3()
    {
        machine.Set(StopCopy);

        Assert.Equal([(Running, RunningP2P), (RunningP2P, Stop), (Stop, StopCopy)], driver.Arcs);
    }

    [Fact]
    public void The_state_a_device_is_in_is_reached_without_an_arc_and_without_a_stream_MG_4()
    {
        machine.Set(PreCopy);
        driver.Arcs.Clear();

        var again = machine.Set(PreCopy);

        Assert.Equal((PreCopy, null), (again.Value.State, again.Value.Stream));
        Assert.Empty(driver.Arcs);
    }

    [Theory]
    [InlineData(MigrationFlags.PreCopy)]
    [InlineData(MigrationFlags.P2P)]
    [InlineData(MigrationFlags.None)]
    public void A_driver_without_STOP_COPY_is_not_registered_MG_5_LC_3(MigrationFlags flags) =>
        Assert.Equal(Errno.EINVAL, MigrationMachine.Register(new FakeMigration(flags)).Error.Errno);

    [Fact]
    public void A_driver_hears_of_a_transition_that_there_is_no_way_to_and_of_none_that_is_refused_otherwise_VD_XE_2()
    {
        machine.Set(StopCopy);
        Assert.Equal((Errno.EINVAL, 1, StopCopy), (machine.Set(PreCopy).Error.Errno, driver.Illegal, machine.State));
        driver.Instead = (_, _) => ArcResult.Fails(Broken);
        machine.Set(Running);
        machine.BeginReset();
        machine.Set(PreCopy);
        machine.EndReset(done: false);
        Assert.Equal(1, driver.Illegal);
    }

    [Theory]
    [InlineData(Error)]
    [InlineData((MigrationState)8)]
    public void What_is_no_target_is_EINVAL_MG_10(MigrationState target) => Assert.Equal(Errno.EINVAL, machine.Set(target).Error.Errno);

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(PreCopyP2P)]
    public void STOP_COPY_does_not_go_back_to_pre_copy_MG_11(MigrationState target)
    {
        machine.Set(StopCopy);

        Assert.Equal((Errno.EINVAL, StopCopy), (machine.Set(target).Error.Errno, machine.State));
    }

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(PreCopyP2P)]
    [InlineData(StopCopy)]
    [InlineData(Resuming)]
    public void Entering_saving_or_loading_gives_a_stream_MG_20(MigrationState target) => Assert.NotNull(machine.Set(target).Value.Stream);

    [Theory]
    [InlineData(Stop)]
    [InlineData(RunningP2P)]
    public void No_other_state_gives_a_stream_MG_20(MigrationState target) => Assert.Null(machine.Set(target).Value.Stream);

    [Fact]
    public void A_stream_of_an_arc_that_has_none_is_closed_and_EINVAL_MG_20()
    {
        driver.Instead = (_, to) => to == RunningP2P ? driver.Open() : null;

        Assert.Equal(Errno.EINVAL, machine.Set(RunningP2P).Error.Errno);
        Assert.True(Assert.Single(driver.Opened).IsClosed);
    }

    [Fact]
    public void An_arc_that_owes_a_stream_and_gives_none_is_EINVAL_MG_20()
    {
        driver.Instead = (_, to) => to == PreCopy ? ArcResult.Done : null;

        Assert.Equal(Errno.EINVAL, machine.Set(PreCopy).Error.Errno);
    }

    [Fact]
    public void A_failed_transition_stays_where_it_got_to_and_GET_tells_MG_30_MG_33()
    {
        driver.Instead = (_, to) => to == StopCopy ? ArcResult.Fails(Broken) : null;

        Assert.Equal((Errno.EIO, Stop), (machine.Set(StopCopy).Error.Errno, machine.State));
    }

    [Fact]
    public void A_device_that_is_lost_on_the_way_is_in_ERROR_MG_31()
    {
        driver.Instead = (_, to) => to == Stop ? ArcResult.Breaks(Broken) : null;

        Assert.Equal((Errno.EIO, Error), (machine.Set(StopCopy).Error.Errno, machine.State));
    }

    [Theory]
    [InlineData(Stop)]
    [InlineData(Running)]
    [InlineData(Resuming)]
    public void From_ERROR_no_state_can_be_asked_for_MG_31(MigrationState target)
    {
        machine.Fail();

        Assert.Equal((Errno.EINVAL, Error), (machine.Set(target).Error.Errno, machine.State));
    }

    [Fact]
    public void GET_does_not_fail_in_ERROR_MG_32()
    {
        machine.Fail();

        Assert.Equal(Error, machine.State);
    }

    [Theory]
    [InlineData(Error)]
    [InlineData(Stop)]
    [InlineData(Running)]
    public void A_driver_may_say_what_every_transition_out_of_ERROR_is_refused_with_until_a_reset_VD_PDS_3(MigrationState target)
    {
        machine.Fail(Broken);

        Assert.Equal((Broken, Error), (machine.Set(target).Error, machine.State));
        machine.Reset();
        Assert.True(machine.Set(Stop).IsOk);
    }

    [Fact]
    public void A_transition_that_is_on_its_way_when_the_device_fails_ends_with_what_the_driver_said_VD_PDS_3()
    {
        driver.Instead = static (_, _) => ArcResult.OnItsWay(TimeSpan.FromSeconds(1));
        Assert.NotNull(machine.Set(Stop).Value.ContinuesAfter);

        machine.Fail(Broken);

        Assert.Equal(Error, machine.State);
        Assert.Equal((Broken, Broken), (machine.Set(Running).Error, machine.Set(Stop).Error));
        machine.Reset();
        driver.Instead = static (_, _) => null;
        Assert.True(machine.Set(Stop).IsOk);
    }

    [Fact]
    public void The_size_of_the_data_is_told_while_the_device_runs_MG_27() => Assert.Equal(4096UL, machine.GetDataSize().Value);

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(PreCopyP2P)]
    [InlineData(StopCopy)]
    [InlineData(Resuming)]
    [InlineData(RunningP2P)]
    [InlineData(Stop)]
    public void A_reset_leaves_RUNNING_and_a_dead_stream_MG_34_INV_8(MigrationState state)
    {
        var stream = machine.Set(state).Value.Stream;

        machine.Reset();

        Assert.Equal(Running, machine.State);
        Assert.True(stream is null || (stream.Read(new byte[1]).Error.Errno is Errno.ENODEV or Errno.EINVAL && driver.Opened[^1].IsClosed));
    }

    [Fact]
    public void A_reset_leads_out_of_ERROR_MG_31_MG_34()
    {
        machine.Fail();
        machine.Reset();

        Assert.Equal(Running, machine.State);
    }

    [Fact]
    public void A_reset_within_an_arc_is_applied_when_the_arc_has_ended_MG_35_MG_36()
    {
        MigrationState? within = null;
        driver.Instead = (from, to) =>
        {
            if (to == Stop)
            {
                machine.Reset();
                within = machine.State;
            }

            return null;
        };

        var set = machine.Set(StopCopy);

        Assert.Equal((RunningP2P, Errno.EIO, Running, 1), (within, set.Error.Errno, machine.State, driver.Forgotten));
    }

    [Fact]
    public void A_reset_within_the_arc_that_opens_a_stream_leaves_no_stream_MG_36()
    {
        driver.Instead = (_, to) =>
        {
            if (to == PreCopy)
                machine.Reset();
            return null;
        };

        Assert.False(machine.Set(PreCopy).IsOk);
        Assert.Equal((Running, StreamDirection.None), (machine.State, machine.View.Stream));
        Assert.True(driver.Opened[0].IsClosed);
    }

    [Fact]
    public async Task A_reset_from_another_thread_does_not_wait_for_the_arc_and_is_not_lost_MG_35()
    {
        using var within = new ManualResetEventSlim();
        using var reset = new ManualResetEventSlim();
        driver.Instead = (_, to) =>
        {
            if (to == Stop)
            {
                within.Set();
                Assert.True(reset.Wait(TimeSpan.FromSeconds(30)));
            }

            return null;
        };
        var walk = Task.Run(() => machine.Set(StopCopy), TestContext.Current.CancellationToken);
        Assert.True(within.Wait(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));

        machine.Reset();
        reset.Set();

        Assert.Equal((Errno.EIO, Running), ((await walk).Error.Errno, machine.State));
    }

    [Fact]
    public void A_transition_asked_for_within_an_arc_is_EBUSY_MG_3()
    {
        Errno? within = null;
        driver.Instead = (_, to) =>
        {
            if (to == PreCopy)
                within = machine.Set(Stop).Error.Errno;
            return null;
        };

        machine.Set(PreCopy);

        Assert.Equal(Errno.EBUSY, within);
    }

    [Fact]
    public void While_a_reset_is_tried_nothing_else_reaches_the_device_MG_34()
    {
        var stream = machine.Set(PreCopy).Value.Stream!;
        machine.BeginReset();

        Assert.Equal((Errno.EAGAIN, Errno.EAGAIN), (stream.Read(new byte[1]).Error.Errno, machine.Set(Running).Error.Errno));
    }

    [Fact]
    public void A_reset_that_failed_leaves_everything_as_it_was_MG_34()
    {
        var stream = machine.Set(PreCopy).Value.Stream!;
        driver.Opened[0].Left = 1;
        machine.BeginReset();
        machine.EndReset(done: false);

        Assert.Equal((PreCopy, 1), (machine.State, stream.Read(new byte[4]).Value));
    }

    [Fact]
    public void The_next_open_starts_RUNNING_without_stream_and_opt_in_MG_1_MG_26()
    {
        machine.Set(PreCopy);
        machine.OptIntoPrecopyInfoV2();

        machine.Close();

        Assert.Equal(new MigrationView(Running, StreamDirection.None, false, false, false), machine.View);
    }
}
