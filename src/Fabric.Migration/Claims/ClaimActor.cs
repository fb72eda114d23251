using System.Globalization;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Akka.Persistence;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Claims;

/// <summary>
/// One consumer's hold on a device, wherever it runs: sharded by its id, event-sourced, and the only one that decides which function on which
/// host runs (L1). What it does follows from its state alone: <see cref="Drive"/> sends the commands of the present step, again and again
/// until their report is in the journal; so a claim that comes back on another node goes on where the journal says.
/// </summary>
public sealed partial class ClaimActor : UntypedPersistentActor, IWithTimers
{
    private const int SnapshotEvery = 64;

    /// <summary>Commands are idempotent; one that gets no report is sent again after this.</summary>
    private static readonly TimeSpan ResendInterval = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan PlanDeadline = TimeSpan.FromSeconds(5);

    /// <summary>A running claim whose host says nothing for this long asks it.</summary>
    private static readonly TimeSpan StatusDeadline = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan VerifyDeadline = TimeSpan.FromMinutes(2);

    private readonly FabricMembers members = new(Context.System);
    private readonly ILoggingAdapter log = Context.GetLogger();
    private readonly TimeProvider time;
    private ClaimState state = ClaimState.Empty;

    // Not in the journal: what is being looked at for a requester, and what was heard lately.
    private Planning? planning;
    private IActorRef writingFor = ActorRefs.Nobody;
    private readonly List<IActorRef> verifying = [];
    private AttachmentStatus? status;
    private long heardAt;
    private string? published;

    public ClaimActor(string claimId, TimeProvider time)
    {
        PersistenceId = $"claim-{claimId}";
        ClaimId = claimId;
        this.time = time;
        heardAt = time.GetTimestamp();
    }

    /// <summary>Hosts that are still to be asked, one after another, and why the ones before said no.</summary>
    private sealed record Planning(IClaimMessage Command, IActorRef Requester, Queue<string> Hosts, List<string> Reasons)
    {
        public string Asked { get; set; } = "";
    }

    private sealed record PlanOverdue(string Host);

    private sealed record PlanAgain
    {
        public static PlanAgain Instance { get; } = new();
    }

    private sealed record Tick
    {
        public static Tick Instance { get; } = new();
    }

    private sealed record VerifyOverdue
    {
        public static VerifyOverdue Instance { get; } = new();
    }

    public override string PersistenceId { get; }

    public ITimerScheduler Timers { get; set; } = null!;

    private string ClaimId { get; }

    public static Props Props(string claimId, TimeProvider time) => Akka.Actor.Props.Create(() => new ClaimActor(claimId, time));

    protected override void OnRecover(object message)
    {
        switch (message)
        {
            case IJournaled happened and not ClaimSnapshot:
                state = state.Apply(happened);
                break;
            case SnapshotOffer { Snapshot: ClaimSnapshot snapshot }:
                state = ClaimState.FromSnapshot(snapshot);
                break;
            case RecoveryCompleted:
                if (state.Phase is ClaimPhase.None or ClaimPhase.Released)
                    break;
                log.Info("Claim {0}: taken up in phase {1} {2}", ClaimId, state.Phase, state.Migration?.Step);
                stepRecovered = true;
                EnterStep();
                break;
        }
    }

