using Fabric.Migration.Claims;
using Fabric.Migration.Hosts.Runs;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>Whether claims have come to rest, and lets a run go on until they have.</summary>
internal static class Resting
{
    private static readonly TimeSpan Glance = TimeSpan.FromSeconds(1);

    /// <summary>Longest from the last fault to rest: twice the pause of a claim that finds no place, a migration that times out, and its rollback.</summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(240);

    /// <summary>Goes on until all claims are at rest, and were at the glance before; or the bound has passed. What rests is in the record.</summary>
    public static void Await(Simulation run, IReadOnlyList<CreateClaim> claims)
    {
        var end = run.Now + Bound;
        for (var glances = 0; glances < 2 && run.Now < end;)
        {
            run.RunUntil(run.Now + Glance);
            glances = claims.All(claim => RestOf(run, claim.ClaimId) is not null) ? glances + 1 : 0;
        }

        foreach (var rest in claims.Select(claim => RestOf(run, claim.ClaimId)).OfType<RunRecord>())
            run.Record(rest);
    }

    private static RunRecord? RestOf(Simulation run, string claim)
    {
        var state = run.Journal.StateOf(claim);
        var held = run.Hosts.SelectMany(host => host.Functions.Where(function => function.Holder == claim).Select(function => (Host: host.Name, Function: function))).ToArray();
        var at = run.Now.Ticks / TimeSpan.TicksPerMicrosecond;
        return state.Phase switch
        {
            ClaimPhase.Running when held is [({ } host, { Runs: true } function)] && (host, function.Address.ToString()) == (state.Host, state.Device) =>
                new RunRecord(at, RunEvent.Rest, claim, state.Host, state.Device, state.Generation) { Rest = RestKind.Runs },
            ClaimPhase.Running when state is { OnDeviceFailure: DeviceFailurePolicy.Stay, Trouble: { IsOpen: true, Readable: false } trouble } && held.Length == 1 =>
                new RunRecord(at, RunEvent.Rest, claim) { Rest = RestKind.Stopped, Reason = trouble.Reason },
            ClaimPhase.Failed when held.Length == 0 => new RunRecord(at, RunEvent.Rest, claim) { Rest = RestKind.Stopped, Reason = state.Message },
            ClaimPhase.Released when held.Length == 0 => new RunRecord(at, RunEvent.Rest, claim) { Rest = RestKind.Released },
            _ => null,
        };
    }
}
