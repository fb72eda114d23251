using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Hardware.Specs.Virtio.VirtioOpcode;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>The arcs on a card, without an actor: every row of the kernel's table, the commands of each, and what may come between.</summary>
public sealed class VirtioArcTests
{
    private static IEnumerable<ArcRow> Rows => ArcTable.Rows.Where(row => row.Flags == VirtioMachine.Flags);

    private static IEnumerable<ArcRow> Ways => Rows.Where(row => !row.IsRefused && row.Path.Length > 1);

    [Fact]
    public void Every_row_of_the_kernels_table_is_walked_as_it_says_MG_10_MG_12_MG_13()
    {
        Assert.Equal(64, Rows.Count());
        foreach (var row in Rows)
        {
            using var machine = new VirtioMachine();
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
            AssertDeviceIsIn(machine.State, machine, row);
            if (set.IsOk)
                Assert.Equal(row.OpensStream, set.Value.Stream is not null);
        }
    }

    public static TheoryData<MigrationState, MigrationState, VirtioOpcode[]> CommandsOfArcs => new()
    {
        { Running, RunningP2P, [SetDeviceMode] },
        { RunningP2P, Running, [SetDeviceMode] },
        { RunningP2P, Stop, [] },
        { Stop, RunningP2P, [] },
        { Stop, StopCopy, [DestroyObject, CreateObject, GetPartsMetadata, GetParts] },
        { StopCopy, Stop, [DestroyObject] },
        { Running, PreCopy, [DestroyObject, CreateObject, GetPartsMetadata, GetParts] },
        { RunningP2P, PreCopyP2P, [DestroyObject, CreateObject, GetPartsMetadata, GetParts] },
        { PreCopy, PreCopyP2P, [SetDeviceMode] },
        { PreCopyP2P, PreCopy, [SetDeviceMode] },
        { PreCopyP2P, StopCopy, [GetPartsMetadata, GetParts] },
        { PreCopy, Running, [DestroyObject] },
        { PreCopyP2P, RunningP2P, [DestroyObject] },
        { Stop, Resuming, [DestroyObject, CreateObject] },
        { Resuming, Stop, [DestroyObject] },
    };

    [Theory]
    [MemberData(nameof(CommandsOfArcs))]
    public void Each_arc_is_the_commands_of_the_table_VD_VIR_3(MigrationState from, MigrationState to, VirtioOpcode[] commands)
    {
        using var machine = new VirtioMachine();
        Assert.True(machine.TryStand(from));
        machine.Channel.Commands.Clear();
        machine.Enter(to);
        Assert.Equal(commands, machine.Channel.Commands);
    }

    /// <summary>A reset of the function, and the driver told of it, before and after each command of each transition.</summary>
    [Fact]
    public void A_reset_at_any_command_of_any_transition_ends_in_RUNNING_with_a_device_that_runs_and_no_stream_MG_34_MG_35_TS_4()
    {
        var resets = 0;
        foreach (var row in Ways)
        {
            for (var command = 0; ResetAt(row, command, before: true) && ResetAt(row, command, before: false); command++)
                resets += 2;
        }

        Assert.True(resets > 100, $"There were {resets} resets.");
    }

    [Fact]
    public void A_PF_whose_driver_goes_at_any_command_is_ENOTCONN_and_the_device_works_when_it_is_back_and_was_reset_MG_33()
    {
        foreach (var row in Ways)
        {
            for (var command = 0; ; command++)
            {
                using var machine = new VirtioMachine();
                if (!DoAt(machine, row, command, before: true, () => Detach(machine), out var set))
                    break;
                // What is let go at the end of a stream is let go of, whether its PF hears of it or not.
                Assert.True(set.IsOk || set.Error.Errno == Errno.ENOTCONN, $"{row}, command {command}: {set.Error}");
                Assert.Contains(machine.State, row.Path);
                machine.Physical.AttachDriver();
                machine.Reset();
                AssertWorks(machine);
            }
        }
    }

