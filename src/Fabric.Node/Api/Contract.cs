using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Fabric.Node.Api;

/// <summary>How everything under <c>/api/v1</c> is written: snake_case members, nulls left out.</summary>
internal static class ApiJson
{
    /// <summary>The longest body a request may have; what is asked fits in a few lines.</summary>
    public const int MaxRequestBytes = 64 << 10;

    public static JsonSerializerOptions Options { get; } = Configure(new JsonSerializerOptions(JsonSerializerDefaults.Web));

    public static JsonSerializerOptions Configure(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
        options.DictionaryKeyPolicy = JsonNamingPolicy.SnakeCaseLower;
        options.DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull;
        return options;
    }
}

/// <summary><c>GET /api/v1/hosts</c>: one daemon with the role <c>host</c>.</summary>
/// <param name="State"><c>up</c>, <c>unreachable</c> or <c>down</c>.</param>
/// <param name="Address">Cluster address, <c>ip:port</c>.</param>
/// <param name="Free">Claimable functions nobody holds.</param>
internal sealed record HostResource(
    string Name, string State, string Address, string? Api, string Version, int Devices, int Claimable, int Free);

/// <summary><c>GET /api/v1/devices</c>: one PCI function of one host.</summary>
/// <param name="Id">Fabric-wide: <c>host/0000:3b:00.2</c>.</param>
/// <param name="Ids"><c>vendor:device</c>, hexadecimal.</param>
/// <param name="Model">What claims ask for, such as <c>accelerator-vf</c>; a real function has none.</param>
/// <param name="Kind"><c>emulated</c>, or <c>physical</c>: inventory only, read from sysfs.</param>
/// <param name="State">
/// <c>probing</c>, <c>closed</c>, <c>open</c>, <c>recovering</c>, <c>removing</c>, <c>quarantined</c> or <c>inventory</c>.
/// </param>
/// <param name="Health"><c>Healthy</c>, <c>Unhealthy</c> or <c>Unknown</c>.</param>
/// <param name="Reason">Why it is not Healthy, or what it waits for.</param>
/// <param name="WayBack">What leads back to Healthy.</param>
/// <param name="MigrationState">The migration v2 state, such as <c>RUNNING</c> or <c>PRE_COPY</c>.</param>
/// <param name="VirtualFunctions">VFs that there are of it.</param>
internal sealed record DeviceResource(
    string Id, string Host, string Address, string Ids, string? Model, string Kind, string? Driver, string State, string Health,
    string? Reason, string? WayBack, string? MigrationState, string? Claim, long? StateBytes, int? IommuGroup, string? PhysicalFunction,
    int VirtualFunctions, IReadOnlyList<string> ResetMethods);

/// <summary><c>GET /api/v1/devices/{host}/{address}/history?limit=</c>: one entry; newest last.</summary>
/// <param name="Kind">A word such as <c>quarantined</c>.</param>
internal sealed record DeviceEventResource(DateTimeOffset Time, string Kind, string Message);

/// <summary><c>GET /api/v1/devices/{host}/{address}/inspect</c>: the live state of supervisor, driver and core, as a tree.</summary>
/// <param name="Value">Absent where the node only holds others.</param>
internal sealed record InspectResource(string Name, string? Value, IReadOnlyList<InspectResource> Children);

/// <summary><c>POST /api/v1/devices/{host}/{address}/reset</c>; the body may be left out.</summary>
/// <param name="Method">
/// As sysfs spells it: <c>device_specific</c>, <c>acpi</c>, <c>flr</c>, <c>af_flr</c>, <c>pm</c>, <c>bus</c> or <c>cxl_bus</c>; the first that
/// works when absent.
/// </param>
internal sealed record ResetDeviceRequest(string? Method = null);

/// <summary><c>POST /api/v1/devices/{host}/{address}/quarantine</c>; the body may be left out.</summary>
/// <param name="Reason">Why, for its history; at most 500 characters.</param>
internal sealed record QuarantineRequest(string? Reason = null);

/// <summary><c>POST /api/v1/devices/{host}/{address}/remove</c>; the body may be left out.</summary>
/// <param name="ForceAfterS">Its holder's sessions are closed by force after so many seconds, 0 to 86400; never when absent.</param>
internal sealed record RemoveDeviceRequest(int? ForceAfterS = null);

/// <summary><c>PUT /api/v1/devices/{host}/{address}/reset-methods</c>.</summary>
/// <param name="Methods">Tried in this order, of those that the device has, each once; none turns resets of the function off.</param>
internal sealed record ResetMethodsRequest(IReadOnlyList<string>? Methods);

/// <summary><c>PUT /api/v1/devices/{host}/{address}/sriov</c>.</summary>
/// <param name="Count">VFs that the PF shall have; 0 removes them.</param>
internal sealed record SriovRequest(int? Count);

