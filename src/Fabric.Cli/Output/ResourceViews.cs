using System.Globalization;
using Fabric.Node.Api;

namespace Fabric.Cli.Output;

/// <summary>The API's resources as people see them.</summary>
internal static class ResourceViews
{
    public static void Show(Screen screen, IReadOnlyList<HostResource> hosts)
    {
        if (hosts.Count == 0)
        {
            screen.Line("No hosts have joined.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet(
            "host", "state", "address", "api", "version", Column.OfNumbers("devices"), Column.OfNumbers("claimable"),
            Column.OfNumbers("free"));
        foreach (var host in hosts)
            sheet.Add(
                host.Name, new Cell(host.State, host.State == "up" ? Tone.Good : Tone.Bad), host.Address, host.Api, host.Version,
                Number(host.Devices), Number(host.Claimable), Number(host.Free));
        screen.Table(sheet);
    }

    public static void Show(Screen screen, IReadOnlyList<DeviceResource> devices)
    {
        if (devices.Count == 0)
        {
            screen.Line("No devices.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet("device", "ids", "model", "kind", "driver", "state", "health", "migration", "claim", "reason", "way back");
        foreach (var device in devices)
            sheet.Add(
                device.Id, device.Ids, device.Model, Kind(device), device.Driver, State(device), Health(device), device.MigrationState,
                device.Claim, device.Reason, device.WayBack);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, DeviceResource device)
    {
        screen.Fields(
            ("device", new Cell(device.Id, Tone.Strong)),
            ("ids", device.Ids),
            ("model", device.Model),
            ("kind", Kind(device)),
            ("driver", device.Driver),
            ("state", State(device)),
            ("health", Health(device)),
            ("reason", device.Reason),
            ("way back", device.WayBack),
            ("migration state", device.MigrationState),
            ("claim", device.Claim),
            ("state size", device.StateBytes is { } bytes ? Units.Bytes(bytes) : null),
            ("IOMMU group", device.IommuGroup?.ToString(CultureInfo.InvariantCulture)),
            ("physical function", device.PhysicalFunction),
            ("virtual functions", device.VirtualFunctions > 0 ? Number(device.VirtualFunctions) : null),
            ("reset methods", string.Join(", ", device.ResetMethods ?? [])));
    }

    public static void Show(Screen screen, IReadOnlyList<DeviceEventResource> history)
    {
        if (history.Count == 0)
        {
            screen.Line("Nothing has happened to it.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet("time", "kind", "message");
        foreach (var entry in history)
            sheet.Add(Units.Moment(entry.Time), entry.Kind, entry.Message);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, InspectResource node) => Show(screen, node, 0);

    private static void Show(Screen screen, InspectResource node, int depth)
    {
        screen.Line($"{new string(' ', 2 * depth)}{node.Name}{(node.Value is { } value ? $": {value}" : "")}");
        foreach (var child in node.Children ?? [])
            Show(screen, child, depth + 1);
    }

    public static void Show(Screen screen, OperationResource operation) => screen.Fields(
        ("device", new Cell(operation.Device, Tone.Strong)),
        ("outcome", new Cell(operation.Outcome, operation.Outcome == "done" ? Tone.Good : Tone.Warning)),
        ("holder", operation.Holder));

    public static void Show(Screen screen, SriovResource sriov) => screen.Fields(
        ("device", new Cell(sriov.Device, Tone.Strong)),
        ("virtual functions", sriov.VirtualFunctions is { Count: > 0 } functions ? string.Join(", ", functions) : "none"));

    public static void Show(Screen screen, FaultResource fault)
    {
        if (fault.Recovery is { } recovery)
            Show(screen, recovery);
        else
            screen.Fields(("device", new Cell(fault.Device, Tone.Strong)), ("fault", fault.Kind), ("outcome", new Cell("done", Tone.Good)));
    }

    public static void Show(Screen screen, RecoveryResource recovery)
    {
        screen.Fields(
            ("device", new Cell(recovery.Device, Tone.Strong)),
            ("severity", recovery.Severity),
            ("outcome", new Cell(recovery.Outcome, recovery.Outcome == "failed" ? Tone.Bad : Tone.Good)),
            ("took", Units.Time(recovery.Milliseconds)));
        foreach (var step in recovery.Steps ?? [])
            screen.Line($"  {step}");
    }

    public static void Show(Screen screen, IReadOnlyList<ClaimResource> claims)
    {
        if (claims.Count == 0)
        {
            screen.Line("No claims.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet(
            "claim", "phase", "host", "device", "model", Column.OfNumbers("generation"), "migration", Column.OfNumbers("steps"),
            Column.OfNumbers("lost"), Column.OfNumbers("repeated"), "message");
        foreach (var claim in claims)
            sheet.Add(
                claim.Id, Phase(claim), claim.Host, claim.Device, claim.Model, Number(claim.Generation), claim.Migration,
                claim.Workload is { } workload ? Units.Count(workload.Steps) : null, Fault(claim.Workload?.Lost),
                Fault(claim.Workload?.Repeated), claim.Message);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, ClaimResource claim)
    {
        screen.Fields(
            ("claim", new Cell(claim.Id, Tone.Strong)),
            ("phase", Phase(claim)),
            ("message", claim.Message),
            ("device", claim.Host is null ? null : $"{claim.Host}/{claim.Device}"),
            ("model", claim.Model),
            ("generation", Number(claim.Generation)),
            ("coordinator", claim.Coordinator),
            ("migration", claim.Migration),
            ("created", Units.Moment(claim.CreatedAt)),
            ("steps", claim.Workload is { } workload ? Units.Count(workload.Steps) : null),
            ("lost", Fault(claim.Workload?.Lost)),
            ("repeated", Fault(claim.Workload?.Repeated)),
            ("torn", Fault(claim.Workload?.Torn)),
            ("longest gap", claim.Workload is { } seen ? Units.Time(seen.LongestGapMs) : null));
        if (claim.Migrations is not { Count: > 0 } migrations)
            return;
        screen.Heading("migrations");
        Show(screen, migrations);
    }

    public static void Show(Screen screen, IReadOnlyList<MigrationResource> migrations)
    {
        if (migrations.Count == 0)
        {
            screen.Line("No migrations.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet(
            "migration", "from", "to", "outcome", Column.OfNumbers("total"), Column.OfNumbers("downtime"), Column.OfNumbers("bytes"),
            Column.OfNumbers("rate"), Column.OfNumbers("rounds"), "verified", "checksum");
        foreach (var migration in migrations)
            sheet.Add(
                migration.Id, migration.From, migration.To, Outcome(migration), Units.Time(migration.TotalMs),
                migration.DowntimeMs is { } downtime ? Downtime(downtime) : null, Units.Bytes(migration.Bytes),
                Units.Rate(migration.MibPerS), Number(migration.Rounds), migration.Verified ? "yes" : "no", migration.Checksum);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, MigrationResource migration)
    {
        screen.Fields(
            ("migration", new Cell(migration.Id, Tone.Strong)),
            ("claim", migration.Claim),
            ("from", migration.From),
            ("to", migration.To),
            ("phase", migration.Phase),
            ("outcome", migration.Outcome is null ? (Cell)(string?)null : Outcome(migration)),
            ("reason", migration.Reason),
            ("started", Units.Moment(migration.StartedAt)),
            ("requested by", migration.RequestedBy),
            ("total", Units.Time(migration.TotalMs)),
            ("downtime", migration.DowntimeMs is { } downtime
                ? $"{Downtime(downtime)} (limit {Units.Time(migration.DowntimeLimitMs)})"
                : null),
            ("carried", $"{Units.Bytes(migration.Bytes)} in {Units.Rounds(migration.Rounds)}, {Units.Rate(migration.MibPerS)}"),
            ("remaining", migration.Outcome is null ? Units.Bytes(migration.RemainingBytes) : null),
            ("verified", migration.Verified ? "yes" : "no"),
            ("checksum", migration.Checksum));
        if (migration.Phases is not { Count: > 0 } phases)
            return;
        screen.Heading("phases");
        var sheet = new Sheet("phase", Column.OfNumbers("time"), "stops the workload");
        foreach (var phase in phases)
            sheet.Add(phase.Name, Units.Time(phase.Ms), phase.Downtime ? "yes" : "no");
        screen.Table(sheet);
    }

    public static void Show(Screen screen, VerificationResource verification) => screen.Fields(
        ("steps", Units.Count(verification.Steps)),
        ("memory records", Units.Count(verification.MemoryRecords)),
        ("device counters", Units.Count(verification.DeviceCells)),
        ("damaged", Fault(verification.Damaged)));

    public static void Show(Screen screen, EventResource happened) => screen.Line(
        $"{Units.Moment(happened.Time)}  {happened.Node}  {happened.Kind}  {happened.Subject}  {happened.Message}");

    /// <summary>0 is a migration that never stopped the workload.</summary>
    private static string Downtime(double ms) => ms > 0 ? Units.Time(ms) : "none";

    public static Cell Outcome(MigrationResource migration) => migration.Outcome switch
    {
        null => new Cell(migration.Phase, Tone.Warning),
        "committed" => new Cell("committed", Tone.Good),
        _ => new Cell(migration.Outcome, Tone.Warning),
    };

    private static Cell Phase(ClaimResource claim) => new(claim.Phase, claim.Phase switch
    {
        "running" => Tone.Good,
        "failed" => Tone.Bad,
        "released" => Tone.Quiet,
        _ => Tone.Warning,
    });

    private static Cell State(DeviceResource device) =>
        new(device.State, device.State switch
        {
            "quarantined" => Tone.Bad,
            "recovering" or "removing" => Tone.Warning,
            "open" => Tone.Good,
            _ => Tone.Normal,
        });

    public static Cell Health(DeviceResource device) =>
        new(device.Health, device.Health switch { "Healthy" => Tone.Good, "Unhealthy" => Tone.Bad, _ => Tone.Quiet });

    public static Cell Kind(DeviceResource device) =>
        device.Kind == "physical" ? new Cell("physical (read-only)", Tone.Quiet) : device.Kind;

    private static Cell Fault(long? count) =>
        count is { } faults ? new Cell(Units.Count(faults), faults == 0 ? Tone.Good : Tone.Bad) : (string?)null;

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
