using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Hardware;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>Sessions, the turns that opening and closing them takes, and what the host has a core do.</summary>
public sealed partial class VfioPciCoreActor
{
    private bool hasTurn;

    /// <summary>The number of its admission to its group.</summary>
    private long? admission;

    /// <summary>The turn in which a reset of the whole set hangs.</summary>
    private long? hangingTurn;

    /// <summary>Another member's call that has this one in hand hangs.</summary>
    private SetHang? heldBy;

    /// <summary>Of all cores: a restarted one must not take what its forerunner asked for as its own.</summary>
    private static long lastTurn;

    private ImmutableArray<LentMember> siblings = [];
    private bool isLent;
    private long turn;
    private long lentFor;

    // ---- Opening ---------------------------------------------------------------------------------------------------------------------

    private void Open(OpenDevice open, Asker asker, int tried)
    {
        if (sessions.Count > 0 && (open.Group is null || sessions[0].Group != open.Group))
        {
            asker.Tell(new DeviceFailed(Errno.EBUSY, $"The device is held by {sessions[0].Holder}; release it there first."));
            return;
        }

        if (departure is not null)
        {
            asker.Tell(new DeviceFailed(Errno.ENODEV, $"{Address} is being taken away; it is not opened any more."));
            return;
        }

        if (context.Host.IsNobody() || context.Function.IommuGroup is not { } group)
        {
            if (open.Group is null)
                OpenAdmitted(open, asker, tried);
            else
                asker.Tell(new DeviceFailed(Errno.EINVAL, $"{Address} is in no IOMMU group; open it by its cdev."));
            return;
        }

        WaitFor(
            $"IOMMU group {group}", asker, Options.TurnDeadline,
            number => context.Host.Tell(new AdmitToGroup(number, group, Address, open.Group), self),
            answer =>
            {
                if (answer is GroupRefused refused)
                {
                    Answer(open, asker, tried, new DeviceFailed(refused.Error));
                }
                else if (sessions.Count > 0)
                {
                    // Open by this group already: what admitted the first of them holds for all.
                    LeaveGroup(((GroupAdmitted)answer).Number);
                    asker.Tell(new DeviceOpened(AddSession(open)));
                }
                else
                {
                    admission = ((GroupAdmitted)answer).Number;
                    OpenAdmitted(open, asker, tried);
                }
            },
            late => Refuse(open, asker, tried, late));
    }

    private void OpenAdmitted(OpenDevice open, Asker asker, int tried) => InTurn(
        TurnKind.Open, asker,
        _ => Start(
            "open", asker, core => OpenCore(core, open.Token), opened =>
            {
                if (opened.Outcome.IsOk)
                {
                    var session = AddSession(open);
                    EndTurn();
                    asker.Tell(new DeviceOpened(session));
                }
                else
                {
                    Refuse(open, asker, tried, opened.Outcome.Error);
                }
            }),
        refused => Refuse(open, asker, tried, refused));

    /// <summary>On the lane. A token that is given must be right; one that is not is the host's to know (contract §1.5).</summary>
    private static VfioResult OpenCore(VfioPciCore core, Guid? token) =>
        token is not null && core.Match(token) is { IsOk: false } wrong ? wrong : core.Open();

    private void Refuse(OpenDevice open, Asker asker, int tried, VfioError error)
    {
        EndTurn();
        if (sessions.Count == 0)
            LeaveGroup();
        Answer(open, asker, tried, new DeviceFailed(error));
    }

    private SessionId AddSession(OpenDevice open)
    {
        var session = new OpenSession(new SessionId(++context.Slot.LastSession), open.Holder, open.Consumer, open.Group);
        sessions.Add(session);
        Context.Watch(open.Consumer);
        if (watch is null)
        {
            watch = new CallWatch(context.Time);
            context.Host.Tell(new WatchCalls(watch, supervisor), self);
        }

        supervisor.Tell(new SessionOpened(open.Holder));
        return session.Id;
    }

    // ---- Closing ---------------------------------------------------------------------------------------------------------------------

