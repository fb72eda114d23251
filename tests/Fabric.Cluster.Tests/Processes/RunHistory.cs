using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Tests.Simulation.Checking;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>What the hosts of a fabric have recorded, and beside it what was done to them, which a process that is killed cannot tell.</summary>
internal sealed class RunHistory(TestFabric fabric)
{
    /// <summary>All on one clock. Long enough for a control node that was killed, its claim being taken up, and a rollback.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(90);

    private readonly List<RunRecord> done = [];

    private static long Now => (DateTimeOffset.UtcNow - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    public IReadOnlyList<RunRecord> Records =>
    [
        .. fabric.Daemons.Where(static daemon => daemon.Settings.Role == "host").SelectMany(host => OfHost(host.Name)).Concat(done)
            .OrderBy(static record => record.At),
    ];

    /// <param name="lost">Claims whose state died with a host that was killed: they alone may stop.</param>
    public static IReadOnlyList<Violation> Check(IEnumerable<RunRecord> records, IReadOnlySet<string>? lost = null) =>
        Checker.Check(records, new CheckedBounds(Uncertainty: TimeSpan.Zero, Bound, (claim, _) => lost?.Contains(claim) == true));

    /// <summary>Something is asked for: from here on, or from the last fault, there is so much time to come to rest.</summary>
    public void Began() => Faulted("asked for");

    public void Faulted(string what) => done.Add(new RunRecord(Now, RunEvent.Fault) { Reason = what });

    /// <summary>Its process is gone, and its emulated functions with it.</summary>
    public void Killed(string host)
    {
        Faulted($"{host} was killed");
        done.AddRange(OfHost(host).Select(static record => (record.Claim, record.Function)).Distinct()
            .Select(had => new RunRecord(Now, RunEvent.Lost, had.Claim, host, had.Function) { Reason = "killed" }));
    }

    public void Rests(string claim, string host, string function) =>
        done.Add(new RunRecord(Now, RunEvent.Rest, claim, host, function) { Rest = RestKind.Runs });

    public void Stops(string claim, string reason) => done.Add(new RunRecord(Now, RunEvent.Rest, claim) { Rest = RestKind.Stopped, Reason = reason });

    private IEnumerable<RunRecord> OfHost(string host) => File.Exists(fabric.RunLogOf(host))
        ? File.ReadAllLines(fabric.RunLogOf(host)).Select(RunRecord.Parse)
        : [];
}
