using System.Collections.Immutable;
using System.Reflection;
using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Devices.Hardware;
using Fabric.Devices.History;
using Fabric.Devices.Mdev;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>
/// For every message that these actors handle: its handler's hardware, or the driver in front, throws, hangs, or comes back after its time.
/// Whatever it was, the device is healthy or out of service with a reason and a way back, others go on, and nothing is left over.
/// </summary>
public abstract class EveryMessageTests : SlotTest
{
    /// <summary>Virtual time in which everybody has an answer: the longest chain of deadlines that there is.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private static readonly Dictionary<Type, Row> Rows = new()
    {
        // ---- To the front of a device ------------------------------------------------------------------------------------------------
        [typeof(OpenDevice)] = new(at => new OpenDevice("another", at.Consumer), To.Front) { Opens = false },
        [typeof(CloseDevice)] = new(at => new CloseDevice(at.Session), To.Front),
        [typeof(GetDeviceInfo)] = new(at => new GetDeviceInfo(at.Session), To.Front),
        [typeof(GetRegionInfo)] = new(at => new GetRegionInfo(at.Session, 0), To.Front),
        [typeof(GetIrqInfo)] = new(at => new GetIrqInfo(at.Session, 0), To.Front),
        [typeof(SetDeviceIrqs)] = new(
            at => new SetDeviceIrqs(at.Session, new SetIrqs(
                (uint)IrqIndex.Msi, 0, 1, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, Events: new[] { EventRef.Of(new FakeTarget()) })),
            To.Front),
        [typeof(SetTrigger)] = new(at => new SetTrigger(at.Session, IrqIndex.Err, new FakeTarget()), To.Front),
        [typeof(ResetDevice)] = new(at => new ResetDevice(at.Session), To.Front),
        [typeof(GetHotResetInfo)] = new(at => new GetHotResetInfo(at.Session), To.Front),
        [typeof(HotResetDevice)] = new(at => new HotResetDevice(at.Session, []), To.Front),
        [typeof(SetIoEventFd)] = new(at => new SetIoEventFd(at.Session, new IoEvent(0, 0, 4, 1), null), To.Front),
        [typeof(DeviceIoctl)] = new(at => new DeviceIoctl(at.Session, 1, default), To.Front),
        [typeof(FindFeature)] = new(at => new FindFeature(at.Session, default), To.Front),
        [typeof(SetVfToken)] = new(at => new SetVfToken(at.Session, default), To.Front),
        [typeof(EnterLowPower)] = new(at => new EnterLowPower(at.Session, null), To.Front),
        [typeof(ExitLowPower)] = new(at => new ExitLowPower(at.Session), To.Front),
        [typeof(GetDmaBuf)] = new(at => new GetDmaBuf(at.Session, 0, []), To.Front),
        [typeof(ReadRegion)] = new(at => new ReadRegion(at.Session, 0, 0, 4), To.Front),
        [typeof(WriteRegion)] = new(at => new WriteRegion(at.Session, 0, 0, new byte[4]), To.Front),
        [typeof(MapRegion)] = new(at => new MapRegion(at.Session, 0), To.Front),
        [typeof(MapDma)] = new(at => new MapDma(at.Session, 0, new FakeMemory(0x1000)), To.Front),
        [typeof(UnmapDma)] = new(at => new UnmapDma(at.Session, 0), To.Front),
        [typeof(GetMigrationFlags)] = new(at => new GetMigrationFlags(at.Session), To.Front),
        [typeof(SetMigrationState)] = new(at => new SetMigrationState(at.Session, MigrationState.Stop), To.Front),
        [typeof(GetMigrationState)] = new(at => new GetMigrationState(at.Session), To.Front),
        [typeof(UseFeature)] = new(at => new UseFeature(at.Session, 99, FeatureOperations.Get, default), To.Front),
        [typeof(GetMigrationDataSize)] = new(at => new GetMigrationDataSize(at.Session), To.Front),
        [typeof(OptIntoPrecopyInfoV2)] = new(at => new OptIntoPrecopyInfoV2(at.Session), To.Front),
        [typeof(StartDmaLogging)] = new(at => new StartDmaLogging(at.Session, 0, 0x1000), To.Front),
        [typeof(StopDmaLogging)] = new(at => new StopDmaLogging(at.Session), To.Front),
        [typeof(ReportDmaLogging)] = new(at => new ReportDmaLogging(at.Session), To.Front),
        [typeof(ErrorDetected)] = new(_ => new ErrorDetected(ChannelState.Normal, AnError), To.Front),
        [typeof(MmioEnabled)] = new(_ => new MmioEnabled(), To.Front),
        [typeof(SlotReset)] = new(_ => new SlotReset(), To.Front),
        [typeof(ResumeOperation)] = new(_ => new ResumeOperation(), To.Front),
        [typeof(HandleErrors)] = new(at => new HandleErrors(at.Session, at.Consumer), To.Front),
        [typeof(FunctionWasReset)] = new(_ => new FunctionWasReset(VfioResult.Ok), To.Front, Answered: false),
        [typeof(FenceDevice)] = new(_ => new FenceDevice(null), To.Front, Answered: false),
        [typeof(InspectPart)] = new(_ => InspectPart.Instance, To.Front),

        // ---- To the host -------------------------------------------------------------------------------------------------------------
        [typeof(OpenGroup)] = new(_ => new OpenGroup(GroupOfOne, "somebody", ActorRefs.Nobody), To.Host),
        [typeof(CloseGroup)] = new(_ => new CloseGroup(new GroupSessionId(GroupOfOne, 99)), To.Host),
        [typeof(ListDevices)] = new(_ => ListDevices.Instance, To.Host),
        [typeof(FindDevice)] = new(_ => new FindDevice(One), To.Host),
        [typeof(InspectDevice)] = new(_ => new InspectDevice(One), To.Host),
        [typeof(GetDeviceHistory)] = new(_ => new GetDeviceHistory(One, 10), To.Host),
        [typeof(ResetByOperator)] = new(_ => new ResetByOperator(One, null, "me"), To.Host),
        [typeof(SetResetMethods)] = new(_ => new SetResetMethods(One, ["pm"], "me"), To.Host),
        [typeof(QuarantineDevice)] = new(_ => new QuarantineDevice(One, "a whim", "me"), To.Host),
        [typeof(UnquarantineDevice)] = new(_ => new UnquarantineDevice(One, "me"), To.Host) { Quarantined = true },
        [typeof(ConfigureSriov)] = new(_ => new ConfigureSriov(One, 2, "me"), To.Host),
        [typeof(RemoveDevice)] = new(_ => new RemoveDevice(One, "me", TimeSpan.FromSeconds(4)), To.Host),
        [typeof(PlanVirtualFunctions)] = new(_ => new PlanVirtualFunctions(One, 2, []), To.Host),
        [typeof(PlanNumVfs)] = new(_ => new ConfigureSriov(One, 2, "me") { PlanOnly = true }, To.Host),
        [typeof(InjectAer)] = new(_ => new InjectAer(One, AerSeverity.Fatal), To.Host),
        [typeof(InjectHang)] = new(_ => new InjectHang(One, HangPoint.Reset), To.Host),
        [typeof(ReleaseHang)] = new(_ => new ReleaseHang(One), To.Host),
        [typeof(InjectRemoval)] = new(_ => new InjectRemoval(One), To.Host),
        [typeof(InjectReturn)] = new(_ => new InjectReturn(One), To.Host),
        [typeof(InjectFlap)] = new(_ => new InjectFlap(One, 1, TimeSpan.FromSeconds(1)), To.Host),
        [typeof(ListMdevTypes)] = new(_ => ListMdevTypes.Instance, To.Host),
        [typeof(ListMdevs)] = new(_ => ListMdevs.Instance, To.Host),
        [typeof(DefineMdev)] = new(_ => new DefineMdev(default, "mtty", "mtty-1", false, "me"), To.Host),
        [typeof(StartMdev)] = new(_ => new StartMdev(default, "me"), To.Host),
        [typeof(StopMdev)] = new(_ => new StopMdev(default, "me"), To.Host),
        [typeof(UndefineMdev)] = new(_ => new UndefineMdev(default, "me"), To.Host),
        [typeof(OverrideDriver)] = new(_ => new OverrideDriver(One, "vfio-pci", "me"), To.Host) { Opens = false },
        [typeof(ShowFunctions)] = new(_ => new ShowFunctions([]), To.Host, Answered: false),
        [typeof(ListDrivers)] = new(_ => ListDrivers.Instance, To.Host),
        [typeof(LoadDrivers)] = new(_ => new LoadDrivers(null, "me"), To.Host),
        [typeof(UnloadDriver)] = new(_ => new UnloadDriver("nothing", "me"), To.Host),
        [typeof(PluginsScanned)] = new(_ => new PluginsScanned([]), To.Host, Answered: false),
        [typeof(DeviceUnbound)] = new(_ => new DeviceUnbound(Other, null, null, null), To.Host, Answered: false),
        [typeof(UnbindRefused)] = new(_ => new UnbindRefused(One, new VfioError(Errno.EBUSY, "nothing")), To.Host, Answered: false),
        [typeof(WatchCalls)] = new(at => new WatchCalls(at.Calls, ActorRefs.Nobody), To.Host, Answered: false),
        [typeof(CallCameBack)] = new(_ => new CallCameBack(ActorRefs.Nobody, "nothing"), To.Host, Answered: false),
        [typeof(UnwatchCalls)] = new(at => new UnwatchCalls(at.Calls), To.Host, Answered: false),
        [typeof(DeviceStatusChanged)] = new(_ => new DeviceStatusChanged(StatusOf(new FakeFunction { Address = Other }, null)), To.Host, Answered: false),
        [typeof(DeviceNoted)] = new(_ => new DeviceNoted(One, new DeviceHistoryEntry(default, "odd", "out of nowhere")), To.Host, Answered: false),
        [typeof(DeviceReleased)] = new(_ => new DeviceReleased(Other, Pulled: false), To.Host, Answered: false),
        [typeof(SriovEnded)] = new(_ => new ConfigureSriov(One, 0, "me"), To.Host),
        [typeof(StandingsRead)] = new(_ => new GetDeviceHistory(One, 1), To.Host),
        [typeof(ReadStandings)] = new(_ => new GetDeviceHistory(One, 1), To.Host),
        [typeof(NoteHistory)] = new(_ => new GetDeviceHistory(One, 1), To.Host),

        // ---- On the bus --------------------------------------------------------------------------------------------------------------
        [typeof(AerReported)] = new(_ => new AerReported(new AerRecord(One, AerSeverity.NonFatal, 1)), To.Bus, Answered: false),
        [typeof(FunctionAppeared)] = new(at => new FunctionAppeared(at.Bus.At(One)), To.Bus, Answered: false),
        [typeof(FunctionVanished)] = new(_ => new FunctionVanished(One), To.Bus, Answered: false),
        [typeof(RemovalRequested)] = new(_ => new RemovalRequested(One), To.Bus, Answered: false) { Opens = false },

        // ---- To a supervisor: facts of driver, core, recovery ------------------------------------------------------------------------
        [typeof(SessionOpened)] = new(_ => new SessionOpened("somebody"), To.Supervisor, Answered: false),
        [typeof(SessionClosed)] = new(at => new SessionClosed(new SessionId(1), "nobody", "of nothing"), To.Supervisor, Answered: false),
        [typeof(OperatorResetEnded)] = new(_ => new ResetByOperator(One, null, "me"), To.Host),
        [typeof(ResetTried)] = new(_ => new ResetTried("flr", true, "for nothing", default), To.Supervisor, Answered: false),
        [typeof(MigrationStateChanged)] = new(_ => new MigrationStateChanged(MigrationState.Running), To.Supervisor, Answered: false),
        [typeof(ErrorsReported)] = new(_ => new ErrorsReported(AnError, 1, 1), To.Supervisor, Answered: false),
        [typeof(RecoveryStarted)] = new(_ => new RecoveryStarted(AnError, IsSource: true), To.Supervisor, Answered: false) { Ends = true },
        [typeof(RecoveryEnded)] = new(_ => new RecoveryEnded(Recovered: false), To.Supervisor, Answered: false),
        [typeof(LostConfigRepaired)] = new(_ => new LostConfigRepaired(LostConfig.Bars), To.Supervisor, Answered: false),
        [typeof(LinkFoundDead)] = new(_ => new LinkFoundDead(), To.Supervisor, Answered: false),
        [typeof(HardwareHung)] = new(_ => new HardwareHung("nothing", default), To.Supervisor, Answered: false) { HangsBySay = true },
        [typeof(HangEnded)] = new(_ => new HangEnded("nothing", default), To.Supervisor, Answered: false),
        [typeof(ReleaseRequested)] = new(_ => new ReleaseRequested(0, Heard: true, default), To.Supervisor, Answered: false),
        [typeof(FunctionGone)] = new(_ => FunctionGone.Instance, To.Supervisor, Answered: false),
        [typeof(CoreProbed)] = new(_ => new UnquarantineDevice(One, "me"), To.Host) { Quarantined = true },
        [typeof(CoreWasReset)] = new(_ => new ResetByOperator(One, "pm", "me"), To.Host),
        [typeof(CoreDone)] = new(_ => CoreDone.Instance, To.Supervisor, Answered: false),
        [typeof(CoreLeft)] = new(_ => CoreLeft.Instance, To.Supervisor, Answered: false),
        [typeof(CoreChanged)] = new(_ => new CoreChanged(VfioResult.Ok), To.Supervisor, Answered: false),
        [typeof(DriverFault)] = new(_ => new DriverFault("nothing"), To.Supervisor, Answered: false),
        [typeof(UnbindDevice)] = new(_ => new UnbindDevice("for nothing"), To.Supervisor),
        [typeof(AdoptOverride)] = new(_ => new AdoptOverride("vfio-pci"), To.Supervisor, Answered: false) { Opens = false },
        [typeof(ExplainDriver)] = new(_ => new ExplainDriver(new DriverChoice(null, "a whim", [])), To.Supervisor, Answered: false),
        [typeof(CoreUnbound)] = new(_ => new CoreUnbound(null), To.Supervisor, Answered: false),
        [typeof(VirtualFunctionsChanged)] = new(_ => new VirtualFunctionsChanged(0), To.Supervisor, Answered: false),
        [typeof(LadderEnded)] = new(_ => new LadderEnded([One]), To.Supervisor, Answered: false),
        [typeof(KeepStanding)] = new(_ => new QuarantineDevice(One, "a whim", "me"), To.Host) { Opens = false },
        [typeof(StandingKept)] = new(_ => new StandingKept(One, DeviceStanding.None), To.Supervisor, Answered: false),
        [typeof(StandingNotKept)] = new(_ => new StandingNotKept(One, "no reason"), To.Supervisor, Answered: false),

        // ---- What a supervisor or a recovery has a core do ---------------------------------------------------------------------------
        [typeof(LinkWasReset)] = new(_ => LinkWasReset.Instance, To.Supervisor),
        [typeof(ProbeAnew)] = new(_ => new UnquarantineDevice(One, "me"), To.Host) { Quarantined = true },
        // One of the whole set that hangs takes all its members out of service: that is the sets' own tests'.
        [typeof(ResetCore)] = new(_ => new ResetCore(ResetScope.Function), To.Supervisor),
        [typeof(EndSessions)] = new(_ => new EndSessions("for nothing"), To.Supervisor),
        [typeof(CheckCore)] = new(_ => CheckCore.Instance, To.Supervisor),
        [typeof(ChangeResetMethods)] = new(_ => new ChangeResetMethods(["pm"]), To.Supervisor),
        [typeof(SetVirtualFunctions)] = new(_ => new SetVirtualFunctions(0), To.Supervisor),
        [typeof(UnbindCore)] = new(_ => new OverrideDriver(One, "vfio-pci", "me"), To.Host) { Opens = false },
        [typeof(LeaveBus)] = new(_ => new RemoveDevice(One, "me"), To.Host) { Opens = false },
    };

