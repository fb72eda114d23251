using System.Collections.Immutable;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// The fabric as it will be after the moves that are planned so far. Counted on with each, and not counted anew: a plan over a thousand hosts takes
/// thousands of moves.
/// </summary>
internal sealed class RebalanceLedger
{
    private readonly SortedDictionary<string, Account> hosts = new(StringComparer.Ordinal);
    private readonly ImmutableArray<Intent>.Builder plan = ImmutableArray.CreateBuilder<Intent>();

    public RebalanceLedger(FleetSnapshot fleet)
    {
        foreach (var host in fleet.Hosts)
            hosts.TryAdd(host.Name, new Account(host));
        foreach (var claim in fleet.Claims.Where(static claim => claim.HasPlace))
        {
            if (hosts.TryGetValue(claim.Host, out var at))
                at.Enter(claim);
            if (claim.MovesTo is { } to && to != claim.Host && hosts.TryGetValue(to, out var coming))
                coming.Join(claim);
        }
    }

    public ImmutableArray<Intent> Plan => plan.ToImmutable();

    /// <summary>Claims that may move, by id: they run on a host that answers and is not drained. A claim moves once.</summary>
    public IReadOnlyList<ClaimPlace> Movable =>
        [.. hosts.Values.SelectMany(static account => account.Movable.Values).OrderBy(static claim => claim.Id, StringComparer.Ordinal)];

    public IEnumerable<ClaimPlace> MovableAt(string host) => hosts[host].Movable.Values;

    /// <summary>Claims of a model that are at a host.</summary>
    public int Load(string host, string model) => hosts.TryGetValue(host, out var account) ? account.Load.GetValueOrDefault(model) : 0;

    /// <summary>Of the hosts that could take more.</summary>
    public int Least(string model) =>
        hosts.Values.Where(static account => account.IsOpen).Select(account => account.Load.GetValueOrDefault(model)).DefaultIfEmpty(0).Min();

    /// <summary>Hosts with claims of a model, the fullest first.</summary>
    public IReadOnlyList<string> Fullest(string model) =>
    [
        .. hosts.Where(host => host.Value.Load.GetValueOrDefault(model) > 0 && host.Value.Movable.Count > 0)
            .OrderByDescending(host => host.Value.Load[model]).Select(static host => host.Key),
    ];

    public string? WhyNot(ClaimPlace claim, string host) => hosts[host].WhyNot(claim);

    /// <summary>The host that a claim may go to with the fewest claims like it.</summary>
    public string? Best(ClaimPlace claim, Func<string, string, bool> worth)
    {
        string? best = null;
        var least = int.MaxValue;
        foreach (var (name, account) in hosts)
        {
            if (name == claim.Host || !account.HasRoom(claim) || !worth(claim.Host, name))
                continue;
            var load = claim.Models.Max(model => account.Load.GetValueOrDefault(model));
            if (load < least && account.WhyNot(claim) is null)
                (best, least) = (name, load);
        }

        return best;
    }

    public void Carry(ClaimPlace claim, string target, string why)
    {
        plan.Add(new Intent(claim.Id, claim.Host, target, why));
        hosts[claim.Host].Give(claim);
        hosts[target].Take(claim);
    }

    private sealed class Account(HostPlace place)
    {
        private readonly Dictionary<string, int> free = !place.HasTold
            ? []
            : place.Devices.Where(static device => device.Free).CountBy(static device => device.Model).ToDictionary();

        private readonly Dictionary<string, HashSet<string>> groups = [];

        public Dictionary<string, int> Load { get; } = [];

        public SortedDictionary<string, ClaimPlace> Movable { get; } = new(StringComparer.Ordinal);

        public bool IsOpen => place is { Answers: true, DrainedBy: null };

        /// <summary>A claim that is here.</summary>
        public void Enter(ClaimPlace claim)
        {
            Join(claim);
            foreach (var model in claim.Models.Distinct())
                Load[model] = Load.GetValueOrDefault(model) + 1;
            if (claim.Phase == ClaimPhase.Running && IsOpen)
                Movable.Add(claim.Id, claim);
        }

        /// <summary>A claim that is here, or is to be.</summary>
        public void Join(ClaimPlace claim)
        {
            if (claim.ApartFrom is { } group)
                (groups.TryGetValue(group, out var ids) ? ids : groups[group] = []).Add(claim.Id);
        }

        public bool HasRoom(ClaimPlace claim) => claim.Models.CountBy(static model => model).All(model => free.GetValueOrDefault(model.Key) >= model.Value);

        public string? WhyNot(ClaimPlace claim) => Placement.WhyNot(PlacementNeeds.Of(claim), place, Near(claim));

        public void Give(ClaimPlace claim)
        {
            Movable.Remove(claim.Id);
            if (claim.ApartFrom is { } group)
                groups[group].Remove(claim.Id);
            foreach (var model in claim.Models.Distinct())
                Load[model]--;
            foreach (var device in place.HasTold ? place.Devices : [])
            {
                if (device.Claim == claim.Id)
                    free[device.Model] = free.GetValueOrDefault(device.Model) + 1;
            }
        }

        /// <summary>It does not move again.</summary>
        public void Take(ClaimPlace claim)
        {
            Join(claim);
            foreach (var model in claim.Models.Distinct())
                Load[model] = Load.GetValueOrDefault(model) + 1;
            foreach (var model in claim.Models)
                free[model]--;
        }

        private string? Near(ClaimPlace claim) => claim.ApartFrom is { } group && groups.TryGetValue(group, out var ids)
            ? ids.FirstOrDefault(id => id != claim.Id)
            : null;
    }
}
