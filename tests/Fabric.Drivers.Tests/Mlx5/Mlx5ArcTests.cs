using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Hardware.Specs.Mlx5.Mlx5Opcode;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The arcs without an actor: what each tells firmware, and what becomes of the device when firmware, PF or a reset comes between.</summary>
public sealed class Mlx5ArcTests
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private static IEnumerable<ArcRow> Ways => ArcTable.Rows.Where(row => row is { Flags: Flags, IsRefused: false, Path.Length: > 1 });

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12_MG_13()
    {
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == Flags))
        {
            using var machine = new Mlx5Machine();
            Assert.True(machine.TryStand(row.Current), row.ToString());
            machine.Noted.Arcs.Clear();
            var set = machine.Set(row.Target);
            if (row.Current == Error && row.Target == Error)
            {
                Assert.True(set.IsOk);
                continue;
            }

            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal(row.IsRefused ? row.Current : row.Target, machine.State);
            // An arc that takes time is performed more than once.
            Assert.Equal(row.Path.Skip(1), machine.Noted.Arcs.Distinct().Select(arc => arc.To));
            Assert.Equal(machine.State is Stop or StopCopy or Resuming, machine.Function.IsSuspended);
            if (set.IsOk)
                Assert.Equal(row.OpensStream, set.Value.Stream is not null);
        }
    }

    [Theory]
    [InlineData(Running, RunningP2P, new[] { SuspendVhca })]
    [InlineData(PreCopy, PreCopyP2P, new[] { SuspendVhca })]
    [InlineData(RunningP2P, Running, new[] { ResumeVhca })]
    [InlineData(PreCopyP2P, PreCopy, new[] { ResumeVhca })]
    [InlineData(RunningP2P, Stop, new[] { SuspendVhca })]
    [InlineData(Stop, RunningP2P, new[] { ResumeVhca })]
    [InlineData(Stop, StopCopy, new[] { QueryVhcaMigrationState, SaveVhcaState })]
    [InlineData(Running, PreCopy, new[] { QueryVhcaMigrationState, SaveVhcaState })]
    [InlineData(RunningP2P, PreCopyP2P, new[] { QueryVhcaMigrationState, SaveVhcaState })]
    [InlineData(PreCopyP2P, StopCopy, new[] { SuspendVhca, QueryVhcaMigrationState })]
    [InlineData(PreCopy, Running, new[] { SaveVhcaState })]
    [InlineData(PreCopyP2P, RunningP2P, new[] { SaveVhcaState })]
    [InlineData(StopCopy, Stop, new Mlx5Opcode[0])]
    [InlineData(Stop, Resuming, new Mlx5Opcode[0])]
    [InlineData(Resuming, Stop, new Mlx5Opcode[0])]
    public void Each_arc_tells_firmware_what_the_kernels_driver_tells_it_VD_2(MigrationState from, MigrationState to, Mlx5Opcode[] told)
    {
        using var machine = new Mlx5Machine();
        Assert.True(machine.TryStand(from));
        machine.TakeOpcodes();
        Assert.True(machine.Set(to).IsOk);
        Assert.Equal(told, machine.TakeOpcodes());
    }

    [Fact]
    public void In_P2P_it_takes_work_and_starts_none_and_stopped_it_takes_none_MG_2()
    {
        using var machine = new Mlx5Machine().Used();
        machine.Enter(RunningP2P);
        machine.Post(3);
        Assert.Equal((5u, 3u), (machine.Read32(Mlx5Register.Done), machine.Read32(Mlx5Register.Pending)));
        machine.Enter(Stop);
        var before = machine.Function.State;
        machine.Post(1);
        machine.WriteMemory(0, 1, 2, 3);
        Assert.Equal(uint.MaxValue, machine.Read32(Mlx5Register.Done));
        Assert.Equal(before, machine.Function.State);
        machine.Enter(Running);
        Assert.Equal((8u, 0u), (machine.Read32(Mlx5Register.Done), machine.Read32(Mlx5Register.Pending)));
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_at_any_command_of_any_transition_ends_in_RUNNING_with_a_device_that_works_and_no_stream_MG_34_MG_35_TS_4()
    {
        var resets = 0;
        foreach (var row in Ways)
        {
            for (var command = 0; ResetAt(row, command, before: true) && ResetAt(row, command, before: false); command++)
                resets += 2;
        }

        Assert.True(resets > 60, $"There were {resets} resets.");
    }

    private static bool ResetAt(ArcRow row, int command, bool before)
    {
        using var machine = new Mlx5Machine();
        if (!DoAt(machine, row, command, before, () => { machine.Reset(); return VfioResult.Ok; }, out var set, out var stream))
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
    public void A_reset_while_an_arc_waits_for_firmware_ends_in_RUNNING_MG_36()
    {
        using var machine = new Mlx5Machine();
        machine.Enter(PreCopy);
        Assert.NotNull(machine.Machine.Set(Running).Value.ContinuesAfter);
        machine.Reset();
        Assert.Equal((Errno.EIO, Running), (machine.Machine.Continue().Error.Errno, machine.State));
        machine.AssertWorks();
        machine.AssertMoves();
    }

    /// <summary>Nobody is told of the reset; firmware knows, and what a target takes is what the source holds, lost or not.</summary>
    [Fact]
    public void A_link_reset_at_any_command_of_a_save_gives_no_stream_that_a_target_takes_for_another_state_ER_10()
    {
        var commands = 0;
        for (; ; commands++)
        {
            using var machine = new Mlx5Machine().Used();
            using var target = new Mlx5Machine();
            var (count, at) = (0, commands);
            machine.Channel.Before = () =>
            {
                if (count++ == at)
                    machine.ResetFunction();
                return VfioResult.Ok;
            };
            var saved = SaveByPreCopy(machine);
            if (count <= at)
                break;
            if (saved.IsOk)
            {
                var stream = target.Enter(Resuming);
                if (stream.Write(saved.Value).IsOk && target.Set(Stop).IsOk)
                    Assert.Equal(machine.Function.State, target.Function.State);
            }
        }

        Assert.True(commands > 10, $"There were {commands} commands.");
    }

    private static VfioResult<byte[]> SaveByPreCopy(Mlx5Machine machine)
    {
        var entered = machine.Set(PreCopy);
        if (!entered.IsOk)
            return entered.Error;
        var stream = entered.Value.Stream!;
        var early = machine.Read(stream);
        machine.WriteMemory(0, 1, 2, 3);
        var stopped = machine.Set(StopCopy);
        var late = machine.Read(stream);
        return !early.IsOk ? early : !stopped.IsOk ? stopped.Error : !late.IsOk ? late : (byte[])[.. early.Value, .. late.Value];
    }

    // ---- The PF ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_PF_that_detaches_at_any_command_is_ENOTCONN_and_the_device_works_again_after_it_and_a_reset_VD_MLX_5()
    {
        var detached = 0;
        foreach (var row in Ways)
        {
            for (var command = 0; ; command++)
            {
                using var machine = new Mlx5Machine();
                if (!DoAt(machine, row, command, before: true, Detach, out var set, out var stream))
                    break;
                detached++;
                Assert.True(set.Error.Errno is Errno.ENOTCONN or Errno.ENODEV, $"{row}, command {command}: {set.Error}");
                var use = stream is null ? VfioResult.Ok : row.Current == Resuming ? stream.Write([1]) : stream.Read(new byte[1]).Error;
                Assert.Equal(stream is null ? Errno.None : machine.State == Error ? Errno.EIO : Errno.ENODEV, use.Error.Errno);
                Assert.Equal(Errno.ENOTCONN, machine.Machine.GetDataSize().Error.Errno);
                machine.Card.AttachDriver();
                machine.Reset();
                machine.AssertWorks();
                machine.AssertMoves();

                VfioResult Detach()
                {
                    machine.Card.DetachDriver();
                    return VfioResult.Ok;
                }
            }
        }

        Assert.True(detached > 30, $"It was detached {detached} times.");
    }

    [Fact]
    public void A_command_that_fails_leaves_the_device_at_the_last_state_that_it_reached_MG_33()
    {
        foreach (var row in Ways)
        {
            for (var command = 0; ; command++)
            {
                using var machine = new Mlx5Machine();
                if (!DoAt(machine, row, command, true, () => VfioResult.Fail(Errno.EIO, "It failed."), out var set, out _))
                    break;
                Assert.True(set.Error.Errno == Errno.EIO && row.Path.SkipLast(1).Contains(machine.State), $"{row}, command {command}: {set.Error}");
                Assert.Equal(machine.State is Stop or StopCopy or Resuming, machine.Function.IsSuspended);
                machine.Reset();
                machine.AssertWorks();
            }
        }
    }

    [Theory]
    [InlineData(RunningP2P, Running)]
    [InlineData(PreCopy, PreCopyP2P)]
    [InlineData(PreCopyP2P, StopCopy)]
    [InlineData(Stop, StopCopy)]
    [InlineData(Resuming, Stop)]
    public void Firmware_that_restarts_in_mid_migration_has_lost_the_device_until_a_reset_MG_31(MigrationState at, MigrationState target)
    {
        using var machine = new Mlx5Machine();
        Assert.True(machine.TryStand(at));
        machine.Card.RestartFirmware();
        Assert.Equal((Errno.EIO, Error), (machine.Set(target).Error.Errno, machine.State));
        machine.Reset();
        machine.AssertWorks();
        machine.AssertMoves();
    }

    [Fact]
    public void Firmware_that_restarts_while_the_device_runs_does_it_no_harm()
    {
        using var machine = new Mlx5Machine().Used();
        machine.Card.RestartFirmware();
        machine.AssertWorks();
        machine.AssertMoves();
    }

    // ---- Firmware that saves by itself -----------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(PreCopy, Running)]
    [InlineData(PreCopyP2P, RunningP2P)]
    [InlineData(StopCopy, Stop)]
    public void What_ends_a_stream_looks_again_until_firmware_has_given_its_buffer_back_VD_MLX_3(MigrationState at, MigrationState target)
    {
        using var machine = new Mlx5Machine();
        machine.Card.CommandTime = TimeSpan.FromSeconds(3);
        machine.Enter(at);
        var before = machine.Time.GetUtcNow();
        machine.Enter(target);
        Assert.Equal(TimeSpan.FromSeconds(3), machine.Time.GetUtcNow() - before);
    }

    [Fact]
    public void Firmware_that_never_finishes_is_given_up_after_a_minute_MG_31()
    {
        using var machine = new Mlx5Machine();
        machine.Card.CommandTime = TimeSpan.FromHours(1);
        machine.Enter(PreCopy);
        Assert.Equal((Errno.ETIMEDOUT, Error), (machine.Set(Running).Error.Errno, machine.State));
    }

    [Fact]
    public void A_stream_begins_only_when_firmware_has_let_go_of_the_one_before()
    {
        using var machine = new Mlx5Machine().Used();
        machine.Card.CommandTime = TimeSpan.FromMilliseconds(100);
        machine.Enter(PreCopy);
        machine.Reset();
        machine.TakeOpcodes();
        Assert.NotNull(machine.Machine.Set(PreCopy).Value.ContinuesAfter);
        Assert.Empty(machine.TakeOpcodes());
        machine.Reset();
        machine.AssertMoves();
    }

    /// <summary>Stands at a row's start, and does something at the n-th command of its transition. False where there are not so many.</summary>
    private static bool DoAt(
        Mlx5Machine machine, ArcRow row, int command, bool before, Func<VfioResult> what, out VfioResult<MigrationDeviceState> set,
        out IMigrationStream? stream)
    {
        var standing = machine.Set(row.Current);
        stream = standing.Value.Stream;
        if (row.Current == Resuming)
            Assert.True(stream!.Write(Mlx5Machine.GoodStream).IsOk);
        var (count, done) = (0, false);
        if (before)
            machine.Channel.Before = () => At() ? what() : VfioResult.Ok;
        else
            machine.Channel.After = () =>
            {
                if (At())
                    what();
            };
        set = machine.Set(row.Target);
        (machine.Channel.Before, machine.Channel.After) = (() => VfioResult.Ok, () => { });
        return done;

        bool At()
        {
            if (done || count++ != command)
                return false;
            return done = true;
        }
    }
}
