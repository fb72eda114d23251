using System.Collections.Immutable;
using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices;

/// <summary>What a core's mailbox is made with.</summary>
/// <param name="Devices">The host's registered functions; the mailboxes of a set take turns at what they share in it.</param>
/// <param name="Slot">What outlives a restart of the mailbox.</param>
/// <param name="Host">Groups, and who watches calls; Nobody where a core is by itself.</param>
/// <param name="Set">The device set; Nobody where the function is one by itself.</param>
public sealed record CoreContext(
    IPciFunction Function, VfioPciDevices Devices, string Driver, DeviceOptions Options, LaneThreads Threads, TimeProvider Time, CoreSlot Slot, IActorRef Host,
    IActorRef Set)
{
    /// <summary>The driver may have VFs made (SV-4).</summary>
    public bool ConfiguresSriov { get; init; }
}

/// <summary>Handed from one incarnation of a core's mailbox to the next. Only the mailbox touches it, and its lane while that has a call.</summary>
/// <param name="firstSession">Sessions are numbered on from here.</param>
public sealed class CoreSlot(long firstSession)
{
    public VfioPciCore? Core { get; set; }

    /// <summary>Held for each call on the lane, whichever incarnation made it.</summary>
    internal Lock Hardware { get; } = new();

    public long LastSession { get; set; } = firstSession;

    /// <summary>The device has left while its hardware had a call: whatever that brings is not registered any more. Read by the lane.</summary>
    internal bool IsGivenUp
    {
        get => Volatile.Read(ref isGivenUp);
        set => Volatile.Write(ref isGivenUp, value);
    }

    private bool isGivenUp;
}

/// <summary>
/// The vfio-pci core of one function behind a mailbox: sessions, their holders' lives, and replies. The machine itself is
/// <see cref="VfioPciCore"/>. Requests that take long run on the device's lane; what comes meanwhile waits, or gets EAGAIN where the kernel
/// would only try the lock. A call that does not come back leaves the mailbox alive and the device hung.
/// </summary>
public sealed partial class VfioPciCoreActor : UntypedActor, IWithUnboundedStash
{
    private readonly CoreContext context;
    private readonly IActorRef self;
    private readonly IActorRef supervisor;
    private readonly ResetNotices notices = new();
    private IActorRef driver = ActorRefs.Nobody;
    private ImmutableArray<IActorRef> otherDrivers = [];
    private readonly List<OpenSession> sessions = [];
    private Phase phase;
    private VfioError standing;
    private Work? work;
    private Departure? departure;
    private CallWatch? watch;
    private Failure? failed;
    private Work? abandoned;
    private ImmutableList<Again> contending = [];
    private bool restarting;

    public VfioPciCoreActor(CoreContext context)
    {
        this.context = context;
        (self, supervisor) = (Self, Context.Parent);
    }

    private enum Phase
    {
        Ready,

        /// <summary>Waits for its set or its group.</summary>
        Waiting,

        /// <summary>The lane has a call.</summary>
        Busy,

        /// <summary>Another member of the set has its turn with all of them.</summary>
        Lent,

        /// <summary>No request is carried out: the function is not registered, or a call to it hangs.</summary>
        Fenced,
    }

    private sealed record OpenSession(SessionId Id, string Holder, IActorRef Consumer, GroupSessionId? Group)
    {
        /// <summary>Who votes for it in a recovery (DM-1).</summary>
        public IActorRef? ErrorHandler { get; set; }
    }

    /// <summary>What the mailbox is about while it is not Ready.</summary>
    /// <param name="ByHost">Not for the holder: opens and resets that come meanwhile meet contention.</param>
    private sealed record Work(string What, long Number, bool ByHost, Asker? Asker, Action<object> Then, Action<VfioError> GivenUp, ICancelable? Deadline, long Began)
    {
        /// <summary>A driver knows of those at open and close.</summary>
        public bool TellsOfResets { get; init; }

        /// <summary>The call is made to the other members of the set as well.</summary>
        public bool HasOthers { get; init; }

        public bool IsProbe { get; init; }
    }

    /// <summary>Who waits for the request at which the core failed.</summary>
    private sealed record Failure(Asker Asker, Exception Cause);

    private sealed record DeadlinePassed(long Number, bool OfLane);

