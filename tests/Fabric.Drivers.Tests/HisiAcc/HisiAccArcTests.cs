using Fabric.Drivers.HisiAcc;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.HisiAcc;

/// <summary>The arcs on a VF: every row of the kernel's table, and what goes wrong in each.</summary>
public sealed class HisiAccArcTests
{
    private static readonly ArcRow[] Rows = [.. ArcTable.Rows.Where(row => row.Flags == (MigrationFlags.StopCopy | MigrationFlags.PreCopy))];

    private static IEnumerable<ArcRow> Walked => Rows.Where(row => row is { IsRefused: false, Path.Length: > 1 });

    [Fact]
    public void It_migrates_with_PRE_COPY_and_without_P2P_VD_HIS_5()
    {
        using var rig = new HisiAccRig();
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.PreCopy, rig.Machine.Flags);
    }

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12()
    {
        foreach (var row in Rows.Where(row => MigrationArcs.IsSupported(row.Current, row.Flags)))
        {
            using var rig = new HisiAccRig().SetUp();
            rig.Stand(row.Current);
            var set = rig.Go(row.Target);
            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal((row.ToString(), row.IsRefused ? row.Current : row.Target), (row.ToString(), rig.State));
            Assert.Equal(row.OpensStream, set is { IsOk: true, Value.Stream: not null });

            // Tasks are taken where it runs, and nowhere else.
            var before = rig.Events().Count;
            rig.Ring(1, 1);
            Assert.Equal((row.ToString(), rig.State is Running or PreCopy), (row.ToString(), rig.Events().Count > before));
        }
    }

    [Theory]
    [InlineData(EmulatedModels.HisiSec)]
    [InlineData(EmulatedModels.HisiSecByPf)]
    public void A_reset_at_any_access_of_any_transition_ends_in_RUNNING_with_a_VF_that_can_be_set_up_MG_34_MG_36_TS_4(string model)
    {
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++)
            {
                using var rig = new HisiAccRig(model).SetUp();
                var stream = rig.Stand(row.Current);
                var ended = rig.Bench.At(access, () =>
                {
                    rig.Reset();
                    return VfioResult.Ok;
                });
                var set = rig.Go(row.Target);
                if (!ended())
                    break;
                Assert.Equal((row.ToString(), Errno.EIO, Running), (row.ToString(), set.Error.Errno, rig.State));
                if (stream is not null)
                    Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
                rig.SetUp().Ring(2, 4);
                Assert.Contains((2, 3), rig.Events().Values);
            }
        }
    }

    [Fact]
    public void A_VF_that_does_not_answer_is_lost_until_a_reset_MG_31()
    {
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++)
            {
                using var rig = new HisiAccRig().SetUp();
                rig.Stand(row.Current);
                var ended = rig.Bench.At(access, () => VfioResult.Fail(Errno.EIO, "It does not answer."));
                var set = rig.Go(row.Target);
                if (!ended())
                    break;
                Assert.Equal((row.ToString(), Errno.EIO, Error), (row.ToString(), set.Error.Errno, rig.State));
                rig.Reset();
                Assert.Equal(Running, rig.State);
            }
        }
    }

    [Fact]
    public void Without_the_PFs_driver_it_does_not_stop_and_runs_on_MG_33()
    {
        using var rig = new HisiAccRig().SetUp();
        rig.Physical.DetachDriver();
        Assert.Equal((Errno.ENOTCONN, Running), (rig.Go(Stop).Error.Errno, rig.State));
        rig.Ring(0, 1);
        Assert.Contains((0, 0), rig.Events().Values);
        rig.Physical.AttachDriver();
        rig.Enter(Stop);
    }

    [Fact]
    public void An_error_of_the_PFs_queue_manager_is_EBUSY_and_the_VF_runs_on_MG_33()
    {
        using var rig = new HisiAccRig().SetUp();
        rig.Enter(PreCopy);
        rig.Physical.AbnormalStatus = 4;
        Assert.Equal((Errno.EBUSY, PreCopy), (rig.Go(StopCopy).Error.Errno, rig.State));
        rig.Ring(0, 1);
        Assert.Contains((0, 0), rig.Events().Values);
    }

    [Fact]
    public void A_stop_waits_until_the_queues_are_in_memory()
    {
        using var rig = new HisiAccRig().SetUp();
        var asked = rig.Machine.Set(Stop).Value;
        Assert.Equal((Running, TimeSpan.FromMicroseconds(10)), (asked.State, asked.ContinuesAfter));
        rig.Bench.Time.Advance(TimeSpan.FromMicroseconds(49));
        Assert.NotNull(rig.Machine.Continue().Value.ContinuesAfter);
        rig.Bench.Time.Advance(TimeSpan.FromMicroseconds(1));
        Assert.Equal(new MigrationDeviceState(Stop, null), rig.Machine.Continue().Value);
    }

    [Fact]
    public void A_stop_that_takes_longer_than_1_ms_is_given_up_and_the_VF_takes_tasks_again()
    {
        using var rig = new HisiAccRig().SetUp();
        rig.Physical.WriteBackTime = TimeSpan.FromMilliseconds(2);
        var before = rig.Bench.Time.GetTimestamp();
        Assert.Equal((Errno.ETIMEDOUT, Running), (rig.Go(Stop).Error.Errno, rig.State));
        Assert.Equal(TimeSpan.FromMilliseconds(1), rig.Bench.Time.GetElapsedTime(before));
        rig.Ring(3, 2);
        Assert.Equal([(3, 0), (3, 1)], rig.Events().Values.Where(entry => entry.Queue == 3));
    }

    // ---- Resets (VD-HIS-4) -----------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_reset_takes_the_PFs_resetting_bit_and_gives_it_back_VD_HIS_4()
    {
        using var rig = new HisiAccRig();
        var turn = Turn(rig);
        Assert.Null(turn.Take());
        Assert.True(rig.Physical.IsResetting);
        turn.Release();
        Assert.False(rig.Physical.IsResetting);
    }

    [Fact]
    public void A_reset_waits_while_the_PF_is_reset_VD_HIS_4()
    {
        using var rig = new HisiAccRig();
        var turn = Turn(rig);
        rig.Physical.IsResetting = true;
        for (var passed = 0; passed < 59_999; passed++)
        {
            Assert.Equal(TimeSpan.FromMilliseconds(1), turn.Take());
            rig.Bench.Time.Advance(TimeSpan.FromMilliseconds(1));
        }

        rig.Physical.IsResetting = false;
        Assert.Null(turn.Take());
        Assert.True(rig.Physical.IsResetting);
    }

    [Fact]
    public void After_60_s_a_reset_goes_on_without_the_bit_and_leaves_it_as_it_is_VD_HIS_4()
    {
        using var rig = new HisiAccRig();
        var turn = Turn(rig);
        rig.Physical.IsResetting = true;
        Assert.NotNull(turn.Take());
        rig.Bench.Time.Advance(TimeSpan.FromSeconds(60));
        Assert.Null(turn.Take());
        turn.Release();
        Assert.True(rig.Physical.IsResetting);
    }

    [Fact]
    public void Without_the_PFs_driver_a_reset_does_not_wait_VD_HIS_4()
    {
        using var rig = new HisiAccRig();
        rig.Physical.IsResetting = true;
        rig.Physical.DetachDriver();
        Assert.Null(Turn(rig).Take());
    }

    // ---- Who has migration control (VD-HIS-2) ----------------------------------------------------------------------------------------

    [Theory]
    [InlineData(EmulatedModels.HisiSec, true, 0x10200u)]
    [InlineData(EmulatedModels.HisiSecByPf, false, 0u)]
    public void Migration_control_is_in_the_upper_half_of_the_bar_or_the_PFs_VD_HIS_2(string model, bool inBar, uint lowAddress)
    {
        using var rig = new HisiAccRig(model).SetUp();
        Assert.Equal(inBar, rig.Device.ControlIsInBar);
        Assert.Equal(lowAddress, rig.Bench.Read32(HisiAccBar.Number, HisiAccRegister.EventQueueContext + 4));
    }

    private static HisiAccResetTurn Turn(HisiAccRig rig) => new(new HisiAccPfCommands(rig.Bench.Channel), rig.Bench.Time);
}