    private void OnConsumerDied(IActorRef consumer)
    {
        foreach (var orphan in sessions.Where(session => session.Consumer.Equals(consumer)).ToArray())
            Close(orphan, "its holder died", null, static () => { });
    }

    /// <summary>Closes a session, and with the last one the device (LC-30).</summary>
    private void Close(OpenSession session, string why, Asker? asker, Action closed, Action<VfioError>? givenUp = null)
    {
        if (sessions.Count > 1)
        {
            Forget(session, why);
            closed();
            return;
        }

        InTurn(TurnKind.Close, asker, CloseLast, error =>
        {
            asker?.Tell(new DeviceFailed(error));
            givenUp?.Invoke(error);
        });

        void CloseLast(TurnGranted? granted) => Start(
            Closing, asker,
            static core =>
            {
                core.Close();
                return core.Registration;
            },
            left =>
            {
                // By itself: if the close hangs and comes back late, the others are not its any more.
                if (granted is { Lent.IsDefault: false } && left.Outcome == RegistrationState.Registered)
                    Start("reset of its set", asker, TryResetSet, _ => End(left.Outcome), givenUp: givenUp, hasOthers: true);
                else
                    End(left.Outcome);
            },
            givenUp: givenUp);

        void End(RegistrationState left)
        {
            Forget(session, why);
            EndTurn();
            LeaveGroup();
            closed();
            if (left == RegistrationState.Unregistered)
                Depart();
        }

        static bool TryResetSet(VfioPciCore core)
        {
            core.TryResetSet();
            return true;
        }
    }

    private void Forget(OpenSession session, string why)
    {
        sessions.Remove(session);
        if (!sessions.Exists(other => other.Consumer.Equals(session.Consumer)))
            Context.Unwatch(session.Consumer);
        if (sessions.Count == 0 && watch is not null)
        {
            context.Host.Tell(new UnwatchCalls(watch), self);
            watch = null;
        }

        supervisor.Tell(new SessionClosed(session.Id, session.Holder, why) { IsLast = sessions.Count == 0 });
    }

    /// <summary>The sessions end without the function being touched.</summary>
    private void DropSessions(string why)
    {
        LeaveGroup();
        foreach (var session in sessions.ToArray())
            Forget(session, why);
    }

    private void LeaveGroup()
    {
        if (admission is { } admitted)
            LeaveGroup(admitted);
        admission = null;
    }

    private void LeaveGroup(long admitted)
    {
        if (context.Function.IommuGroup is { } group)
            context.Host.Tell(new LeaveGroup(admitted, group, Address), self);
    }

    // ---- Waiting for set and group ---------------------------------------------------------------------------------------------------

    private void WaitFor(string what, Asker? asker, TimeSpan? deadline, Action<long> ask, Action<object> then, Action<VfioError> givenUp)
    {
        phase = Phase.Waiting;
        var number = turn = Interlocked.Increment(ref lastTurn);
        work = new Work(
            what, number, ByHost: false, asker, then, givenUp,
            deadline is { } limit ? Schedule(limit, new DeadlinePassed(number, OfLane: false)) : null, context.Time.GetTimestamp());
        ask(number);
    }

    private void OnGate(object answer)
    {
        var number = answer switch
        {
            TurnGranted granted => granted.Number,
            TurnRefused refused => refused.Number,
            GroupAdmitted admitted => admitted.Number,
            GroupRefused refused => refused.Number,
            _ => 0,
        };
        if (phase != Phase.Waiting || work is not { } waiting || waiting.Number != number)
        {
            // It came too late: given back.
            if (answer is TurnGranted)
                context.Set.Tell(new EndTurn(number, sessions.Count > 0), self);
            if (answer is GroupAdmitted)
                LeaveGroup(number);
            return;
        }

        waiting.Deadline?.Cancel();
        Settle();
        hasTurn = answer is TurnGranted;
        waiting.Then(answer);
        if (phase is Phase.Ready or Phase.Fenced)
            Stash.UnstashAll();
    }

