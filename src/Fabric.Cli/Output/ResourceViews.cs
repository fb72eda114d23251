using System.Globalization;
using Fabric.Node.Api;

namespace Fabric.Cli.Output;

/// <summary>The API's resources as people see them.</summary>
internal static partial class ResourceViews
{
    public static void Show(Screen screen, IReadOnlyList<HostResource> hosts)
    {
        if (hosts.Count == 0)
        {
            screen.Line("No hosts have joined.", Tone.Quiet);
            return;
        }

        // Few hosts have labels or are drained.
        var hasLabels = hosts.Any(static host => host.Labels is { Count: > 0 });
        var hasDrains = hosts.Any(static host => host.Drain is not null);
        Column[] more = [.. hasLabels ? ["labels"] : Array.Empty<Column>(), .. hasDrains ? ["drain"] : Array.Empty<Column>()];
        var sheet = new Sheet(
            ["host", "state", "address", "api", "version", Column.OfNumbers("devices"), Column.OfNumbers("claimable"), Column.OfNumbers("free"), .. more]);
        foreach (var host in hosts)
        {
            Cell[] labels = hasLabels ? [string.Join(", ", host.Labels ?? [])] : [];
            Cell[] drain = hasDrains ? [Drain(host)] : [];
            sheet.Add(
            [
                host.Name, new Cell(host.State, host.State == "up" ? Tone.Good : Tone.Bad), host.Address, host.Api, host.Version,
                Number(host.Devices), Number(host.Claimable), Number(host.Free), .. labels, .. drain,
            ]);
        }

        screen.Table(sheet);
    }

