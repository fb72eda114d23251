using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Benchmarks.Fleets;

/// <summary>What planning a rebalance costs: a tenth of the hosts have about half as many claims again as the others have.</summary>
/// <param name="CpuMs">Of the one plan, milliseconds; the singleton that keeps moves does nothing else meanwhile.</param>
internal sealed record RebalanceCost(int Claims, int Moves, double CpuMs)
{
    private const double Crowded = 0.73;
    private const double Usual = 0.47;

    public static RebalanceCost Measure(SampleFleet sample, int devices)
    {
        var holders = sample.Names.Select((name, host) =>
        {
            var claimed = devices * (host % 10 == 0 ? Crowded : Usual);
            return (Name: name, Claims: Enumerable.Range(0, devices).Select(slot => slot < claimed ? $"claim-{host:0000}-{slot:000}" : null).ToArray());
        }).ToArray();
        var claims = holders.SelectMany(static host => host.Claims.Select((id, slot) => (Id: id, Host: host.Name, Slot: slot)))
            .Where(static one => one.Id is not null).Select(static one => SampleFleet.Claim(one.Id!, one.Host, SampleFleet.Address(one.Slot))).ToArray();
        var fleet = FleetSnapshot.Of(new FleetDescribed(
            [.. holders.Select(static host => new FleetHost(host.Name, "up", "10.0.0.1:7400", SampleFleet.Inventory(host.Name, host.Claims)))], claims));
        var cost = Cost.Begin();
        var plan = Rebalancing.Plan(fleet);
        return new RebalanceCost(claims.Length, plan.Length, cost.CpuMs);
    }
}