    /// <summary>Does something when the set is this device's; a function that is a set by itself need not ask.</summary>
    private void InTurn(TurnKind kind, Asker? asker, Action<TurnGranted?> then, Action<VfioError> refused)
    {
        if (context.Set.IsNobody())
        {
            then(null);
            return;
        }

        WaitFor(
            // A close has no other way: it waits until the turn before it is over, which has a deadline.
            "its device set", asker, kind == TurnKind.Close ? null : Options.TurnDeadline,
            number => context.Set.Tell(new TakeTurn(number, kind), self),
            answer =>
            {
                if (answer is TurnRefused no)
                    refused(no.Error);
                else
                    then((TurnGranted)answer);
            },
            refused);
    }

    private void EndTurn(SetHang? hang = null)
    {
        if (!hasTurn)
            return;
        hasTurn = false;
        context.Set.Tell(new EndTurn(turn, sessions.Count > 0, hang), self);
    }

    private void OnLending(object message)
    {
        switch (message)
        {
            // One that waits touches nothing before its own turn comes.
            case LendCore lend when phase is Phase.Ready or Phase.Waiting:
                (lentFor, isLent) = (lend.Turn, true);
                phase = phase == Phase.Ready ? Phase.Lent : phase;
                Sender.Tell(new CoreLent(lend.Turn, new LentMember(
                    Address, sessions.Count > 0 ? sessions[0].Consumer : null, sessions.Count > 0 && sessions[0].Group is not null, context.Function.IommuGroup)));
                break;
            case LendCore lend when phase == Phase.Fenced:
                Sender.Tell(new CoreNotLent(lend.Turn, standing));
                break;
            case LendCore:
                Stash.Stash();
                break;
            case CoreReturned returned when isLent && returned.Turn == lentFor:
                isLent = false;
                if (returned.Hang is { } hang)
                {
                    HangWith(hang);
                    break;
                }

                TellDrivers(null);
                if (phase == Phase.Lent)
                {
                    phase = Phase.Ready;
                    Stash.UnstashAll();
                }

                break;
            case CoreCameBack when heldBy is { } hung:
                heldBy = null;
                supervisor.Tell(new HangEnded(hung.Call, hung.For));
                break;
        }
    }

    /// <summary>Another member's reset of the whole set has this one in hand, and does not come back.</summary>
    private void HangWith(SetHang hang)
    {
        var waited = phase == Phase.Waiting ? work : null;
        waited?.Deadline?.Cancel();
        (heldBy, work) = (hang, null);
        Fence(new VfioError(Errno.EIO, $"{Address} is in the hands of a {hang.Call}: {hang.Standing.Sentence}"));
        supervisor.Tell(new HardwareHung(hang.Call, hang.For));
        waited?.GivenUp(standing);
        Stash.UnstashAll();
    }

    // ---- Hot reset -------------------------------------------------------------------------------------------------------------------

    private void HotReset(HotResetDevice hot, Asker asker, int tried)
    {
        var mine = FindSession(hot.Session)!;
        InTurn(
            TurnKind.HotReset, asker,
            granted =>
            {
                var ownership = OwnershipOf(mine, hot.Groups, granted?.Lent ?? []);
                Start("hot reset", asker, core => core.HotReset(ownership), reset =>
                {
                    EndTurn();
                    supervisor.Tell(new ResetTried("hot reset", reset.Outcome.IsOk, "asked for by its holder", reset.Took));
                    Answer(hot, asker, tried, ReplyOf(reset.Outcome));
                }, hasOthers: true);
            },
            refused => Answer(hot, asker, tried, new DeviceFailed(refused)));
    }

    /// <summary>Whose the others are, they say: the set is asked for them, and given back before hardware is.</summary>
    private void TellHotResetInfo(GetHotResetInfo get, Asker asker, int tried) => InTurn(
        TurnKind.HotReset, asker,
        granted =>
        {
            siblings = granted?.Lent ?? [];
            EndTurn();
            ServeAtOnce(get, asker);
        },
        refused => Answer(get, asker, tried, new DeviceFailed(refused)));

