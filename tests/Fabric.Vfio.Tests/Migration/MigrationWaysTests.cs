using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>Which ways the machine takes, and a reset in every arc of every one of them.</summary>
public sealed class MigrationWaysTests
{
    private const MigrationFlags Everything = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    public static TheoryData<MigrationFlags> FlagCombinations() =>
    [
        MigrationFlags.StopCopy,
        MigrationFlags.StopCopy | MigrationFlags.P2P,
        MigrationFlags.StopCopy | MigrationFlags.PreCopy,
        Everything,
    ];

    [Theory]
    [InlineData(PreCopy, StreamDirection.Readable)]
    [InlineData(PreCopyP2P, StreamDirection.Readable)]
    [InlineData(StopCopy, StreamDirection.Readable)]
    [InlineData(Resuming, StreamDirection.Writable)]
    [InlineData(Stop, StreamDirection.None)]
    [InlineData(RunningP2P, StreamDirection.None)]
    public void A_stream_is_readable_while_saving_and_writable_in_RESUMING_MG_2(MigrationState state, StreamDirection direction)
    {
        var machine = MigrationMachine.Register(new FakeMigration(Everything)).Value;
        Assert.True(machine.Set(state).IsOk);
        Assert.Equal(direction, machine.View.Stream);
    }

    [Fact]
    public void Pre_copy_is_passed_through_only_on_a_way_inside_the_saving_group_MG_12()
    {
        var driver = new FakeMigration(Everything);
        var machine = MigrationMachine.Register(driver).Value;
        machine.Set(StopCopy);
        Assert.Equal([(Running, RunningP2P), (RunningP2P, Stop), (Stop, StopCopy)], driver.Arcs);
        machine.Set(Running);
        machine.Set(PreCopy);
        driver.Arcs.Clear();
        machine.Set(StopCopy);
        Assert.Equal([(PreCopy, PreCopyP2P), (PreCopyP2P, StopCopy)], driver.Arcs);
    }

    [Fact]
    public void A_hop_that_the_device_does_not_support_is_looked_up_past_MG_13()
    {
        var driver = new FakeMigration(MigrationFlags.StopCopy);
        MigrationMachine.Register(driver).Value.Set(StopCopy);
        Assert.Equal([(Running, Stop), (Stop, StopCopy)], driver.Arcs);
    }

    [Theory]
    [MemberData(nameof(FlagCombinations))]
    public void A_reset_in_any_arc_of_any_way_ends_in_RUNNING_without_a_stream_MG_34_MG_35_MG_36(MigrationFlags flags)
    {
        var states = Enum.GetValues<MigrationState>().Where(state => MigrationArcs.IsSupported(state, flags)).ToArray();
        foreach (var from in states)
        {
            foreach (var to in states)
            {
                for (var hop = 0; hop < 4; hop++)
                    ResetInArc(flags, from, to, hop);
            }
        }
    }

    private static void ResetInArc(MigrationFlags flags, MigrationState from, MigrationState to, int hop)
    {
        var driver = new FakeMigration(flags);
        var machine = MigrationMachine.Register(driver).Value;
        Assert.True(machine.Set(from).IsOk);
        var arc = 0;
        driver.Instead = (_, _) =>
        {
            if (arc++ == hop)
                machine.Reset();
            return null;
        };
        var set = machine.Set(to);
        if (arc <= hop)
            return;
        Assert.Equal((hop + 1, Errno.EIO), (arc, set.Error.Errno));
        Assert.Equal(new MigrationView(Running, StreamDirection.None, false, false, false), machine.View);
    }
}
