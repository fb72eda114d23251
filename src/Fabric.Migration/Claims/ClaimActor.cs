using System.Globalization;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Akka.Persistence;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Migration.Tracing;

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

    /// <summary>See <see cref="IsFresh"/>.</summary>
    private static readonly TimeSpan FreshFor = TimeSpan.FromMilliseconds(100);

    /// <summary>What a claim shows is told again this often: a control node that has just started hears of every claim.</summary>
    internal static readonly TimeSpan PublishInterval = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan VerifyDeadline = TimeSpan.FromMinutes(2);

    private readonly IFabricMembers members;
    private readonly ILoggingAdapter log = Context.GetLogger();
    private readonly TimeProvider time;
    private readonly ClaimTrace trace;
    private ClaimState state = ClaimState.Empty;

    // Not in the journal: what is being looked at for a requester, and what was heard lately.
    private Planning? planning;
    private IActorRef writingFor = ActorRefs.Nobody;
    private readonly List<IActorRef> verifying = [];
    private AttachmentStatus? status;
    private long heardAt;
    private string? published;
    private long publishedAt;

    // Since it was taken up.
    private long messages;
    private long recoveredAt;

    public ClaimActor(string claimId, IFabricMembers members, TimeProvider time)
    {
        PersistenceId = $"claim-{claimId}";
        ClaimId = claimId;
        trace = new ClaimTrace(claimId);
        (this.members, this.time) = (members, time);
        heardAt = time.GetTimestamp();
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

    public static Props Props(string claimId, IFabricMembers members, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new ClaimActor(claimId, members, time));

    protected override void PostStop()
    {
        trace.Leave("left");
        base.PostStop();
    }

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
                recoveredAt = leasedAt = time.GetTimestamp();
                if (state.Phase is ClaimPhase.None or ClaimPhase.Released)
                    break;
                log.Info("Claim {0}: taken up in phase {1} {2}", ClaimId, state.Phase, state.Migration?.Step);
                stepRecovered = true;
                Fence();
                EnterStep();
                break;
        }
    }

    protected override void OnCommand(object message)
    {
        messages++;
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
            case HostsRanked ranked when planning is { Asked: Fleet }:
                OnRanked(ranked);
                break;
            case HostsRanked:
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
                CheckLease();
                Drive();
                if (state.Phase is ClaimPhase.Running or ClaimPhase.Restarting)
                    Attend();
                if (Says() != published || time.GetElapsedTime(publishedAt) >= PublishInterval)
                    Publish();
                break;
            case TryAgain:
                Attend();
                break;
            case FleetChanged:
                OnFleetChanged();
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
    /// <param name="entersStep">Else what happened leaves the step under way as it is.</param>
    private void Record(IJournaled happened, string kind, string sentence, Action? then = null, bool entersStep = true)
    {
        Keep(happened, () =>
        {
            stepRecovered &= !entersStep;
            Announce(kind, sentence);
            writingFor = ActorRefs.Nobody;
            then?.Invoke();
            if (entersStep)
                EnterStep();
            else
                Publish();
        });
    }

    private void Keep(IJournaled happened, Action then) => Persist(happened, persisted =>
    {
        state = state.Apply(persisted);
        then();
        if (LastSequenceNr % SnapshotEvery == 0)
            SaveSnapshot(state.ToSnapshot());
    });

    /// <summary>
    /// Whoever had the claim before cannot write any more from here on: one that was stopped and wakes up late would else begin something that nobody
    /// goes on with. What this incarnation does need not wait for it: nothing is decided before it is written.
    /// </summary>
    private void Fence() => PersistAsync(new ClaimTakenUp { Node = members.Self, At = Now }, persisted => state = state.Apply(persisted));

    private void Announce(string kind, string sentence)
    {
        log.Info("Claim {0}: {1}: {2}", ClaimId, kind, sentence);
        members.TellControls(new FabricEvent(time.GetUtcNow(), kind, ClaimId, members.Self, sentence));
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
        if (state.Phase != ClaimPhase.Migrating)
            trace.Leave("abandoned");
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
                    $"Claim {ClaimId} exists already, {Word(state.Phase)} on {state.Host}/{Shown(state.Addresses)} with model {Models()}; choose another id.");
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

        Plan(new Planning(create, Sender) { Only = create.Host });
    }

    private bool IsTheSame(CreateClaim create) =>
        (create.Devices.Length, create.Host ?? state.Host, create.MemoryBytes, create.StepsPerSecond, create.OnDeviceFailure, create.ApartFrom)
        == (state.Devices.Length, state.Host, state.MemoryBytes, state.StepsPerSecond, state.OnDeviceFailure, state.ApartFrom)
        && create.OnHostLoss == state.OnHostLoss
        && create.Select.SequenceEqual(state.Select)
        && create.Devices.Zip(state.Devices).All(static pair => pair.First.Model == pair.Second.Model
            && (pair.First.Device ?? pair.Second.Device) == pair.Second.Device);

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
            case var _ when release.PlanOnly:
                Sender.Tell(new ClaimPlanned($"claim {ClaimId} would end, and {state.Host}/{Shown(state.Addresses)} be free"));
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
        Send(state.Host, new VerifyAttachment(ClaimId, state.Generation, state.Device));
    }

    private void OnVerified(AttachmentVerified verified) => EndVerifying(verified.Failure is null
        ? new ClaimVerified(verified.Result)
        : new ClaimRefused(RefusalCode.Conflict, $"Claim {ClaimId} could not be verified: {verified.Failure}"));

    private void EndVerifying(object reply)
    {
        Timers.Cancel(nameof(VerifyOverdue));
        foreach (var requester in verifying)
            requester.Tell(reply);
        verifying.Clear();
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    /// <summary>It was taken up for the message that it handles: what the journal said a moment ago is all that there is.</summary>
    private bool IsFresh => messages == 1 && time.GetElapsedTime(recoveredAt) < FreshFor;

    private long Now => time.GetUtcNow().ToUnixTimeMilliseconds();

    private void Send(string host, IHostCommand command) => members.TellHost(host, command);

    private void Refuse(RefusalCode code, string sentence, string? request = null) => Sender.Tell(new ClaimRefused(code, sentence) { Request = request });

    private void RefuseUnknown() => Refuse(RefusalCode.NotFound, $"There is no claim {ClaimId}; list the claims.");

    /// <summary>A claim that never was, or is over, need not be kept alive.</summary>
    private void PassivateIfOver()
    {
        if (planning is null && state.Phase is ClaimPhase.None or ClaimPhase.Released)
            Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }

    private void Publish()
    {
        published = Says();
        publishedAt = time.GetTimestamp();
        members.TellControls(new ClaimChanged(View()));
    }

    /// <summary>What the claim waits for, if the host it cannot do without is not there: only that host, or its release, can go on (L1).</summary>
    private string? Waiting()
    {
        if (state.Phase is not (ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating or ClaimPhase.Restarting) || state.RunnerIsClosed)
            return null;
        var needed = state.Migration is { Step: MigrationStep.Rollback } m ? m.FromHost : state.Host;
        if (Away(needed) is { } reason)
            return reason;
        var overdue = state.Phase == ClaimPhase.Running && time.GetElapsedTime(Math.Max(heardAt, stepSince)) > StatusDeadline;
        return overdue ? $"{needed} has not told yet what became of the claim's device" : null;
    }

    private string? Away(string needed) => members.PresenceOf(needed) is HostPresence.Up or HostPresence.Leaving
        ? null
        : IsLeased
            ? $"{needed} was lost or does not answer: the claim starts afresh elsewhere when the lease of its host has ended"
            : $"{needed} was lost or does not answer: the claim waits for it and is not started anywhere else; bring that host back";

    private ClaimView View() => new(
        ClaimId,
        [.. state.Devices],
        state.Phase,
        state.Host,
        state.Generation,
        members.Self,
        Says(),
        DateTimeOffset.FromUnixTimeMilliseconds(state.CreatedAt),
        status?.Workload,
        [.. state.Migrations.Select(View)],
        state.OnDeviceFailure,
        TroubleView())
    {
        Select = [.. state.Select],
        ApartFrom = state.ApartFrom,
        OnHostLoss = state.OnHostLoss,
        Lease = LeaseView(),
    };

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
            [.. migration.FromDevices],
            migration.ToHost,
            [.. migration.ToDevices],
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
            migration.RequestedBy,
            migration.Cause,
            migration.OnNoConvergence,
            live && dirtyRate is { } measured ? measured : migration.DirtyBytesPerSecond is > 0 and var kept ? kept : null)
        {
            Request = migration.Request,
            PredictedDowntimeMs = migration.RateAtStop > 0 ? PredictedDowntime(migration.LeftAtStop, migration.RateAtStop) : null,
            TimeoutMs = migration.TimeoutMs,
            BandwidthLimit = migration.BandwidthLimit,
            RateAtStop = migration.RateAtStop,
        };
    }

    /// <summary>Functions of one host, as a sentence names them.</summary>
    private static string Shown(IEnumerable<string> addresses) => string.Join(" and ", addresses);

    private string Models() => Shown(state.Devices.Select(static device => device.Model));

    private static string Word(ClaimPhase phase) => phase.ToString().ToLower(CultureInfo.InvariantCulture);
}
