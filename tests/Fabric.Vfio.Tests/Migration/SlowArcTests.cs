using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>Arcs that take time: told once, looked at again until they have ended, and what comes meanwhile.</summary>
public sealed class SlowArcTests
{
    private static readonly TimeSpan Later = TimeSpan.FromMilliseconds(20);

    private readonly FakeMigration driver = new(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy);
    private readonly MigrationMachine machine;
    private int looks = 2;

    public SlowArcTests()
    {
        machine = MigrationMachine.Register(driver).Value;
        // Each arc ends at the third look.
        driver.Instead = (_, _) =>
        {
            if (looks-- > 0)
                return ArcResult.OnItsWay(Later);
            looks = 2;
            return null;
        };
    }

    [Fact]
    public void An_arc_on_its_way_leaves_the_state_and_says_when_to_look_again()
    {
        Assert.Equal(new MigrationDeviceState(Running, null, Later), machine.Set(Stop).Value);
        Assert.Empty(driver.Arcs);
    }

    [Fact]
    public void Going_on_performs_the_same_arc_until_it_has_ended_and_then_the_next_MG_3()
    {
        var (reached, asked) = (machine.Set(StopCopy), 1);
        for (; reached.Value.ContinuesAfter is not null; asked++)
            reached = machine.Continue();

        Assert.Equal([(Running, RunningP2P), (RunningP2P, Stop), (Stop, StopCopy)], driver.Arcs);
        Assert.Equal((StopCopy, true, 7), (reached.Value.State, reached.Value.Stream is not null, asked));
    }

    [Fact]
    public void The_state_between_two_arcs_is_told_on_the_way_MG_30()
    {
        machine.Set(Stop);
        machine.Continue();

        Assert.Equal((RunningP2P, Later), (machine.Continue().Value.State, machine.Continue().Value.ContinuesAfter));
        Assert.Equal(RunningP2P, machine.State);
    }

    [Fact]
    public void Another_target_is_EBUSY_on_the_way_and_the_same_one_goes_on()
    {
        machine.Set(RunningP2P);

        Assert.Equal(Errno.EBUSY, machine.Set(Running).Error.Errno);
        Assert.Equal(Later, machine.Set(RunningP2P).Value.ContinuesAfter);
        Assert.Equal(new MigrationDeviceState(RunningP2P, null), machine.Set(RunningP2P).Value);
        Assert.True(machine.Set(Running).IsOk);
    }

    [Fact]
    public void The_stream_that_is_open_waits_while_an_arc_is_on_its_way_and_works_after_it()
    {
        var stream = Walk(PreCopy).Stream!;
        driver.Opened[0].Left = 3;
        machine.Set(PreCopyP2P);

        Assert.Equal((Errno.EAGAIN, Errno.EAGAIN), (stream.Read(new byte[1]).Error.Errno, stream.GetPrecopyInfo().Error.Errno));
        machine.Continue();
        machine.Continue();
        Assert.Equal(3, stream.Read(new byte[8]).Value);
    }

    [Fact]
    public void A_reset_on_the_way_ends_it_RUNNING_and_going_on_is_EIO_MG_34()
    {
        machine.Set(StopCopy);
        machine.Reset();

        Assert.Equal((Running, 1), (machine.State, driver.Forgotten));
        Assert.Equal((Errno.EIO, Running), (machine.Continue().Error.Errno, machine.State));
        Assert.Empty(driver.Arcs);
    }

    [Fact]
    public void After_a_reset_on_the_way_any_state_can_be_asked_for()
    {
        machine.Set(StopCopy);
        machine.Reset();

        Assert.Equal(Later, machine.Set(RunningP2P).Value.ContinuesAfter);
    }

    [Fact]
    public void A_reset_that_is_tried_on_the_way_holds_it_and_one_that_fails_lets_it_go_on()
    {
        machine.Set(RunningP2P);
        machine.BeginReset();
        Assert.Equal(Errno.EAGAIN, machine.Continue().Error.Errno);
        machine.EndReset(done: false);
        machine.Continue();

        Assert.Equal(RunningP2P, machine.Continue().Value.State);
    }

    [Fact]
    public void A_failure_on_the_way_is_ERROR_and_going_on_is_EIO_MG_31()
    {
        var stream = Walk(PreCopy).Stream!;
        machine.Set(StopCopy);
        machine.Fail();

        Assert.Equal(Errno.EIO, stream.Read(new byte[1]).Error.Errno);
        Assert.Equal((Errno.EIO, Error), (machine.Continue().Error.Errno, machine.State));
    }

    [Fact]
    public void An_arc_that_fails_at_a_later_look_leaves_the_device_where_it_got_to_MG_33()
    {
        machine.Set(StopCopy);
        driver.Instead = (_, _) => ArcResult.Fails(new VfioError(Errno.ETIMEDOUT, "It took too long."));

        Assert.Equal((Errno.ETIMEDOUT, Running), (machine.Continue().Error.Errno, machine.State));
        driver.Instead = (_, _) => null;
        Assert.True(machine.Set(PreCopy).IsOk);
    }

    [Fact]
    public void An_arc_that_breaks_at_a_later_look_is_ERROR_MG_31()
    {
        machine.Set(StopCopy);
        driver.Instead = (_, _) => ArcResult.Breaks(new VfioError(Errno.EIO, "It is lost."));

        Assert.Equal((Errno.EIO, Error), (machine.Continue().Error.Errno, machine.State));
    }

    [Fact]
    public void A_reset_from_within_a_look_is_applied_after_it_MG_35_MG_36()
    {
        machine.Set(StopCopy);
        driver.Instead = (_, _) =>
        {
            machine.Reset();
            return ArcResult.OnItsWay(Later);
        };

        Assert.Equal((Errno.EIO, Running), (machine.Continue().Error.Errno, machine.State));
    }

    [Fact]
    public void Going_on_when_nothing_is_on_its_way_touches_nothing()
    {
        Assert.Equal(Errno.EIO, machine.Continue().Error.Errno);
        Assert.Equal((Running, 2), (machine.State, looks));
    }

    [Fact]
    public void A_close_on_the_way_is_the_end_of_it_MG_1()
    {
        machine.Set(StopCopy);
        machine.Close();

        Assert.Equal((Running, Errno.EIO), (machine.State, machine.Continue().Error.Errno));
    }

    private MigrationDeviceState Walk(MigrationState target)
    {
        var reached = machine.Set(target);
        while (reached.Value.ContinuesAfter is not null)
            reached = machine.Continue();
        return reached.Value;
    }
}
