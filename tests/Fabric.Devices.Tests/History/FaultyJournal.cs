using System.Collections.Immutable;
using Akka.Actor;
using Akka.Configuration;
using Akka.Persistence;
using Akka.Persistence.Journal;

namespace Fabric.Devices.Tests.History;

internal enum JournalFault
{
    None,

    /// <summary>It fails; nothing is kept.</summary>
    Fail,

    /// <summary>It is kept, and then the writer is told that the write failed: as if the connection broke right after it.</summary>
    KeepAndFail,

    /// <summary>The write is rejected; nothing is kept.</summary>
    Reject,

    /// <summary>There is no answer until <see cref="JournalFaults.EndHangs"/>.</summary>
    Hang,
}

/// <summary>What the journal of an actor system does when it is written or read, and what it has been given.</summary>
internal sealed class JournalFaults : IExtension
{
    private readonly Lock gate = new();
    private readonly List<object> written = [];
    private readonly HashSet<long> numbers = [];
    private TaskCompletionSource hang = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long deletedTo;

    public JournalFault OnWrite { get; set; }

    public JournalFault OnRead { get; set; }

    public Task Hanging => hang.Task;

    public Lock Gate => gate;

    /// <summary>The highest sequence number that was deleted.</summary>
    public long DeletedTo
    {
        get => Volatile.Read(ref deletedTo);
        set => Volatile.Write(ref deletedTo, value);
    }

    /// <summary>All that was ever kept, in order.</summary>
    public object[] Written
    {
        get
        {
            lock (gate)
                return [.. written];
        }
    }

    public static Config Config { get; } = ConfigurationFactory.ParseString(
        """
        akka.persistence.journal {
          plugin = "akka.persistence.journal.faulty"
          faulty {
            class = "Fabric.Devices.Tests.History.FaultyJournal, Fabric.Devices.Tests"
            plugin-dispatcher = "akka.actor.default-dispatcher"
            circuit-breaker.max-failures = 1000
          }
        }
        akka.persistence.snapshot-store.plugin = "akka.persistence.snapshot-store.inmem"
        """);

    public static JournalFaults Of(ActorSystem system) => system.WithExtension<JournalFaults, Provider>();

    /// <summary>A sequence number is used once, as the unique key of a database has it: one of two writers fails.</summary>
    public void Keep(IReadOnlyList<IPersistentRepresentation> events)
    {
        if (events.Any(happened => !numbers.Add(happened.SequenceNr)))
            throw new IOException("UNIQUE constraint failed");
        written.AddRange(events.Select(happened => happened.Payload));
    }

    public void EndHangs()
    {
        (OnWrite, OnRead) = (JournalFault.None, JournalFault.None);
        hang.SetResult();
        hang = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class Provider : ExtensionIdProvider<JournalFaults>
    {
        public override JournalFaults CreateExtension(ExtendedActorSystem system) => new();
    }
}

/// <summary>A journal in memory that does what <see cref="JournalFaults"/> says.</summary>
internal sealed class FaultyJournal : MemoryJournal
{
    private readonly JournalFaults faults = JournalFaults.Of(Context.System);

    protected override async Task<IImmutableList<Exception>> WriteMessagesAsync(IEnumerable<AtomicWrite> messages, CancellationToken cancellationToken)
    {
        var writes = messages.ToArray();
        var fault = faults.OnWrite;
        switch (fault)
        {
            case JournalFault.Fail:
                throw new IOException("the disk is full");
            case JournalFault.Reject:
                return writes.Select(_ => (Exception)new IOException("the event is too large")).ToImmutableList();
            case JournalFault.Hang:
                await faults.Hanging;
                break;
        }

        IImmutableList<Exception> kept;
        lock (faults.Gate)
        {
            faults.Keep([.. writes.SelectMany(write => (IImmutableList<IPersistentRepresentation>)write.Payload)]);
            kept = base.WriteMessagesAsync(writes, cancellationToken).Result;
        }

        return fault == JournalFault.KeepAndFail ? throw new IOException("the connection broke") : kept;
    }

    public override async Task<long> ReadHighestSequenceNrAsync(string persistenceId, long fromSequenceNr, CancellationToken cancellationToken)
    {
        switch (faults.OnRead)
        {
            case JournalFault.Fail:
                throw new IOException("the disk is gone");
            case JournalFault.Hang:
                await faults.Hanging;
                break;
        }

        return await base.ReadHighestSequenceNrAsync(persistenceId, fromSequenceNr, cancellationToken);
    }

    protected override Task DeleteMessagesToAsync(string persistenceId, long toSequenceNr, CancellationToken cancellationToken)
    {
        faults.DeletedTo = toSequenceNr;
        return base.DeleteMessagesToAsync(persistenceId, toSequenceNr, cancellationToken);
    }
}
