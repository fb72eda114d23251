using System.Collections.Immutable;
using System.Globalization;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// Evens claims over hosts, model by model, and puts those right that are where their labels or their group do not let them be. Pure; what it
/// gives is a plan, in the order in which it is to be carried out.
/// </summary>
public static class Rebalancing
{
    public static ImmutableArray<Intent> Plan(FleetSnapshot fleet)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        var plan = new List<Intent>();
        foreach (var claim in Movable(fleet))
        {
            if (Placement.WhyNot(fleet, PlacementNeeds.Of(claim), claim.Host) is { } misplaced
                && Best(fleet, claim, static (_, _) => true) is { } target)
            {
                fleet = Carry(fleet, plan, claim, target, misplaced);
            }
        }

        foreach (var model in fleet.Claims.SelectMany(static claim => claim.Models).Distinct().Order(StringComparer.Ordinal))
            fleet = Even(fleet, plan, model);
        return [.. plan];
    }

    /// <summary>From the fullest host that can give to the emptiest that can take, while that makes them more equal.</summary>
    private static FleetSnapshot Even(FleetSnapshot fleet, List<Intent> plan, string model)
    {
        while (Next(fleet, plan, model) is { } next)
        {
            fleet = Carry(fleet, plan, next.Claim, next.Target, string.Create(
                CultureInfo.InvariantCulture,
                $"{next.Claim.Host} has {Load(fleet, next.Claim.Host, model)} claims of {model}, {next.Target} {Load(fleet, next.Target, model)}"));
        }

        return fleet;
    }

    private static (ClaimPlace Claim, string Target)? Next(FleetSnapshot fleet, List<Intent> plan, string model)
    {
        foreach (var claim in Movable(fleet)
            .Where(claim => claim.Models.Contains(model) && plan.TrueForAll(planned => planned.ClaimId != claim.Id))
            .OrderByDescending(claim => Load(fleet, claim.Host, model)))
        {
            // At least two apart: one less there and one more here is more equal then.
            if (Best(fleet, claim, (from, to) => Load(fleet, from, model) - Load(fleet, to, model) >= 2) is { } target)
                return (claim, target);
        }

        return null;
    }

    private static IEnumerable<ClaimPlace> Movable(FleetSnapshot fleet) =>
        fleet.Claims
            .Where(claim => claim.Phase == ClaimPhase.Running && fleet.Host(claim.Host) is { Answers: true, DrainedBy: null })
            .OrderBy(static claim => claim.Id, StringComparer.Ordinal);

    private static string? Best(FleetSnapshot fleet, ClaimPlace claim, Func<string, string, bool> worth)
    {
        var needs = PlacementNeeds.Of(claim);
        return fleet.Hosts
            .Where(host => host.Name != claim.Host && Placement.Room(host, needs) > 0 && worth(claim.Host, host.Name)
                && Placement.WhyNot(fleet, needs, host) is null)
            .OrderBy(host => claim.Models.Max(model => Load(fleet, host.Name, model)))
            .ThenBy(static host => host.Name, StringComparer.Ordinal)
            .FirstOrDefault()?.Name;
    }

    /// <summary>Claims of a model that are at a host.</summary>
    private static int Load(FleetSnapshot fleet, string host, string model) =>
        fleet.Claims.Count(claim => claim.HasPlace && claim.Host == host && claim.Models.Contains(model));

    /// <summary>The fabric as it will be after one more move.</summary>
    private static FleetSnapshot Carry(FleetSnapshot fleet, List<Intent> plan, ClaimPlace claim, string target, string why)
    {
        plan.Add(new Intent(claim.Id, claim.Host, target, why));
        return new FleetSnapshot(
            [.. fleet.Hosts.Select(host => host.Name == target ? Take(host, claim) : host.Name == claim.Host ? Give(host, claim) : host)],
            [.. fleet.Claims.Select(other => other.Id == claim.Id ? other with { Host = target } : other)]);
    }

    private static HostPlace Take(HostPlace host, ClaimPlace claim)
    {
        var devices = host.Devices;
        foreach (var model in claim.Models)
        {
            var free = devices.First(device => device.Model == model && device.Free);
            devices = devices.Replace(free, free with { Free = false, Claim = claim.Id });
        }

        return host with { Devices = devices };
    }

    private static HostPlace Give(HostPlace host, ClaimPlace claim) => !host.HasTold ? host : host with
    {
        Devices = [.. host.Devices.Select(device => device.Claim == claim.Id ? device with { Free = true, Claim = null } : device)],
    };
}
