using System.Collections.Immutable;
using System.Globalization;

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
        var ledger = new RebalanceLedger(fleet);
        foreach (var claim in ledger.Movable)
        {
            if (ledger.WhyNot(claim, claim.Host) is { } misplaced && ledger.Best(claim, static (_, _) => true) is { } target)
                ledger.Carry(claim, target, misplaced);
        }

        foreach (var model in fleet.Claims.SelectMany(static claim => claim.Models).Distinct().Order(StringComparer.Ordinal))
            Even(ledger, model);
        return ledger.Plan;
    }

    /// <summary>From the fullest host that can give to the emptiest that can take, while that makes them more equal.</summary>
    private static void Even(RebalanceLedger ledger, string model)
    {
        while (Next(ledger, model) is var (claim, target))
        {
            ledger.Carry(claim, target, string.Create(
                CultureInfo.InvariantCulture,
                $"{claim.Host} has {ledger.Load(claim.Host, model)} claims of {model}, {target} {ledger.Load(target, model)}"));
        }
    }

    private static (ClaimPlace Claim, string Target)? Next(RebalanceLedger ledger, string model)
    {
        foreach (var host in ledger.Fullest(model))
        {
            // At least two apart: one less there and one more here is more equal then.
            if (ledger.Load(host, model) - ledger.Least(model) < 2)
                return null;
            // Where one of them cannot go, another that needs the same cannot either.
            var hopeless = new HashSet<string>();
            foreach (var claim in ledger.MovableAt(host).Where(claim => claim.Models.Contains(model)))
            {
                if (claim.ApartFrom is null && hopeless.Contains(ShapeOf(claim)))
                    continue;
                if (ledger.Best(claim, (from, to) => ledger.Load(from, model) - ledger.Load(to, model) >= 2) is { } target)
                    return (claim, target);
                hopeless.Add(ShapeOf(claim));
            }
        }

        return null;
    }

    private static string ShapeOf(ClaimPlace claim) => string.Join('\n', [.. claim.Models, .. claim.Select]);
}