    /// <summary>Between a core and its driver, its set, its group, and within the journal, and among plugins: tried where those are.</summary>
    private static readonly ImmutableHashSet<Type> Elsewhere =
    [
        typeof(CoreCall), typeof(CoreReplied), typeof(DriverAttached), typeof(PartInspected), typeof(JoinSet), typeof(TakeTurn), typeof(TurnGranted),
        typeof(TurnRefused), typeof(EndTurn), typeof(LendCore), typeof(CoreLent), typeof(CoreNotLent), typeof(CoreReturned), typeof(AdmitToGroup),
        typeof(GroupAdmitted), typeof(GroupRefused), typeof(LeaveGroup), typeof(LaneReturned), typeof(DeviceGone),
        typeof(SetCameBack), typeof(CoreCameBack), typeof(WriteBatch), typeof(BatchWritten), typeof(BatchRejected), typeof(TakeSnapshot),
        typeof(SnapshotTaken), typeof(JournalOpened), typeof(JournalFailed),
        typeof(ScanPlugins), typeof(DropPlugin), typeof(DriverNoted),
    ];

    private const int GroupOfOne = 256;

    /// <summary>Turns of the real clock: what does not hang has a second.</summary>
    private const int Patience = 250;

    private readonly List<Hang> hangs = [];
    private readonly TestProbe unheard;

