using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Benchmarks.Fleets;

/// <summary>
/// What deciding costs while a rack is drained: the round that the keeper of moves carries out, every half a second of virtual time, with the view
/// that it publishes after it left out. A claim migrates for one round.
/// </summary>
/// <param name="Rounds">Until each host of the rack was said to be empty.</param>
/// <param name="RoundMs">CPU time of one, milliseconds, the snapshot of the fleet included.</param>
internal sealed record DrainCost(int Drained, int Moved, int Rounds, double RoundMs, double CpuMs)
{
    private const long RoundTime = 500;

    /// <param name="share">Of the hosts, 0 to 1: the rack.</param>
    public static DrainCost Measure(SampleFleet sample, double share, MoveLimits limits)
    {
        var options = new MovesOptions(limits, BreakerLimits.Default);
        var drained = Math.Max(1, (int)(sample.Names.Count * share));
        var holders = sample.Names.Select((name, host) => (name, Claims: sample.Holders(host))).ToDictionary(static one => one.name, static one => one.Claims);
        var hosts = holders.ToDictionary(static one => one.Key, static one => SampleFleet.Inventory(one.Key, one.Value));
        var claims = holders.SelectMany(static host => host.Value.Select((id, slot) => (Id: id, Host: host.Key, slot))).Where(static one => one.Id is not null)
            .ToDictionary(static one => one.Id!, static one => SampleFleet.Claim(one.Id!, one.Host, SampleFleet.Address(one.slot)));
        var (state, watch) = (MovesState.Empty, BreakerWatch.After(BreakerState.Closed));
        var (now, rounds, moved) = (1_000_000L, 0, 0);
        foreach (var name in sample.Names.Take(drained))
            state = state.Apply(new Migration.Journal.DrainStarted { Host = name, RequestedBy = "ops", DowntimeLimitMs = 300, At = now });

        var toMove = claims.Values.Count(claim => state.Drains.ContainsKey(claim.Host!));
        var cost = Cost.Begin();
        while (state.Drains.Values.Any(static drain => drain.EmptiedAt == 0))
        {
            if (rounds++ > toMove * 4)
                throw new InvalidOperationException($"The drain did not end: {moved} of {toMove} claims have moved.");
            now += RoundTime;
            var fleet = FleetSnapshot.Of(new FleetDescribed(
                [.. hosts.Values.Select(static host => new FleetHost(host.Host, "up", "10.0.0.1:7400", host))], [.. claims.Values]));
            var round = MoveRound.Next(fleet, state, watch, EvacuationTurns.None, options, complete: true, now);
            (state, watch) = (round.State, round.Watch);
            if (state.OpenMoves.Count() > limits.PerFabric || state.OpenMoves.CountBy(static move => move.From).Any(from => from.Value > limits.PerHost))
                throw new InvalidOperationException("More claims move at a time than may.");
            foreach (var move in state.OpenMoves)
                moved += Carry(move);
        }

        var cpu = cost.CpuMs;
        return moved == toMove
            ? new DrainCost(drained, moved, rounds, cpu / rounds, cpu)
            : throw new InvalidOperationException($"{moved} moves for {toMove} claims.");

        int Carry(Move move)
        {
            var claim = claims[move.ClaimId];
            if (claim.Migrations.Any(known => known.Request == move.Request))
                return 0;
            var to = Array.IndexOf(holders[move.To], null);
            holders[move.From][Array.IndexOf(holders[move.From], move.ClaimId)] = null;
            holders[move.To][to] = move.ClaimId;
            foreach (var name in (string[])[move.From, move.To])
                hosts[name] = SampleFleet.Inventory(name, holders[name]);
            var migration = new MigrationView(
                1, move.From, [claim.Device], move.To, [SampleFleet.Address(to)], MigrationStep.Done, "committed", null, DateTimeOffset.UnixEpoch, 400, 20, 300,
                1 << 20, 0, 0, 2, true, null, [], "fabric", move.Cause)
            {
                Request = move.Request,
            };
            claims[move.ClaimId] = claim with { Host = move.To, Devices = [new ClaimedDevice(SampleFleet.Model, SampleFleet.Address(to))], Migrations = [migration] };
            return 1;
        }
    }
}
