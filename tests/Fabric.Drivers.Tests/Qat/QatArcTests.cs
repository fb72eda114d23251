using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Specs.Qat;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Qat;

/// <summary>The arcs on a VF: every row of the kernel's table, the operations of each, and what goes wrong.</summary>
public sealed class QatArcTests
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private static readonly ArcRow[] Rows =
        [.. ArcTable.Rows.Where(row => row.Flags == Flags && MigrationArcs.IsSupported(row.Current, row.Flags))];

    private static IEnumerable<ArcRow> Walked => Rows.Where(row => row is { IsRefused: false, Path.Length: > 1 });

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12_VD_QAT_3()
    {
        foreach (var row in Rows)
        {
            using var rig = new QatRig();
            rig.Stand(row.Current);
            var set = rig.Go(row.Target);
            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal((row.ToString(), row.IsRefused ? row.Current : row.Target), (row.ToString(), rig.State));
            Assert.Equal(row.OpensStream, set is { IsOk: true, Value.Stream: not null });

            // Jobs run where nothing of P2P or stop is in the state, and are taken everywhere.
            var (done, given) = (rig.Done(0), rig.Read(0, QatBank.RequestTail));
            rig.Submit(0, 9);
            Assert.Equal(
                (row.ToString(), rig.State is Running or PreCopy ? 1u : 0, 1u),
                (row.ToString(), rig.Done(0) - done, rig.Read(0, QatBank.RequestTail) - given));
        }
    }

    [Fact]
    public void Each_arc_is_its_operation()
    {
        using var rig = new QatRig();
        Assert.Equal([QatOperation.SaveSetup], On(PreCopy));
        Assert.Equal([QatOperation.Suspend], On(PreCopyP2P));
        Assert.Equal([QatOperation.SaveState], On(StopCopy));
        Assert.Equal([], On(Stop));
        Assert.Equal([QatOperation.SaveState], On(StopCopy));
        Assert.Equal([], On(Stop));
        Assert.True(rig.Enter(Resuming).Write(QatRig.GoodStream).IsOk);
        Assert.Equal([QatOperation.LoadSetup, QatOperation.LoadState], On(Stop));
        Assert.Equal([], On(RunningP2P));
        Assert.Equal([QatOperation.SaveSetup], On(PreCopyP2P));
        Assert.Equal([QatOperation.Resume], On(PreCopy));
        Assert.Equal([], On(Running));

        IEnumerable<QatOperation> On(MigrationState target)
        {
            rig.Enter(target);
            var told = rig.Bench.Channel.Commands.Select(static command => (QatOperation)command[0]).ToArray();
            rig.Bench.Channel.Commands.Clear();
            return told;
        }
    }

    [Theory]
    [InlineData(Errno.ENOTCONN)]
    [InlineData(Errno.EIO)]
    public void An_operation_that_fails_leaves_the_VF_on_the_way_and_a_reset_helps_MG_30_MG_33(Errno errno)
    {
        var failed = 0;
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++, failed++)
            {
                using var rig = new QatRig();
                rig.Stand(row.Current);
                var ended = rig.Bench.At(access, () => VfioResult.Fail(errno, "It fails."));
                var set = rig.Go(row.Target);
                if (!ended())
                    break;
                Assert.Equal((row.ToString(), errno, true), (row.ToString(), set.Error.Errno, row.Path.Contains(rig.State)));
                Assert.Equal((row.ToString(), rig.State is Running or PreCopy), (row.ToString(), IsRunning(rig)));
                rig.Reset();
                rig.SetUp();
                Assert.True(rig.State == Running && IsRunning(rig), row.ToString());
            }
        }

        Assert.True(failed > 30, $"{failed} operations failed.");
    }

    [Fact]
    public void Without_the_PFs_driver_a_VF_stays_where_it_is_MG_33()
    {
        foreach (var row in Walked)
        {
            using var rig = new QatRig();
            rig.Stand(row.Current);
            rig.Physical.DetachDriver();
            var set = rig.Go(row.Target);
            var stayed = set.IsOk ? rig.State == row.Target : set.Error.Errno == Errno.ENOTCONN && row.Path.Contains(rig.State);
            Assert.True(stayed, $"{row}: {set.Error}");
            rig.Physical.AttachDriver();
            rig.Reset();
            rig.SetUp();
            Assert.True(IsRunning(rig), row.ToString());
        }
    }

    [Fact]
    public void A_reset_at_any_operation_of_any_transition_ends_in_RUNNING_MG_34_MG_36_TS_4()
    {
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++)
            {
                using var rig = new QatRig();
                var stream = rig.Stand(row.Current);
                var ended = rig.Bench.At(access, () =>
                {
                    rig.Reset();
                    return VfioResult.Ok;
                });
                var set = rig.Go(row.Target);
                if (!ended())
                    break;
                Assert.Equal((row.ToString(), false, Running), (row.ToString(), set.IsOk, rig.State));
                if (stream is not null)
                    Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
                rig.SetUp();
                Assert.True(IsRunning(rig), row.ToString());
            }
        }
    }

    private static bool IsRunning(QatRig rig)
    {
        var done = rig.Done(0);
        rig.Submit(0, 1);
        return rig.Done(0) > done;
    }
}
