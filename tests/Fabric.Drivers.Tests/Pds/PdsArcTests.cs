using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Pds;

/// <summary>The arcs on a VF: every row of the kernel's table, the commands of each, and what goes wrong.</summary>
public sealed class PdsArcTests
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P;

    private static readonly ArcRow[] Rows =
        [.. ArcTable.Rows.Where(row => row.Flags == Flags && MigrationArcs.IsSupported(row.Current, row.Flags))];

    private static IEnumerable<ArcRow> Walked => Rows.Where(row => row is { IsRefused: false, Path.Length: > 1 });

    public static TheoryData<MigrationState> States => [Running, RunningP2P, Stop, StopCopy, Resuming];

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12()
    {
        foreach (var row in Rows)
        {
            using var rig = new PdsRig();
            rig.Stand(row.Current);
            var set = rig.Go(row.Target);
            Assert.True(row.IsRefused == (set.Error.Errno == Errno.EINVAL) && row.IsRefused != set.IsOk, $"{row}: {set.Error}");
            Assert.Equal((row.ToString(), row.IsRefused ? row.Current : row.Target), (row.ToString(), rig.State));
            Assert.Equal(row.OpensStream, set is { IsOk: true, Value.Stream: not null });

            // It starts DMA in RUNNING alone, and takes what a guest writes in RUNNING_P2P too (MG-2).
            var (completed, given) = (rig.Consumer, Producer(rig));
            rig.Give(1);
            Assert.Equal(
                (row.ToString(), rig.State == Running, rig.State is Running or RunningP2P),
                (row.ToString(), rig.Consumer > completed, Producer(rig) > given));
        }
    }

    [Fact]
    public void Each_arc_is_its_commands_VD_PDS_1()
    {
        using var rig = new PdsRig();
        rig.Physical.SuspendTime = TimeSpan.Zero;
        Assert.Equal(["InProgress", "Suspend PeerToPeer", "SuspendStatus PeerToPeer"], On(RunningP2P));
        Assert.Equal(["Suspend Full", "SuspendStatus Full"], On(Stop));
        Assert.Equal(["StateSize", "Save"], On(StopCopy));
        Assert.Equal([], On(Stop));
        Assert.Equal([], On(Resuming));
        Assert.True(rig.Machine.Set(Resuming).IsOk);
        rig.Reset();
        rig.Stand(Resuming);
        rig.Commanded();
        Assert.Equal(["Restore"], On(Stop));
        Assert.Equal(["Resume PeerToPeer"], On(RunningP2P));
        Assert.Equal(["Resume Full", "None"], On(Running));

        IEnumerable<string> On(MigrationState target)
        {
            rig.Enter(target);
            return rig.Commanded();
        }
    }

    [Fact]
    public void A_suspension_is_looked_after_every_millisecond_until_it_is_done_VD_PDS_1()
    {
        using var rig = new PdsRig();
        var asked = rig.Machine.Set(RunningP2P).Value;
        Assert.Equal((Running, TimeSpan.FromMilliseconds(1)), (asked.State, asked.ContinuesAfter));
        rig.Bench.Time.Advance(TimeSpan.FromMilliseconds(2));
        Assert.NotNull(rig.Machine.Continue().Value.ContinuesAfter);
        rig.Bench.Time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal(new MigrationDeviceState(RunningP2P, null), rig.Machine.Continue().Value);
        Assert.Equal(1, rig.Commanded().Count(command => command == "Suspend PeerToPeer"));
    }

    [Theory]
    [InlineData(RunningP2P, Running)]
    [InlineData(Stop, RunningP2P)]
    public void A_suspension_that_is_not_done_after_5_s_is_given_up_and_the_VF_is_where_it_was_VD_PDS_1_MG_33(
        MigrationState target, MigrationState before)
    {
        using var rig = new PdsRig();
        rig.Enter(before);
        rig.Physical.SuspendTime = TimeSpan.MaxValue;
        var asked = rig.Bench.Time.GetTimestamp();
        Assert.Equal((Errno.ETIMEDOUT, before), (rig.Go(target).Error.Errno, rig.State));
        Assert.Equal(TimeSpan.FromSeconds(5), rig.Bench.Time.GetElapsedTime(asked));
        rig.Physical.SuspendTime = TimeSpan.Zero;
        rig.Enter(Running);
        rig.Give(3);
        Assert.Equal((3u, PdsHostStatus.None), (rig.Consumer, rig.Function.HostStatus));
    }

    // ---- Everything goes wrong, once --------------------------------------------------------------------------------------------------

    /// <summary>With what a command of any arc is answered.</summary>
    [Theory]
    [InlineData(Errno.ENOTCONN)]
    [InlineData(Errno.EIO)]
    public void A_command_that_fails_leaves_the_VF_where_it_was_or_lost_until_a_reset_MG_31_MG_33(Errno errno)
    {
        var failed = 0;
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++, failed++)
            {
                using var rig = new PdsRig();
                rig.Stand(row.Current);
                var ended = rig.Bench.At(access, () => VfioResult.Fail(errno, "It fails."));
                var set = rig.Go(row.Target);
                if (!ended())
                    break;
                // That NONE or the end of the log did not get through is no reason not to run.
                Assert.True(set.IsOk ? rig.State == row.Target : row.Path.Contains(rig.State), $"{row}, command {access}: {rig.State}, {set.Error}");
                if (rig.State == Running)
                    Assert.True(IsCompleting(rig), $"{row}, command {access}");
                rig.Reset();
                rig.SetUp();
                Assert.True(rig.State == Running && IsCompleting(rig), $"{row}, command {access}");
            }
        }

        Assert.True(failed > 30, $"{failed} commands failed.");
    }

    [Fact]
    public void Without_the_PFs_driver_no_command_gets_through_and_the_VF_stays_where_it_is_MG_33()
    {
        foreach (var row in Walked)
        {
            using var rig = new PdsRig();
            rig.Stand(row.Current);
            rig.Physical.DetachDriver();
            var set = rig.Go(row.Target);
            var stayed = set.IsOk ? rig.State == row.Target : set.Error.Errno == Errno.ENOTCONN && row.Path.Contains(rig.State);
            Assert.True(stayed, $"{row}: {set.Error}");
            rig.Physical.AttachDriver();
            rig.Reset();
            rig.SetUp();
            Assert.True(IsCompleting(rig), row.ToString());
        }
    }

    [Fact]
    public void A_VF_that_neither_stands_nor_goes_on_is_lost_MG_31()
    {
        using var rig = new PdsRig();
        rig.Physical.Fail(PdsOpcode.SuspendStatus, PdsStatus.Io);
        rig.Physical.Fail(PdsOpcode.Resume, PdsStatus.Io);
        Assert.Equal((Errno.EIO, Error), (rig.Go(RunningP2P).Error.Errno, rig.State));
    }

    [Fact]
    public void A_reset_at_any_command_of_any_transition_ends_in_RUNNING_MG_34_MG_36_TS_4()
    {
        foreach (var row in Walked)
        {
            for (var access = 0; ; access++)
            {
                using var rig = new PdsRig();
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
                Assert.True(IsCompleting(rig), $"{row}, command {access}");
            }
        }
    }

    // ---- The firmware of the PF recovers (VD-PDS-3) ----------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(States))]
    public void A_recovery_of_firmware_loses_a_migration_until_a_reset_and_every_SET_is_EIO_VD_PDS_3(MigrationState at)
    {
        using var rig = new PdsRig();
        var stream = rig.Stand(at);
        rig.Physical.RestartFirmware();
        Assert.Equal(at != Running, rig.Arcs.OnFirmwareRecovered(rig.Machine));
        if (at == Running)
        {
            Assert.Equal(Running, rig.State);
            rig.Enter(RunningP2P);
            return;
        }

        Assert.Equal(Error, rig.State);
        foreach (var target in Enum.GetValues<MigrationState>())
            Assert.Equal((target, Errno.EIO), (target, rig.Machine.Set(target).Error.Errno));
        if (stream is not null)
            Assert.Equal(Errno.EIO, (at == Resuming ? stream.Write([1]).Error : stream.Read(new byte[1]).Error).Errno);
        rig.Reset();
        rig.SetUp();
        Assert.True(rig.State == Running && IsCompleting(rig));
        rig.Enter(StopCopy);
    }

    [Fact]
    public void A_recovery_of_firmware_in_mid_transition_fails_it_and_loses_the_migration_VD_PDS_3()
    {
        using var rig = new PdsRig();
        Assert.NotNull(rig.Machine.Set(Stop).Value.ContinuesAfter);
        rig.Physical.RestartFirmware();
        rig.Bench.Time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal((Errno.EINVAL, Running), (rig.Machine.Continue().Error.Errno, rig.State));
        Assert.True(IsCompleting(rig));
    }

    [Fact]
    public void With_the_log_on_a_recovery_of_firmware_is_ERROR_in_RUNNING_too_and_the_log_has_ended_VD_PDS_3_MG_34()
    {
        using var rig = new PdsRig();
        Assert.True(rig.Log.Start(4096, [new LoggingRange(VfBench.Iova, VfBench.MemoryBytes)]).IsOk);
        rig.Physical.RestartFirmware();
        Assert.True(rig.Arcs.OnFirmwareRecovered(rig.Machine));
        Assert.Equal((Error, Errno.EIO, DirtyLogState.Off), (rig.State, rig.Machine.Set(Running).Error.Errno, rig.Log.State));
        rig.Reset();
        Assert.True(rig.Log.Start(4096, [new LoggingRange(VfBench.Iova, VfBench.MemoryBytes)]).IsOk);
    }

    // ---- What the host tells of itself (VD-PDS-1) ------------------------------------------------------------------------------------

    [Fact]
    public void The_host_is_IN_PROGRESS_from_when_migration_or_logging_starts_until_both_have_ended_VD_PDS_1()
    {
        using var rig = new PdsRig();
        var told = new List<PdsHostStatus> { rig.Function.HostStatus };
        Assert.True(rig.Log.Start(4096, [new LoggingRange(VfBench.Iova, VfBench.MemoryBytes)]).IsOk);
        told.Add(rig.Function.HostStatus);
        rig.Enter(StopCopy);
        Assert.True(rig.Log.Stop().IsOk);
        told.Add(rig.Function.HostStatus);
        rig.Enter(Running);
        told.Add(rig.Function.HostStatus);
        Assert.Equal([PdsHostStatus.None, PdsHostStatus.InProgress, PdsHostStatus.InProgress, PdsHostStatus.None], told);
        Assert.Equal(["InProgress", "None"], rig.Commanded().Where(command => command is "InProgress" or "None"));
    }

    [Fact]
    public void A_reset_ends_what_the_host_tells_of_a_migration_VD_PDS_1()
    {
        using var rig = new PdsRig();
        rig.Enter(Stop);
        rig.Reset();
        Assert.Equal(PdsHostStatus.None, rig.Function.HostStatus);
    }

    private static uint Producer(PdsRig rig) => rig.Bench.Read32(PdsBar.Registers, PdsRegister.Producer);

    private static bool IsCompleting(PdsRig rig)
    {
        var before = rig.Consumer;
        rig.Give(2);
        return rig.Consumer == before + 2;
    }
}
