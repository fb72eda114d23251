using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>The arcs on a card, without an actor: every row of the kernel's table, a reset and a silent card in every arc.</summary>
public sealed class MttyArcTests
{
    public static TheoryData<MigrationFlags> FlagCombinations =>
    [
        MigrationFlags.StopCopy,
        MigrationFlags.StopCopy | MigrationFlags.P2P,
        MigrationFlags.StopCopy | MigrationFlags.PreCopy,
        MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy,
    ];

    [Theory]
    [MemberData(nameof(FlagCombinations))]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12_MG_13(MigrationFlags flags)
    {
        var rows = ArcTable.Rows.Where(row => row.Flags == flags).ToArray();
        Assert.Equal(64, rows.Length);
        foreach (var row in rows)
        {
            using var machine = new SerialMachine(flags);
            if (!machine.TryStand(row.Current))
            {
                Assert.True(row.IsRefused, row.ToString());
                continue;
            }

            machine.Noted.Arcs.Clear();
            var set = machine.Machine.Set(row.Target);
            if (row.Current == Error && row.Target == Error)
            {
                // SET to the state that it is in does nothing, also there (MG-4); the kernel's table is asked for the way alone.
                Assert.True(set.IsOk);
                continue;
            }

            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal(row.IsRefused ? row.Current : row.Target, machine.State);
            Assert.Equal(row.Path.Skip(1), machine.Noted.Arcs.Select(arc => arc.To));
            Assert.Equal(machine.State is Stop or StopCopy or Resuming, machine.IsSuspended);
            if (set.IsOk)
                Assert.Equal(row.OpensStream, set.Value.Stream is not null);
        }
    }

    /// <summary>A reset of the card, and the driver told of it, before and after each access that a transition makes to the card.</summary>
    [Theory]
    [MemberData(nameof(FlagCombinations))]
    public void A_reset_at_any_access_of_any_transition_ends_in_RUNNING_with_a_card_that_runs_and_no_stream_MG_34_MG_35_TS_4(MigrationFlags flags)
    {
        var resets = 0;
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == flags && !row.IsRefused && row.Path.Length > 1))
        {
            for (var access = 0; ResetAt(row, access, before: true) && ResetAt(row, access, before: false); access++)
                resets += 2;
        }

        Assert.True(resets > 100, $"There were {resets} resets.");
    }

    [Theory]
    [MemberData(nameof(FlagCombinations))]
    public void A_link_reset_at_any_access_is_an_error_or_is_found_at_the_next_arc_ER_10_MG_31(MigrationFlags flags)
    {
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == flags && !row.IsRefused && row.Path.Length > 1))
        {
            for (var access = 0; ; access++)
            {
                using var machine = new SerialMachine(flags);
                if (!DoAt(machine, row, access, before: true, () => machine.Card.Reset(ResetMethod.DeviceSpecific), out var set))
                    break;
                // A card that should run is none the worse for it; one that should stand is lost, and nobody is told that it is not.
                Assert.True(
                    set.IsOk ? machine.IsSuspended == machine.State is Stop or StopCopy or Resuming : machine.State == Error,
                    $"{row}, access {access}: {set.Error}");
                machine.Reset();
                Assert.Equal((Running, false), (machine.State, machine.IsSuspended));
            }
        }
    }

    [Theory]
    [MemberData(nameof(FlagCombinations))]
    public void A_card_that_does_not_answer_is_lost_until_a_reset_MG_31(MigrationFlags flags)
    {
        foreach (var row in ArcTable.Rows.Where(row => row.Flags == flags && !row.IsRefused && row.Path.Length > 1))
        {
            for (var access = 0; ; access++)
            {
                using var machine = new SerialMachine(flags);
                if (!DoAt(machine, row, access, before: true, () => VfioResult.Fail(Errno.EIO, "It does not answer."), out var set))
                    break;
                Assert.Equal((Errno.EIO, Error), (set.Error.Errno, machine.State));
                machine.Reset();
                Assert.Equal((Running, false), (machine.State, machine.IsSuspended));
            }
        }
    }

    [Fact]
    public void A_card_whose_driver_let_go_of_it_stays_as_it_is()
    {
        using var machine = new SerialMachine();
        var arcs = new Drivers.Mtty.MttyMigrationOps(machine.Window, 2, Drivers.Mtty.MttyMigrationOps.Everything);
        var other = MigrationMachine.Register(arcs).Value;
        Assert.True(other.Set(Stop).IsOk);
        arcs.LetGo();
        other.Close();
        Assert.True(machine.IsSuspended);
    }

    private static bool ResetAt(ArcRow row, int access, bool before)
    {
        using var machine = new SerialMachine(row.Flags);
        IMigrationStream? stream = null;
        var reached = DoAt(machine, row, access, before, () => Reset(machine), out var set, opened => stream = opened);
        if (!reached)
            return false;
        Assert.Equal((Errno.EIO, row.ToString()), (set.Error.Errno, row.ToString()));
        Assert.Equal(new MigrationView(Running, StreamDirection.None, false, false, false), machine.Machine.View);
        Assert.False(machine.IsSuspended);
        if (stream is not null)
            Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
        Assert.Equal([5], machine.With(5).Received());
        return true;
    }

    private static VfioResult Reset(SerialMachine machine)
    {
        machine.Reset();
        return VfioResult.Ok;
    }

    /// <summary>Stands at a row's start, and does something at the n-th access of its transition. False where there are not so many.</summary>
    private static bool DoAt(
        SerialMachine machine, ArcRow row, int access, bool before, Func<VfioResult> what, out VfioResult<MigrationDeviceState> set,
        Action<IMigrationStream?>? opened = null)
    {
        var standing = machine.Machine.Set(row.Current).Value.Stream;
        if (row.Current == Resuming)
            Assert.True(standing!.Write(SerialMachine.GoodStream).IsOk);
        opened?.Invoke(standing);
        var (count, done) = (0, false);
        if (before)
            machine.Window.Before = () => At() ? what() : VfioResult.Ok;
        else
            machine.Window.After = () =>
            {
                if (At())
                    what();
            };
        set = machine.Machine.Set(row.Target);
        (machine.Window.Before, machine.Window.After) = (() => VfioResult.Ok, () => { });
        return done;

        bool At()
        {
            if (done || count++ != access)
                return false;
            return done = true;
        }
    }
}
