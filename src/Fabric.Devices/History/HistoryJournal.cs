using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Akka.Persistence;
using Fabric.Devices.History.Journal;

namespace Fabric.Devices.History;

/// <summary>Writes these down, all or none. Answered with <see cref="BatchWritten"/> or <see cref="BatchRejected"/>.</summary>
internal sealed record WriteBatch(ImmutableArray<Unwritten> Events) : INoSerializationVerificationNeeded;

internal sealed record BatchWritten : INoSerializationVerificationNeeded
{
    public static BatchWritten Instance { get; } = new();
}

/// <summary>The journal lives, but does not want these.</summary>
internal sealed record BatchRejected(string Why) : INoSerializationVerificationNeeded;

/// <summary>Saves everything as a snapshot, and takes what it replaces from the journal. Answered with <see cref="SnapshotTaken"/>.</summary>
internal sealed record TakeSnapshot(ImmutableArray<DeviceLog> Devices) : INoSerializationVerificationNeeded;

/// <param name="Failed">Null when it is saved.</param>
internal sealed record SnapshotTaken(string? Failed) : INoSerializationVerificationNeeded;

/// <summary>The journal can be written now.</summary>
/// <param name="Read">What it held; null where that was not asked for.</param>
/// <param name="Replayed">Events since the last snapshot.</param>
internal sealed record JournalOpened(HistoryLog? Read, int Replayed) : INoSerializationVerificationNeeded;

/// <summary>The journal failed; its actor ends.</summary>
internal sealed record JournalFailed(string Why) : INoSerializationVerificationNeeded;

/// <summary>
/// One life of the journal of a host's devices, from opening it to its first failure: persists what its parent hands it. What is to be written,
/// and what becomes of it when this fails, is the parent's (<see cref="JournaledHistory"/>).
/// </summary>
/// <param name="read">Whether what it holds is read; the parent knows it else.</param>
internal sealed class HistoryJournal(bool read) : UntypedPersistentActor
{
    private readonly ILoggingAdapter log = Context.GetLogger();
    private HistoryLog? held = read ? new HistoryLog() : null;
    private int replayed;
    private int open;
    private string? rejected;

    /// <summary>One for the host: its journal is a file of its own.</summary>
    public override string PersistenceId => "devices";

    public override Akka.Persistence.Recovery Recovery => read ? Akka.Persistence.Recovery.Default : Akka.Persistence.Recovery.None;

    public static Props Props(bool read) => Akka.Actor.Props.Create(() => new HistoryJournal(read));

    protected override void OnRecover(object message)
    {
        switch (message)
        {
            case SnapshotOffer { Snapshot: IJournaled snapshot }:
                held?.Apply(snapshot);
                break;
            case IJournaled happened:
                held?.Apply(happened);
                replayed++;
                break;
            case RecoveryCompleted:
                Context.Parent.Tell(new JournalOpened(held, replayed));
                held = null;
                break;
        }
    }

    protected override void OnCommand(object message)
    {
        switch (message)
        {
            case WriteBatch batch:
                (open, rejected) = (batch.Events.Length, null);
                PersistAll(batch.Events.Select(JournalLayout.ToJournal).ToArray(), _ => Done(null));
                break;
            // A snapshot is of the events so far.
            case TakeSnapshot when LastSequenceNr == 0:
                Context.Parent.Tell(new SnapshotTaken("nothing has been written yet"));
                break;
            case TakeSnapshot take:
                SaveSnapshot(JournalLayout.ToJournal(take.Devices));
                break;
            case SaveSnapshotSuccess saved:
                DeleteMessages(saved.Metadata.SequenceNr);
                DeleteSnapshots(new SnapshotSelectionCriteria(saved.Metadata.SequenceNr - 1));
                Context.Parent.Tell(new SnapshotTaken(null));
                break;
            case SaveSnapshotFailure failed:
                Context.Parent.Tell(new SnapshotTaken(failed.Cause.GetBaseException().Message));
                break;
            case DeleteMessagesFailure failed:
                log.Warning("Events that a snapshot replaces stay in the journal until the next: {0}", failed.Cause.GetBaseException().Message);
                break;
            case DeleteSnapshotsFailure failed:
                log.Warning("Snapshots that a later one replaces stay until the next: {0}", failed.Cause.GetBaseException().Message);
                break;
            case DeleteMessagesSuccess or DeleteSnapshotsSuccess:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>The actor stops after this.</summary>
    protected override void OnPersistFailure(Exception cause, object @event, long sequenceNr)
    {
        Context.Parent.Tell(new JournalFailed(cause.GetBaseException().Message));
        base.OnPersistFailure(cause, @event, sequenceNr);
    }

    /// <summary>The actor lives on; each event of the batch comes here.</summary>
    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        log.Warning(cause, "The journal rejects an event of {0}", @event.GetType().Name);
        Done(cause.GetBaseException().Message);
    }

    /// <summary>The actor stops after this.</summary>
    protected override void OnRecoveryFailure(Exception reason, object? message = null)
    {
        Context.Parent.Tell(new JournalFailed($"it cannot be read: {reason.GetBaseException().Message}"));
        base.OnRecoveryFailure(reason, message);
    }

    private void Done(string? why)
    {
        rejected = why ?? rejected;
        if (--open > 0)
            return;
        Context.Parent.Tell(rejected is { } refused ? new BatchRejected(refused) : BatchWritten.Instance);
    }
}
