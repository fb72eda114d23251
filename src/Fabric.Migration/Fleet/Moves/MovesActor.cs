using System.Collections.Immutable;
using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Akka.Persistence;
using Fabric.Migration.Claims;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// Drains hosts, rebalances claims, and stops both when too much misbehaves: one of a fabric, on its oldest control node, event-sourced. It only
/// carries out what <see cref="MoveRound"/> decides: writes it down, then tells claims, again until they show that they heard. So one that is taken
/// up elsewhere goes on where the journal says, and no claim is moved twice for one move.
/// </summary>
public sealed class MovesActor : UntypedPersistentActor, IWithTimers
{
    public const string Name = "fleet-moves";

    private const int SnapshotEvery = 200;

    private static readonly TimeSpan Busy = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(2);

    /// <summary>Between two looks, unless the process stood still.</summary>
    private static readonly TimeSpan Longest = Idle + TimeSpan.FromSeconds(3);

    /// <summary>After that every claim has been heard of that can be.</summary>
    private static readonly TimeSpan Settling = ClaimActor.PublishInterval + TimeSpan.FromSeconds(2);

    private readonly FabricMembers members = new(Context.System);
    private readonly ILoggingAdapter log = Context.GetLogger();
    private readonly ActorSelection fleetActor = Context.System.ActorSelection("/user/" + FleetActor.Name);
    private readonly IActorRef claims;
    private readonly MovesOptions options;
    private readonly TimeProvider time;
    private long began;
    private long? seenAt;
    private readonly Guid life = Guid.NewGuid();
    private MovesState state = MovesState.Empty;
    private BreakerWatch watch = BreakerWatch.After(BreakerState.Closed);
    private EvacuationTurns evacuations = EvacuationTurns.None;

    // Not in the journal: what was seen at the last look.
    private FleetSnapshot? fleet;

    /// <summary>The snapshot is of a moment ago: what is commanded is decided on it.</summary>
    private bool isSighted;

    /// <summary>An answer of the fleet is on its way.</summary>
    private bool isLooking;
    private ImmutableArray<MoveWait> waits = [];
    private long told;

    public MovesActor(IActorRef claims, MovesOptions options, TimeProvider time)
    {
        (this.claims, this.options, this.time) = (claims, options, time);
        began = time.GetTimestamp();
    }

    private sealed record Look
    {
        public static Look Instance { get; } = new();
    }

    private sealed record SightEnded
    {
        public static SightEnded Instance { get; } = new();
    }

    public override string PersistenceId => Name;

    public ITimerScheduler Timers { get; set; } = null!;

    private long Now => time.GetUtcNow().ToUnixTimeMilliseconds();

    private bool IsComplete => time.GetElapsedTime(began) >= Settling;

    public static Props Props(IActorRef claims, MovesOptions options, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new MovesActor(claims, options, time));

    protected override void OnRecover(object message)
    {
        switch (message)
        {
            case SnapshotOffer { Snapshot: MovesSnapshot snapshot }:
                state = MovesState.FromSnapshot(snapshot);
                break;
            case IJournaled happened:
                state = state.Apply(happened);
                break;
            case RecoveryCompleted:
                watch = BreakerWatch.After(state.Breaker);
                Timers.StartSingleTimer(nameof(Look), Look.Instance, TimeSpan.Zero);
                break;
        }
    }

