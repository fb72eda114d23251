using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;

namespace Fabric.Devices.History;

/// <summary>How a host keeps its devices' histories.</summary>
public sealed record HistoryOptions
{
    public static HistoryOptions Default { get; } = new();

    /// <summary>Who waits for something to be written is answered by then, whatever the journal does. Checked ten times in that time.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Who waits for standings at the start is answered by then: a device in quarantine is worth waiting for.</summary>
    public TimeSpan ReadDeadline { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A journal that failed is opened again after this; each time it fails again after twice as long.</summary>
    public TimeSpan RetryAfter { get; init; } = TimeSpan.FromMilliseconds(500);

    public TimeSpan RetryAtMost { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// A snapshot is taken after so many events, or after a quarter of the entries that are held, up to <see cref="SnapshotAtLatest"/>: it holds all
    /// of them, so it costs the more the larger it is.
    /// </summary>
    public int SnapshotEvery { get; init; } = 1000;

    public int SnapshotAtLatest { get; init; } = 20_000;

    /// <summary>Entries that wait to be written; when more come, all go with the next snapshot instead.</summary>
    public int UnwrittenAtMost { get; init; } = 20_000;

    /// <summary>Told, by an actor's thread, why nothing is written down, and null when it is again.</summary>
    public Action<string?>? OnTrouble { get; init; }
}

/// <summary>
/// The history of a host's devices, in memory and in the journal that the host's actor system is configured with. Memory answers questions;
/// the journal is behind it: events are written in order, in batches, and a standing is acknowledged when it is written. Of each device at most
/// the last <see cref="HistoryLog.DeviceLimit"/> entries are kept; older ones are dropped, and with the next snapshot leave the journal too.
/// A journal that fails, rejects, hangs or is full stops nothing: it is opened again after a while, then what waited is written; until then
/// standings are answered with <see cref="StandingNotKept"/>. What was noted in the last moments before the process ends may not be written; what
/// came before an acknowledged standing is, unless more waited than <see cref="HistoryOptions.UnwrittenAtMost"/>, which goes with a snapshot.
/// </summary>
public sealed class JournaledHistory : UntypedActor, IWithTimers
{
    private const int BatchSize = 500;
    private const int TicksToDeadline = 10;

    private readonly ILoggingAdapter logger = Context.GetLogger();
    private readonly HistoryOptions options;
    private readonly HistoryLog log = new();
    private readonly List<IActorRef> readers = [];
    private Queue<Unwritten> outbox = new();
    private ImmutableArray<Unwritten> inFlight = [];
    private IActorRef journal = ActorRefs.Nobody;
    private bool open;
    private bool read;
    private bool overdue;
    private string? trouble;
    private string? lastFailure;
    private int failures;
    private long ticks;
    private long sentAt;
    private int compactAt;
    private int sinceSnapshot;
    private bool gap;
    private bool snapshotUnderWay;
    private bool snapshotPaused;

    public JournaledHistory(HistoryOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        this.options = options;
        compactAt = options.UnwrittenAtMost;
    }

    private sealed record Tick
    {
        public static Tick Instance { get; } = new();
    }

    private sealed record OpenDue
    {
        public static OpenDue Instance { get; } = new();
    }

    private sealed record SnapshotDue
    {
        public static SnapshotDue Instance { get; } = new();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(HistoryOptions? options = null) =>
        Akka.Actor.Props.Create(() => new JournaledHistory(options ?? HistoryOptions.Default));

    protected override void PreStart()
    {
        Open();
        Timers.StartPeriodicTimer(Tick.Instance, Tick.Instance, options.Deadline / TicksToDeadline);
    }

    /// <summary>A life of the journal ends with its first failure.</summary>
    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(cause =>
    {
        lastFailure = cause.Message;
        return Directive.Stop;
    });

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case NoteHistory note:
                Enqueue(new UnwrittenEntry(note.Address, log.Note(note.Address, note.Entry), note.Entry));
                break;
            case KeepStanding keep:
                Keep(keep);
                break;
            case ReadStandings:
                Answer(Sender);
                break;
            case GetDeviceHistory get:
                Sender.Tell(log.Answer(get));
                break;
            case JournalOpened opened when Sender.Equals(journal):
                OnOpened(opened);
                break;
            case BatchWritten when Sender.Equals(journal):
                OnWritten();
                break;
            case BatchRejected rejected when Sender.Equals(journal):
                OnRejected(rejected.Why);
                break;
            case SnapshotTaken taken when Sender.Equals(journal):
                OnSnapshot(taken.Failed);
                break;
            case JournalFailed failed when Sender.Equals(journal):
                lastFailure = failed.Why;
                break;
            case Terminated gone when gone.ActorRef.Equals(journal):
                OnClosed();
                break;
            case OpenDue:
                Open();
                break;
            case SnapshotDue:
                snapshotPaused = false;
                SnapshotWhenDue();
                break;
            case Tick:
                OnTick();
                break;
            // Of an earlier life of the journal.
            case JournalOpened or BatchWritten or BatchRejected or SnapshotTaken or JournalFailed or Terminated:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- What is asked ---------------------------------------------------------------------------------------------------------------

    private void Keep(KeepStanding keep)
    {
        var number = log.Keep(keep.Address, keep.Standing);
        var unwritten = new UnwrittenStanding(keep.Address, number, keep.Standing, keep.Standing, ticks) { Requester = Sender };
        if (!open && trouble is { } why)
            Refuse(unwritten, why);
        Enqueue(unwritten);
    }

    /// <summary>Who asks before the journal has been read waits for that, within bounds; and is told once more when it is read after all.</summary>
    private void Answer(IActorRef reader)
    {
        if (read || overdue)
            reader.Tell(new StandingsRead(log.Standings));
        if (!read)
            readers.Add(reader);
    }

    private static void Refuse(UnwrittenStanding unwritten, string why)
    {
        unwritten.Requester?.Tell(new StandingNotKept(unwritten.Address, why));
        unwritten.Requester = null;
    }

    /// <summary>Everybody who waits since then, or longer.</summary>
    private void RefuseSince(long tick, string why)
    {
        foreach (var unwritten in inFlight.Concat(outbox).OfType<UnwrittenStanding>().Where(waiting => waiting.Since <= tick))
            Refuse(unwritten, why);
    }

    // ---- Writing ---------------------------------------------------------------------------------------------------------------------

    private void Enqueue(Unwritten unwritten)
    {
        outbox.Enqueue(unwritten);
        if (outbox.Count > compactAt)
            Compact();
        WriteNext();
    }

    /// <summary>
    /// Too much waits. Memory has it all, and so will the next snapshot; of standings stay the last of each device, and those that somebody waits for.
    /// </summary>
    private void Compact()
    {
        var last = outbox.OfType<UnwrittenStanding>().GroupBy(keep => keep.Address).ToDictionary(group => group.Key, group => group.Last().Number);
        var kept = new Queue<Unwritten>(outbox.Where(waiting =>
            waiting is UnwrittenStanding standing && (standing.Requester is not null || standing.Number == last[standing.Address])));
        logger.Warning("{0} entries of histories wait to be written; they go with the next snapshot", outbox.Count - kept.Count);
        outbox = kept;
        compactAt = kept.Count + options.UnwrittenAtMost;
        gap = true;
    }

    private void WriteNext()
    {
        if (!open || !inFlight.IsEmpty || outbox.Count == 0)
            return;
        var batch = ImmutableArray.CreateBuilder<Unwritten>(Math.Min(outbox.Count, BatchSize));
        while (batch.Count < BatchSize && outbox.TryDequeue(out var next))
            batch.Add(next);
        inFlight = batch.ToImmutable();
        sentAt = ticks;
        journal.Tell(new WriteBatch(inFlight));
    }

    private void OnWritten()
    {
        foreach (var kept in inFlight.OfType<UnwrittenStanding>())
            kept.Requester?.Tell(new StandingKept(kept.Address, kept.Asked));
        sinceSnapshot += inFlight.Length;
        inFlight = [];
        failures = 0;
        compactAt = Math.Max(options.UnwrittenAtMost, outbox.Count);
        Report(null);
        SnapshotWhenDue();
        WriteNext();
    }

    /// <summary>Not tried again as they are: they are in memory, and go with the next snapshot.</summary>
    private void OnRejected(string why)
    {
        Report($"the journal rejects them ({why})");
        foreach (var rejected in inFlight.OfType<UnwrittenStanding>())
            Refuse(rejected, why);
        inFlight = [];
        gap = true;
        SnapshotWhenDue();
        WriteNext();
    }

    // ---- Snapshots -------------------------------------------------------------------------------------------------------------------

    private void SnapshotWhenDue()
    {
        if (!open || snapshotUnderWay || snapshotPaused)
            return;
        var after = Math.Clamp(log.Count / 4, options.SnapshotEvery, Math.Max(options.SnapshotEvery, options.SnapshotAtLatest));
        if (!gap && sinceSnapshot < after)
            return;
        (snapshotUnderWay, gap, sinceSnapshot) = (true, false, 0);
        journal.Tell(new TakeSnapshot(log.Copy()));
    }

    private void OnSnapshot(string? failed)
    {
        snapshotUnderWay = false;
        if (failed is null)
            return;
        logger.Warning("Histories of devices could not be saved as a snapshot, which is tried again: {0}", failed);
        (gap, snapshotPaused) = (true, true);
        Timers.StartSingleTimer(SnapshotDue.Instance, SnapshotDue.Instance, options.RetryAtMost);
    }

    // ---- The journal comes and goes --------------------------------------------------------------------------------------------------

    private void Open() => journal = Context.Watch(Context.ActorOf(HistoryJournal.Props(read: !read)));

    private void OnOpened(JournalOpened opened)
    {
        open = true;
        if (opened.Read is { } held)
        {
            PutBefore(held);
            sinceSnapshot = opened.Replayed;
            read = true;
            foreach (var reader in readers)
                reader.Tell(new StandingsRead(log.Standings));
            readers.Clear();
        }

        if (outbox.Count == 0)
        {
            Report(null);
            SnapshotWhenDue();
        }

        WriteNext();
    }

    /// <summary>
    /// What the journal held is older than all that was noted in this life. A quarantine that nobody knew of meanwhile stands, and so does a
    /// driver_override: who cleared it would have had to know of it.
    /// </summary>
    private void PutBefore(HistoryLog held)
    {
        outbox = new Queue<Unwritten>(outbox.Select(waiting => held.Find(waiting.Address) is not { } before ? waiting : waiting switch
        {
            UnwrittenEntry note => note with { Number = before.LastEntry + note.Number },
            UnwrittenStanding keep => keep with
            {
                Number = before.LastStanding + keep.Number,
                Standing = StillStanding(keep.Standing, before.Standing),
            },
            _ => waiting,
        }));
        foreach (var before in held.Copy())
        {
            var now = log.Find(before.Address);
            log.Put(now is null ? before : new DeviceLog(
                before.Address,
                [.. before.Entries, .. now.Entries],
                before.LastEntry + now.LastEntry,
                now.Standing is { } standing ? StillStanding(standing, before.Standing) : before.Standing,
                before.LastStanding + now.LastStanding));
        }
    }

    private static DeviceStanding StillStanding(DeviceStanding now, DeviceStanding? before)
    {
        var named = now with { DriverOverride = now.DriverOverride ?? before?.DriverOverride };
        return named.QuarantinedFor is null && before is { QuarantinedFor: not null }
            ? named with { QuarantinedFor = before.QuarantinedFor, QuarantinedBy = before.QuarantinedBy }
            : named;
    }

    /// <summary>Whether it wrote what was in flight nobody knows: it is written again, and its number tells whether it was there already.</summary>
    private void OnClosed()
    {
        var why = lastFailure ?? "its actor ended";
        gap |= snapshotUnderWay;
        (journal, open, snapshotUnderWay, lastFailure) = (ActorRefs.Nobody, false, false, null);
        outbox = new Queue<Unwritten>(inFlight.Concat(outbox));
        inFlight = [];
        var after = TimeSpan.FromTicks(Math.Min(options.RetryAtMost.Ticks, options.RetryAfter.Ticks << Math.Min(failures++, 20)));
        Timers.StartSingleTimer(OpenDue.Instance, OpenDue.Instance, after);
        // Before who waits is told: health says the same by then.
        Report(why);
        RefuseSince(ticks, why);
    }

    private void OnTick()
    {
        ticks++;
        if (!read && !overdue && ticks * options.Deadline / TicksToDeadline >= options.ReadDeadline)
        {
            overdue = true;
            Report($"it could not be read within {options.ReadDeadline.TotalSeconds:0.#} s{(trouble is null ? "" : $" ({trouble})")}");
            logger.Error("Devices are taken into service without their histories: whatever was in quarantine is not, until the journal can be read");
            foreach (var reader in readers)
                reader.Tell(new StandingsRead(log.Standings));
        }

        RefuseSince(ticks - TicksToDeadline, $"it was not written within {options.Deadline.TotalSeconds:0.#} s");
        if (inFlight.IsEmpty || ticks - sentAt < TicksToDeadline)
            return;
        lastFailure = $"the journal did not answer within {options.Deadline.TotalSeconds:0.#} s";
        sentAt = ticks;
        Context.Stop(journal);
    }

    private void Report(string? why)
    {
        if (why == trouble)
            return;
        if (why is not null)
            logger.Error("Histories of devices are not written down: {0}. Devices go on; what happens is kept in memory until it can be written", why);
        else
            logger.Info("Histories of devices are written down again");
        trouble = why;
        options.OnTrouble?.Invoke(why);
    }
}
