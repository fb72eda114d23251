using System.Collections.Concurrent;
using System.Diagnostics;
using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Tests.Claims;

/// <summary>
/// One claim, what its hosts and its journal do for it, and all that happened, in order: <c>journal MigrationStarted</c>,
/// <c>beta PrepareTarget</c>, <c>life 2</c>. Its hosts carry commands out as real ones do, each however often it comes.
/// </summary>
internal sealed class ClaimUnderTest(string id)
{
    public const string Kill = "kill";
    public const string Device = "fab0:01:00.1";
    public const string Second = "fab0:01:00.2";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Lock gate = new();
    private readonly List<string> log = [];
    private readonly List<(string Entry, int Count, TaskCompletionSource Reached)> waiting = [];
    private readonly Dictionary<string, JournalFault> faults = [];
    private readonly HashSet<string> running = [];
    private readonly HashSet<string> receiving = [];
    private readonly Dictionary<string, string[]> opened = [];

    public string Id { get; } = id;

    public IActorRef Keeper { get; set; } = ActorRefs.Nobody;

    /// <summary>Hosts that the claim sees otherwise than they are.</summary>
    public ConcurrentDictionary<string, HostPresence> Presences { get; } = [];

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

    /// <summary>What control nodes were told of it: kind and sentence.</summary>
    public ConcurrentQueue<(string Kind, string Sentence)> Events { get; } = [];

    /// <summary>The first event of a kind, when control nodes have been told of it: that is after the claim has answered.</summary>
    public async Task<(string Kind, string Sentence)> Told(string kind)
    {
        var deadline = Stopwatch.StartNew();
        while (!Events.Any(one => one.Kind == kind))
        {
            Assert.True(deadline.Elapsed < Patience, $"{kind} was not told; told was {string.Join(", ", Events.Select(static one => one.Kind))}");
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        return Events.First(one => one.Kind == kind);
    }

    public CreateClaim CreateOnAlpha => new(Id, [new DeviceAsk("accelerator")], "alpha", 1 << 20, 1000, "ops", DateTimeOffset.MaxValue);

    public StartMigration ToBeta => new(Id, "beta", DowntimeLimitMs: 10_000, TimeoutMs: 60_000, BandwidthLimit: 0, "ops");

    /// <summary>What the host of a device says of it.</summary>
    public DeviceSick Sick(string host, bool readable, long generation = 1, string device = Device) =>
        new(Id, host, generation, device, "it smells", readable);

    public CancelMigration CancelFirst => new(Id, 1, "ops");

    /// <summary>A claim that runs on alpha.</summary>
    public async Task<ClaimUnderTest> Run(DeviceFailurePolicy policy = DeviceFailurePolicy.Evacuate, int devices = 1)
    {
        await Ask<ClaimAccepted>(CreateOnAlpha with
        {
            OnDeviceFailure = policy,
            Devices = [.. Enumerable.Repeat(new DeviceAsk("accelerator"), devices)],
        });
        await Until("journal ClaimStarted");
        // What is written is not yet so: it answers when it is.
        Assert.Equal(ClaimPhase.Running, (await View()).Phase);
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
        new(Id, host, command.Generation, DeviceOf(command), command.GetType().Name, "it broke", gone);

    private static string DeviceOf(IHostCommand command) => (command as IAttachmentCommand)?.Device ?? Device;

    /// <summary>A host by its name; another function of it by both.</summary>
    public static string At(string host, string device) => device == Device ? host : $"{host}/{device}";

    /// <summary>What a host does with a command if nothing is wrong.</summary>
    public IHostReport[] CarryOut(string host, IHostCommand command)
    {
        var generation = command.Generation;
        var device = DeviceOf(command);
        var at = At(host, device);
        switch (command)
        {
            case PlanTarget plan:
                return [new TargetPlanned(Id, host, generation, [.. Enumerable.Range(1, plan.Devices.Length).Select(static i => $"fab0:01:00.{i}")], [])];
            case Attach attach:
                opened[at] = attach.Devices;
                receiving.Remove(at);
                Start(at);
                return [new Attached(Id, host, generation, device), Status(host, generation, device)];
            case ReportAttachment:
                return [Status(host, generation, device)];
            case PrepareTarget prepare:
                opened[at] = prepare.Devices;
                receiving.Add(at);
                return [new TargetPrepared(Id, host, generation, prepare.Migration, "127.0.0.1:4711", [1, 2, 3])];
            case StartPreCopy start:
                return [new PreCopyProgress(Id, host, generation, start.Migration, Rounds: 2, Bytes: 4000, RemainingBytes: 1000, BytesPerSecond: 1_000_000, RoundEnded: true)];
            case StopAndCopy stop when receiving.Contains(at):
                return [new TargetLoaded(Id, host, generation, stop.Migration, [new StreamSum(5000, "ab")], LoadMs: 1)];
            case StopAndCopy stop:
                running.Remove(at);
                return [new SourceStopped(Id, host, generation, stop.Migration, [new StreamSum(5000, "ab")], Rounds: 3, DrainMs: 1, QuiesceMs: 1, CopyMs: 2)];
            case RunTarget run:
                Start(at);
                receiving.Remove(at);
                return [new TargetRunning(Id, host, generation, run.Migration, StartMs: 1)];
            case ResumeSource resume:
                Start(at);
                return [new SourceRunning(Id, host, generation, resume.Migration)];
            case Detach:
                running.Remove(at);
                receiving.Remove(at);
                return [new Detached(Id, host, generation, device)];
            default:
                return [Failure(host, command)];
        }
    }

    private void Start(string host)
    {
        running.Add(host);
        MostRunning = Math.Max(MostRunning, running.Count);
    }

    /// <summary>A host holds the function, to receive.</summary>
    public static AttachmentStatus Held(string claim, string host, long generation) =>
        new(claim, host, generation, [new AttachedDevice(Device, null, null, 0, null)], AttachmentPhase.Receiving, WorkloadCounters.None);

    /// <summary>What the functions migrate with; null for functions that do not.</summary>
    public MigrationFlags? Flags { get; set; } = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private AttachmentStatus Status(string host, long generation, string device) => new(
        Id,
        host,
        generation,
        [.. opened.GetValueOrDefault(At(host, device), [device]).Select(one => new AttachedDevice(one, "accelerator-vf", "1b36:fab1", 4096, Flags))],
        AttachmentPhase.Running,
        WorkloadCounters.None);
}
