using System.Globalization;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;

namespace Fabric.Node.Api;

/// <summary>From what nodes tell each other to what people are shown.</summary>
internal static class Mapping
{
    public static HostResource ToResource(FleetHost host)
    {
        var claimable = host.Inventory?.Devices.Where(device => device.Model is not null).ToArray() ?? [];
        return new HostResource(
            host.Name,
            host.State,
            host.Address,
            host.Inventory?.Api,
            host.Inventory?.Version ?? "",
            host.Inventory?.Devices.Length ?? 0,
            claimable.Length,
            claimable.Count(device => device.State == "closed"));
    }

    public static DeviceResource ToResource(string host, DeviceEntry device) => new(
        $"{host}/{device.Address}",
        host,
        device.Address,
        device.Ids,
        device.Model,
        device.Physical ? "physical" : "emulated",
        device.Driver,
        device.State,
        device.Health,
        device.Reason,
        device.WayBack,
        device.MigrationState,
        device.Claim,
        device.StateBytes,
        device.IommuGroup,
        device.PhysicalFunction,
        device.VirtualFunctions,
        device.ResetMethods);

    /// <summary>Lines with their depth become a tree again.</summary>
    /// <param name="lines">Not empty; each node before what is below it.</param>
    public static InspectResource ToResource(IReadOnlyList<InspectLine> lines)
    {
        var at = 0;
        return Node();

        InspectResource Node()
        {
            var line = lines[at++];
            var children = new List<InspectResource>();
            while (at < lines.Count && lines[at].Depth > line.Depth)
                children.Add(Node());
            return new InspectResource(line.Name, line.Value, children);
        }
    }

    public static ClaimResource ToResource(ClaimView claim) => new(
        claim.Id,
        claim.Model,
        Word(claim.Phase),
        claim.Host,
        claim.Device,
        claim.Generation,
        claim.Coordinator,
        claim.Phase == ClaimPhase.Migrating ? MigrationId(claim, claim.Migrations[^1]) : null,
        claim.Message,
        claim.CreatedAt,
        claim.Workload is { } seen ? new WorkloadResource(seen.Steps, seen.Lost, seen.Repeated, seen.Torn, seen.LongestGapMs) : null,
        [.. claim.Migrations.Select(migration => ToResource(claim, migration))]);

    public static MigrationResource ToResource(ClaimView claim, MigrationView migration) => new(
        MigrationId(claim, migration),
        claim.Id,
        migration.FromHost,
        migration.ToHost,
        Word(migration.Step),
        migration.Outcome,
        migration.Reason,
        migration.StartedAt,
        migration.TotalMs,
        migration.DowntimeMs,
        migration.DowntimeLimitMs,
        migration.Bytes,
        migration.RemainingBytes,
        migration.BytesPerSecond / 1048576.0,
        migration.Rounds,
        migration.Verified,
        migration.Checksum,
        [.. migration.Phases.Select(phase => new PhaseResource(phase.Name, phase.Ms, phase.Downtime))],
        migration.RequestedBy);

    public static EventResource ToResource(NumberedEvent numbered) => new(
        numbered.Id, numbered.Event.Time, numbered.Event.Kind, numbered.Event.Subject, numbered.Event.Node, numbered.Event.Message);

    private static string MigrationId(ClaimView claim, MigrationView migration) =>
        string.Create(CultureInfo.InvariantCulture, $"{claim.Id}.{migration.Number}");

    private static string Word(ClaimPhase phase) => phase.ToString().ToLowerInvariant();

    private static string Word(MigrationStep step) => step switch
    {
        MigrationStep.Reserve => "reserve",
        MigrationStep.PreCopy => "pre-copy",
        MigrationStep.StopCopy => "stop-copy",
        MigrationStep.Run => "run",
        MigrationStep.Release => "release",
        MigrationStep.Rollback => "rollback",
        _ => "done",
    };
}
