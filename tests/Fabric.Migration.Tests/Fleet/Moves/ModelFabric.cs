using System.Collections.Immutable;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>
/// Hosts, claims and the keeper of moves, by one seed: claims migrate as they are told, or fail, or refuse; the keeper dies between any write and
/// what follows from it, and is taken up from the journal. Everything that must hold is looked at after each step.
/// </summary>
internal sealed class ModelFabric
{
    private static readonly string[] Models = ["accelerator-vf", "nic-vf"];
    private readonly Random random;
    private readonly List<ModelHost> hosts = [];
    private readonly List<ModelClaim> claims = [];
    private readonly List<IJournaled> journal = [];
    private readonly double failing;
    private MovesState state = MovesState.Empty;
    private BreakerWatch watch = BreakerWatch.After(BreakerState.Closed);
    private ImmutableArray<MoveWait> waits = [];
    private long now = 1_000_000;

    public ModelFabric(int seed, double failing)
    {
        random = new Random(seed);
        this.failing = failing;
        Limits = new MoveLimits(random.Next(1, 6), random.Next(1, 4), Attempts: 3);
        for (var i = 0; i < random.Next(2, 6); i++)
            hosts.Add(new ModelHost($"h{i}", random.Next(2) == 0 ? "zone=a" : "zone=b", [.. Enumerable.Range(0, random.Next(1, 6)).Select(_ => Models[random.Next(2)])]));
        for (var i = 0; i < random.Next(1, 12); i++)
            Place($"c{i:00}");
    }

    public MoveLimits Limits { get; }

    public MovesState State => state;

    public IReadOnlyList<IJournaled> Journal => journal;

    public IEnumerable<string> HostNames => hosts.Select(static host => host.Name);

    public IReadOnlyList<ModelClaim> Claims => claims;

    public ImmutableArray<MoveWait> Waits => waits;

    public void Happen(IJournaled happened)
    {
        journal.Add(happened);
        state = state.Apply(happened);
    }

    public DrainStarted DrainOf(string host) => new() { Host = host, RequestedBy = "ops", DowntimeLimitMs = 300, At = now };

    public FleetSnapshot Snapshot() => new(
        [.. hosts.Select(host => new HostPlace(host.Name, Answers: true, Left: false, [host.Label], [.. host.Devices.Select((model, slot) => DeviceAt(host, model, slot))]))],
        [.. claims.Select(static claim => claim.Place())]);

    /// <summary>One look of the keeper, and whatever the claims do meanwhile.</summary>
    /// <returns>Whether anything may come of another.</returns>
    public bool Step()
    {
        now += 500;
        var round = MoveRound.Next(Snapshot(), state, watch, EvacuationTurns.None, new MovesOptions(Limits, BreakerLimits.Default), complete: true, now);
        (watch, waits) = (round.Watch, round.Waits);
        foreach (var happened in round.Happened)
            Happen(happened);
        Check();
        if (random.Next(6) == 0)
            Die();
        else
            Tell();
        foreach (var claim in claims)
            claim.GoOn(this);
        Check();
        return state.OpenMoves.Any() || !waits.IsEmpty || !round.Happened.IsEmpty;
    }

    /// <summary>What the keeper tells claims of moves that they do not show; now and then twice, now and then not at all.</summary>
    private void Tell()
    {
        foreach (var move in state.OpenMoves)
        {
            var claim = claims.Single(one => one.Id == move.ClaimId);
            for (var times = random.Next(3); times > 0; times--)
                claim.Hear(this, move);
        }
    }

    private void Die()
    {
        var whole = journal.Aggregate(MovesState.Empty, static (sum, happened) => sum.Apply(happened));
        state = random.Next(2) == 0 ? whole : MovesState.FromSnapshot(MovesSnapshot.Parser.ParseFrom(whole.ToSnapshot().ToByteArray()));
        watch = BreakerWatch.After(state.Breaker);
    }