    public static void Show(Screen screen, IReadOnlyList<DeviceResource> devices)
    {
        if (devices.Count == 0)
        {
            screen.Line("No devices.", Tone.Quiet);
            return;
        }

        // Most hosts have none, and a table is wide enough without.
        var hasMdevs = devices.Any(static device => device.MdevUuid is not null);
        Column[] mdevColumn = hasMdevs ? ["mdev"] : [];
        var sheet = new Sheet(
            ["device", "ids", "model", "kind", "driver", "state", "health", "migration", "claim", .. mdevColumn, "reason", "way back"]);
        foreach (var device in devices)
        {
            Cell[] mdev = hasMdevs ? [device.MdevUuid] : [];
            sheet.Add(
            [
                device.Id, device.Ids, device.Model, Kind(device), device.Driver, State(device), Health(device), device.MigrationState,
                device.Claim, .. mdev, device.Reason, device.WayBack,
            ]);
        }

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
            ("chosen because", device.DriverReason),
            ("driver override", device.DriverOverride),
            ("state", State(device)),
            ("health", Health(device)),
            ("reason", device.Reason),
            ("way back", device.WayBack),
            ("migration state", device.MigrationState),
            ("claim", device.Claim),
            ("state size", device.StateBytes is { } bytes ? Units.Bytes(bytes) : null),
            ("IOMMU group", device.IommuGroup?.ToString(CultureInfo.InvariantCulture)),
            ("physical function", device.PhysicalFunction),
            ("mdev UUID", device.MdevUuid),
            ("virtual functions", device.VirtualFunctions > 0 ? Number(device.VirtualFunctions) : null),
            ("reset methods", string.Join(", ", device.ResetMethods ?? [])));
        if (device.DriversPassedOver is not { Count: > 0 } others)
            return;
        screen.Heading("drivers passed over");
        var sheet = new Sheet("driver", "why");
        foreach (var other in others)
            sheet.Add(other.Driver, other.Reason);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, IReadOnlyList<SocketResource> sockets)
    {
        if (sockets.Count == 0)
        {
            screen.Line("No sockets: no device of this host is served.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet("device", "socket", "from", Column.OfNumbers("clients"), "reason");
        foreach (var socket in sockets)
            sheet.Add(socket.Device, socket.Socket, Origin(socket), Number(socket.Clients), socket.Reason);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, SocketResource socket) => screen.Fields(
        ("device", new Cell(socket.Device, Tone.Strong)),
        ("socket", socket.Socket),
        ("from", Origin(socket)),
        ("clients", Number(socket.Clients)),
        ("reason", socket.Reason));

    private static string Origin(SocketResource socket) => socket.Configured ? "settings" : "a request";

    public static void Show(Screen screen, IReadOnlyList<MdevTypeResource> types)
    {
        if (types.Count == 0)
        {
            screen.Line("No mdev parents: nothing can be made of its devices.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet("parent", "type", Column.OfNumbers("available"), "name", "description");
        foreach (var type in types)
            sheet.Add(type.Parent, type.Type, Number(type.AvailableInstances), type.Name, type.Description);
        screen.Table(sheet);
    }

    public static void Show(Screen screen, MdevListResource mdevs)
    {
        if (mdevs.Items is not { Count: > 0 })
            screen.Line("No mdevs.", Tone.Quiet);
        var sheet = new Sheet("mdev", "parent", "type", "start", "state", "device", "reason");
        foreach (var mdev in mdevs.Items ?? [])
            sheet.Add(mdev.Id, mdev.Parent, mdev.Type, mdev.Start, State(mdev), mdev.Device, mdev.Reason);
        if (mdevs.Items is { Count: > 0 })
            screen.Table(sheet);
        foreach (var file in mdevs.Unusable ?? [])
            screen.Line($"Left alone: {file.File}: {file.Why}", Tone.Warning);
    }

    public static void Show(Screen screen, MdevResource mdev) => screen.Fields(
        ("mdev", new Cell(mdev.Id, Tone.Strong)),
        ("parent", mdev.Parent),
        ("type", mdev.Type),
        ("start", mdev.Start),
        ("state", State(mdev)),
        ("device", mdev.Device),
        ("reason", mdev.Reason));

    public static void Show(Screen screen, IReadOnlyList<DriverResource> drivers)
    {
        if (drivers.Count == 0)
        {
            screen.Line("No drivers.", Tone.Quiet);
            return;
        }

        var sheet = new Sheet(
            "host", "driver", "from", "state", "matches", "model", Column.OfNumbers("priority"), "in front of", Column.OfNumbers("devices"), "reason");
        foreach (var driver in drivers)
            sheet.Add(
                driver.Host, driver.Name, driver.Plugin is null ? "the box" : $"plugin {driver.Plugin} {driver.Version}".TrimEnd(), State(driver),
                string.Join(' ', driver.Ids), driver.Model, Number(driver.Priority), driver.InFrontOf, Number(driver.Devices), driver.Reason);
        screen.Table(sheet);
    }

    private static Cell State(DriverResource driver) => new(driver.State, driver.State switch
    {
        "loaded" => Tone.Good,
        "refused" => Tone.Bad,
        _ => Tone.Quiet,
    });

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
                claim.Id, Phase(claim), claim.Host, Together(claim, static device => device.Device), Together(claim, static device => device.Model),
                Number(claim.Generation), claim.Migration,
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
            ("device", DevicesOf(claim) is [var only] && claim.Host is { } host ? $"{host}/{only.Device}" : null),
            ("model", DevicesOf(claim) is [var first] ? first.Model : null),
            ("generation", Number(claim.Generation)),
            ("coordinator", claim.Coordinator),
            ("migration", claim.Migration),
            ("created", Units.Moment(claim.CreatedAt)),
            ("steps", claim.Workload is { } workload ? Units.Count(workload.Steps) : null),
            ("lost", Fault(claim.Workload?.Lost)),
            ("repeated", Fault(claim.Workload?.Repeated)),
            ("torn", Fault(claim.Workload?.Torn)),
            ("longest gap", claim.Workload is { } seen ? Units.Time(seen.LongestGapMs) : null),
            ("on device failure", claim.OnDeviceFailure),
            ("on host loss", claim.OnHostLoss),
            ("lease", claim.Lease is { } lease ? Units.Time(lease.LengthMs) : null),
            ("lease ends", claim.Lease?.EndsAt is { } ends ? Units.Moment(ends) : null),
            ("selects", string.Join(", ", claim.Select ?? [])),
            ("apart from", claim.ApartFrom));
        if (DevicesOf(claim) is { Count: > 1 } several)
        {
            screen.Heading("devices");
            var sheet = new Sheet("device", "model");
            foreach (var device in several)
                sheet.Add($"{claim.Host}/{device.Device}", device.Model);
            screen.Table(sheet);
        }

        if (claim.DeviceFailure is { } failure)
        {
            screen.Heading("device failure");
            screen.Fields(
                ("failed device", failure.Device),
                ("reason", failure.Reason),
                ("readable", failure.Readable ? "yes" : "no"),
                ("since", Units.Moment(failure.Since)),
                ("attempts", Number(failure.Attempts)),
                ("outcome", new Cell(failure.Outcome ?? "open", failure.Outcome is "evacuated" ? Tone.Good : Tone.Warning)),
                ("went to", failure.To),
                ("took", failure.Outcome is null ? null : Units.Time(failure.Ms)),
                ("downtime", failure.DowntimeMs is { } stood ? Downtime(stood) : null));
        }

        if (claim.Migrations is not { Count: > 0 } migrations)
            return;
        screen.Heading("migrations");
        Show(screen, migrations);
    }

    /// <summary>A daemon of before there could be several tells of one.</summary>
    private static IReadOnlyList<ClaimDeviceResource> DevicesOf(ClaimResource claim) =>
        claim.Devices is { Count: > 0 } devices ? devices : claim.Device is { } only ? [new ClaimDeviceResource(claim.Model, only)] : [];

    private static string Together(ClaimResource claim, Func<ClaimDeviceResource, string> part) => string.Join(", ", DevicesOf(claim).Select(part).Distinct());

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
            ("cause", migration.Cause),
            ("total", Units.Time(migration.TotalMs)),
            ("downtime", migration.DowntimeMs is { } downtime
                ? $"{Downtime(downtime)} (limit {Units.Time(migration.DowntimeLimitMs)})"
                : null),
            ("predicted", migration.PredictedDowntimeMs is { } predicted ? $"{Units.Time(predicted)} of downtime, when the stop began" : null),
            ("carried", $"{Units.Bytes(migration.Bytes)} in {Units.Rounds(migration.Rounds)}, {Units.Rate(migration.MibPerS)}"),
            ("changes", migration.DirtyMibPerS is { } dirty ? Units.Rate(dirty) : null),
            ("on no convergence", migration.OnNoConvergence),
            ("remaining", migration.Outcome is null ? Units.Bytes(migration.RemainingBytes) : null),
            ("verified", migration.Verified ? "yes" : "no"),
            ("checksum", migration.Checksum));
        if (migration.Phases is not { Count: > 0 } phases)
            return;
        screen.Heading("phases");
        // Each begins where the one before it ended.
        var sheet = new Sheet("phase", Column.OfNumbers("after"), Column.OfNumbers("time"), "stops the workload");
        var after = 0.0;
        foreach (var phase in phases)
        {
            sheet.Add(phase.Name, Units.Time(after), Units.Time(phase.Ms), phase.Downtime ? "yes" : "no");
            after += phase.Ms;
        }

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

    private static Cell State(MdevResource mdev) => new(mdev.State, mdev.State switch
    {
        "started" => Tone.Good,
        "stopped" => mdev.Reason is null ? Tone.Normal : Tone.Bad,
        _ => Tone.Warning,
    });

    public static Cell Health(DeviceResource device) =>
        new(device.Health, device.Health switch { "Healthy" => Tone.Good, "Unhealthy" => Tone.Bad, _ => Tone.Quiet });

    public static Cell Kind(DeviceResource device) =>
        device is { Kind: "physical", State: "inventory" } ? new Cell("physical (read-only)", Tone.Quiet) : device.Kind;

    private static Cell Fault(long? count) =>
        count is { } faults ? new Cell(Units.Count(faults), faults == 0 ? Tone.Good : Tone.Bad) : (string?)null;

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
