using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Claims;

/// <summary>
/// One claim, what its hosts and its journal do for it, and all that happened, in order: <c>journal MigrationStarted</c>,
/// <c>beta PrepareTarget</c>, <c>life 2</c>. Its hosts carry commands out as real ones do, each however often it comes.
/// </summary>
internal sealed class ClaimUnderTest(string id)
{
    public const string Kill = "kill";
    public const string Device = "fab0:01:00.1";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Lock gate = new();
    private readonly List<string> log = [];
    private readonly List<(string Entry, int Count, TaskCompletionSource Reached)> waiting = [];
    private readonly Dictionary<string, JournalFault> faults = [];
    private readonly HashSet<string> running = [];
    private readonly HashSet<string> receiving = [];

    public string Id { get; } = id;

    public IActorRef Keeper { get; set; } = ActorRefs.Nobody;

    /// <summary>What a host does in place of carrying a command out; null where it carries it out.</summary>
    public Func<string, IHostCommand, IHostReport[]?> Instead { get; set; } = (_, _) => null;

    /// <summary>The most hosts on which the claim ever ran at the same time.</summary>
    public int MostRunning { get; private set; }

    public string[] Log
    {
        get
        {
            lock (gate)
                return [.. log];
        }
    }

    public string[] Running
    {
        get
        {
            lock (gate)
                return [.. running];
        }
    }

    public string[] Journal => [.. Log.Where(entry => entry.StartsWith("journal ", StringComparison.Ordinal)).Select(entry => entry["journal ".Length..])];

    public void Add(string entry)
    {
        lock (gate)
        {
            log.Add(entry);
            waiting.RemoveAll(wait => log.Count(known => known == wait.Entry) >= wait.Count && wait.Reached.TrySetResult());
        }
    }

    /// <summary>Completes when something has happened so many times.</summary>
    public async Task Until(string entry, int count = 1)
    {
        var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            if (log.Count(known => known == entry) >= count)
                return;
            waiting.Add((entry, count, reached));
        }

        try
        {
            await reached.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"'{entry}' did not happen {count} times. What did:\n{string.Join('\n', Log)}");
        }
    }

    /// <summary>The next write of this event meets this fault.</summary>
    public void Fail(string journaled, JournalFault fault)
    {
        lock (gate)
            faults[journaled] = fault;
    }

    public JournalFault TakeFault(string journaled)
    {
        lock (gate)
            return faults.Remove(journaled, out var fault) ? fault : JournalFault.None;
    }

    public async Task<T> Ask<T>(IClaimMessage message) => Assert.IsType<T>(await Keeper.Ask<object>(message, Patience, TestContext.Current.CancellationToken));

    public void Tell(object message) => Keeper.Tell(message);

    public async Task<ClaimView> View() => (await Ask<ClaimDescribed>(new DescribeClaim(Id))).Claim;

    public CreateClaim CreateOnAlpha => new(Id, "accelerator", "alpha", null, 1 << 20, 1000, "ops", DateTimeOffset.MaxValue);

    public StartMigration ToBeta => new(Id, "beta", DowntimeLimitMs: 10_000, TimeoutMs: 60_000, BandwidthLimit: 0, "ops");

    public CancelMigration CancelFirst => new(Id, 1, "ops");

    /// <summary>A claim that runs on alpha.</summary>
    public async Task<ClaimUnderTest> Run()
    {
        await Ask<ClaimAccepted>(CreateOnAlpha);
        await Until("journal ClaimStarted");
        return this;
    }

    /// <summary>A claim whose migration to beta has begun.</summary>
    public async Task Migrate(StartMigration? start = null)
    {
        await Run();
        await Ask<ClaimAccepted>(start ?? ToBeta);
    }

    public IHostReport[] Receive(string host, IHostCommand command)
    {
        lock (gate)
        {
            Add($"{host} {command.GetType().Name}");
            return Instead(host, command) ?? CarryOut(host, command);
        }
    }

    public CommandFailed Failure(string host, IHostCommand command, bool gone = false) =>
        new(Id, host, command.Generation, command.GetType().Name, "it broke", gone);

    /// <summary>What a host does with a command if nothing is wrong.</summary>
    public IHostReport[] CarryOut(string host, IHostCommand command)
    {
        var generation = command.Generation;
        switch (command)
        {
            case PlanTarget:
                return [new TargetPlanned(Id, host, generation, Device, [])];
            case Attach:
                Start(host);
                return [new Attached(Id, host, generation, Device), Status(host, generation)];
            case ReportAttachment:
                return [Status(host, generation)];
            case PrepareTarget prepare:
                receiving.Add(host);
                return [new TargetPrepared(Id, host, generation, prepare.Migration, "127.0.0.1:4711", [1, 2, 3])];
            case StartPreCopy start:
                return [new PreCopyProgress(Id, host, generation, start.Migration, Rounds: 2, Bytes: 4000, RemainingBytes: 1000, BytesPerSecond: 1_000_000, RoundEnded: true)];
            case StopAndCopy stop when receiving.Contains(host):
                return [new TargetLoaded(Id, host, generation, stop.Migration, 5000, "ab", LoadMs: 1)];
            case StopAndCopy stop:
                running.Remove(host);
                return [new SourceStopped(Id, host, generation, stop.Migration, 5000, "ab", Rounds: 3, DrainMs: 1, QuiesceMs: 1, CopyMs: 2)];
            case RunTarget run:
                Start(host);
                receiving.Remove(host);
                return [new TargetRunning(Id, host, generation, run.Migration, StartMs: 1)];
            case ResumeSource resume:
                Start(host);
                return [new SourceRunning(Id, host, generation, resume.Migration)];
            case Detach:
                running.Remove(host);
                receiving.Remove(host);
                return [new Detached(Id, host, generation)];
            default:
                return [Failure(host, command)];
        }
    }

    private void Start(string host)
    {
        running.Add(host);
        MostRunning = Math.Max(MostRunning, running.Count);
    }

    private AttachmentStatus Status(string host, long generation) =>
        new(Id, host, generation, Device, "accelerator-vf", "1b36:fab1", 4096, AttachmentPhase.Running, WorkloadCounters.None);
}