    /// <summary>By group what the caller passes; by cdev what the caller's consumer holds, as one iommufd would (LC-54).</summary>
    private IHotResetOwnership OwnershipOf(OpenSession mine, ImmutableArray<GroupSessionId> groups, ImmutableArray<LentMember> others)
    {
        if (mine.Group is not null)
            return new GroupOwnership([.. groups.Select(static group => group.Group)]);
        var held = others.Where(other => mine.Consumer.Equals(other.Consumer) && !other.ByGroup).ToArray();
        var bound = held.Select(static member => member.Address).Prepend(Address).Select(static (address, index) => KeyValuePair.Create(address, index + 1));
        var owned = held.Select(static member => member.IommuGroup).Append(context.Function.IommuGroup).OfType<int>();
        var elsewhere = others.Where(other => other.Consumer is not null && !held.Contains(other)).Select(static member => member.Address);
        return new ContextOwnership(bound, owned, elsewhere, groups.Length);
    }

    // ---- What the host has it do -----------------------------------------------------------------------------------------------------

    private void Obey(CoreCommand command)
    {
        var asker = Sender;
        switch (command)
        {
            // A call that hangs has the function in hand still: another member's, or its own.
            case ProbeAnew when heldBy is not null || (phase == Phase.Fenced && work is not null):
                asker.Tell(new CoreProbed(standing, Anew: true));
                break;
            case ProbeAnew:
                DropSessions("the device is probed anew");
                // Open as its set knew it, it may have been; now it is not.
                if (!context.Set.IsNobody())
                    context.Set.Tell(JoinSet.Instance);
                BeginProbe(anew: true);
                break;
            case EndSessions end:
                EndAll(end.Why, asker);
                break;
            case PlanNumVfs when phase == Phase.Fenced:
                asker.Tell(new DeviceFailed(standing));
                break;
            case PlanNumVfs plan:
                asker.Tell(Core.WhyNotNumVfs(plan.Count) is { } refused
                    ? new DeviceFailed(refused)
                    : new CommandPlanned(
                        plan.Count == plan.Now ? $"{plan.Now} VFs are there already, and would stay" : $"{plan.Count} VFs would be there, in place of {plan.Now}",
                        plan.Count < plan.Now ? plan.Affects : []));
                break;
            case ResetCore when phase == Phase.Fenced:
                asker.Tell(new CoreWasReset(standing, Answers: false, TimeSpan.Zero));
                break;
            case CheckCore when phase == Phase.Fenced:
                asker.Tell(new CoreWasReset(standing, Answers: false, TimeSpan.Zero));
                break;
            case CheckCore:
                Start(
                    "read of config space", null, static core => core.Answers(),
                    done => asker.Tell(new CoreWasReset(VfioResult.Ok, done.Outcome, done.Took)),
                    byHost: true, givenUp: hung => asker.Tell(new CoreWasReset(hung, Answers: false, Options.SlowCallDeadline)));
                break;
            case ResetCore { Scope: ResetScope.Function } reset:
                Start(
                    reset.Method is null ? "reset" : $"reset by {reset.Method}", null,
                    core => (Outcome: core.ResetByHost(reset.Method), Answers: core.Answers()),
                    done => asker.Tell(new CoreWasReset(done.Outcome.Outcome, done.Outcome.Answers, done.Took)),
                    byHost: true, givenUp: hung => asker.Tell(new CoreWasReset(hung, Answers: false, Options.SlowCallDeadline)));
                break;
            case ResetCore reset:
                ResetWithOthers(reset.Scope, asker);
                break;
            case ChangeResetMethods change:
                asker.Tell(new CoreChanged(phase == Phase.Fenced ? standing : Core.SetResetMethods(change.Methods)));
                break;
            case LeaveBus:
                Leave();
                break;
            case UnbindCore:
                Unbind(asker);
                break;
        }
    }

    private void EndAll(string why, IActorRef asker)
    {
        if (phase == Phase.Fenced || sessions.Count == 0)
            asker.Tell(CoreDone.Instance);
        else
            Close(sessions[^1], why, null, EndNext, _ => EndNext());

        void EndNext() => self.Tell(new EndSessions(why), asker);
    }

