using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>The holder's half of a data stream (contract §6.4).</summary>
public sealed class MigrationStreamTests
{
    private const uint GetPrecopyInfo = 0x3b79;

    private readonly FakeMigration driver = new(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy);
    private readonly MigrationMachine machine;

    public MigrationStreamTests() => machine = MigrationMachine.Register(driver).Value;

    private FakeData Data => driver.Opened[^1];

    [Fact]
    public void Within_the_saving_group_the_stream_stays_MG_21_MG_24()
    {
        var stream = Enter(PreCopy);
        var moved = machine.Set(StopCopy).Value;
        Data.Left = 3;

        Assert.Equal((null, 3), (moved.Stream, stream.Read(new byte[8]).Value));
    }

    [Theory]
    [InlineData(PreCopy, Running)]
    [InlineData(PreCopyP2P, RunningP2P)]
    [InlineData(StopCopy, Stop)]
    public void A_stream_whose_states_are_left_is_ENODEV_MG_21(MigrationState within, MigrationState left)
    {
        var stream = Enter(within);
        machine.Set(left);

        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
    }

    [Fact]
    public void A_loading_stream_is_ENODEV_after_RESUMING_MG_21()
    {
        var stream = Enter(Resuming);
        machine.Set(Stop);

        Assert.Equal(Errno.ENODEV, stream.Write(new byte[1]).Error.Errno);
    }

    [Fact]
    public void Closing_a_stream_early_leaves_the_state_MG_21()
    {
        var stream = Enter(PreCopy);
        stream.Close();

        Assert.Equal((PreCopy, Errno.EBADF), (machine.State, stream.Read(new byte[1]).Error.Errno));
    }

    [Fact]
    public void Nothing_to_read_yet_in_pre_copy_is_ENOMSG_MG_22() => Assert.Equal(Errno.ENOMSG, Enter(PreCopy).Read(new byte[1]).Error.Errno);

    [Fact]
    public void Nothing_more_to_read_in_STOP_COPY_is_the_end_MG_22() => Assert.Equal(0, Enter(StopCopy).Read(new byte[1]).Value);

    [Fact]
    public void A_stream_has_no_positions_MG_22()
    {
        var stream = Enter(PreCopy);

        Assert.Equal((Errno.ESPIPE, Errno.ESPIPE), (stream.ReadAt(0, new byte[1]).Error.Errno, stream.WriteAt(0, new byte[1]).Error.Errno));
    }

    [Fact]
    public void Writes_reach_the_driver_in_any_chunks_MG_23()
    {
        var stream = Enter(Resuming);
        stream.Write(new byte[3]);
        stream.Write(new byte[5]);

        Assert.Equal(8, Data.Written);
    }

    [Fact]
    public void A_driver_that_does_not_accept_what_was_loaded_fails_the_way_to_STOP_MG_23()
    {
        Enter(Resuming);
        driver.Instead = (_, to) => to == Stop ? ArcResult.Fails(new VfioError(Errno.EINVAL, "The state is not whole.")) : null;

        Assert.Equal((Errno.EINVAL, Resuming), (machine.Set(Stop).Error.Errno, machine.State));
    }

    [Fact]
    public void A_stream_goes_one_way_MG_20() => Assert.Equal(
        (Errno.EINVAL, Errno.EINVAL), (Enter(Resuming).Read(new byte[1]).Error.Errno, Restarted(PreCopy).Write(new byte[1]).Error.Errno));

    [Fact]
    public void In_ERROR_a_stream_is_EIO_MG_31()
    {
        var stream = Enter(PreCopy);
        machine.Fail();

        Assert.Equal(Errno.EIO, stream.Read(new byte[1]).Error.Errno);
    }

    [Fact]
    public void PRECOPY_INFO_tells_what_is_left_MG_25()
    {
        var stream = Enter(PreCopy);
        Data.Info = new PrecopyInfo(100, 20);

        Assert.Equal(new PrecopyInfo(100, 20), stream.Ioctl(GetPrecopyInfo, 24).Value);
    }

    [Fact]
    public void Another_ioctl_of_a_stream_is_ENOTTY_MG_25() => Assert.Equal(Errno.ENOTTY, Enter(PreCopy).Ioctl(GetPrecopyInfo + 1, 24).Error.Errno);

    [Fact]
    public void PRECOPY_INFO_with_a_short_argsz_is_EINVAL_MG_25() => Assert.Equal(Errno.EINVAL, Enter(PreCopy).Ioctl(GetPrecopyInfo, 23).Error.Errno);

    [Fact]
    public void PRECOPY_INFO_after_the_stop_is_EINVAL_MG_25() => Assert.Equal(Errno.EINVAL, Enter(StopCopy).GetPrecopyInfo().Error.Errno);

    [Fact]
    public void PRECOPY_INFO_of_a_disabled_stream_is_ENODEV_MG_21_MG_25()
    {
        var stream = Enter(PreCopy);
        machine.Set(Running);

        Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
    }

    [Fact]
    public void A_fresh_start_up_set_is_dirt_to_who_has_not_opted_in_MG_26()
    {
        var stream = Enter(PreCopy);
        Data.Info = new PrecopyInfo(100, 20, Reinit: true);

        Assert.Equal(new PrecopyInfo(0, 120), stream.GetPrecopyInfo().Value);
    }

    [Fact]
    public void A_fresh_start_up_set_is_told_once_to_who_has_opted_in_MG_26()
    {
        machine.OptIntoPrecopyInfoV2();
        var stream = Enter(PreCopy);
        Data.Info = new PrecopyInfo(100, 20, Reinit: true);

        Assert.Equal((true, false), (stream.GetPrecopyInfo().Value.Reinit, stream.GetPrecopyInfo().Value.Reinit));
    }

    [Fact]
    public void Opting_in_without_PRE_COPY_is_EINVAL_MG_26() => Assert.Equal(
        Errno.EINVAL, MigrationMachine.Register(new FakeMigration(MigrationFlags.StopCopy)).Value.OptIntoPrecopyInfoV2().Error.Errno);

    private IMigrationStream Enter(MigrationState state) => machine.Set(state).Value.Stream!;

    private IMigrationStream Restarted(MigrationState state)
    {
        machine.Reset();
        return Enter(state);
    }
}
