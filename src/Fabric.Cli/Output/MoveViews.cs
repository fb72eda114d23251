using Fabric.Node.Api;

namespace Fabric.Cli.Output;

/// <summary>What the fabric moves by itself, and what a command would do, as people see it.</summary>
internal static partial class ResourceViews
{
    public static void Show(Screen screen, HostResource host)
    {
        screen.Fields(
            ("host", new Cell(host.Name, Tone.Strong)),
            ("state", new Cell(host.State, host.State == "up" ? Tone.Good : Tone.Bad)),
            ("address", host.Address),
            ("api", host.Api),
            ("version", host.Version),
            ("labels", string.Join(", ", host.Labels ?? [])),
            ("devices", Number(host.Devices)),
            ("claimable", Number(host.Claimable)),
            ("free", Number(host.Free)),
            ("drain", Drain(host)));
        if (host.Drain is not { } drain)
            return;
        screen.Heading("drain");
        Show(screen, drain);
    }

    /// <summary>What became of a command to a host.</summary>
    public static void ShowHost(Screen screen, OperationResource operation) =>
        screen.Fields(("host", new Cell(operation.Device, Tone.Strong)), ("outcome", new Cell(operation.Outcome, Tone.Good)));

    public static void Show(Screen screen, IReadOnlyList<DrainResource> drains)
    {
        if (drains.Count == 0)
            screen.Line("No host is drained.", Tone.Quiet);
        foreach (var drain in drains)
            Show(screen, drain);
    }

    public static void Show(Screen screen, DrainResource drain)
    {
        screen.Fields(
            ("host", new Cell(drain.Host, Tone.Strong)),
            ("state", Drain(drain.State)),
            ("requested by", drain.RequestedBy),
            ("since", Units.Moment(drain.StartedAt)));
        Show(screen, drain.Claims, drain.MoreClaims);
    }

    public static void Show(Screen screen, RebalanceResource rebalance)
    {
        screen.Fields(
            ("rebalance", new Cell(rebalance.State, rebalance.State == "running" ? Tone.Warning : Tone.Strong)),
            ("requested by", rebalance.RequestedBy),
            ("since", rebalance.StartedAt is { } since ? Units.Moment(since) : null));
        Show(screen, rebalance.Claims, rebalance.MoreClaims);
    }

    public static void Show(Screen screen, BreakerResource breaker) => screen.Fields(
        ("breaker", new Cell(breaker.State, breaker.State == "closed" ? Tone.Good : Tone.Bad)),
        ("automatic moves", breaker.State == "closed" ? "go on" : "stand, until 'fabric breaker reset'"),
        ("reason", breaker.Reason),
        ("tripped", breaker.TrippedAt is { } tripped ? Units.Moment(tripped) : null),
        ("reset", breaker.ResetAt is { } reset ? $"{Units.Moment(reset)} by {breaker.ResetBy}" : null),
        ("misbehaving", string.Join(", ", [.. breaker.Misbehaving ?? [], .. breaker.MoreMisbehaving is { } more ? [$"and {more} more"] : Array.Empty<string>()])));

    public static void Show(Screen screen, PlanResource plan)
    {
        screen.Fields(
            ("plan", new Cell(plan.Id, Tone.Strong)),
            ("possible", new Cell(plan.Possible ? "yes" : "no", plan.Possible ? Tone.Good : Tone.Bad)),
            ("would", plan.Would));
        foreach (var reason in plan.Reasons ?? [])
            screen.Line($"  {reason}", Tone.Warning);
        foreach (var affected in plan.Affects ?? [])
            screen.Line($"  affects {affected}");
        Show(screen, plan.Moves, plan.MoreMoves);
        if (plan.Migration is { } migration)
            Show(screen, migration);
    }

    private static void Show(Screen screen, MigrationPlanResource migration)
    {
        screen.Fields(
            ("carries", $"{Units.Bytes(migration.StateBytes)} of device state, {Units.Bytes(migration.MemoryBytes)} of memory"),
            ("rate", migration.MibPerS is { } rate
                ? $"{Units.Rate(rate)}, as {migration.MeasuredBy} measured it"
                : "unknown: nothing has migrated yet"),
            ("total", migration.TotalMs is { } total ? Units.Time(total) : null),
            ("downtime", migration.DowntimeMs is { } downtime
                ? $"{Units.Time(downtime)}, if the stop carries as much as that one's (limit {Units.Time(migration.DowntimeLimitMs)})"
                : $"known from the claim's first migration on (limit {Units.Time(migration.DowntimeLimitMs)})"));
        var sheet = new Sheet("host", "possible", "devices", "reason");
        foreach (var target in migration.Targets)
        {
            var possible = target.Possible ? new Cell("yes", Tone.Good) : new Cell("no", Tone.Bad);
            sheet.Add(target.Host, possible, string.Join(", ", target.Devices), string.Join(" ", target.Reasons));
        }

        if (migration.Targets.Count > 0)
            screen.Table(sheet);
        Show(screen, [.. migration.Source ?? [], .. migration.Targets.FirstOrDefault(static target => target.Possible)?.Found ?? []]);
    }

    /// <summary>Source and target of a plan, one below the other.</summary>
    private static void Show(Screen screen, IReadOnlyList<PlannedDeviceResource> devices)
    {
        if (devices.Count == 0)
            return;
        var sheet = new Sheet("device", "driver", "migrates", "dirty tracking", "state format", "reset", "iommu group", "health");
        foreach (var device in devices)
        {
            sheet.Add(
                device.Id, device.Driver, device.Migrates is { } words ? string.Join(", ", words) : "known when open", device.DirtyTracking ?? "known when open",
                device.StateFormat, string.Join(", ", device.ResetMethods), device.IommuGroup is { } group ? Number(group) : null,
                new Cell(device.Health, device.Health == "Healthy" ? Tone.Good : Tone.Bad));
        }

        screen.Table(sheet);
    }

    private static void Show(Screen screen, IReadOnlyList<MovingClaimResource>? claims, int? more)
    {
        if (claims is not { Count: > 0 })
            return;
        var sheet = new Sheet("claim", "state", "from", "to", "migration", "reason");
        foreach (var claim in claims)
        {
            var tone = claim.State switch { "moved" => Tone.Good, "blocked" or "stayed" => Tone.Bad, _ => Tone.Warning };
            sheet.Add(claim.Claim, new Cell(claim.State, tone), claim.From, claim.To, claim.Migration, claim.Reason);
        }

        screen.Table(sheet);
        if (more is not null)
            screen.Line($"… and {more} more claims.", Tone.Quiet);
    }

    private static Cell Drain(HostResource host) => host.Drain is { } drain ? Drain(drain.State) : null;

    private static Cell Drain(string state) => new(state, state switch { "drained" => Tone.Good, "blocked" => Tone.Bad, _ => Tone.Warning });
}