/// <summary>The VFs that a PF has now, by address.</summary>
internal sealed record SriovResource(string Device, IReadOnlyList<string> VirtualFunctions);

/// <summary><c>POST /api/v1/devices/{host}/{address}/faults</c>: a fault made in an emulated function, or ended.</summary>
/// <param name="Kind"><c>aer</c>; <c>hang</c>, ended by <c>release</c>; <c>remove</c>, ended by <c>return</c>; or <c>flap</c>.</param>
/// <param name="Severity">Of <c>aer</c>: <c>correctable</c>, <c>non-fatal</c> or <c>fatal</c>.</param>
/// <param name="Point">Of <c>hang</c>, the calls that do not return: <c>config</c>, <c>region</c>, <c>reset</c> or <c>sriov</c>.</param>
/// <param name="Times">Of <c>flap</c>, 1 to 100; default 1.</param>
/// <param name="EachMs">Of <c>flap</c>, how long the link is down, and up, each time; 1 to 60000, default 100.</param>
internal sealed record FaultRequest(string? Kind, string? Severity = null, string? Point = null, int? Times = null, int? EachMs = null);

/// <param name="Recovery">Of <c>aer</c>: what came of it.</param>
internal sealed record FaultResource(string Device, string Kind, RecoveryResource? Recovery = null);

/// <summary>The recovery that an injected error led to.</summary>
/// <param name="Outcome"><c>recovered</c>, <c>failed</c> or <c>logged</c> (correctable).</param>
/// <param name="Steps">What the recovery machine did, in order, such as <c>error_detected(normal): 0000:3b:00.1 CAN_RECOVER</c>.</param>
internal sealed record RecoveryResource(string Device, string Severity, string Outcome, double Milliseconds, IReadOnlyList<string> Steps);

/// <summary>What became of a command to a device.</summary>
/// <param name="Outcome"><c>done</c>, or (202) <c>waiting</c>: it goes on, and waits for <see cref="Holder"/>.</param>
/// <param name="Holder">Who is asked for release.</param>
/// <param name="Message">What it waits for, and what ends it.</param>
internal sealed record OperationResource(string Device, string Outcome, string? Holder = null, string? Message = null);

/// <summary><c>POST /api/v1/claims</c>.</summary>
/// <param name="Id">Chosen by the caller, so that the request can be repeated; lowercase letters, digits and dashes.</param>
/// <param name="Model">The device model; default <c>accelerator-vf</c>.</param>
/// <param name="Host">Where; any host with a free function when absent.</param>
/// <param name="Device">Which function of that host, as <c>0000:3b:00.2</c>; the first free one when absent.</param>
/// <param name="MemoryMib">Memory of the consumer, in MiB, 1 to 1024; default 16.</param>
/// <param name="StepsPerSecond">Pace of the workload; default 20000.</param>
internal sealed record CreateClaimRequest(
    string Id, string? Model = null, string? Host = null, string? Device = null, int? MemoryMib = null, int? StepsPerSecond = null);

/// <summary><c>GET /api/v1/claims/{id}</c>: a consumer's hold on a device.</summary>
/// <param name="Phase"><c>placing</c>, <c>running</c>, <c>migrating</c>, <c>releasing</c>, <c>released</c> or <c>failed</c>.</param>
/// <param name="Generation">Grows with every change of runner; hosts refuse an older one.</param>
/// <param name="Coordinator">Name of the control node that has the claim's shard now.</param>
/// <param name="Migration">Id of the migration under way.</param>
/// <param name="Message">Why it is as it is, where that is not plain.</param>
internal sealed record ClaimResource(
    string Id, string Model, string Phase, string? Host, string? Device, long Generation, string? Coordinator, string? Migration,
    string? Message, DateTimeOffset CreatedAt, WorkloadResource? Workload, IReadOnlyList<MigrationResource> Migrations);

/// <summary>What the consumer saw in its own memory, checked step by step.</summary>
/// <param name="Steps">Steps checked.</param>
/// <param name="Lost">Steps that never arrived.</param>
/// <param name="Repeated">Steps that arrived twice.</param>
/// <param name="Torn">Records whose check word does not match.</param>
/// <param name="LongestGapMs">Longest time without a new step since its last migration began, or else since it started, in milliseconds.</param>
internal sealed record WorkloadResource(long Steps, long Lost, long Repeated, long Torn, double LongestGapMs);

/// <summary><c>POST /api/v1/claims/{id}/verify</c>: the whole of consumer memory and device state against the step count.</summary>
/// <param name="MemoryRecords">Records compared in consumer memory.</param>
/// <param name="DeviceCells">Counters compared in device state.</param>
/// <param name="Damaged">Records and counters that are not what the step count says.</param>
internal sealed record VerificationResource(long Steps, long MemoryRecords, long DeviceCells, long Damaged);