    /// <summary>A request that met contention is tried again.</summary>
    private sealed record Again(DeviceRequest Request, Asker Asker, int Tried)
    {
        public required Cancelable Timer { get; init; }
    }

    public IStash Stash { get; set; } = null!;

    private PciAddress Address => context.Function.Address;

    private DeviceOptions Options => context.Options;

    /// <summary>Registered, while the mailbox is Ready.</summary>
    private VfioPciCore Core => context.Slot.Core!;

    public static Props Props(CoreContext context) => Akka.Actor.Props.CreateBy(new Producer(context));

    /// <summary>For hosts of very many devices: made once for each, and kept for its restarts.</summary>
    private sealed class Producer(CoreContext context) : IIndirectActorProducer
    {
        public Type ActorType => typeof(VfioPciCoreActor);

        public ActorBase Produce() => new VfioPciCoreActor(context);

        public void Release(ActorBase actor)
        {
        }
    }

    protected override void PreStart()
    {
        if (!context.Set.IsNobody())
            context.Set.Tell(JoinSet.Instance);
        BeginProbe(anew: context.Slot.Core is not null);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case CoreCall call:
                Serve(call.Request, new Asker(Sender, call.Number));
                break;
            case DeviceRequest request:
                Serve(request, new Asker(Sender, 0));
                break;
            case Again again:
                contending = contending.Remove(again);
                Serve(again.Request, again.Asker, again.Tried);
                break;
            case LaneReturned returned:
                OnReturned(returned);
                break;
            case DeadlinePassed passed when work is { } current && passed.Number == current.Number && passed.OfLane == (phase == Phase.Busy):
                OnDeadline(current);
                break;
            case DeadlinePassed:
                break;
            case TurnGranted or TurnRefused or GroupAdmitted or GroupRefused:
                OnGate(message);
                break;
            case LendCore or CoreReturned or CoreCameBack:
                OnLending(message);
                break;
            case InspectPart:
                InspectFor(Sender);
                break;
            case DriverAttached:
                Attach(Sender);
                break;
            case CoreCommand or Terminated or ReleaseTick when phase is not (Phase.Ready or Phase.Fenced):
                Stash.Stash();
                break;
            case CoreCommand command:
                Obey(command);
                break;
            case Terminated gone:
                OnConsumerDied(gone.ActorRef);
                break;
            case ReleaseTick:
                OnReleaseTick();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- Requests --------------------------------------------------------------------------------------------------------------------

    private void Serve(DeviceRequest request, Asker asker, int tried = 0)
    {
        switch (phase)
        {
            case Phase.Ready:
                break;
            case Phase.Fenced:
                asker.Tell(request is RecoveryCallback ? new RecoveryVoted(RecoveryVote.None) : new DeviceFailed(standing));
                return;
            // The kernel only tries the device lock here (LC-21, IO-50).
            case Phase.Busy when work!.ByHost && request is OpenDevice or ResetDevice:
                Answer(request, asker, tried, new DeviceFailed(Errno.EAGAIN, $"The device is busy with {work.What} of the host; try again."));
                return;
            default:
                Stash.Stash();
                return;
        }

        switch (request)
        {
            case OpenDevice open:
                Open(open, asker, tried);
                break;
            case SessionRequest of when FindSession(of.Session) is null:
                asker.Tell(Stale);
                break;
            case CloseDevice or ResetDevice or GetHotResetInfo or HotResetDevice or EnterLowPower or ExitLowPower or SetVirtualFunctions:
                ServeInTime(request, asker, tried);
                break;
            case WriteRegion write when VfioPciCore.IsSlowWrite(write.Region, write.Offset, write.Data.Length):
                ServeInTime(request, asker, tried);
                break;
            default:
                ServeAtOnce(request, asker);
                break;
        }
    }

    /// <summary>What needs the lane or a turn. By itself, so that what goes at once pays nothing for what these go on with.</summary>
    private void ServeInTime(DeviceRequest request, Asker asker, int tried)
    {
        switch (request)
        {
            case CloseDevice close:
                Close(FindSession(close.Session)!, "closed by its holder", asker, () => asker.Tell(DeviceDone.Instance));
                break;
            case ResetDevice:
                Start("reset", asker, static core => core.Reset(), reset =>
                {
                    supervisor.Tell(new ResetTried("reset", reset.Outcome.IsOk, "asked for by its holder", reset.Took));
                    Answer(request, asker, tried, ReplyOf(reset.Outcome));
                });
                break;
            case GetHotResetInfo info:
                TellHotResetInfo(info, asker, tried);
                break;
            case HotResetDevice hot:
                HotReset(hot, asker, tried);
                break;
            case WriteRegion write:
                Start("write to config space", asker, _ => AnswerOf(write), reply => asker.Tell(reply.Outcome));
                break;
            case SetVirtualFunctions set:
                Start(
                    $"making {set.Count} VFs", asker,
                    core => core.WriteNumVfs(set.Count.ToString(CultureInfo.InvariantCulture)),
                    made => asker.Tell(Reply(made.Outcome, static change => new VirtualFunctionsSet(change))), byHost: true);
                break;
            case EnterLowPower or ExitLowPower:
                Start("change of power state", asker, _ => AnswerOf(request), reply => asker.Tell(reply.Outcome));
                break;
        }
    }

    /// <summary>What is as short as a register access is done on the mailbox's own thread, under the eyes of the watch.</summary>
    private void ServeAtOnce(DeviceRequest request, Asker asker)
    {
        DeviceReply reply;
        bool isDead;
        watch?.Enter(request, asker);
        try
        {
            reply = AnswerOf(request);
            isDead = reply is RegionRead { Data: { Length: >= sizeof(uint) } data } && IsAllOnes(data.Span) && !Core.Answers();
        }
        catch (Exception cause)
        {
            if (watch?.Leave() == false)
            {
                CameBackLate(request);
                return;
            }

            failed = new Failure(asker, cause);
            throw;
        }

        if (watch?.Leave() == false)
        {
            CameBackLate(request);
            return;
        }

        asker.Tell(reply);
        if (isDead)
            supervisor.Tell(new LinkFoundDead());
    }

    /// <summary>A call of the mailbox's own thread had been given up; what it brought, or threw, is thrown away.</summary>
    private void CameBackLate(object call)
    {
        Fence(new VfioError(Errno.EIO, "A call to this device hung; it is out of service until it is put back."));
        context.Host.Tell(new CallCameBack(supervisor, call.GetType().Name), self);
        Stash.UnstashAll();
    }

    private OpenSession? FindSession(SessionId id)
    {
        foreach (var session in sessions)
        {
            if (session.Id == id)
                return session;
        }

        return null;
    }

    private static bool IsAllOnes(ReadOnlySpan<byte> data) => data[0] == 0xff && !data.ContainsAnyExcept((byte)0xff);

    /// <summary>Contention is tried again here, where the policy says so .</summary>
    private void Answer(DeviceRequest request, Asker asker, int tried, DeviceReply reply)
    {
        if (reply is DeviceFailed { Error.Errno: Errno.EAGAIN } && Options.RetryContention?.DelayAfter(tried) is { } delay)
        {
            var again = new Again(request, asker, tried + 1) { Timer = new Cancelable(Context.System.Scheduler) };
            contending = contending.Add(again);
            Context.System.Scheduler.ScheduleTellOnce(delay, self, again, self, again.Timer);
        }
        else
            asker.Tell(reply);
    }

    // ---- The lane --------------------------------------------------------------------------------------------------------------------

    private const string Closing = "close";

    private readonly record struct Timed<T>(T Outcome, TimeSpan Took);

    private void Start<T>(
        string what, Asker? asker, Func<VfioPciCore, T> call, Action<Timed<T>> then, bool byHost = false, Action<VfioError>? givenUp = null,
        bool hasOthers = false)
    {
        var core = Core;
        StartBare(what, asker, () => call(core), then, byHost, givenUp, hasOthers);
    }

    /// <summary>Has the lane make a call; the mailbox goes on with its outcome. One that throws is a failure of the core.</summary>
    private void StartBare<T>(
        string what, Asker? asker, Func<T> call, Action<Timed<T>> then, bool byHost, Action<VfioError>? givenUp, bool hasOthers = false)
    {
        phase = Phase.Busy;
        var number = HardwareLane.NextNumber();
        work = new Work(
            what, number, byHost, asker, returned => then(Outcome((LaneReturned)returned)), givenUp ?? (static _ => { }),
            Schedule(Options.SlowCallDeadline, new DeadlinePassed(number, OfLane: true)), context.Time.GetTimestamp())
        {
            TellsOfResets = sessions.Count > 0 && what != Closing,
            HasOthers = hasOthers,
        };
        // Not before its deadline runs.
        new HardwareLane(context.Threads, context.Time, context.Slot.Hardware).Start(number, call, self);

        static Timed<T> Outcome(LaneReturned returned) => new((T)returned.Result!, returned.Took);
    }

    private void OnReturned(LaneReturned returned)
    {
        if (work is not { } done || done.Number != returned.Number || phase == Phase.Fenced)
        {
            // It had been given up, perhaps by an earlier incarnation; what it brought is thrown away.
            var isOurs = work?.Number == returned.Number;
            supervisor.Tell(new HangEnded(isOurs ? work!.What : "a call", returned.Took));
            if (isOurs)
                work = null;
            if (isOurs && hangingTurn is { } hanging)
                context.Set.Tell(new SetCameBack(hanging), self);
            if (isOurs)
                hangingTurn = null;
            return;
        }

        done.Deadline?.Cancel();
        (phase, work) = (Phase.Ready, null);
        if (returned.Failure is { } cause)
        {
            (failed, abandoned) = (done.Asker is { } asker ? new Failure(asker, cause) : null, done);
            throw new CoreFailedException(done.What, cause);
        }

        if (done.TellsOfResets)
            TellDrivers(done.Asker);
        else
            notices.Clear();
        done.Then(returned);
        if (phase is Phase.Ready or Phase.Fenced)
            Stash.UnstashAll();
    }

    private void OnDeadline(Work current)
    {
        if (phase == Phase.Busy)
        {
            var age = context.Time.GetElapsedTime(current.Began);
            var hung = new VfioError(Errno.EIO, $"{Address} hangs in {current.What}; it is out of service until that has come back and it is put back.");
            Fence(hung);
            if (hasTurn && current.HasOthers)
                hangingTurn = turn;
            EndTurn(hangingTurn is null ? null : new SetHang(current.What, age, hung));
            current.Asker?.Tell(new DeviceFailed(hung));
            current.GivenUp(hung);
            supervisor.Tell(new HardwareHung(current.What, age));
        }
        else
        {
            EndTurn();
            Settle();
            current.GivenUp(new VfioError(Errno.EAGAIN, $"{Address} waited too long for {current.What}; try again."));
        }

        if (phase is Phase.Ready or Phase.Fenced)
            Stash.UnstashAll();
    }

    private void Fence(VfioError why)
    {
        (phase, standing) = (Phase.Fenced, why);
        DropSessions("the device hangs");
    }

    /// <summary>Goes on to what is next, when it does not wait or work any more.</summary>
    private void Settle() => (phase, work) = (isLent ? Phase.Lent : Phase.Ready, null);

    private Cancelable Schedule(TimeSpan delay, object message)
    {
        var cancelable = new Cancelable(Context.System.Scheduler);
        Context.System.Scheduler.ScheduleTellOnce(delay, self, message, self, cancelable);
        return cancelable;
    }

    // ---- Probing ---------------------------------------------------------------------------------------------------------------------

    private void BeginProbe(bool anew)
    {
        StartBare(anew ? "reset and probe" : "probe", null, () => TryProbe(context, notices, anew), probed =>
        {
            if (!probed.Outcome.IsOk)
                (phase, standing) = (Phase.Fenced, probed.Outcome.Error);
            supervisor.Tell(new CoreProbed(probed.Outcome.IsOk ? null : probed.Outcome.Error, anew));
        },
        // Not contention: who comes meanwhile waits for a device to be there at all.
        byHost: false, givenUp: hung => supervisor.Tell(new CoreProbed(hung, anew)));
        work = work! with { IsProbe = true };
    }

    /// <summary>On the lane. A function whose probe throws is refused: made anew, it would only throw again.</summary>
    private static VfioResult<VfioPciCore> TryProbe(CoreContext context, IResetObserver notices, bool anew)
    {
        try
        {
            return Probe(context, notices, anew);
        }
        catch (Exception cause)
        {
            return new VfioError(Errno.EIO, $"its probe failed: {cause.Message}");
        }
    }

    private static VfioResult<VfioPciCore> Probe(CoreContext context, IResetObserver notices, bool anew)
    {
        if (context.Slot.Core is { } old)
        {
            context.Devices.Forget(old);
            context.Function.ConnectDma(null);
            // The VFs of an earlier life would not outlive the reset, and nobody could remove them.
            context.Function.SetVirtualFunctions(0);
        }

        var wasDead = !VfioPciCore.Answers(context.Function);
        if (wasDead && !(anew && IsRevived(context)))
            return DoesNotAnswer;
        var declaration = context.Driver == DriverDeclaration.VfioPci.Name ? DriverDeclaration.VfioPci : new DriverDeclaration(context.Driver) { ConfiguresSriov = context.ConfiguresSriov };
        var registered = context.Devices.Register(
            context.Function, declaration with { Resets = notices }, context.Options.Core, () => context.Slot.IsGivenUp);
        if (!registered.IsOk)
            return registered;
        // From here on whoever probes next can forget it, whatever becomes of this probe.
        context.Slot.Core = registered.Value;
        if (context.Options.ResetOrder is { } order)
            registered.Value.SetResetMethods([.. order.Intersect(context.Function.ResetMethods)]);
        if (anew && !wasDead && registered.Value.ResetByHost() is { IsOk: false } failed && failed.Error.Errno != Errno.ENOTTY)
        {
            context.Devices.Forget(registered.Value);
            return failed.Error;
        }

        if (registered.Value.Answers())
            return registered;
        context.Devices.Forget(registered.Value);
        return DoesNotAnswer;
    }

    /// <summary>What is dead is not registered: it would be taken for a bridge. A reset may bring it back before that.</summary>
    private static bool IsRevived(CoreContext context)
    {
        var methods = context.Function.ResetMethods;
        foreach (var method in context.Options.ResetOrder?.Intersect(methods) ?? methods)
        {
            if (context.Function.Reset(method).IsOk && VfioPciCore.Answers(context.Function))
                return true;
        }

        return false;
    }

    private static VfioError DoesNotAnswer => new(Errno.EIO, "The function does not answer: its config space reads all ones.");

    // ---- Ending ----------------------------------------------------------------------------------------------------------------------

    protected override void PreRestart(Exception reason, object message)
    {
        restarting = true;
        base.PreRestart(reason, message);
    }

    /// <summary>
    /// Sessions end with the mailbox. The request that it failed at is answered only now, when its supervisor knows: what its requester does
    /// next must meet what became of the device.
    /// </summary>
    protected override void PostStop()
    {
        work?.Deadline?.Cancel();
        departure?.Tick.Cancel();
        DropSessions(restarting ? "the device failed" : "the device was taken away");
        EndTurn();
        if (hangingTurn is { } hanging)
            TellWhenBack(hanging);
        if (phase is Phase.Waiting or Phase.Busy && work is { } interrupted)
        {
            LeaveGroup(interrupted.Number);
            if (phase == Phase.Busy)
                interrupted.Asker?.Tell(restarting ? Failed : Gone);
            abandoned = interrupted;
        }

        // One that probes is asked for by nobody but its supervisor, who has it probed anew.
        if (abandoned is { IsProbe: false } given)
            given.GivenUp((restarting ? Failed : Gone).Error);
        if (failed is { } told)
            told.Asker.Tell(new DeviceFailed(Errno.EIO, $"The device failed: {told.Cause.Message} It is reset; open it again."));
        var log = Context.GetLogger();
        foreach (var again in contending)
        {
            again.Timer.Cancel();
            again.Asker.Tell(restarting ? Failed : Gone);
        }

        if (restarting)
            return;
        foreach (var waiting in Stash.ClearStash())
            (waiting.Message switch
            {
                CoreCall call => new Asker(waiting.Sender, call.Number),
                DeviceRequest => new Asker(waiting.Sender, 0),
                _ => default(Asker?),
            })?.Tell(Gone);
        // Not a word comes after it, but the function is left as a closed device is. On the lane: hardware that hangs keeps nobody from stopping.
        if (phase != Phase.Fenced && context.Slot.Core is { } left)
            context.Threads.Run(() => CloseLast(left, context.Slot.Hardware, log));
    }

    /// <summary>On the lane, after a call that is under way still.</summary>
    private static void CloseLast(VfioPciCore core, Lock hardware, ILoggingAdapter log)
    {
        try
        {
            lock (hardware)
                core.Close();
        }
        catch (Exception cause)
        {
            log.Error(cause, "{0} could not be closed when it was taken away", core.Address);
        }
    }

    /// <summary>The others wait for the end of a call that hangs, whoever made it.</summary>
    private void TellWhenBack(long held)
    {
        var (hardware, set, sender) = (context.Slot.Hardware, context.Set, self);
        context.Threads.Run(() =>
        {
            lock (hardware)
                set.Tell(new SetCameBack(held), sender);
        });
    }

    private DeviceFailed Failed => new(Errno.EIO, $"{Address} failed meanwhile; it is reset, open it again.");

    private DeviceFailed Gone => new(Errno.ENODEV, $"{Address} was taken away; ask the host for its devices.");

    /// <summary>The machine reads a register of the function for it: watched, in a device that nobody holds as well.</summary>
    private void InspectFor(IActorRef asker)
    {
        var watched = watch ?? new CallWatch(context.Time);
        if (watch is null)
            context.Host.Tell(new WatchCalls(watched, supervisor), self);
        watched.Enter(InspectPart.Instance, new Asker(ActorRefs.Nobody, 0));
        InspectNode state;
        try
        {
            state = Inspect();
        }
        finally
        {
            if (watch is null)
                context.Host.Tell(new UnwatchCalls(watched), self);
            if (!watched.Leave())
                CameBackLate(InspectPart.Instance);
        }

        asker.Tell(new PartInspected(state));
    }

    private InspectNode Inspect() => InspectNode.Tree(
        "core",
        InspectNode.Leaf("phase", phase.ToString()),
        InspectNode.Leaf("busy with", work?.What ?? "nothing"),
        InspectNode.Leaf("standing refusal", phase == Phase.Fenced ? standing.ToString() : "none"),
        new InspectNode("sessions", null, [.. sessions.Select(static session => InspectNode.Leaf(session.Id.ToString(), session.Holder))]),
        phase == Phase.Ready || (phase == Phase.Waiting && !isLent) ? Core.Inspect() : InspectNode.Leaf("machine", "not to be looked at now"));

    /// <summary>Most devices have one driver in front.</summary>
    private void Attach(IActorRef attached)
    {
        if (driver.IsNobody())
            driver = attached;
        else if (!driver.Equals(attached) && !otherDrivers.Contains(attached))
            otherDrivers = otherDrivers.Add(attached);
    }

    /// <summary>Of the resets that there were, in order, before anything else is answered. Not the driver that asked for them, which knows.</summary>
    private void TellDrivers(Asker? asker)
    {
        var asking = asker is { Call: > 0 } by ? by.Requester : ActorRefs.Nobody;
        while (notices.TryTake(out var outcome))
        {
            Tell(driver, outcome);
            foreach (var other in otherDrivers)
                Tell(other, outcome);
        }

        void Tell(IActorRef told, VfioResult outcome)
        {
            if (!told.Equals(asking))
                told.Tell(new FunctionWasReset(outcome));
        }
    }

    private static DeviceReply ReplyOf(VfioResult result) => result.IsOk ? DeviceDone.Instance : new DeviceFailed(result.Error);

    private static DeviceFailed Stale { get; } = new(Errno.ENODEV, "This session is closed; open the device again.");

    /// <summary>Resets as the lane makes them, this device's own or that of another one of its set.</summary>
    private sealed class ResetNotices : IResetObserver
    {
        private ImmutableQueue<VfioResult> outcomes = [];

        public bool TryTake(out VfioResult outcome) => ImmutableInterlocked.TryDequeue(ref outcomes, out outcome);

        public void ResetPrepare()
        {
        }

        public void ResetDone(VfioResult outcome) => ImmutableInterlocked.Enqueue(ref outcomes, outcome);

        public void Clear() => Interlocked.Exchange(ref outcomes, []);
    }
}

/// <summary>A call to the machine of one device threw: the device has failed.</summary>
internal sealed class CoreFailedException(string call, Exception cause) : Exception($"{call}: {cause.Message}", cause);
