using System.Globalization;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Hosts;
using MigrationFlags = Fabric.Vfio.Migration.MigrationFlags;

namespace Fabric.Node.Api;

/// <summary>From what nodes tell each other to what people are shown.</summary>
internal static class Mapping
{
    public static HostResource ToResource(FleetHost host, MovesView? moves = null)
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
            claimable.Count(device => device.State == "closed"),
            host.Inventory?.Labels,
            moves?.Drains.FirstOrDefault(drain => drain.Host == host.Name) is { } drain ? ToResource(drain) : null);
    }

    public static DrainResource ToResource(DrainView drain) =>
        new(drain.Host, drain.State, drain.RequestedBy, drain.StartedAt, [.. drain.Claims.Select(ToResource)], Some(drain.More));

    /// <summary>Nothing is shown of none.</summary>
    public static int? Some(int number) => number == 0 ? null : number;

    public static MovingClaimResource ToResource(MovingClaim claim) => new(
        claim.ClaimId, claim.State, claim.From, claim.To, claim.Reason,
        claim.Migration == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"{claim.ClaimId}.{claim.Migration}"));

    public static RebalanceResource ToResource(RebalanceView? rebalance) => rebalance is null
        ? new RebalanceResource("none", null, null, [])
        : new RebalanceResource(
            rebalance.State, rebalance.RequestedBy, rebalance.StartedAt, [.. rebalance.Claims.Select(ToResource)], Some(rebalance.More));

    public static BreakerResource ToResource(BreakerView breaker) => new(
        breaker.Reason is null ? "closed" : "tripped", breaker.Reason, breaker.TrippedAt, breaker.ResetBy, breaker.ResetAt, breaker.Misbehaving,
        Some(breaker.More));

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
        device.ResetMethods,
        device.MdevUuid?.ToString(),
        device.DriverOverride,
        device.DriverReason,
        device.PassedOver.Length == 0 ? null : [.. device.PassedOver.Select(static passed => new PassedOverResource(passed.Driver, passed.Reason))]);

    public static DriverResource ToResource(string host, DriverLine driver) => new(
        host, driver.Name, driver.Plugin, driver.Version, driver.State, driver.Reason, driver.Ids, driver.Model, driver.Priority, driver.InFrontOf,
        driver.Devices);

    public static SocketResource ToResource(string host, ServedEntry served) =>
        new($"{host}/{served.Device}", served.Socket, served.IsConfigured, served.Clients, served.Reason);

    public static MdevTypeResource ToResource(MdevTypeEntry type) => new(type.Parent, type.Type, type.Name, type.Description, type.Available);

    public static MdevResource ToResource(string host, MdevEntry mdev) => new(
        $"{host}/{mdev.Uuid}",
        host,
        mdev.Uuid.ToString(),
        mdev.Parent,
        mdev.Type,
        mdev.AutoStart ? "auto" : "manual",
        mdev.State,
        mdev.Device is { } address ? $"{host}/{address}" : null,
        mdev.Reason);

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
        [.. claim.Migrations.Select(migration => ToResource(claim, migration))],
        claim.OnDeviceFailure.ToString().ToLowerInvariant(),
        claim.Trouble is { } trouble ? ToResource(trouble) : null,
        claim.Select.Length > 0 ? claim.Select : null,
        claim.ApartFrom,
        claim.OnHostLoss.ToString().ToLowerInvariant(),
        claim.Lease is { } lease ? new LeaseResource(lease.LengthMs, lease.GrantedAt, lease.EndsAt) : null,
        [.. claim.Devices.Select(static device => new ClaimDeviceResource(device.Model, device.Device))]);

    private static DeviceFailureResource ToResource(TroubleView trouble) => new(
        $"{trouble.Host}/{trouble.Device}",
        trouble.Reason,
        trouble.Readable,
        trouble.Since,
        trouble.Attempts,
        trouble.Outcome,
        trouble.ToHost is { } host ? $"{host}/{trouble.ToDevice}" : null,
        trouble.Ms,
        trouble.DowntimeMs);

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
        migration.RequestedBy,
        migration.Cause,
        migration.PredictedDowntimeMs,
        migration.OnNoConvergence.ToString().ToLowerInvariant(),
        migration.DirtyBytesPerSecond / 1048576.0);

    public static MigrationPlanResource ToResource(MigrationPlanned plan) => new(
        plan.From,
        plan.FromDevices,
        plan.Id is null ? null : plan.Targets[0].Host,
        [.. plan.Targets.Select(target => new TargetPlanResource(target.Host, target.Devices.Length > 0, target.Devices, target.Reasons,
            [.. target.Shown.Select(device => ToResource(target.Host, device))]))],
        plan.StateBytes,
        plan.MemoryBytes,
        plan.BytesPerSecond == 0 ? null : plan.BytesPerSecond / 1048576.0,
        plan.TotalMs,
        plan.DowntimeMs,
        plan.DowntimeLimitMs,
        plan.MeasuredBy,
        [.. plan.Source.Select(device => ToResource(plan.From, device))]);

    private static PlannedDeviceResource ToResource(string host, PlannedDevice device) => new(
        $"{host}/{device.Device}",
        device.Driver,
        device.Flags is { } flags ? [.. Words(flags)] : null,
        device.LogsDma switch { true => "device", false => "none", null => null },
        device.StateFormat,
        device.ResetMethods,
        device.IommuGroup,
        device.Health);

    private static IEnumerable<string> Words(MigrationFlags flags)
    {
        if (flags.HasFlag(MigrationFlags.StopCopy))
            yield return "stop-copy";
        if (flags.HasFlag(MigrationFlags.P2P))
            yield return "p2p";
        if (flags.HasFlag(MigrationFlags.PreCopy))
            yield return "pre-copy";
    }

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
