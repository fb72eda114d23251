using Fabric.Migration.Claims;
using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Journal;
using Fabric.Migration.Tests.Simulation.Checking;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>One way that a claim goes, from being created on host-a: what is asked for, and when, by what is in its journal.</summary>
internal sealed record ClaimPath(string Name, CreateClaim Claim, Action<ClaimPath.Walk> Asks)
{
    public const string Id = "c1";

    private static readonly CreateClaim OnA = new(
        Id, [new DeviceAsk(SimulatedHost.Model)], "host-a", 1 << 20, 1000, "ops", DateTimeOffset.MaxValue);

    private static readonly StartMigration ToB = new(Id, "host-b", 20_000, 60_000, 0, "ops");

    public static ClaimPath Commit { get; } = new("commit", OnA, static walk => walk.When<ClaimStarted>(() => walk.Run.Request(ToB)));

    public static ClaimPath Cancel { get; } = new("cancel", OnA, static walk =>
    {
        walk.When<ClaimStarted>(() => walk.Run.Request(ToB));
        walk.When<TargetReserved>(() => walk.Run.Request(new CancelMigration(Id, 1, "ops")));
    });

    public static ClaimPath Rollback { get; } = new("rollback", OnA, static walk =>
    {
        walk.Run.Corruption = 1;
        walk.When<ClaimStarted>(() => walk.Run.Request(ToB));
    });

    public static ClaimPath Evacuate { get; } = new("evacuate", OnA, static walk => walk.When<ClaimStarted>(() => walk.Faults.Sicken(
        walk.Run.Hosts[0], walk.Run.Hosts[0].Functions[0], readable: true, TimeSpan.FromSeconds(60))));

    public static ClaimPath RestartAfresh { get; } = new("restart-afresh", OnA with { OnDeviceFailure = DeviceFailurePolicy.Restart }, static walk =>
        walk.When<ClaimStarted>(() => walk.Faults.Sicken(
            walk.Run.Hosts[0], walk.Run.Hosts[0].Functions[0], readable: false, TimeSpan.FromSeconds(60))));

    public static ClaimPath Release { get; } = new("release", OnA, static walk => walk.When<ClaimStarted>(() => walk.Run.Request(new ReleaseClaim(Id, "ops"))));

    public static ClaimPath HostLost { get; } = new(
        "host-lost", OnA with { OnHostLoss = HostLossPolicy.Restart, LeaseMs = (int)LeaseTerms.Least.TotalMilliseconds },
        static walk => walk.When<ClaimStarted>(() => walk.Faults.StopHost(walk.Run.Hosts[0], TimeSpan.FromSeconds(40))));

    public static ClaimPath LeasedCommit { get; } = Commit with { Name = "leased-commit", Claim = HostLost.Claim };

    public static IReadOnlyList<ClaimPath> All { get; } = [Commit, Cancel, Rollback, Evacuate, RestartAfresh, Release, HostLost, LeasedCommit];

    /// <summary>One walk along it, with something that happens once at one of its events.</summary>
    internal sealed class Walk
    {
        private readonly List<(Type Event, Action What)> asks = [];
        private int events;
        private int loads;
        private bool over;

        public Walk(Theatre theatre, ClaimPath path, int seed, SeededFault fault = SeededFault.None)
        {
            Path = path;
            Run = new Simulation(theatre, new SimulationOptions(seed) { Fault = fault });
            Faults = new Faults(Run, [Id]);
            Run.Journal.OnKept += (_, kept) =>
            {
                events++;
                foreach (var ask in asks.Where(ask => ask.Event == kept.GetType()).ToArray())
                {
                    asks.Remove(ask);
                    ask.What();
                }
            };
            path.Asks(this);
        }

        public ClaimPath Path { get; }

        public Simulation Run { get; }

        public Faults Faults { get; }

        public SimulatedControl? Keeper => Run.KeepersOf(Id).FirstOrDefault();

        public IReadOnlyList<string> Events => [.. Run.Journal.EventsOf(Id)];

        /// <summary>Once, when the first of these is kept.</summary>
        public void When<TEvent>(Action what) => asks.Add((typeof(TEvent), what));

        /// <summary>Once, when a target has taken a state on, and nobody has heard yet.</summary>
        public void WhenLoaded(Action what) => Run.OnRecord += record =>
        {
            if (record.What == RunEvent.Loaded && Interlocked.Exchange(ref loads, 1) == 0)
                what();
        };

        /// <summary>At an event, counted from 1: when its write comes to the journal, or when that has kept it and the claim has not heard yet.</summary>
        public void At(int number, bool kept, Action<Walk> what)
        {
            if (kept)
                Run.Journal.OnKept += (_, _) => Once(events);
            else
                Run.Journal.OnWriting += () => Once(events + 1);

            void Once(int now)
            {
                if (now != number || over)
                    return;
                number = 0;
                what(this);
            }
        }

        public IReadOnlyList<Violation> Play()
        {
            try
            {
                Run.Create(Path.Claim);
                Run.RunUntil(TimeSpan.FromSeconds(40));
                over = true;
                Faults.Mend();
                Resting.Await(Run, [Path.Claim]);
                return Checker.Check(Run.Records, new CheckedBounds(TimeSpan.Zero, Resting.Bound, static (_, _) => true));
            }
            finally
            {
                Run.End();
            }
        }
    }
}