    protected override void OnCommand(object message)
    {
        switch (message)
        {
            case Look:
                // Comes again also where the answer does not.
                Timers.StartSingleTimer(nameof(Look), Look.Instance, state.OpenMoves.Any() || !waits.IsEmpty ? Busy : Idle);
                AskFleet();
                break;
            case FleetDescribed when !members.SeesMostControls:
                // Whoever is cut off sees all others misbehave; the resolver ends it, and one that sees the fabric decides.
                isLooking = false;
                break;
            case FleetDescribed described:
                OnFleet(FleetSnapshot.Of(described));
                break;
            case IMovesCommand when !isSighted:
                // A host that a person sees in a list must not be unknown here because the last look is older.
                Stash.Stash();
                AskFleet();
                break;
            case AskEvacuation when !isSighted:
                // All claims of a card that is lost ask at once: one look serves them.
                Stash.Stash();
                if (!isLooking)
                    AskFleet();
                break;
            case SightEnded:
                isSighted = false;
                break;
            case AskEvacuation ask:
                evacuations = evacuations.Ask(ask, fleet!.Under(state), state, options.Limits, Now, out var wait);
                Sender.Tell(new EvacuationTurn(ask.ClaimId, wait));
                break;
            case DrainHost drain:
                Drain(drain);
                break;
            case UndrainHost undrain:
                Undrain(undrain);
                break;
            case RebalanceClaims rebalance:
                Rebalance(rebalance);
                break;
            case StopRebalance stop:
                Stop(stop);
                break;
            case ResetBreaker reset:
                Reset(reset);
                break;
            case ClaimRefused { Request: { } request, Code: RefusalCode.Plan or RefusalCode.NotFound or RefusalCode.Conflict } refused:
                OnRefused(request, refused.Sentence);
                break;
            case ClaimAccepted or ClaimRefused:
                // The claim shows it to the fleet; what a journal or a deadline kept from it is asked for again.
                break;
            case SaveSnapshotSuccess or SaveSnapshotFailure:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>A process that stood still sees all others silent when it goes on: it hears of the fabric anew before it decides anything.</summary>
    private void NoteThePause()
    {
        if (seenAt is { } before && time.GetElapsedTime(before) > Longest)
            began = time.GetTimestamp();
        seenAt = time.GetTimestamp();
    }

    // ---- Looking, and doing what follows ----------------------------------------------------------------------------------------------

    private void AskFleet()
    {
        isLooking = true;
        fleetActor.Tell(new DescribeFleet(), Self);
    }

    private void OnFleet(FleetSnapshot seen)
    {
        isLooking = false;
        NoteThePause();
        fleet = seen;
        var round = MoveRound.Next(seen, state, watch, evacuations, options, IsComplete, Now);
        (waits, watch) = (round.Waits, round.Watch);
        Record([.. round.Happened], Tell);
        // Behind the commands that waited for it.
        Self.Tell(SightEnded.Instance);
        isSighted = true;
        Stash.UnstashAll();
    }

    /// <summary>Whatever is under way and not shown by its claim is told to it again.</summary>
    private void Tell()
    {
        foreach (var move in state.OpenMoves.Where(move => fleet!.Claim(move.ClaimId)?.MigrationOf(move.Request) is null))
        {
            claims.Tell(new StartMigration(move.ClaimId, move.To, move.DowntimeLimitMs, options.TimeoutMs, BandwidthLimit: 0, ClaimActor.Fabric)
            {
                Request = move.Request,
                From = move.From,
                Cause = move.Cause,
            });
        }

        Publish();
    }

    private void OnRefused(string request, string sentence)
    {
        if (state.OpenMoves.FirstOrDefault(move => move.Request == request) is not { } move
            || fleet!.Claim(move.ClaimId)?.MigrationOf(request) is not null)
        {
            return;
        }

        Record([new MoveEnded { Number = move.Number, Outcome = "refused", Reason = sentence, At = Now }], Publish);
    }

    // ---- Commands -----------------------------------------------------------------------------------------------------------------------

    private void Drain(DrainHost drain)
    {
        var started = new DrainStarted { Host = drain.Host, RequestedBy = drain.By, DowntimeLimitMs = drain.DowntimeLimitMs, At = Now };
        if (fleet!.Host(drain.Host) is null)
            Refuse(RefusalCode.NotFound, $"There is no host {drain.Host} in the fabric; list the hosts.");
        else if (drain.PlanOnly)
            Sender.Tell(MovesPlanned.Of([.. PlanOf(state.Apply(started)).Where(claim => claim.From == drain.Host)]));
        else if (state.Drains.TryGetValue(drain.Host, out var known) && known.EmptiedAt != 0)
            Sender.Tell(Shown(started));
        else
            Accept(started);
    }

    private void Undrain(UndrainHost undrain)
    {
        if (!state.Drains.ContainsKey(undrain.Host))
        {
            Refuse(
                fleet!.Host(undrain.Host) is null ? RefusalCode.NotFound : RefusalCode.Conflict,
                $"Host {undrain.Host} is not drained; list the hosts.");
        }
        else if (undrain.PlanOnly)
            Sender.Tell(MovesPlanned.Of([.. state.OpenMoves.Where(move => move.From == undrain.Host).Select(static move =>
                new MovingClaim(move.ClaimId, "moving", move.From, move.To, "its move has begun and is not undone", 0))]));
        else
            Accept(new DrainEnded { Host = undrain.Host, RequestedBy = undrain.By, At = Now });
    }

    private void Rebalance(RebalanceClaims rebalance)
    {
        if (state.Rebalance is { Outcome: null } running && !rebalance.PlanOnly)
        {
            Refuse(RefusalCode.Conflict, $"A rebalance is under way, as {running.RequestedBy} asked; wait for its end, or stop it.");
            return;
        }

        if (!IsComplete)
        {
            Refuse(RefusalCode.Conflict, "The fabric has just begun to hear of its claims; ask again in a few seconds.");
            return;
        }

        var plan = Rebalancing.Plan(fleet!.Under(state));
        if (rebalance.PlanOnly || plan.IsEmpty)
        {
            Sender.Tell(MovesPlanned.Of(
                [.. plan.Select(static intent => new MovingClaim(intent.ClaimId, "planned", intent.From, intent.To, intent.Why, 0))]));
            return;
        }

        var started = new RebalanceStarted { RequestedBy = rebalance.By, DowntimeLimitMs = rebalance.DowntimeLimitMs, At = Now };
        started.Moves.AddRange(plan.Select(MovesState.ToIntended));
        Accept(started);
    }

    private void Stop(StopRebalance stop)
    {
        if (state.Rebalance is not { Outcome: null })
            Refuse(RefusalCode.Conflict, "No rebalance is under way.");
        else if (stop.PlanOnly)
            Sender.Tell(MovesPlanned.Of([.. View().Rebalance!.Claims.Where(static claim => claim.State is "waiting" or "blocked")]));
        else
            Accept(new RebalanceEnded { Outcome = $"stopped by {stop.By}", At = Now });
    }

    private void Reset(ResetBreaker reset)
    {
        if (reset.PlanOnly)
        {
            Sender.Tell(MovesPlanned.Of(PlanOf(state.Apply(new BreakerReset()))));
            return;
        }

        var done = new BreakerReset { RequestedBy = reset.By, At = Now };
        done.Acknowledged.AddRange(watch.Misbehaving.Order(StringComparer.Ordinal));
        Accept(done);
    }

    private MovingClaim[] PlanOf(MovesState then) => MovesViews.Of(MoveQueue.Decide(fleet!.Under(then), then, evacuations, options.Limits, Now));

    /// <summary>Written first, answered then; what follows is looked for at once.</summary>
    private void Accept(IJournaled happened)
    {
        var requester = Sender;
        Record([happened], () =>
        {
            if (happened is BreakerReset)
                watch = BreakerWatch.After(state.Breaker);
            Publish();
            requester.Tell(Shown(happened));
            Timers.StartSingleTimer(nameof(Look), Look.Instance, TimeSpan.Zero);
        });
    }

    /// <summary>What a command was about, as it is now.</summary>
    private MovesAccepted Shown(IJournaled happened) => happened switch
    {
        DrainStarted drain => MovesAccepted.Of(View().Drains.Single(view => view.Host == drain.Host)),
        RebalanceStarted or RebalanceEnded => MovesAccepted.Of(View().Rebalance!),
        _ => MovesAccepted.Of(View().Breaker),
    };

    private void Refuse(RefusalCode code, string sentence) => Sender.Tell(new MovesRefused(code, sentence));

    // ---- The journal, and telling -------------------------------------------------------------------------------------------------------

    private void Record(IReadOnlyList<IJournaled> happened, Action then)
    {
        if (happened.Count == 0)
        {
            then();
            return;
        }

        var left = happened.Count;
        PersistAll(happened, persisted =>
        {
            state = state.Apply(persisted);
            Announce(persisted);
            if (LastSequenceNr % SnapshotEvery == 0)
                SaveSnapshot(state.ToSnapshot());
            if (--left == 0)
                then();
        });
    }

    protected override void OnPersistFailure(Exception cause, object @event, long sequenceNr)
    {
        // The actor stops after this, and is started anew: what was not written was not done.
        TellJournalUnavailable(cause, @event);
        base.OnPersistFailure(cause, @event, sequenceNr);
    }

    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        TellJournalUnavailable(cause, @event);
        base.OnPersistRejected(cause, @event, sequenceNr);
        Context.Stop(Self);
    }

    private void TellJournalUnavailable(Exception cause, object @event)
    {
        log.Error(cause, "Moves: the journal did not take {0}; they are taken up again from what it has", @event.GetType().Name);
        Sender.Tell(new MovesRefused(
            RefusalCode.JournalUnavailable,
            $"The journal could not be written ({cause.GetBaseException().Message}); nothing was changed. "
            + "Free its disk or bring back its server, and ask again."));
    }

    private void Publish()
    {
        foreach (var portion in MovesPortion.Of(View(), life, ++told))
            members.TellControls(portion);
    }

    private MovesView View() => MovesViews.Of(fleet!.Under(state), state, waits, watch);

    private void Announce(IJournaled happened)
    {
        var (kind, subject, sentence) = happened switch
        {
            DrainStarted e => ("host.draining", e.Host, $"drained, as {e.RequestedBy} asked: it takes nothing new, and its claims move away"),
            HostEmptied e => ("host.drained", e.Host, "no claim is left on it"),
            DrainEnded e => ("host.undrained", e.Host, $"takes claims again, as {e.RequestedBy} asked"),
            MoveStarted e => ("move.started", e.ClaimId, $"{e.FromHost} to {e.ToHost}: {e.Cause}"),
            MoveEnded e => (
                "move.ended", state.Moves.Find(move => move.Number == e.Number)?.ClaimId ?? "", e.Reason.Length > 0 ? $"{e.Outcome}: {e.Reason}" : e.Outcome),
            RebalanceStarted e => (
                "rebalance.started", "fabric", string.Create(CultureInfo.InvariantCulture, $"{e.Moves.Count} claims move, as {e.RequestedBy} asked")),
            RebalanceEnded e => ("rebalance.ended", "fabric", e.Outcome),
            BreakerTripped e => (
                "breaker.tripped", "fabric", $"automatic moves stop: {e.Reason}; look at what misbehaves, then 'fabric breaker reset'"),
            BreakerReset e => ("breaker.reset", "fabric", $"automatic moves go on, as {e.RequestedBy} asked"),
            _ => throw new InvalidOperationException($"Moves have no event {happened.Descriptor.Name}."),
        };
        log.Info("Moves: {0}: {1}: {2}", kind, subject, sentence);
        members.TellControls(new FabricEvent(time.GetUtcNow(), kind, subject, members.Self, sentence));
    }
}
