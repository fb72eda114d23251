using System.Collections.Immutable;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>What a claim needs of a host.</summary>
/// <param name="Models">One for each device that it asks for.</param>
/// <param name="Select">Labels that the host must have, <c>key=value</c> each.</param>
/// <param name="ApartFrom">A group of claims of which no two are on one host.</param>
public sealed record PlacementNeeds(string ClaimId, ImmutableArray<string> Models, ImmutableArray<string> Select, string? ApartFrom)
{
    public static PlacementNeeds Of(ClaimPlace claim)
    {
        ArgumentNullException.ThrowIfNull(claim);
        return new PlacementNeeds(claim.Id, claim.Models, claim.Select, claim.ApartFrom);
    }
}

/// <summary>Which hosts a claim may be on, and in which order they are tried. What devices a host has free it says best itself.</summary>
public static class Placement
{
    /// <summary>Why a host is not for a claim, with the remedy; null where it is.</summary>
    public static string? WhyNot(FleetSnapshot fleet, PlacementNeeds needs, string name)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        return fleet.Host(name) is { } host ? WhyNot(fleet, needs, host) : NoHost(name);
    }

    /// <summary>As above, of a host of the fleet.</summary>
    public static string? WhyNot(FleetSnapshot fleet, PlacementNeeds needs, HostPlace host)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(needs);
        ArgumentNullException.ThrowIfNull(host);
        return WhyNot(needs, host, fleet.OfGroup(needs.ApartFrom).FirstOrDefault(other => other.Id != needs.ClaimId && other.IsAt(host.Name))?.Id);
    }

    /// <summary>As above.</summary>
    /// <param name="near">A claim on that host of the group whose claims keep apart.</param>
    internal static string? WhyNot(PlacementNeeds needs, HostPlace host, string? near)
    {
        var name = host.Name;
        if (!host.Answers && host.Left)
            return NoHost(name);
        if (!host.Answers)
            return $"Host {name} does not answer; wait until it does, or choose another.";
        if (host.DrainedBy is { } by)
            return $"Host {name} is drained, as {by} asked; undrain it, or choose another.";
        var lacking = needs.Select.Where(label => !host.Labels.Contains(label)).ToArray();
        if (lacking.Length > 0)
        {
            return $"Host {name} has not the label {string.Join(", ", lacking)} that the claim selects; "
                + "label it in its settings (node.labels), or choose another.";
        }

        return near is null ? null : $"Host {name} has claim {near} of the group {needs.ApartFrom}, whose claims keep apart; choose another host.";
    }

    /// <summary>Hosts that a claim may be on: those with the most free functions of its models first, the same for equals each time.</summary>
    /// <param name="spread">Equals are begun with at this one: claims that move at the same time do not all try the same host first.</param>
    public static ImmutableArray<string> Rank(FleetSnapshot fleet, PlacementNeeds needs, int spread = 0)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(needs);
        return
        [
            .. fleet.Hosts
                .Where(host => WhyNot(fleet, needs, host) is null)
                .GroupBy(host => Room(host, needs))
                .OrderByDescending(static equals => equals.Key)
                .SelectMany(equals => Turned([.. equals.Select(static host => host.Name).Order(StringComparer.Ordinal)], spread)),
        ];
    }

    /// <summary>How many claims like this one a host has room for.</summary>
    public static int Room(HostPlace host, PlacementNeeds needs)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(needs);
        return needs.Models.GroupBy(static model => model).Select(model => host.Free(model.Key) / model.Count()).DefaultIfEmpty(0).Min();
    }

    private static string NoHost(string name) => $"There is no host {name} in the fabric; list the hosts.";

    /// <summary>The same names, begun with another one.</summary>
    internal static IEnumerable<string> Turned(string[] names, int spread) =>
        names.Length == 0 ? names : names.Skip(spread % names.Length).Concat(names.Take(spread % names.Length));
}
