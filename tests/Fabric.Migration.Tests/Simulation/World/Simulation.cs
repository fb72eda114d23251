using System.Text;
using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>A part that breaks its promise: the checker must find each.</summary>
internal enum SeededFault
{
    None,

    /// <summary>A host carries out whatever comes, of whichever generation.</summary>
    FenceIgnoresGenerations,

    /// <summary>A host's lease clock stands: no lease ends there.</summary>
    HostIgnoresItsLease,

    /// <summary>A claim's clock runs far too fast: it does not wait for the end of a lease.</summary>
    ClaimDoesNotWait,

    /// <summary>A target tells that it has everything, and takes it on later: the commit comes before the load.</summary>
    TargetTellsTooEarly,

    /// <summary>A target does not compare what arrived with what the source counted: with a source that is lost nobody does.</summary>
    TargetLoadsWhatIsDamaged,

    /// <summary>The journal says that it has a commit, and does not: the target runs before that is decided for good.</summary>
    JournalForgetsCommits,
}

/// <summary>What a run is made of, but for what happens in it.</summary>
/// <param name="Seed">Of everything that is drawn.</param>
internal sealed record SimulationOptions(int Seed)
{
    public int Hosts { get; init; } = 3;

    public int FunctionsPerHost { get; init; } = 2;

    public int Controls { get; init; } = 2;

    /// <summary>Which part is broken on purpose, to see that it is found out.</summary>
    public SeededFault Fault { get; init; }

    /// <summary>Keeps what happened as text.</summary>
    public bool Traces { get; init; }
}

/// <summary>
/// A fabric in one process on one thread: the claims, their saga and the fence of each host are what ships; network, journal, clocks, devices and
/// data plane are simulated. Everything that is drawn is drawn from one seed, and so the same seed is the same run.
/// </summary>
internal sealed class Simulation
{
    private static int runs;

    private readonly Random random;
    private readonly Dictionary<string, Life> lives = [];
    private readonly List<RunRecord> records = [];
    private readonly StringBuilder? trace;
    private readonly List<Exception> broken = [];
    private readonly int number = Interlocked.Increment(ref runs);
    private long lineages;
    private bool freed;

    public Simulation(Theatre theatre, SimulationOptions options)
    {
        (Theatre, Options) = (theatre, options);
        random = new Random(options.Seed);
        trace = options.Traces ? new StringBuilder() : null;
        Journal = new SimulatedJournal(this);
        Network = new SimulatedNetwork(this);
        theatre.Enter(Journal);
        Hosts =
        [
            .. Enumerable.Range(0, options.Hosts).Select(index => new SimulatedHost(
                this, index, $"host-{(char)('a' + index)}", options.FunctionsPerHost, Clocks())),
        ];
        Controls =
        [
            .. Enumerable.Range(0, options.Controls).Select(index => new SimulatedControl(this, options.Hosts + index, $"control-{index + 1}", options.Fault == SeededFault.ClaimDoesNotWait ? new NodeTime(theatre.Clock, default, 20) : Clocks())),
        ];
        Journal.OnKept += OnKept;
        foreach (var node in Nodes)
            node.Begin();
    }

    public Theatre Theatre { get; }

    public SimulationOptions Options { get; }

    public SimulatedJournal Journal { get; }

    public SimulatedNetwork Network { get; }

    public IReadOnlyList<SimulatedHost> Hosts { get; }

    public IReadOnlyList<SimulatedControl> Controls { get; }

    public IEnumerable<SimulatedNode> Nodes => [.. Hosts, .. Controls];

    public TimeSpan Now => Theatre.Clock.Now;

    public IReadOnlyList<RunRecord> Records => records;

    public event Action<RunRecord>? OnRecord;

    public string TraceText => trace?.ToString() ?? "";

    /// <summary>Of all that devices are told to do, this much fails.</summary>
    public double DeviceFailures { get; set; }

    /// <summary>Of all states that are sent, this much is damaged on the way.</summary>
    public double Corruption { get; set; }

    public SimulatedHost HostOf(string name) => Hosts.First(host => host.Name == name);

    // ---- Chance and time -------------------------------------------------------------------------------------------------------------

    public bool Chance(double probability) => probability > 0 && random.NextDouble() < probability;

    /// <summary>Seconds.</summary>
    public TimeSpan Between(double least, double most) => TimeSpan.FromTicks((long)((least + (random.NextDouble() * (most - least))) * TimeSpan.TicksPerSecond));

    public int Below(int limit) => random.Next(limit);

    public T OneOf<T>(IReadOnlyList<T> of) => of[random.Next(of.Count)];

    public bool Fails() => Chance(DeviceFailures);

    public bool Corrupts() => Chance(Corruption);

