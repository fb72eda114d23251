using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Devices.Tests;

/// <summary>What drivers that migrate have in common, on a host in virtual time: sessions, resets, failures, arcs that take time.</summary>
public sealed class MigratingDriverTests : SlotTest
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);

    private readonly ConcurrentQueue<FakeMigration> attached = new();

    public MigratingDriverTests() => Bus.Add(One);

    private FakeMigration Ops => attached.Last();

    // ---- Opening (VD-1, LC-25) -------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task At_an_open_the_core_is_first_and_then_the_driver_and_it_is_RUNNING_LC_25_VD_1_MG_1()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);

        Assert.Equal((1, Running), (attached.Count, await StateAsync(front, session)));
        Assert.Equal(Ops.Flags, (await AskAsync<MigrationFlagsRead>(front, new GetMigrationFlags(session))).Flags);
        Assert.Equal(4096UL, (await AskAsync<MigrationDataSizeRead>(front, new GetMigrationDataSize(session))).Bytes);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_open_that_the_driver_does_not_follow_leaves_nothing_open_LC_25(bool throws)
    {
        var works = false;
        var front = await StartAsync(own => own.OnAttach = () => works
            ? new MigratingDevice(null)
            : throws ? throw new InvalidOperationException("bad luck") : new VfioError(Errno.ENOTCONN, "The PF has no driver."));

        Assert.Equal(throws ? Errno.EIO : Errno.ENOTCONN, (await RefusedAsync(front, new OpenDevice("somebody", TestActor))).Errno);
        works = true;

        // The close of what was opened for nothing comes first.
        await OpenAsync(front, TestActor);
    }

    [Fact]
    public async Task A_driver_whose_flags_are_none_that_the_kernel_registers_does_not_open_MG_5_LC_3()
    {
        var front = await StartAsync(static own => own.OnAttach = static () => new MigratingDevice(new FakeMigration(MigrationFlags.P2P)));

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(front, new OpenDevice("somebody", TestActor))).Errno);
    }

    [Fact]
    public async Task A_device_that_does_not_migrate_is_what_its_core_says_IO_80()
    {
        var front = await StartAsync(static own => own.OnAttach = static () => new MigratingDevice(null));
        var session = await OpenAsync(front, TestActor);
        DeviceRequest[] all =
        [
            new GetMigrationFlags(session), new GetMigrationState(session), new SetMigrationState(session, Stop), new GetMigrationDataSize(session),
            new StartDmaLogging(session, 0, 0x1000), new StopDmaLogging(session), new ReportDmaLogging(session),
        ];

        foreach (var request in all)
            Assert.Equal(Errno.ENOTTY, (await RefusedAsync(front, request)).Errno);
        await AskAsync<DeviceDone>(front, new ResetDevice(session));
    }

    [Fact]
    public async Task A_session_that_is_not_open_is_refused_and_the_open_one_is_not_touched_INV_3()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        var stale = new SessionId(1);
        DeviceRequest[] all =
        [
            new GetMigrationFlags(stale), new GetMigrationState(stale), new SetMigrationState(stale, Stop), new GetMigrationDataSize(stale),
            new StartDmaLogging(stale, 0, 0x1000), new ResetDevice(stale), new CloseDevice(stale),
        ];

        foreach (var request in all)
            Assert.Equal(Errno.ENODEV, (await RefusedAsync(front, request)).Errno);

        Assert.Equal((1, PreCopy, Errno.ENOMSG), (attached.Count, await StateAsync(front, session), stream!.Read(new byte[1]).Error.Errno));
    }

    [Fact]
    public async Task Sessions_of_one_group_have_one_device_and_its_stream_lasts_until_the_last_of_them_ends_LC_12()
    {
        var host = Host(drivers: Registration());
        var front = await FrontAsync(host, One);
        var group = (await AskAsync<GroupOpened>(host, new OpenGroup(Bus.At(One).IommuGroup!.Value, "a group", TestActor))).Session;
        var sessions = new List<SessionId>();
        for (var times = 0; times < 3; times++)
            sessions.Add((await AskAsync<DeviceOpened>(front, new OpenDevice("somebody", TestActor, Group: group))).Session);
        var stream = await EnterAsync(front, sessions[0], PreCopy);

        foreach (var session in sessions)
            Assert.Equal(PreCopy, await StateAsync(front, session));
        await AskAsync<DeviceDone>(front, new CloseDevice(sessions[0]));
        Assert.Equal((PreCopy, PreCopy), (await StateAsync(front, sessions[1]), await StateAsync(front, sessions[2])));
        Assert.Equal((1, Errno.ENOMSG), (attached.Count, stream!.Read(new byte[1]).Error.Errno));

        await AskAsync<DeviceDone>(front, new CloseDevice(sessions[2]));
        await AskAsync<DeviceDone>(front, new CloseDevice(sessions[1]));
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        var again = (await AskAsync<DeviceOpened>(front, new OpenDevice("somebody", TestActor, Group: group))).Session;
        Assert.Equal((2, Running), (attached.Count, await StateAsync(front, again)));
    }

    // ---- Failures of the driver ------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(false, Running)]
    [InlineData(true, Error)]
    public async Task A_driver_that_is_made_anew_finds_its_device_again_as_it_is_MG_31(bool lost, MigrationState found)
    {
        var front = await StartAsync(own => own.IsLost = () => lost && attached.Count > 1);
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, StopCopy);
        front.Tell(Kill.Instance);

        Assert.Equal((found, 2), (await StateAsync(front, session), attached.Count));
        Assert.Equal(Errno.ENODEV, stream!.Read(new byte[1]).Error.Errno);
        await AskAsync<DeviceDone>(front, new ResetDevice(session));
        Assert.Equal(Running, await StateAsync(front, session));
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_driver_does_before_and_after_a_reset_may_take_time_and_others_wait_IO_51()
    {
        var log = new ConcurrentQueue<string>();
        var front = await StartAsync(own =>
        {
            own.Preparing = then => own.Delay(Look, () =>
            {
                log.Enqueue("prepared");
                then();
            });
            own.Completing = then => own.Delay(Look, () =>
            {
                log.Enqueue("completed");
                then();
            });
        });
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        Client.Send(front, new ResetDevice(session));
        Client.Send(front, new GetMigrationState(session));

        await InTimeAsync<DeviceDone>(Client, TimeSpan.FromSeconds(4));

        Assert.Equal(Running, (await NextAsync<MigrationStateRead>(Client)).State);
        Assert.Equal(["prepared", "completed"], log);
        Assert.Equal(Errno.ENODEV, stream!.Read(new byte[1]).Error.Errno);
    }

    [Fact]
    public async Task While_a_reset_is_prepared_the_stream_waits_and_one_that_fails_leaves_it_as_it_was_MG_34()
    {
        var front = await StartAsync(own => own.Preparing = then => own.Delay(Look, then));
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        Bus.At(One).OnReset = static _ => VfioResult.Fail(Errno.EIO, "It does not.");
        Client.Send(front, new ResetDevice(session));
        await SettleAsync(front);
        Assert.Equal(Errno.EAGAIN, stream!.Read(new byte[1]).Error.Errno);

        Assert.True((await InTimeAsync<DeviceFailed>(Client, TimeSpan.FromSeconds(4))).Error.Errno != Errno.None);

        Assert.Equal((PreCopy, Errno.ENOMSG), (await StateAsync(front, session), stream.Read(new byte[1]).Error.Errno));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_reset_by_the_host_leaves_RUNNING_where_it_worked_and_all_as_it_was_where_not_MG_34(bool works)
    {
        var host = Host(drivers: Registration());
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        if (!works)
            Bus.At(One).OnReset = static _ => VfioResult.Fail(Errno.EIO, "It does not.");

        await AskAsync<object>(host, new ResetByOperator(One, null, "me"), works ? typeof(HostDone) : typeof(DeviceFailed));

        Assert.Equal(works ? Running : PreCopy, await StateAsync(front, session));
        Assert.Equal(works ? Errno.ENODEV : Errno.ENOMSG, stream!.Read(new byte[1]).Error.Errno);
    }

    // ---- Arcs that take time ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_transition_whose_arcs_take_time_is_answered_when_it_is_there_and_each_look_is_in_its_time()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        var looks = SlowArcs(3);
        Client.Send(front, new SetMigrationState(session, StopCopy));
        Client.Send(front, new GetMigrationState(session));
        Client.Send(front, new GetDeviceInfo(session));

        // Three arcs, each at its fourth look.
        for (var passed = 0; passed < 9; passed++)
        {
            await SettleAsync(front);
            Assert.False(Client.HasMessages);
            Assert.Equal(passed + (passed / 3) + 1, Volatile.Read(ref looks[0]));
            Advance(Look - TimeSpan.FromMilliseconds(1));
            await SettleAsync(front);
            Assert.Equal(passed + (passed / 3) + 1, Volatile.Read(ref looks[0]));
            Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.NotNull((await NextAsync<MigrationStateSet>(Client)).Stream);
        Assert.Equal(StopCopy, (await NextAsync<MigrationStateRead>(Client)).State);
        await NextAsync<DeviceInfoRead>(Client);
        Assert.Equal([(Running, RunningP2P), (RunningP2P, Stop), (Stop, StopCopy)], Ops.Arcs);
    }

    [Fact]
    public async Task States_on_the_way_are_shown()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        SlowArcs(1);
        Client.Send(front, new SetMigrationState(session, Stop));
        await SettleAsync(front);
        Advance(Look);

        await StatusAsync(One, static status => status.Migration == RunningP2P);
        Advance(Look);

        await NextAsync<MigrationStateSet>(Client);
        await StatusAsync(One, static status => status.Migration == Stop);
    }

    [Fact]
    public async Task The_holders_reset_that_comes_meanwhile_is_made_right_after_the_transition_MG_36()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        SlowArcs(2);
        Client.Send(front, new SetMigrationState(session, PreCopy));
        Client.Send(front, new ResetDevice(session));
        await SettleAsync(front);
        Assert.Single(Bus.At(One).Calls, "flr");

        await InTimeAsync<MigrationStateSet>(Client, TimeSpan.FromSeconds(10), static set => set.State == PreCopy);

        await NextAsync<DeviceDone>(Client);
        Assert.Equal((Running, 1), (await StateAsync(front, session), Ops.Forgotten));
    }

    [Fact]
    public async Task The_hosts_reset_that_comes_meanwhile_is_applied_right_after_the_transition_MG_36()
    {
        var host = Host(drivers: Registration());
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        SlowArcs(2);
        Client.Send(front, new SetMigrationState(session, PreCopy));
        await SettleAsync(front);
        await AskAsync<HostDone>(host, new ResetByOperator(One, null, "me"));

        var set = await InTimeAsync<MigrationStateSet>(Client, TimeSpan.FromSeconds(10));

        Assert.Equal(Running, await StateAsync(front, session));
        Assert.Equal(Errno.ENODEV, set.Stream!.Read(new byte[1]).Error.Errno);
    }

    [Theory]
    [InlineData(false, Running)]
    [InlineData(true, Error)]
    public async Task An_arc_that_ends_badly_at_a_later_look_is_its_requesters_error_and_others_go_on_MG_30_MG_31(bool breaks, MigrationState left)
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        SlowArcs(1);
        Client.Send(front, new SetMigrationState(session, PreCopy));
        Client.Send(front, new GetMigrationState(session));
        await SettleAsync(front);
        var late = new VfioError(Errno.ETIMEDOUT, "It took too long.");
        Ops.Instead = (_, _) => breaks ? ArcResult.Breaks(late) : ArcResult.Fails(late);
        Advance(Look);

        Assert.Equal(late, (await NextAsync<DeviceFailed>(Client)).Error);
        Assert.Equal(left, (await NextAsync<MigrationStateRead>(Client)).State);
        Ops.Instead = static (_, _) => null;
        await AskAsync<DeviceDone>(front, new ResetDevice(session));
        Assert.NotNull(await EnterAsync(front, session, PreCopy));
    }

    [Fact]
    public async Task A_driver_that_fails_at_a_later_look_fails_its_requester_once_and_its_successor_goes_on()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        SlowArcs(1);
        Client.Send(front, new SetMigrationState(session, PreCopy));
        Client.Send(front, new GetMigrationState(session));
        await SettleAsync(front);
        Ops.Instead = static (_, _) => throw new InvalidOperationException("bad luck");
        Advance(Look);

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(Client)).Error.Errno);
        Assert.Equal(Running, (await NextAsync<MigrationStateRead>(Client)).State);
        Advance(Look);
        Assert.NotNull(await EnterAsync(front, session, PreCopy));
        Assert.False(Client.HasMessages);
    }

    [Fact]
    public async Task A_holder_that_dies_meanwhile_leaves_a_device_for_the_next_one_MG_1()
    {
        var holder = CreateTestProbe();
        var front = await StartAsync();
        var session = await OpenAsync(front, holder);
        SlowArcs(2);
        holder.Send(front, new SetMigrationState(session, StopCopy));
        await SettleAsync(front);
        Sys.Stop(holder);
        Client.Send(front, new OpenDevice("the next one", Client));

        var next = (await InTimeAsync<DeviceOpened>(Client, TimeSpan.FromSeconds(20))).Session;

        Assert.Equal((Running, 2), (await StateAsync(front, next), attached.Count));
    }

    [Fact]
    public async Task A_device_that_is_put_out_of_service_meanwhile_answers_its_requester_and_ends_its_streams()
    {
        var host = Host(drivers: Registration());
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        SlowArcs(1000);
        Client.Send(front, new SetMigrationState(session, PreCopyP2P));
        await SettleAsync(front);
        var supervisor = await Sys.ActorSelection($"/user/host/device-{One}").ResolveOne(TimeSpan.FromSeconds(15), Cancelled);
        supervisor.Tell(new HardwareHung("nothing", default));
        await StateAsync(One, DeviceState.Quarantined);
        await NoteAsync(One, "closed");
        await SettleAsync(front);

        Assert.Equal(Errno.ENODEV, stream!.Read(new byte[1]).Error.Errno);
        Advance(Look);
        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(Client)).Error.Errno);
    }

    [Fact]
    public async Task What_is_asked_of_the_stream_meanwhile_is_EAGAIN_and_works_after_it()
    {
        var front = await StartAsync();
        var session = await OpenAsync(front, TestActor);
        var stream = await EnterAsync(front, session, PreCopy);
        Ops.Opened[0].Left = 3;
        SlowArcs(1);
        Client.Send(front, new SetMigrationState(session, PreCopyP2P));
        await SettleAsync(front);

        Assert.Equal(Errno.EAGAIN, stream!.Read(new byte[4]).Error.Errno);
        Advance(Look);

        await NextAsync<MigrationStateSet>(Client);
        Assert.Equal(3, stream.Read(new byte[4]).Value);
    }

    private async Task<IActorRef> StartAsync(Action<LabMigratingDriver>? script = null) => await FrontAsync(Host(drivers: Registration(script)), One);

    private DriverRegistration Registration(Action<LabMigratingDriver>? script = null)
    {
        script ??= static _ => { };
        return Scripted(static _ => { }) with { Create = context => Props.Create(() => new LabMigratingDriver(context, attached, script)) };
    }

    /// <summary>Every arc is on its way so many times. How often it was looked, in the one element.</summary>
    private int[] SlowArcs(int times)
    {
        var (looks, left) = (new int[1], times);
        Ops.Arcs.Clear();
        Ops.Instead = (_, _) =>
        {
            Interlocked.Increment(ref looks[0]);
            if (left-- > 0)
                return ArcResult.OnItsWay(Look);
            left = times;
            return null;
        };
        return looks;
    }

    private static async Task<MigrationState> StateAsync(IActorRef front, SessionId session) =>
        (await AskAsync<MigrationStateRead>(front, new GetMigrationState(session))).State;

    private static async Task<IMigrationStream?> EnterAsync(IActorRef front, SessionId session, MigrationState target) =>
        (await AskAsync<MigrationStateSet>(front, new SetMigrationState(session, target))).Stream;

    private static async Task AskAsync<T>(IActorRef host, object request, Type reply) =>
        Assert.IsType(reply, await host.Ask<T>(request, TimeSpan.FromSeconds(15), Cancelled));

    /// <summary>What it has been sent before is through.</summary>
    private static async Task SettleAsync(IActorRef front) => await AskAsync<PartInspected>(front, InspectPart.Instance);
}

/// <summary>A driver over arcs that a test scripts.</summary>
internal sealed class LabMigratingDriver : MigratingDriver
{
    private readonly ConcurrentQueue<FakeMigration> attached;

    public LabMigratingDriver(DriverContext context, ConcurrentQueue<FakeMigration> attached, Action<LabMigratingDriver> script)
        : base(context, ImmutableArray.Create(0))
    {
        this.attached = attached;
        script(this);
    }

    /// <summary>In place of a device that migrates with everything.</summary>
    public Func<VfioResult<MigratingDevice>>? OnAttach { get; set; }

    public Func<bool> IsLost { get; set; } = static () => false;

    public Action<Action> Preparing { get; set; } = static then => then();

    public Action<Action> Completing { get; set; } = static then => then();

    public void Delay(TimeSpan time, Action then) => After(time, then);

    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (OnAttach is { } otherwise)
            return otherwise();
        Assert.NotNull(mapped[0]);
        var ops = new FakeMigration(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy);
        attached.Enqueue(ops);
        return new MigratingDevice(ops) { IsLost = IsLost() };
    }

    protected override void PrepareReset(Action then) => Preparing(then);

    protected override void CompleteReset(Action then) => Completing(then);
}
