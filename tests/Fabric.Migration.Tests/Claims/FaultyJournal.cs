using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.Persistence;
using Akka.Persistence.Journal;

namespace Fabric.Migration.Tests.Claims;

internal enum JournalFault
{
    None,

    /// <summary>The write fails; nothing is kept.</summary>
    Fail,

    /// <summary>It is kept, and then the writer is told that the write failed: as if it were killed right after the write.</summary>
    KeepAndFail,

    /// <summary>The write is rejected; nothing is kept.</summary>
    Reject,
}

/// <summary>
/// A journal in memory that fails when a claim under test says so. Each write lets both hosts take first what was sent to them before it: a
/// command that was sent too early is then always seen before the write.
/// </summary>
internal sealed class FaultyJournal : MemoryJournal
{
    private readonly Lock gate = new();
    private readonly ActorSystem system = Context.System;
    private readonly ClaimStage stage = Context.System.Settings.Setup.Get<ClaimStage>().Value;

    private readonly ConcurrentDictionary<string, Task> writing = [];

    /// <summary>What a writer that has ended meanwhile still writes comes before what is read, as with journals that are shared.</summary>
    public override async Task<long> ReadHighestSequenceNrAsync(string persistenceId, long fromSequenceNr, CancellationToken cancellationToken)
    {
        if (writing.TryGetValue(persistenceId, out var last))
            await last.ContinueWith(static _ => { }, cancellationToken, TaskContinuationOptions.None, TaskScheduler.Default);
        return await base.ReadHighestSequenceNrAsync(persistenceId, fromSequenceNr, cancellationToken);
    }

    protected override Task<IImmutableList<Exception>> WriteMessagesAsync(IEnumerable<AtomicWrite> messages, CancellationToken cancellationToken)
    {
        var writes = messages.ToArray();
        var written = WriteAsync(writes, cancellationToken);
        writing[writes[0].PersistenceId] = written;
        return written;
    }

    private async Task<IImmutableList<Exception>> WriteAsync(AtomicWrite[] writes, CancellationToken cancellationToken)
    {
        var events = writes.SelectMany(write => (IImmutableList<IPersistentRepresentation>)write.Payload).ToArray();
        if (!stage.Claims.TryGetValue(events[0].PersistenceId["claim-".Length..], out var claim))
            return await Keep(writes, cancellationToken);

        await Task.WhenAll(stage.Gateways.Select(gateway =>
            system.ActorSelection(gateway).Ask<string>(ClaimStage.Flush, TimeSpan.FromSeconds(30), cancellationToken)));
        var names = events.Select(e => e.Payload.GetType().Name).ToArray();
        var fault = claim.TakeFault(names[0]);
        if (fault == JournalFault.Fail)
            throw new IOException("the disk is full");
        if (fault == JournalFault.Reject)
            return writes.Select(_ => (Exception)new IOException("the event is too large")).ToImmutableList();

        var kept = await Keep(writes, cancellationToken);
        foreach (var name in names)
            claim.Add($"journal {name}");
        return fault == JournalFault.KeepAndFail ? throw new IOException("the connection broke") : kept;
    }

    /// <summary>After a wait this is no longer the journal's own thread, and its lists are of one.</summary>
    private Task<IImmutableList<Exception>> Keep(AtomicWrite[] writes, CancellationToken cancellation)
    {
        lock (gate)
            return base.WriteMessagesAsync(writes, cancellation);
    }
}