    private void Check()
    {
        var moving = claims.Where(static claim => claim.Migration is { Outcome: null }).Select(static claim => (claim.Id, claim.Host))
            .Union(state.OpenMoves.Select(static move => (Id: move.ClaimId, Host: move.From))).DistinctBy(static one => one.Id).ToArray();
        Assert.True(moving.Length <= Limits.PerFabric, $"{moving.Length} moves at once, and {Limits.PerFabric} may");
        Assert.All(moving.CountBy(static one => one.Host), leaving => Assert.True(leaving.Value <= Limits.PerHost, $"{leaving.Value} moves leave {leaving.Key} at once, and {Limits.PerHost} may"));
    }

    private void Place(string id)
    {
        var model = Models[random.Next(2)];
        var group = random.Next(4) == 0 ? "group" : null;
        var free = hosts.FirstOrDefault(host => FreeOf(host.Name, model) > 0 && (group is null || !claims.Any(other => other.ApartFrom == group && other.IsAt(host.Name))));
        if (free is not null)
            claims.Add(new ModelClaim(id, model, free.Name, random.Next(5) == 0 ? free.Label : null, group));
    }

    public int FreeOf(string host, string model) =>
        hosts.Single(one => one.Name == host).Devices.Count(device => device == model) - claims.Count(claim => claim.Model == model && claim.IsAt(host));

    public bool Suits(ModelClaim claim, string host) =>
        (claim.Select is null || hosts.Single(one => one.Name == host).Label == claim.Select)
        && (claim.ApartFrom is null || !claims.Any(other => other != claim && other.ApartFrom == claim.ApartFrom && other.IsAt(host)));

    public bool Fails => random.NextDouble() < failing;

    public bool Lasts => random.Next(3) > 0;

    private DevicePlace DeviceAt(ModelHost host, string model, int slot)
    {
        var before = host.Devices.Take(slot).Count(device => device == model);
        var holder = claims.Where(claim => claim.Model == model && claim.IsAt(host.Name)).Skip(before).FirstOrDefault();
        return new DevicePlace($"{slot}", model, Free: holder is null, Sick: false, holder?.Id);
    }

    private sealed record ModelHost(string Name, string Label, string[] Devices);
}

/// <summary>A claim as far as moves are concerned: it keeps the promises that the real one makes.</summary>
internal sealed class ModelClaim(string id, string model, string host, string? select, string? apartFrom)
{
    private readonly List<MigrationView> migrations = [];

    public string Id => id;

    public string Model => model;

    public string Host { get; private set; } = host;

    public string? Select => select;

    public string? ApartFrom => apartFrom;

    public MigrationView? Migration => migrations.LastOrDefault();

    public int Committed => migrations.Count(static migration => migration.Outcome == "committed");

    public int Failed => migrations.Count(static migration => migration.Outcome == "rolled-back");

    public IEnumerable<string?> Requests => migrations.Select(static migration => migration.Request);

    private string? MovesTo => Migration is { Outcome: null } under ? under.ToHost : null;

    public bool IsAt(string where) => Host == where || MovesTo == where;

    public void Hear(ModelFabric fabric, Move move)
    {
        if (migrations.Exists(known => known.Request == move.Request))
            return;
        if (move.From != Host || MovesTo is not null || fabric.FreeOf(move.To, model) <= 0 || !fabric.Suits(this, move.To))
        {
            fabric.Happen(new MoveEnded { Number = move.Number, Outcome = "refused", Reason = "no", At = move.StartedAt });
            return;
        }

        migrations.Add(new MigrationView(
            migrations.Count + 1, Host, [""], move.To, [""], MigrationStep.PreCopy, null, null, DateTimeOffset.UnixEpoch, 0, null, 300, 0, 0, 0, 0, false, null, [], "fabric", move.Cause)
        {
            Request = move.Request,
        });
    }

    public void GoOn(ModelFabric fabric)
    {
        if (Migration is not { Outcome: null } under || fabric.Lasts)
            return;
        var fails = fabric.Fails;
        migrations[^1] = under with { Step = MigrationStep.Done, Outcome = fails ? "rolled-back" : "committed", Reason = fails ? "it broke" : null };
        if (!fails)
            Host = under.ToHost;
    }

    public ClaimPlace Place() => new(
        id, [model], Host, MovesTo is null ? ClaimPhase.Running : ClaimPhase.Migrating, MovesTo, select is null ? [] : [select], apartFrom, [.. migrations]);
}

