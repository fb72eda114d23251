using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Hardware.Specs.Xe.XeCall;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Xe;

/// <summary>The arcs without an actor: what each asks of the PF, what an illegal request does, and what comes between.</summary>
public sealed class XeArcTests
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P;

    private static IEnumerable<ArcRow> Ways => ArcTable.Rows.Where(row => row is { Flags: Flags, IsRefused: false, Path.Length: > 1 });

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12_MG_13()
    {
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == Flags))
        {
            using var machine = new XeMachine();
            if (!machine.TryStand(row.Current))
            {
                Assert.True(row.IsRefused, row.ToString());
                continue;
            }

            machine.Noted.Arcs.Clear();
            var set = machine.Machine.Set(row.Target);
            if (row.Current == Error && row.Target == Error)
            {
                Assert.True(set.IsOk);
                continue;
            }

            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal(row.IsRefused ? row.Current : row.Target, machine.State);
            Assert.Equal(row.Path.Skip(1), machine.Noted.Arcs.Select(arc => arc.To));
            if (set.IsOk)
                Assert.Equal(row.OpensStream, set.Value.Stream is not null);
        }
    }

    [Theory]
    [InlineData(Running, RunningP2P, new[] { Suspend }, XeVfState.Paused)]
    [InlineData(RunningP2P, Running, new[] { Resume }, XeVfState.Running)]
    [InlineData(RunningP2P, Stop, new XeCall[0], XeVfState.Paused)]
    [InlineData(Stop, RunningP2P, new XeCall[0], XeVfState.Paused)]
    [InlineData(Stop, StopCopy, new[] { EnterStopCopy }, XeVfState.Saving)]
    [InlineData(StopCopy, Stop, new[] { ExitStopCopy }, XeVfState.Paused)]
    [InlineData(Stop, Resuming, new[] { EnterResumeData }, XeVfState.Restoring)]
    [InlineData(Resuming, Stop, new[] { ExitResumeData }, XeVfState.Paused)]
    public void Each_arc_asks_of_the_PF_what_the_kernels_driver_asks_VD_2_VD_XE_1(
        MigrationState from, MigrationState to, XeCall[] asked, XeVfState puts)
    {
        using var machine = new XeMachine();
        Assert.True(machine.TryStand(from));
        machine.TakeCalls();
        machine.Enter(to);
        Assert.Equal(asked, machine.TakeCalls());
        Assert.Equal(puts, machine.Function.PfState);
    }

    [Fact]
    public void In_P2P_the_whole_VF_stands_and_what_peers_write_is_taken_MG_2()
    {
        using var machine = new XeMachine().Used();
        machine.Enter(RunningP2P);
        machine.Submit(3);
        machine.Write(XeBar.Vram, 5, 42);
        Assert.Equal((5ul, 3ul), (machine.Read64(XeRegister.Done), machine.Read64(XeRegister.Pending)));
        machine.AssertMoves();
        machine.Enter(Running);
        Assert.Equal((8ul, 0ul), (machine.Read64(XeRegister.Done), machine.Read64(XeRegister.Pending)));
    }

    // ---- Illegal requests (VD-XE-2) --------------------------------------------------------------------------------------------------

    [Fact]
    public void An_illegal_request_stops_the_VF_until_a_reset_VD_XE_2()
    {
        var illegal = ArcTable.Rows
            .Where(row => row is { Flags: Flags, IsRefused: true, Current: not Error } && MigrationArcs.IsSupported(row.Current, Flags))
            .ToArray();
        Assert.Equal(15, illegal.Length);
        foreach (var row in illegal)
        {
            using var machine = new XeMachine();
            Assert.True(machine.TryStand(row.Current));
            Assert.Equal(Errno.EINVAL, machine.Machine.Set(row.Target).Error.Errno);
            Assert.Equal((row.Current, XeVfState.Stopped), (machine.State, machine.Function.PfState));
            var done = machine.Read64(XeRegister.Done);
            machine.Submit(1);
            Assert.Equal(done, machine.Read64(XeRegister.Done));
            machine.Reset();
            machine.AssertWorks();
            machine.AssertMoves();
        }
    }

    [Fact]
    public void After_an_illegal_request_what_is_legal_is_EPERM_and_the_state_stays_VD_XE_2()
    {
        using var machine = new XeMachine();
        Assert.Equal(Errno.EINVAL, machine.Machine.Set(PreCopy).Error.Errno);
        Assert.Equal((Errno.EPERM, Running), (machine.Machine.Set(StopCopy).Error.Errno, machine.State));
        machine.Reset();
        machine.Enter(StopCopy);
    }

    [Fact]
    public void A_call_that_fails_leaves_the_last_state_that_was_reached_and_stops_nothing_VD_XE_2_MG_33()
    {
        foreach (var row in Ways)
        {
            for (var call = 0; ; call++)
            {
                using var machine = new XeMachine();
                if (!DoAt(machine, row, call, true, () => VfioResult.Fail(Errno.EIO, "It failed."), out var set, out _))
                    break;
                Assert.True(set.Error.Errno == Errno.EIO && row.Path.SkipLast(1).Contains(machine.State), $"{row}, call {call}: {set.Error}");
                Assert.NotEqual(XeVfState.Stopped, machine.Function.PfState);
                if (row.Current != Resuming)
                {
                    machine.Enter(Running);
                    machine.AssertWorks();
                }
            }
        }
    }

    // ---- Resets, PF, firmware --------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_at_any_call_of_any_transition_ends_in_RUNNING_with_a_VF_that_works_and_no_stream_MG_34_MG_35_TS_4()
    {
        var resets = 0;
        foreach (var row in Ways)
        {
            for (var call = 0; ResetAt(row, call, before: true) && ResetAt(row, call, before: false); call++)
                resets += 2;
        }

        Assert.True(resets > 30, $"There were {resets} resets.");
    }

    private static bool ResetAt(ArcRow row, int call, bool before)
    {
        using var machine = new XeMachine();
        if (!DoAt(machine, row, call, before, () => { machine.Reset(); return VfioResult.Ok; }, out var set, out var stream))
            return false;
        Assert.False(set.IsOk, row.ToString());
        Assert.Equal(new MigrationView(Running, StreamDirection.None, false, false, false), machine.Machine.View);
        if (stream is not null)
            Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
        machine.AssertWorks();
        machine.AssertMoves();
        return true;
    }

    [Fact]
    public void A_PF_that_detaches_at_any_call_is_ENOTCONN_and_the_VF_works_again_after_it_and_a_reset()
    {
        foreach (var row in Ways)
        {
            for (var call = 0; ; call++)
            {
                using var machine = new XeMachine();
                if (!DoAt(machine, row, call, true, () => { machine.Card.DetachDriver(); return VfioResult.Ok; }, out var set, out _))
                    break;
                Assert.True(set.Error.Errno == Errno.ENOTCONN && row.Path.SkipLast(1).Contains(machine.State), $"{row}, call {call}: {set.Error}");
                machine.Card.AttachDriver();
                machine.Reset();
                machine.AssertWorks();
                machine.AssertMoves();
            }
        }
    }

    [Theory]
    [InlineData(Stop, StopCopy)]
    [InlineData(StopCopy, Stop)]
    [InlineData(Resuming, Stop)]
    [InlineData(RunningP2P, Running)]
    public void Firmware_that_restarts_in_mid_migration_leaves_a_stopped_VF_until_a_reset_MG_31(MigrationState at, MigrationState target)
    {
        using var machine = new XeMachine();
        Assert.True(machine.TryStand(at));
        machine.Card.RestartFirmware();
        Assert.Equal((Errno.EPERM, at), (machine.Machine.Set(target).Error.Errno, machine.State));
        machine.Reset();
        machine.AssertWorks();
        machine.AssertMoves();
    }

    [Fact]
    public void Firmware_that_restarts_while_the_VF_runs_does_it_no_harm()
    {
        using var machine = new XeMachine().Used();
        machine.Card.RestartFirmware();
        machine.AssertMoves();
    }

    /// <summary>Nobody is told of the reset; the PF knows.</summary>
    [Fact]
    public void A_VF_that_is_reset_behind_the_drivers_back_gives_no_stream_ER_10()
    {
        using var machine = new XeMachine().Used();
        machine.Enter(Stop);
        machine.Function.Reset(ResetMethod.FunctionLevel);
        Assert.Equal(Errno.EINVAL, machine.Machine.Set(StopCopy).Error.Errno);
        machine.Reset();
        var stream = machine.Enter(StopCopy);
        Assert.True(stream.Read(new byte[1000]).IsOk);
        machine.Function.Reset(ResetMethod.FunctionLevel);
        Assert.Equal(Errno.EINVAL, stream.Read(new byte[1000]).Error.Errno);
    }

    /// <summary>Stands at a row's start, and does something at the n-th call of its transition. False where there are not so many.</summary>
    private static bool DoAt(
        XeMachine machine, ArcRow row, int call, bool before, Func<VfioResult> what, out VfioResult<MigrationDeviceState> set,
        out IMigrationStream? stream)
    {
        stream = machine.Machine.Set(row.Current).Value.Stream;
        if (row.Current == Resuming)
            Assert.True(stream!.Write(XeMachine.GoodStream).IsOk);
        var (count, done) = (0, false);
        if (before)
            machine.Channel.Before = () => At() ? what() : VfioResult.Ok;
        else
            machine.Channel.After = () =>
            {
                if (At())
                    what();
            };
        set = machine.Machine.Set(row.Target);
        (machine.Channel.Before, machine.Channel.After) = (() => VfioResult.Ok, () => { });
        return done;

        bool At()
        {
            if (done || count++ != call)
                return false;
            return done = true;
        }
    }
}