    protected EveryMessageTests() => unheard = CreateTestProbe();

    private enum To
    {
        Front,
        Host,
        Supervisor,
        Bus,
    }

    private sealed record Case(IActorRef Consumer, SessionId Session, SlotBus Bus, CallWatch Calls);

    private sealed record Row(Func<Case, object> Make, To To, bool Answered = true)
    {
        /// <summary>The device is open when it comes.</summary>
        public bool Opens { get; init; } = true;

        /// <summary>The device is out of service when it comes.</summary>
        public bool Quarantined { get; init; }

        /// <summary>A recovery that somebody has to end.</summary>
        public bool Ends { get; init; }

        /// <summary>A hang that somebody has to end.</summary>
        public bool HangsBySay { get; init; }
    }

    /// <summary>Each message, with the fault in hardware and, where it reaches a driver, in that.</summary>
    public static TheoryData<string, bool> Cases()
    {
        var cases = new TheoryData<string, bool>();
        foreach (var (type, row) in Rows)
        {
            cases.Add(type.Name, false);
            if (row.To == To.Front && type.IsAssignableTo(typeof(DeviceRequest)))
                cases.Add(type.Name, true);
        }

        return cases;
    }

    private protected enum Fault
    {
        Throws,

        /// <summary>Does not come back.</summary>
        Hangs,