/// <summary><c>POST /api/v1/claims/{id}/migrations</c>.</summary>
/// <param name="To">Target host.</param>
/// <param name="DowntimeMs">Limit of the stop, milliseconds; past it the source runs again. Default 300.</param>
/// <param name="TimeoutS">Limit of the whole, seconds. Default 600.</param>
/// <param name="BandwidthMibS">Limit of the pre-copy, MiB/s; 0 is none.</param>
internal sealed record StartMigrationRequest(string To, int? DowntimeMs = null, int? TimeoutS = null, int? BandwidthMibS = null);

/// <summary><c>GET /api/v1/migrations/{id}</c>.</summary>
/// <param name="Id"><c>claim.n</c>, counted from 1 in each claim.</param>
/// <param name="Phase"><c>reserve</c>, <c>pre-copy</c>, <c>stop-copy</c>, <c>commit</c>, <c>run</c>, <c>release</c>, <c>rollback</c> or <c>done</c>.</param>
/// <param name="Outcome"><c>committed</c>, <c>rolled-back</c> or <c>cancelled</c>, once it is decided and carried out; <c>failed</c> where the claim runs nowhere.</param>
/// <param name="Reason">Why it was rolled back.</param>
/// <param name="Bytes">Payload carried: device state, consumer memory, consumer state.</param>
/// <param name="RemainingBytes">Estimate of what a stop now would still have to carry.</param>
/// <param name="Verified">Length and checksum of both ends were equal before the commit.</param>
/// <param name="Phases">How long each phase took.</param>
internal sealed record MigrationResource(
    string Id, string Claim, string From, string To, string Phase, string? Outcome, string? Reason, DateTimeOffset StartedAt,
    double TotalMs, double? DowntimeMs, int DowntimeLimitMs, long Bytes, long RemainingBytes, double MibPerS, int Rounds,
    bool Verified, string? Checksum, IReadOnlyList<PhaseResource> Phases, string RequestedBy);

/// <summary>One phase of a migration; those of the downtime are marked.</summary>
internal sealed record PhaseResource(string Name, double Ms, bool Downtime);

/// <summary>One event of <c>GET /api/v1/events</c> (server-sent; the event name is <see cref="Kind"/>, the id is <see cref="Id"/>).</summary>
/// <param name="Subject">What it is about: a claim, migration, host or device id.</param>
internal sealed record EventResource(long Id, DateTimeOffset Time, string Kind, string Subject, string Node, string Message, JsonObject? Data = null);

/// <summary>A collection.</summary>
internal sealed record ListResource<T>(IReadOnlyList<T> Items);

/// <summary>RFC 9457 problem document. <c>code</c> is ours: a stable word a program can switch on.</summary>
/// <param name="Errno">Of what a device refused or failed at, a Linux errno by its name, such as <c>EBUSY</c>.</param>
internal sealed record ProblemResource(
    string Type, string Title, int Status, string Detail, string Code, string? Instance = null, string? Errno = null);

/// <summary>The stable words in <see cref="ProblemResource.Code"/>.</summary>
internal static class ProblemCode
{
    /// <summary>400: the request itself is wrong.</summary>
    public const string InvalidRequest = "invalid-request";

    /// <summary>404.</summary>
    public const string NotFound = "not-found";

    /// <summary>409: looked at both ends and said no; nothing was changed.</summary>
    public const string RefusedByPlan = "refused-by-plan";

    /// <summary>409: not in this state, such as a cancel after the commit.</summary>
    public const string Conflict = "conflict";

    /// <summary>403 or 422: the device does not do that, or not with this value.</summary>
    public const string DeviceRefused = "device-refused";

    /// <summary>502: the device, or the call to its hardware, failed.</summary>
    public const string DeviceFailed = "device-failed";

    /// <summary>503: the journal cannot be written, such as on a full disk.</summary>
    public const string JournalUnavailable = "journal-unavailable";

    /// <summary>503: this daemon has not joined a cluster with a control node, or has lost it.</summary>
    public const string NotJoined = "not-joined";

    /// <summary>504: no answer within the deadline.</summary>
    public const string Timeout = "timeout";
}

/// <summary>What a running daemon writes to <c>endpoints.json</c> in its data directory.</summary>
/// <param name="Cluster"><c>ip:port</c> for other nodes' seed lists.</param>
/// <param name="Api">Base address of the HTTP API.</param>
/// <param name="DataPlane"><c>ip:port</c> of the data plane; hosts only.</param>
internal sealed record EndpointsDocument(string Name, int Pid, string Cluster, string Api, string? DataPlane);