    protected override void OnCommand(object message)
    {
        switch (message)
        {
            case DescribeClaim:
                if (state.Phase == ClaimPhase.None)
                    RefuseUnknown();
                else
                    Sender.Tell(new ClaimDescribed(View()));
                PassivateIfOver();
                break;
            case CreateClaim create:
                Create(create);
                break;
            case ReleaseClaim release:
                Release(release);
                break;
            case StartMigration start:
                Start(start);
                break;
            case CancelMigration cancel:
                Cancel(cancel);
                break;
            case VerifyClaim:
                Verify();
                break;
            case TargetPlanned planned when planning is not null && planned.Host == planning.Asked:
                OnPlanned(planned);
                break;
            case TargetPlanned:
                break;
            case PlanOverdue overdue when planning is not null && overdue.Host == planning.Asked:
                OnPlanOverdue(overdue.Host);
                break;
            case PlanOverdue:
                break;
            case PlanAgain:
                if (planning is not null)
                    SendPlan();
                break;
            case IHostReport report:
                OnReport(report);
                break;
            case Tick:
                CheckDeadlines();
                Drive();
                if (Waiting() != published)
                    Publish();
                break;
            case VerifyOverdue:
                foreach (var requester in verifying)
                    requester.Tell(new ClaimRefused(RefusalCode.Timeout, $"{state.Host} did not verify claim {ClaimId} within {VerifyDeadline.TotalSeconds} s."));
                verifying.Clear();
                break;
            case SaveSnapshotSuccess or SaveSnapshotFailure:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- The journal -----------------------------------------------------------------------------------------------------------------

    /// <summary>Writes down what happened, and only then lets it be so.</summary>
    private void Record(IJournaled happened, string kind, string sentence, Action? then = null)
    {
        Persist(happened, persisted =>
        {
            state = state.Apply(persisted);
            stepRecovered = false;
            log.Info("Claim {0}: {1}: {2}", ClaimId, kind, sentence);
            members.TellControls(new FabricEvent(time.GetUtcNow(), kind, ClaimId, members.Self, sentence));
            writingFor = ActorRefs.Nobody;
            then?.Invoke();
            EnterStep();
            if (LastSequenceNr % SnapshotEvery == 0)
                SaveSnapshot(state.ToSnapshot());
        });
    }

    /// <summary>The actor stops after this; the claim is taken up anew from what is in the journal.</summary>
    protected override void OnPersistFailure(Exception cause, object @event, long sequenceNr)
    {
        log.Error(cause, "Claim {0}: the journal did not take {1}; the claim is taken up again from what it has", ClaimId, @event.GetType().Name);
        TellJournalUnavailable(cause);
        base.OnPersistFailure(cause, @event, sequenceNr);
    }

    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        TellJournalUnavailable(cause);
        base.OnPersistRejected(cause, @event, sequenceNr);
        // The actor lives on without what it wanted to write: nobody waits for it, and a commit was not made.
        writingFor = ActorRefs.Nobody;
        commitSince = 0;
    }

    private void TellJournalUnavailable(Exception cause) => writingFor.Tell(new ClaimRefused(
        RefusalCode.JournalUnavailable,
        $"Claim {ClaimId}: the journal could not be written ({cause.GetBaseException().Message}); nothing was changed. Free its disk or bring back its server, and ask again."));

    // ---- Creating and releasing ------------------------------------------------------------------------------------------------------

    private void Create(CreateClaim create)
    {
        if (state.Phase != ClaimPhase.None)
        {
            // The same request again is the same claim.
            if (IsTheSame(create) && state.Phase is ClaimPhase.Placing or ClaimPhase.Running)
                Sender.Tell(new ClaimAccepted(View()));
            else
                Refuse(
                    RefusalCode.Conflict,
                    $"Claim {ClaimId} exists already, {Word(state.Phase)} on {state.Host}/{state.Device} with model {state.Model}; choose another id.");
            return;
        }

        if (Now > create.ValidUntil.ToUnixTimeMilliseconds())
        {
            // It lay somewhere, such as before a journal that was full: who asked has been told that it failed, and must find it so.
            Refuse(
                RefusalCode.Timeout,
                $"Claim {ClaimId} was asked for too long ago, and was not created; ask again, and compare the daemons' clocks if it happens at once.");
            PassivateIfOver();
            return;
        }

        if (planning is not null)
        {
            Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is being created by another request; look at it in a moment.");
            return;
        }

        var hosts = create.Host is null
            ? members.Hosts.Where(members.IsReachable).Select(FabricMembers.NameOf).Order(StringComparer.Ordinal)
            : Enumerable.Repeat(create.Host, 1);
        Plan(new Planning(create, Sender, new Queue<string>(hosts), []));
    }

    private bool IsTheSame(CreateClaim create) =>
        (create.Model, create.Host ?? state.Host, create.Device ?? state.Device, create.MemoryBytes, create.StepsPerSecond)
        == (state.Model, state.Host, state.Device, state.MemoryBytes, state.StepsPerSecond);

    private void Release(ReleaseClaim release)
    {
        switch (state.Phase)
        {
            case ClaimPhase.None:
                RefuseUnknown();
                PassivateIfOver();
                break;
            case ClaimPhase.Migrating:
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is migrating; cancel migration {ClaimId}.{state.Migration!.Number}, or wait for its end.");
                break;
            case ClaimPhase.Releasing or ClaimPhase.Released:
                Sender.Tell(new ClaimAccepted(View()));
                break;
            default:
                var requester = writingFor = Sender;
                Record(
                    new ReleaseStarted { RequestedBy = release.RequestedBy, At = Now },
                    "claim.releasing",
                    $"released by {release.RequestedBy}",
                    () => requester.Tell(new ClaimAccepted(View())));
                break;
        }
    }

    // ---- Planning: looked at both ends before anything is written or touched ---------------------------------------------------------

    private void Plan(Planning plan)
    {
        planning = plan;
        if (plan.Command is not StartMigration)
        {
            PlanNext();
        }
        else if (Away(state.Host) is { } reason)
        {
            RefusePlan($"{reason}.");
        }
        else
        {
            // The source is looked at first: it must be there now, and what the target must fit is known from it alone.
            AskPlanned();
        }
    }

    private void PlanNext()
    {
        StopAsking();
        if (!planning!.Hosts.TryDequeue(out var name))
        {
            RefusePlan(planning.Reasons.Count > 0 ? string.Join(" ", planning.Reasons) : "No host of the fabric is up; start one, and look at its daemon's log if it is.");
            return;
        }

        planning.Asked = name;
        if (members.Host(name) is not { } host)
        {
            planning.Reasons.Add($"There is no host {name} in the fabric; list the hosts.");
            PlanNext();
            return;
        }

        if (!members.IsReachable(host))
        {
            planning.Reasons.Add($"Host {name} does not answer; wait until it does, or choose another.");
            PlanNext();
            return;
        }

        AskPlanned();
    }

    /// <summary>Asks the host that is next, and again: one that has just joined is a member a moment before it hears.</summary>
    private void AskPlanned()
    {
        Timers.StartSingleTimer(nameof(PlanOverdue), new PlanOverdue(planning!.Asked), PlanDeadline);
        Timers.StartPeriodicTimer(nameof(PlanAgain), PlanAgain.Instance, ResendInterval);
        SendPlan();
    }

    private void SendPlan()
    {
        if (planning!.Asked.Length == 0)
            Send(state.Host, new ReportAttachment(ClaimId, state.Generation));
        else if (members.Host(planning.Asked) is { } host)
            members.GatewayOf(host).Tell(planning.Command switch
            {
                CreateClaim create => new PlanTarget(ClaimId, 0, create.Model, create.Device, StateBytes: 0, Driver: null, Ids: null),
                _ => new PlanTarget(ClaimId, state.Generation, state.Model, Device: null, status!.StateBytes, status.Driver, status.Ids),
            });
    }

    private void OnPlanned(TargetPlanned planned)
    {
        if (planned.Device is null)
        {
            planning!.Reasons.AddRange(planned.Reasons);
            PlanNext();
            return;
        }

        var (command, requester) = (planning!.Command, planning.Requester);
        EndPlanning();
        writingFor = requester;
        switch (command)
        {
            case CreateClaim create:
                Record(
                    new ClaimCreated
                    {
                        ClaimId = ClaimId,
                        Model = create.Model,
                        Host = planned.Host,
                        Device = planned.Device,
                        Generation = 1,
                        MemoryBytes = create.MemoryBytes,
                        StepsPerSecond = create.StepsPerSecond,
                        RequestedBy = create.RequestedBy,
                        At = Now,
                    },
                    "claim.created",
                    $"{create.Model} on {planned.Host}/{planned.Device}, asked for by {create.RequestedBy}",
                    () => requester.Tell(new ClaimAccepted(View())));
                break;
            case StartMigration start when state.Phase == ClaimPhase.Running:
                Record(
                    new MigrationStarted
                    {
                        Number = state.NextMigration,
                        FromHost = state.Host,
                        FromDevice = state.Device,
                        ToHost = planned.Host,
                        ToDevice = planned.Device,
                        Generation = state.Generation + 1,
                        DowntimeLimitMs = start.DowntimeLimitMs,
                        TimeoutMs = start.TimeoutMs,
                        BandwidthLimit = start.BandwidthLimit,
                        RequestedBy = start.RequestedBy,
                        At = Now,
                    },
                    "migration.started",
                    $"{state.Host}/{state.Device} to {planned.Host}/{planned.Device}, asked for by {start.RequestedBy}",
                    () => requester.Tell(new ClaimAccepted(View())));
                break;
            default:
                requester.Tell(new ClaimRefused(RefusalCode.Conflict, $"Claim {ClaimId} changed while it was planned, it is {Word(state.Phase)} now; look at it and ask again."));
                break;
        }
    }

    private void OnPlanOverdue(string host)
    {
        if (host.Length == 0)
        {
            RefusePlan($"Host {state.Host}, where claim {ClaimId} runs, was not heard of within {PlanDeadline.TotalSeconds} s; look at its daemon.");
            return;
        }

        planning!.Reasons.Add($"{host} did not say within {PlanDeadline.TotalSeconds} s whether it could; look at its daemon.");
        PlanNext();
    }

    private void RefusePlan(string why)
    {
        planning!.Requester.Tell(new ClaimRefused(RefusalCode.Plan, why));
        EndPlanning();
        PassivateIfOver();
    }

    private void EndPlanning()
    {
        StopAsking();
        planning = null;
    }

    private void StopAsking()
    {
        Timers.Cancel(nameof(PlanOverdue));
        Timers.Cancel(nameof(PlanAgain));
    }

    // ---- Verifying -------------------------------------------------------------------------------------------------------------------

    private void Verify()
    {
        if (state.Phase != ClaimPhase.Running)
        {
            if (state.Phase == ClaimPhase.None)
                RefuseUnknown();
            else
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is {Word(state.Phase)}; it can be verified while it is running.");
            return;
        }

        if (verifying.Count == 0)
            Timers.StartSingleTimer(nameof(VerifyOverdue), VerifyOverdue.Instance, VerifyDeadline);
        verifying.Add(Sender);
        Send(state.Host, new VerifyAttachment(ClaimId, state.Generation));
    }

    private void OnVerified(AttachmentVerified verified)
    {
        Timers.Cancel(nameof(VerifyOverdue));
        object reply = verified.Failure is null
            ? new ClaimVerified(verified.Result)
            : new ClaimRefused(RefusalCode.Conflict, $"Claim {ClaimId} could not be verified: {verified.Failure}");
        foreach (var requester in verifying)
            requester.Tell(reply);
        verifying.Clear();
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private long Now => time.GetUtcNow().ToUnixTimeMilliseconds();

    private void Send(string hostName, IHostCommand command)
    {
        if (members.Host(hostName) is { } host)
            members.GatewayOf(host).Tell(command);
    }

    private void Refuse(RefusalCode code, string sentence) => Sender.Tell(new ClaimRefused(code, sentence));

    private void RefuseUnknown() => Refuse(RefusalCode.NotFound, $"There is no claim {ClaimId}; list the claims.");

    /// <summary>A claim that never was, or is over, need not be kept alive.</summary>
    private void PassivateIfOver()
    {
        if (planning is null && state.Phase is ClaimPhase.None or ClaimPhase.Released)
            Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }

    private void Publish()
    {
        published = Waiting();
        members.TellControls(new ClaimChanged(View()));
    }

    /// <summary>What the claim waits for, if the host it cannot do without is not there: only that host, or its release, can go on (L1).</summary>
    private string? Waiting()
    {
        if (state.Phase is not (ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating))
            return null;
        var needed = state.Migration is { Step: MigrationStep.Rollback } m ? m.FromHost : state.Host;
        if (Away(needed) is { } reason)
            return reason;
        var overdue = state.Phase == ClaimPhase.Running && time.GetElapsedTime(Math.Max(heardAt, stepSince)) > StatusDeadline;
        return overdue ? $"{needed} has not told yet what became of the claim's device" : null;
    }

    private string? Away(string needed) => members.Host(needed) is { } host && members.IsReachable(host)
        ? null
        : $"{needed} was lost or does not answer: the claim waits for it and is not started anywhere else; bring that host back";

    private ClaimView View() => new(
        ClaimId,
        state.Model,
        state.Phase,
        state.Host,
        state.Device,
        state.Generation,
        members.Self,
        state.Message ?? Waiting(),
        DateTimeOffset.FromUnixTimeMilliseconds(state.CreatedAt),
        status?.Workload,
        [.. state.Migrations.Select(View)]);

    private MigrationView View(ClaimMigration migration)
    {
        var live = migration.Step != MigrationStep.Done && migration == state.Migration;
        var heard = live && progress?.Migration == migration.Number ? progress : null;
        var now = live ? Now : migration.EndedAt;
        var bytes = Math.Max(migration.Bytes, heard?.Bytes ?? 0);
        var total = now - migration.StartedAt;
        return new MigrationView(
            migration.Number,
            migration.FromHost,
            migration.FromDevice,
            migration.ToHost,
            migration.ToDevice,
            migration.Step,
            migration.Step == MigrationStep.Done ? migration.Outcome : null,
            migration.Reason,
            DateTimeOffset.FromUnixTimeMilliseconds(migration.StartedAt),
            total,
            migration.Step is MigrationStep.Done or MigrationStep.Release && migration.Outcome != "failed" ? migration.DowntimeMs : null,
            migration.DowntimeLimitMs,
            bytes,
            heard?.RemainingBytes ?? 0,
            heard?.BytesPerSecond ?? (total > 0 ? bytes * 1000 / total : 0),
            Math.Max(migration.Rounds, heard?.Rounds ?? 0),
            migration.Verified,
            migration.Checksum,
            [.. migration.Phases.Select(phase => new PhaseView(phase.Name, phase.Ms, phase.Downtime))],
            migration.RequestedBy);
    }

    private static string Word(ClaimPhase phase) => phase.ToString().ToLower(CultureInfo.InvariantCulture);
}
