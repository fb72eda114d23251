using System.Collections.Immutable;
using Akka.Actor;
using Akka.Persistence;
using Fabric.Migration.Claims;
using Fabric.Migration.Journal;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>What goes wrong with the journal's writes.</summary>
internal enum JournalTrouble
{
    None,

    /// <summary>They take seconds, and are kept even where nobody waits for them any more.</summary>
    Slow,

    /// <summary>They fail, and nothing is kept.</summary>
    Full,

    /// <summary>They are kept, and the writer hears that they failed.</summary>
    AnswersLost,

    /// <summary>They are rejected: the writer lives on.</summary>
    Rejects,

    /// <summary>Neither writes nor reads come through, and fail after a while.</summary>
    Unreachable,
}

/// <summary>
/// The journal that all control nodes share: keeps one history of each claim, whoever writes. A write that was sent takes its time, and is kept
/// even if its writer died meanwhile; one whose number is taken fails, as a database's unique key makes it.
/// </summary>
internal sealed class SimulatedJournal(Simulation run) : ISimulatedJournal
{
    private static readonly TimeSpan GivesUp = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, List<IPersistentRepresentation>> histories = [];
    private readonly Dictionary<string, SelectedSnapshot> snapshots = [];

    public JournalTrouble Trouble { get; set; }

    /// <summary>Writes that another writer's had come before.</summary>
    public int Conflicts { get; private set; }

    /// <summary>Told of each event when it is kept, before its writer hears of it.</summary>
    public Action<string, IJournaled>? OnKept { get; set; }

    /// <summary>Told of each write when it comes, before anything is kept; its writer may not outlive that.</summary>
    public Action? OnWriting { get; set; }

    /// <summary>The state of a claim, as it would be taken up now.</summary>
    public ClaimState StateOf(string claim) => histories.TryGetValue($"claim-{claim}", out var history)
        ? history.Aggregate(ClaimState.Empty, static (state, kept) => state.Apply((IJournaled)kept.Payload))
        : ClaimState.Empty;

    public IEnumerable<string> EventsOf(string claim) =>
        histories.TryGetValue($"claim-{claim}", out var history) ? history.Select(static kept => kept.Payload.GetType().Name) : [];

    public void Write(WriteMessages write)
    {
        var writer = run.NodeOf(write.PersistentActor);
        if (writer is { IsAlive: true })
            OnWriting?.Invoke();
        if (writer is not { IsAlive: true })
            return;
        switch (Trouble)
        {
            case JournalTrouble.Full:
                run.After(Latency(), () => Fail(write, new IOException("the disk is full")));
                break;
            case JournalTrouble.Rejects:
                run.After(Latency(), () => Reject(write));
                break;
            case JournalTrouble.Unreachable:
                run.After(GivesUp, () => Fail(write, new IOException("the server does not answer")));
                break;
            case var trouble:
                var slow = trouble == JournalTrouble.Slow ? run.Between(0.5, 6) : TimeSpan.Zero;
                run.After(Latency() + slow, () => Keep(write, heard: trouble != JournalTrouble.AnswersLost || run.Chance(0.5)));
                break;
        }
    }

    public void Replay(ReplayMessages replay)
    {
        if (Trouble == JournalTrouble.Unreachable)
        {
            run.After(GivesUp, () => replay.PersistentActor.Tell(new ReplayMessagesFailure(new IOException("the server does not answer"))));
            return;
        }

        run.After(Latency(), () =>
        {
            var kept = histories.GetValueOrDefault(replay.PersistenceId, []).ToArray();
            run.After(Latency(), () =>
            {
                foreach (var one in kept.Where(one => one.SequenceNr >= replay.FromSequenceNr && one.SequenceNr <= replay.ToSequenceNr))
                    replay.PersistentActor.Tell(new ReplayedMessage(one));
                replay.PersistentActor.Tell(new RecoverySuccess(kept.Length));
            });
        });
    }

    public void Save(SaveSnapshot save, IActorRef sender) => run.After(Latency(), () =>
    {
        if (Trouble is JournalTrouble.None)
            snapshots[save.Metadata.PersistenceId] = new SelectedSnapshot(save.Metadata, save.Snapshot);
        sender.Tell(Trouble is JournalTrouble.None ? new SaveSnapshotSuccess(save.Metadata) : new SaveSnapshotFailure(save.Metadata, new IOException("the disk is full")));
    });

    public void Load(LoadSnapshot load, IActorRef sender) => run.After(Latency(), () => sender.Tell(
        new LoadSnapshotResult(snapshots.GetValueOrDefault(load.PersistenceId)!, load.ToSequenceNr)));

    private void Keep(WriteMessages write, bool heard)
    {
        var events = Events(write);
        var history = histories.TryGetValue(events[0].PersistenceId, out var known) ? known : histories[events[0].PersistenceId] = [];
        if (events[0].SequenceNr != history.Count + 1)
        {
            Conflicts++;
            run.Trace("journal", () => $"conflict at {events[0].SequenceNr} for {events[0].Payload.GetType().Name}");
            run.After(Latency(), () => Fail(write, new IOException("duplicate key value violates unique constraint")));
            return;
        }

        var forgets = run.Options.Fault == SeededFault.JournalForgetsCommits && events[0].Payload is MigrationCommitted;
        foreach (var kept in forgets ? [] : events)
        {
            history.Add(kept);
            run.Trace("journal", () => $"{kept.SequenceNr} {kept.Payload.GetType().Name}");
            OnKept?.Invoke(kept.PersistenceId["claim-".Length..], (IJournaled)kept.Payload);
        }

        run.After(Latency(), () =>
        {
            if (!heard)
            {
                Fail(write, new IOException("the connection broke"));
                return;
            }

            write.PersistentActor.Tell(WriteMessagesSuccessful.Instance);
            foreach (var kept in events)
                write.PersistentActor.Tell(new WriteMessageSuccess(kept, write.ActorInstanceId));
        });
    }

    private static void Fail(WriteMessages write, Exception cause)
    {
        var events = Events(write);
        write.PersistentActor.Tell(new WriteMessagesFailed(cause, events.Length));
        foreach (var failed in events)
            write.PersistentActor.Tell(new WriteMessageFailure(failed, cause, write.ActorInstanceId));
    }

    private static void Reject(WriteMessages write)
    {
        write.PersistentActor.Tell(WriteMessagesSuccessful.Instance);
        foreach (var rejected in Events(write))
            write.PersistentActor.Tell(new WriteMessageRejected(rejected, new IOException("the event is too large"), write.ActorInstanceId));
    }

    private static IPersistentRepresentation[] Events(WriteMessages write) =>
        [.. write.Messages.OfType<AtomicWrite>().SelectMany(static atomic => (IImmutableList<IPersistentRepresentation>)atomic.Payload)];

    private TimeSpan Latency() => run.Between(0.0005, 0.01);
}
