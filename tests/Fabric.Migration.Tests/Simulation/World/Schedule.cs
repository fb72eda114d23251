using Fabric.Migration.Claims;
using Fabric.Migration.Tests.Simulation.Checking;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>What became of one random run.</summary>
/// <param name="Events">Names of all that was journaled, of all claims.</param>
/// <param name="Conflicts">Writes that the journal's unique key refused.</param>
internal sealed record Outcome(int Seed, IReadOnlyList<Violation> Violations, IReadOnlyList<string> Events, int Conflicts, TimeSpan Took, string Trace)
{
    public string Report => $"Seed {Seed}; replay it with FABRIC_SIMULATION_SEED={Seed}.\n{string.Join('\n', Violations)}\n{Trace}";
}

/// <summary>A random run, all of it drawn from its seed: claims with their policies, what operators ask, what goes wrong.</summary>
internal static class Schedule
{
    public static Outcome Play(Theatre theatre, int seed, bool traces = false, SeededFault fault = SeededFault.None)
    {
        var run = new Simulation(theatre, new SimulationOptions(seed) { Traces = traces, Fault = fault });
        try
        {
            var claims = Enumerable.Range(1, run.Chance(0.25) ? 2 : 1).Select(number => Claim(run, $"c{number}")).ToArray();
            new Adversary(run, claims).Play();
            Resting.Await(run, claims);
            var violations = Checker.Check(run.Records, new CheckedBounds(TimeSpan.Zero, Resting.Bound, (id, reason) => MayStop(claims.First(claim => claim.ClaimId == id), reason)));
            return new Outcome(seed, violations, [.. claims.SelectMany(claim => run.Journal.EventsOf(claim.ClaimId))], run.Journal.Conflicts, run.Now, run.TraceText);
        }
        finally
        {
            run.End();
        }
    }

    /// <summary>A claim that is to start afresh stops only if it never ran, or found no footing time and again.</summary>
    private static bool MayStop(CreateClaim claim, string reason) =>
        claim.OnDeviceFailure != DeviceFailurePolicy.Restart || !reason.Contains("its state cannot be read any more", StringComparison.Ordinal);

    private static CreateClaim Claim(Simulation run, string id) => new(
        id, [new DeviceAsk(SimulatedHost.Model)], run.Chance(0.5) ? run.OneOf(run.Hosts).Name : null, 1 << 20, 1000, "ops", DateTimeOffset.MaxValue,
        run.OneOf([DeviceFailurePolicy.Evacuate, DeviceFailurePolicy.Restart, DeviceFailurePolicy.Stay]))
    {
        OnHostLoss = run.OneOf([HostLossPolicy.Wait, HostLossPolicy.Restart]),
        LeaseMs = (int)LeaseTerms.Least.TotalMilliseconds,
    };
}