    [Theory]
    [InlineData(SetDeviceMode, RunningP2P)]
    [InlineData(CreateObject, PreCopy)]
    [InlineData(GetPartsMetadata, PreCopy)]
    [InlineData(GetParts, PreCopy)]
    [InlineData(CreateObject, Resuming)]
    [InlineData(GetParts, StopCopy)]
    public void A_command_that_the_firmware_refuses_leaves_the_last_completed_state_and_works_when_it_is_not_refused_MG_33(
        VirtioOpcode opcode, MigrationState target)
    {
        using var machine = new VirtioMachine();
        machine.Function.Refuses = (opcode, Errno.EBUSY);
        Assert.Equal(Errno.EBUSY, machine.Machine.Set(target).Error.Errno);
        Assert.True(machine.State is Running or Stop, machine.State.ToString());
        Assert.Equal(0, machine.Function.Objects);
        machine.Function.Refuses = null;
        machine.Enter(target);
        Assert.Equal(target, machine.State);
    }

    [Fact]
    public void A_firmware_that_restarts_has_lost_its_objects_and_what_needs_them_is_EINVAL_until_a_reset()
    {
        using var machine = new VirtioMachine();
        machine.Enter(PreCopyP2P);
        machine.Physical.RestartFirmware();
        Assert.Equal((Errno.EINVAL, PreCopyP2P), (machine.Machine.Set(StopCopy).Error.Errno, machine.State));
        machine.Reset();
        AssertWorks(machine);
    }

    [Fact]
    public void A_reply_that_is_no_reply_is_EIO()
    {
        using var machine = new VirtioMachine();
        var commands = new Drivers.Virtio.VirtioCommands(new MuteChannel());
        Assert.Equal((Errno.EIO, Errno.EIO), (commands.List().Error.Errno, commands.SetMode(true).Error.Errno));
    }

    private sealed class MuteChannel : IPfChannel
    {
        public string Protocol => VirtioAdmin.Protocol;

        public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply) => 3;

        public void ReportTo(Action<PfEvent>? sink)
        {
        }
    }

    [Fact]
    public void A_device_that_its_driver_let_go_of_stays_as_it_is()
    {
        using var machine = new VirtioMachine();
        machine.Enter(Stop);
        machine.Arcs.LetGo();
        machine.Machine.Close();
        Assert.True(machine.Function.IsStopped);
    }

    private static VfioResult Detach(VirtioMachine machine)
    {
        machine.Physical.DetachDriver();
        return VfioResult.Ok;
    }

    private static bool ResetAt(ArcRow row, int command, bool before)
    {
        using var machine = new VirtioMachine();
        IMigrationStream? stream = null;
        var reached = DoAt(machine, row, command, before, () => Reset(machine), out var set, opened => stream = opened);
        if (!reached)
            return false;
        Assert.Equal((Errno.EIO, row.ToString()), (set.Error.Errno, row.ToString()));
        Assert.Equal(new MigrationView(Running, StreamDirection.None, false, false, false), machine.Machine.View);
        if (stream is not null)
            Assert.Equal(Errno.ENODEV, stream.GetPrecopyInfo().Error.Errno);
        AssertWorks(machine);
        return true;
    }

    private static VfioResult Reset(VirtioMachine machine)
    {
        machine.Reset();
        return VfioResult.Ok;
    }

    private static void AssertWorks(VirtioMachine machine)
    {
        Assert.Equal((Running, false), (machine.State, machine.Function.IsStopped));
        var guest = new VirtioGuest(machine.Function, machine.Memory);
        var before = guest.Done;
        machine.With(1);
        Assert.Equal(before + 1, guest.Done);
        machine.Enter(StopCopy);
    }

    private static void AssertDeviceIsIn(MigrationState state, VirtioMachine machine, ArcRow row)
    {
        Assert.Equal((row.ToString(), state is not (Running or PreCopy or Error)), (row.ToString(), machine.Function.IsStopped));
        Assert.Equal((row.ToString(), state is PreCopy or PreCopyP2P or StopCopy or Resuming ? 1 : 0), (row.ToString(), machine.Function.Objects));
    }

    /// <summary>Stands at a row's start, and does something at the n-th command of its transition. False where there are not so many.</summary>
    private static bool DoAt(
        VirtioMachine machine, ArcRow row, int command, bool before, Func<VfioResult> what, out VfioResult<MigrationDeviceState> set,
        Action<IMigrationStream?>? opened = null)
    {
        var standing = machine.Machine.Set(row.Current).Value.Stream;
        if (row.Current == Resuming)
            Assert.True(standing!.Write(VirtioMachine.GoodStream).IsOk);
        opened?.Invoke(standing);
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
            if (done || count++ != command)
                return false;
            return done = true;
        }
    }
}