    public long NextLineage() => ++lineages;

    public void After(TimeSpan delay, Action what) => Theatre.Clock.After(delay, what);

    public void RunUntil(TimeSpan end)
    {
        Theatre.RunUntil(end, random);
        if (broken.Count > 0)
            throw new InvalidOperationException($"Seed {Options.Seed}: an actor threw.", broken[0]);
    }

    /// <summary>Ends every process, so that nothing of this run is left on stage.</summary>
    public void End()
    {
        foreach (var node in Nodes)
            node.Kill();
        Theatre.Settle(random);
    }

    /// <summary>Of a node: the wall clock off by seconds, both clocks off by up to a hundredth of what passes.</summary>
    private NodeTime Clocks() => new(Theatre.Clock, Between(-2, 2), Between(-0.01, 0.01).TotalSeconds);

    // ---- Claims ----------------------------------------------------------------------------------------------------------------------

    /// <summary>The nodes that have an incarnation of the claim; more than one for a moment, none for a while.</summary>
    public IEnumerable<SimulatedControl> KeepersOf(string claim) => Controls.Where(control => control.Has(claim));

    /// <summary>An operator creates a claim, and asks again until it is there.</summary>
    public void Create(CreateClaim claim)
    {
        if (Journal.StateOf(claim.ClaimId).Phase != ClaimPhase.None)
            return;
        if (!KeepersOf(claim.ClaimId).Any() && Controls.Where(static control => control.IsAlive).ToArray() is { Length: > 0 } candidates)
            OneOf(candidates).TakeUp(claim.ClaimId);
        Request(claim);
        After(TimeSpan.FromSeconds(3), () => Create(claim));
    }

    /// <summary>An operator's request; it may be lost.</summary>
    public void Request(IClaimMessage message) => After(Between(0.001, 0.05), () =>
    {
        Trace("operator", message.ToString!);
        Keeper(message.ClaimId)?.Tell(message.ClaimId, message);
    });

    /// <summary>A host's report, by the shard region.</summary>
    public void Report(Life from, IHostReport report)
    {
        if (Keeper(report.ClaimId) is { } keeper)
            Network.Send(from, keeper, report.ToString!, () => keeper.Tell(report.ClaimId, report));
    }

    private SimulatedControl? Keeper(string claim) => KeepersOf(claim).ToArray() is { Length: > 0 } keepers ? OneOf(keepers) : null;

    // ---- What nodes need -------------------------------------------------------------------------------------------------------------

    public string NameLife(Life life)
    {
        var name = $"run-{number}-life-{lives.Count}";
        lives[name] = life;
        return name;
    }

    /// <summary>The life that an actor belongs to; null where it is of none.</summary>
    public Life? NodeOf(IActorRef actor) => lives.GetValueOrDefault(actor.Path.Elements[1]);

    public void ConnectionsChanged()
    {
        foreach (var control in Controls ?? [])
            control.Look();
    }

    /// <summary>Something is free: the fleets hear of it a moment later.</summary>
    public void FreesSomething()
    {
        if (freed)
            return;
        freed = true;
        After(TimeSpan.FromMilliseconds(100), () =>
        {
            freed = false;
            PublishFleetChanged();
        });
    }

    public void PublishFleetChanged() => Theatre.System.EventStream.Publish(FleetChanged.Instance);

    /// <summary>An actor threw what it should not.</summary>
    public void Break(Exception cause) => broken.Add(cause);

    // ---- What is told ----------------------------------------------------------------------------------------------------------------

    public void Record(RunRecord record)
    {
        if (record.Claim.Length == 0 && record.What != RunEvent.Fault)
            return;
        records.Add(record);
        Trace("record", record.ToLine);
        OnRecord?.Invoke(record);
    }

    public void Fault(string what)
    {
        Trace("fault", () => what);
        Record(new RunRecord(Now.Ticks / TimeSpan.TicksPerMicrosecond, RunEvent.Fault) { Reason = what });
    }

    public void Trace(string who, Func<string> what) => trace?.Append(Now.TotalSeconds.ToString("0.000000", null)).Append(' ').Append(who).Append(": ").Append(what()).Append('\n');

    private void OnKept(string claim, IJournaled kept)
    {
        var at = Now.Ticks / TimeSpan.TicksPerMicrosecond;
        switch (kept)
        {
            case ClaimStarted started:
                Record(new RunRecord(at, RunEvent.Acknowledged, claim, Generation: started.Generation));
                break;
            case MigrationCommitted or RollbackStarted:
                var state = Journal.StateOf(claim);
                Record(new RunRecord(at, RunEvent.Decided, claim, state.Host, state.Device, state.Generation));
                break;
        }
    }
}