        /// <summary>Comes back when it has been given up.</summary>
        ComesLate,
    }

    /// <summary>Types without a row.</summary>
    private protected static IEnumerable<Type> Missing => typeof(HostActor).Assembly.GetTypes().Concat(typeof(BusEvent).Assembly.GetTypes())
        .Where(static type => !type.IsNested && !type.IsAbstract &&
            (type.IsAssignableTo(typeof(INoSerializationVerificationNeeded)) || type.IsAssignableTo(typeof(BusEvent))))
        .Where(static type => !type.IsAssignableTo(typeof(DeviceReply)) && !type.IsAssignableTo(typeof(HostReply)))
        .Where(static type => !Rows.ContainsKey(type) && !Elsewhere.Contains(type));

    private protected async Task TryAsync(string message, bool inDriver, Fault fault)
    {
        var (type, row) = Rows.Single(entry => entry.Key.Name == message);
        var one = Bus.Add(One, totalVfs: 2);
        Bus.Add(Two);
        Bus.Slot = [One, Two];
        var hang = new Hang();
        hangs.Add(hang);
        Action act = fault == Fault.Throws ? static () => throw new InvalidOperationException("bad luck") : hang.Enter;
        var armed = false;
        var host = inDriver ? Host(drivers: At(One, own => TakeOver(own, type, () => Volatile.Read(ref armed), act))) : Host();
        var front = await FrontAsync(host, One);
        await FrontAsync(host, Two);
        var consumer = CreateTestProbe();
        var session = row.Opens && !row.Quarantined ? await OpenAsync(front, consumer) : default;
        if (row.Quarantined)
            await AskAsync<HostDone>(host, new QuarantineDevice(One, "to begin with", "me"));
        if (!inDriver)
        {
            one.Before = _ => act();
            // What a bus is merely asked, it knows; what it does may take for ever.
            Bus.Before = call =>
            {
                if (fault == Fault.Throws || call is "link" or "hot reset" or "power" or "remove")
                    act();
            };
        }

        Volatile.Write(ref armed, true);
        var supervisor = await Sys.ActorSelection($"/user/host/device-{One}").ResolveOne(TimeSpan.FromSeconds(15), Cancelled);
        var sent = row.Make(new Case(consumer, session, Bus, new CallWatch(Time)));

        if (row.To == To.Bus)
            Bus.Report((BusEvent)sent);
        else
            Client.Send(row.To switch { To.Front => front, To.Host => host, _ => supervisor }, sent);

        // ---- Everybody has an answer in time, and the others go on -------------------------------------------------------------------
        if (row.Answered)
            await InTimeAsync<object>(Client, Limit);
        else if (fault != Fault.Throws)
            await PassAsync(TimeSpan.FromSeconds(20));
        // What a bus reports the host has heard by now, and a recovery that it set going is not mistaken for none.
        await host.Ask<ActorIdentity>(new Identify(null), TimeSpan.FromSeconds(15), Cancelled);
        await UseAsync(host, Two);
        if (fault == Fault.Hangs)
        {
            AssertStated(await ShownAsync(host));
            return;
        }

        // ---- The fault is over: nothing of it is left --------------------------------------------------------------------------------
        Volatile.Write(ref armed, false);
        Bus.Before = static _ => { };
        one.Before = static _ => { };
        hang.Release();
        Bus.Dispose();
        if (row.Ends)
            supervisor.Tell(new RecoveryEnded(Recovered: true));
        if (row.HangsBySay)
            supervisor.Tell(new HangEnded("nothing", default));
        Sys.Stop(consumer);
        await SettleAsync(host);
        await UseAsync(host, Two);
        await UseAsync(host, One);
        await AssertNothingLeftAsync(host, watched: type == typeof(WatchCalls) ? 3 : 2);
        Assert.False(Client.HasMessages, "A second answer came.");
    }