    private void ResetWithOthers(ResetScope scope, IActorRef asker)
    {
        if (context.Set.IsNobody() && scope == ResetScope.DeviceSet)
        {
            asker.Tell(new CoreWasReset(VfioResult.Fail(Errno.ENODEV, "The function is a device set by itself."), Answers: true, TimeSpan.Zero));
            return;
        }

        InTurn(
            TurnKind.HotReset, null,
            _ => Start(
                scope == ResetScope.Power ? "power cycle of its slot" : "hot reset of its set", null,
                core => (Outcome: scope == ResetScope.Power ? core.CyclePowerByHost() : core.HotResetByHost(), Answers: core.Answers()),
                done =>
                {
                    EndTurn();
                    asker.Tell(new CoreWasReset(done.Outcome.Outcome, done.Outcome.Answers, done.Took));
                },
                byHost: true, givenUp: hung => asker.Tell(new CoreWasReset(hung, Answers: false, Options.SlowCallDeadline)), hasOthers: true),
            refused => asker.Tell(new CoreWasReset(refused, Answers: true, TimeSpan.Zero)));
    }

    // ---- Leaving (LC-32 to LC-34) ----------------------------------------------------------------------------------------------------

    private sealed record ReleaseTick;

    private sealed record Departure(Unregistration Waiting, ICancelable Tick, long Began);

    private void Leave()
    {
        if (departure is not null)
            return;
        if (phase == Phase.Fenced)
        {
            Depart();
            return;
        }

        Start("unregistering", null, static core => core.Unregister(), left =>
        {
            var tick = new Cancelable(Context.System.Scheduler);
            departure = new Departure(left.Outcome, tick, context.Time.GetTimestamp());
            if (left.Outcome.IsComplete)
            {
                Depart();
                return;
            }

            Context.System.Scheduler.ScheduleTellRepeatedly(Unregistration.Interval, Unregistration.Interval, self, new ReleaseTick(), self, tick);
            TellRequest(left.Outcome.Requests - 1, left.Outcome.Notice);
        // One that cannot be let go in order is gone all the same.
        }, byHost: true, givenUp: _ => supervisor.Tell(CoreLeft.Instance));
    }

    /// <summary>Only of a function that nobody holds: there is nothing to wait for.</summary>
    private void Unbind(IActorRef asker)
    {
        if (heldBy is not null || (phase == Phase.Fenced && work is not null))
            asker.Tell(new CoreUnbound(standing with { Errno = Errno.EBUSY }));
        else if (phase == Phase.Fenced)
            asker.Tell(new CoreUnbound(null));
        else if (sessions.Count > 0)
            asker.Tell(new CoreUnbound(new VfioError(Errno.EBUSY, $"{Address} is held by {sessions[^1].Holder}; release it first."), IsHeld: true));
        else
            Start(
                "unbinding", null, static core => core.Unregister(),
                _ =>
                {
                    Fence(new VfioError(Errno.ENODEV, $"{Address} is being bound to a driver anew; ask the host for it again."));
                    asker.Tell(new CoreUnbound(null));
                },
                byHost: true, givenUp: hung => asker.Tell(new CoreUnbound(hung with { Errno = Errno.EBUSY })));
    }

    private void OnReleaseTick()
    {
        if (departure is not { } leaving || phase == Phase.Fenced)
            return;
        if (leaving.Waiting.IsComplete)
        {
            // By another's hand: a PF that leaves takes its VFs with it (SV-23).
            Depart();
            return;
        }

        var number = leaving.Waiting.Requests;
        TellRequest(number, leaving.Waiting.Elapse());
    }

    private void TellRequest(int number, RequestNotice request) => supervisor.Tell(new ReleaseRequested(
        number, (request & RequestNotice.Signalled) != 0, departure is { } leaving ? context.Time.GetElapsedTime(leaving.Began) : TimeSpan.Zero));

    private void Depart()
    {
        departure?.Tick.Cancel();
        Fence(new VfioError(Errno.ENODEV, $"{Address} has been taken away; ask the host for its devices."));
        supervisor.Tell(CoreLeft.Instance);
    }
}
