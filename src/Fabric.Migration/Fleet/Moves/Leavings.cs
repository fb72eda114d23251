using System.Globalization;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>The migrations that are under way, or are about to be, and from which host each: what <see cref="MoveLimits"/> are held against.</summary>
internal sealed class Leavings(MoveLimits limits)
{
    private readonly Dictionary<string, string> hosts = [];

    public static Leavings Of(FleetSnapshot fleet, MovesState state, MoveLimits limits)
    {
        var leavings = new Leavings(limits);
        foreach (var claim in fleet.Claims.Where(static claim => claim.Phase == ClaimPhase.Migrating))
            leavings.Add(claim.Id, claim.Host);
        foreach (var move in state.OpenMoves)
            leavings.Add(move.ClaimId, move.From);
        return leavings;
    }

    /// <summary>A claim leaves once, from where it was first seen to.</summary>
    public void Add(string claim, string host) => hosts.TryAdd(claim, host);

    /// <summary>Why one more cannot leave the host now; null where it can.</summary>
    public string? WhyNot(string host)
    {
        if (hosts.Count >= limits.PerFabric)
            return Text($"{hosts.Count} migrations are under way; the fabric moves {limits.PerFabric} at a time");
        var outgoing = hosts.Values.Count(from => from == host);
        return outgoing >= limits.PerHost ? Text($"{outgoing} migrations leave {host}; {limits.PerHost} at a time may") : null;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