    private static void TakeOver(ScriptedDriver driver, Type type, Func<bool> when, Action act) =>
        typeof(EveryMessageTests).GetMethod(nameof(TakeOne), BindingFlags.NonPublic | BindingFlags.Static)!.MakeGenericMethod(type).Invoke(null, [driver, when, act]);

    private static void TakeOne<T>(ScriptedDriver driver, Func<bool> when, Action act)
        where T : DeviceRequest => driver.Take<T>(_ => when(), request =>
    {
        act();
        driver.Answer(request is RecoveryCallback ? new RecoveryVoted(RecoveryVote.None) : DeviceDone.Instance);
    });

    /// <summary>Deadlines pass, with room between them for real threads.</summary>
    private async Task PassAsync(TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += TimeSpan.FromSeconds(4))
        {
            Advance(TimeSpan.FromSeconds(4));
            await ReceiveAsync(unheard, turns: 5);
        }
    }

    /// <summary>Opens, uses and closes a device as somebody else.</summary>
    private async Task UseAsync(IActorRef host, PciAddress address)
    {
        var somebody = CreateTestProbe();
        somebody.Send(host, new FindDevice(address));
        var found = Assert.IsType<DeviceFound>(await InTimeAsync<object>(somebody, Limit, patience: Patience));
        var opened = await TryOpenAsync(found.Front, somebody);
        somebody.Send(found.Front, new GetDeviceInfo(opened.Session));
        await InTimeAsync<DeviceInfoRead>(somebody, Limit, patience: Patience);
        somebody.Send(found.Front, new CloseDevice(opened.Session));
        await InTimeAsync<DeviceDone>(somebody, Limit, patience: Patience);
    }

    /// <summary>Contention is tried again, as callers do .</summary>
    private async Task<DeviceOpened> TryOpenAsync(IActorRef front, TestProbe somebody)
    {
        for (var i = 0; ; i++)
        {
            somebody.Send(front, new OpenDevice("the next one", somebody));
            var reply = await InTimeAsync<DeviceReply>(somebody, Limit, patience: Patience);
            if (reply is DeviceFailed { Error.Errno: Errno.EAGAIN or Errno.EBUSY } && i < 20)
                continue;
            return reply as DeviceOpened ?? throw new InvalidOperationException($"{reply}");
        }
    }

    private static async Task<DeviceStatus?> ShownAsync(IActorRef host) =>
        (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices.SingleOrDefault(device => device.Address == One);

    /// <summary>Healthy, or out of service with a reason and a way back; or gone.</summary>
    private static void AssertStated(DeviceStatus? status)
    {
        if (status is null or { State: DeviceState.Probing } or { Health: DeviceHealth.Healthy })
            return;
        Assert.Contains(status.State, new[] { DeviceState.Quarantined, DeviceState.Removing, DeviceState.Recovering });
        Assert.NotNull(status.Reason);
        if (status.State == DeviceState.Quarantined)
            Assert.NotNull(status.WayBack);
    }

    /// <summary>Until the device is closed and in service; put back where it was taken out, come back where it was taken away.</summary>
    private async Task SettleAsync(IActorRef host)
    {
        object? last = null;
        for (var i = 0; i < 60; i++)
        {
            var status = await ShownAsync(host);
            AssertStated(status);
            // A recovery that goes on is not over because the device looks well in the middle of it.
            if (status is { State: DeviceState.Closed, Health: DeviceHealth.Healthy } && Field<System.Collections.ICollection>(Inside, "recoveries").Count == 0)
                return;
            if (status is { State: DeviceState.Quarantined })
            {
                var operators = CreateTestProbe();
                operators.Send(host, new UnquarantineDevice(One, "me"));
                var reply = await InTimeAsync<object>(operators, Limit, patience: Patience);
                last = reply;
                // A call that was let go has not come back quite yet, or the device is gone in the meantime.
                if (reply is DeviceFailed { Error: var error })
                    Assert.Contains(error.Errno, new[] { Errno.EBUSY, Errno.EAGAIN, Errno.ENODEV, Errno.EINVAL });
            }
            else if (status is null && Bus.Find(One) is { } there)
            {
                Bus.Put(there);
            }
            else if (status is null)
            {
                Bus.Add(One, totalVfs: 2);
            }

            await PassAsync(TimeSpan.FromSeconds(4));
        }

        Assert.Fail($"The device did not come to rest: {last}, {await ShownAsync(host)}");
    }

    private async Task AssertNothingLeftAsync(IActorRef host, int watched)
    {
        var inspected = (await AskAsync<DeviceInspected>(host, new InspectDevice(One))).State;
        Assert.Equal("Ready", Value(inspected, "phase"));
        Assert.Equal("nothing", Value(inspected, "busy with"));
        Assert.Equal("nothing", Value(inspected, "waits for"));
        Assert.Equal("nothing", Value(inspected, "hangs in"));
        Assert.Equal("nobody", Value(inspected, "holder"));
        Assert.Empty(inspected["core"]!["sessions"]!.Children);
        foreach (var core in Registered.Devices)
            Assert.Empty(core.CheckInvariants());
        Assert.Empty(Field<System.Collections.ICollection>(Inside, "recoveries"));
        Assert.Empty(Field<System.Collections.ICollection>(Inside, "sriov"));
        Assert.Empty(Field<System.Collections.ICollection>(Inside, "removals"));
        Assert.Empty(Field<System.Collections.ICollection>(Inside, "injectors"));
        Assert.Empty(Field<System.Collections.ICollection>(Inside, "ending"));
        // A core that made a call once is watched as long as it lives, and so is a driver.
        await AwaitConditionAsync(() => Task.FromResult(Watched <= watched), TimeSpan.FromSeconds(15), cancellationToken: Cancelled);
        var group = CreateTestProbe();
        group.Send(host, new OpenGroup(GroupOfOne, "somebody", group));
        Assert.IsType<GroupOpened>(await InTimeAsync<DeviceReply>(group, Limit, patience: Patience));
        // One child too many would be somebody who waits still.
        var names = CreateTestProbe();
        Sys.ActorSelection($"/user/host/device-{One}/*").Tell(new Identify(null), names);
        await names.ExpectMsgAsync<ActorIdentity>(cancellationToken: Cancelled);
        await names.ExpectMsgAsync<ActorIdentity>(cancellationToken: Cancelled);
        Sys.ActorSelection("/user/host").Tell(new Identify("barrier"), names);
        Assert.Equal("barrier", (await names.ExpectMsgAsync<ActorIdentity>(cancellationToken: Cancelled)).MessageId);
    }

    protected override void AfterAll()
    {
        hangs.ForEach(static hang => hang.Release());
        base.AfterAll();
    }
}

public sealed class HandlersThatThrowTests : EveryMessageTests
{
    [Fact]
    public void Every_message_has_its_row() => Assert.Empty(Missing);

    [Theory]
    [MemberData(nameof(Cases))]
    public Task A_handler_that_throws_leaves_nothing_over(string message, bool inDriver) => TryAsync(message, inDriver, Fault.Throws);
}

public sealed class HandlersThatHangTests : EveryMessageTests
{
    [Theory]
    [MemberData(nameof(Cases))]
    public Task A_handler_that_hangs_is_given_up_and_the_others_go_on(string message, bool inDriver) => TryAsync(message, inDriver, Fault.Hangs);
}

public sealed class HandlersThatComeLateTests : EveryMessageTests
{
    [Theory]
    [MemberData(nameof(Cases))]
    public Task A_handler_that_comes_late_is_not_heard_and_leaves_nothing_over(string message, bool inDriver) =>
        TryAsync(message, inDriver, Fault.ComesLate);
}
