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
/// <param name="Labels"><c>key=value</c> each; of a host that has told of itself.</param>
/// <param name="Drain">Of a host that is drained: how far it is.</param>
internal sealed record HostResource(
    string Name, string State, string Address, string? Api, string Version, int Devices, int Claimable, int Free,
    IReadOnlyList<string>? Labels = null, DrainResource? Drain = null);

/// <summary><c>POST /api/v1/hosts/{name}/drain</c>; the body may be left out. Asked again, what had failed is tried again.</summary>
/// <param name="DowntimeMs">Limit of the stop of each claim that moves away, milliseconds. Default 300.</param>
internal sealed record DrainRequest(int? DowntimeMs = null);

/// <summary><c>GET /api/v1/drains</c>: a host that takes no claims, and from which those that it has move away.</summary>
/// <param name="State"><c>draining</c>, <c>drained</c>, or <c>blocked</c>: what is left cannot move, each claim for its reason.</param>
/// <param name="MoreClaims">So many follow that an answer to a command does not show; <c>GET</c> shows them all.</param>
internal sealed record DrainResource(
    string Host, string State, string RequestedBy, DateTimeOffset StartedAt, IReadOnlyList<MovingClaimResource> Claims, int? MoreClaims = null);

/// <summary>A claim that the fabric moves by itself.</summary>
/// <param name="State"><c>planned</c>, <c>waiting</c>, <c>blocked</c>, <c>moving</c>, <c>moved</c> or <c>stayed</c>.</param>
/// <param name="Reason">Why it moves, waits, or stayed where it was.</param>
/// <param name="Migration">Id of the migration that it is, or was.</param>
internal sealed record MovingClaimResource(string Claim, string State, string From, string? To, string? Reason, string? Migration);

/// <summary><c>POST /api/v1/rebalance</c>; the body may be left out.</summary>
/// <param name="DowntimeMs">Limit of the stop of each claim that moves, milliseconds. Default 300.</param>
internal sealed record RebalanceRequest(int? DowntimeMs = null);

/// <summary><c>GET /api/v1/rebalance</c>: the last one.</summary>
/// <param name="State"><c>none</c>, <c>running</c>, or what came of it.</param>
/// <param name="MoreClaims">As of a drain.</param>
internal sealed record RebalanceResource(
    string State, string? RequestedBy, DateTimeOffset? StartedAt, IReadOnlyList<MovingClaimResource> Claims, int? MoreClaims = null);

/// <summary><c>GET /api/v1/breaker</c>: it stops drains, rebalances, and claims that leave sick devices, when too much misbehaves.</summary>
/// <param name="State"><c>closed</c>: automatic moves go on; or <c>tripped</c>: they stand.</param>
/// <param name="Reason">Why it has tripped.</param>
/// <param name="Misbehaving">Hosts and devices that misbehave at the moment.</param>
/// <param name="MoreMisbehaving">So many more that an answer to a command does not show; <c>GET</c> shows them all.</param>
internal sealed record BreakerResource(
    string State, string? Reason, DateTimeOffset? TrippedAt, string? ResetBy, DateTimeOffset? ResetAt, IReadOnlyList<string> Misbehaving,
    int? MoreMisbehaving = null);

/// <summary>Answer to any changing request with <c>?plan=true</c>: what it would do. Nothing was changed.</summary>
/// <param name="Id">A digest of what the plan stands on.</param>
/// <param name="Possible">Whether the request would be carried out as things are.</param>
/// <param name="Would">What it would do, in a sentence.</param>
/// <param name="Reasons">Why not, each with its remedy.</param>
/// <param name="Affects">Who else is concerned: holders, siblings of a reset.</param>
/// <param name="Moves">Claims that would move.</param>
/// <param name="MoreMoves">So many more, which are too many to show.</param>
/// <param name="Migration">Of a migration.</param>
internal sealed record PlanResource(
    string Id, bool Possible, string Would, IReadOnlyList<string> Reasons, IReadOnlyList<string> Affects, IReadOnlyList<MovingClaimResource>? Moves = null,
    int? MoreMoves = null, MigrationPlanResource? Migration = null);

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
/// <param name="MdevUuid">The UUID of a mediated device.</param>
/// <param name="DriverOverride">The one driver that may be bound, or <c>vfio-pci</c> for the core alone; absent for any.</param>
/// <param name="DriverReason">Why it has this driver, or none.</param>
/// <param name="DriversPassedOver">The other drivers that match it, the best first.</param>
internal sealed record DeviceResource(
    string Id, string Host, string Address, string Ids, string? Model, string Kind, string? Driver, string State, string Health,
    string? Reason, string? WayBack, string? MigrationState, string? Claim, long? StateBytes, int? IommuGroup, string? PhysicalFunction,
    int VirtualFunctions, IReadOnlyList<string> ResetMethods, string? MdevUuid = null, string? DriverOverride = null, string? DriverReason = null,
    IReadOnlyList<PassedOverResource>? DriversPassedOver = null);

/// <param name="Reason">Why this driver does not have the device.</param>
internal sealed record PassedOverResource(string Driver, string Reason);

/// <summary><c>PUT /api/v1/devices/{host}/{address}/driver-override</c>; a <c>DELETE</c> clears it.</summary>
/// <param name="Driver">The one driver that may be bound, or <c>vfio-pci</c> for the core alone.</param>
internal sealed record DriverOverrideRequest(string? Driver);

/// <summary><c>GET /api/v1/hosts/{name}/drivers</c>: a driver, or a plugin of which no driver is loaded.</summary>
/// <param name="Name">Absent of a plugin whose drivers are not known.</param>
/// <param name="Plugin">The folder that it came from; absent of one in the box.</param>
/// <param name="State"><c>loaded</c>, <c>refused</c>, <c>unloaded</c>, or <c>leaving</c>: unloaded, and in memory still.</param>
/// <param name="Reason">Why it is not loaded.</param>
/// <param name="Ids">
/// The functions that it matches, each as <c>vendor:device</c>, <c>*</c> for any, with <c>:subvendor:subdevice</c> and <c>/class</c> where it says
/// so; <c>vfio_pci:</c> before one that counts only where driver_override names the driver.
/// </param>
/// <param name="Model">What claims call its functions.</param>
/// <param name="Priority">Decides between drivers that match equally specifically.</param>
/// <param name="InFrontOf">The driver that it stands in front of.</param>
/// <param name="Devices">Functions that have it.</param>
internal sealed record DriverResource(
    string Host, string? Name, string? Plugin, string? Version, string State, string? Reason, IReadOnlyList<string> Ids, string? Model, int Priority,
    string? InFrontOf, int Devices);

/// <summary><c>POST /api/v1/hosts/{name}/drivers/load</c>; the body may be left out.</summary>
/// <param name="Plugin">A folder in that of drivers; all that are not loaded when absent.</param>
internal sealed record LoadDriversRequest(string? Plugin = null);

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

/// <summary><c>PUT /api/v1/devices/{host}/{address}/socket</c>.</summary>
/// <param name="Socket">The path of a UNIX socket on the device's host, absolute, at most 107 bytes.</param>
internal sealed record ServeDeviceRequest(string? Socket);

/// <summary>Body of <c>PUT /api/v1/devices/{host}/{address}/binding</c>.</summary>
/// <param name="Force">Takes a function that the machine itself needs.</param>
/// <param name="Group">Takes what is in its way in its IOMMU group with it.</param>
internal sealed record BindDeviceRequest(bool? Force, bool? Group);

/// <summary>A device that its host serves to a VMM by vfio-user.</summary>
/// <param name="Device"><c>host/0000:3b:00.2</c>.</param>
/// <param name="Socket">A path on that host.</param>
/// <param name="Configured">The host's settings say so; else somebody asked for it, and it lasts as long as the daemon.</param>
/// <param name="Clients">Connections; one of them has the device.</param>
/// <param name="Reason">Why nobody can connect now; absent where one can.</param>
internal sealed record SocketResource(string Device, string Socket, bool Configured, int Clients, string? Reason);

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

/// <summary><c>GET /api/v1/hosts/{host}/mdev/types</c>: something that a mediated device of the host can be.</summary>
/// <param name="Parent">What such a device is a part of.</param>
/// <param name="AvailableInstances">How many more could be made now; the types of one parent may share what they are made of.</param>
internal sealed record MdevTypeResource(string Parent, string Type, string Name, string Description, int AvailableInstances);

/// <summary><c>GET /api/v1/hosts/{host}/mdev/{uuid}</c>: a mediated device that is defined, whether or not it is there.</summary>
/// <param name="Id"><c>host/uuid</c>.</param>
/// <param name="Start"><c>auto</c> (whenever the host starts) or <c>manual</c>.</param>
/// <param name="State"><c>defining</c>, <c>stopped</c>, <c>starting</c>, <c>started</c>, <c>stopping</c> or <c>undefining</c>.</param>
/// <param name="Device">The device that it is while it is there, <c>host/fabd:3b:00.2</c>.</param>
/// <param name="Reason">Why it is not there although it should be, or what it waits for.</param>
internal sealed record MdevResource(
    string Id, string Host, string Uuid, string Parent, string Type, string Start, string State, string? Device, string? Reason);

/// <summary><c>GET /api/v1/hosts/{host}/mdev</c>.</summary>
/// <param name="Unusable">What was found among the definitions when the host started, and is left alone.</param>
internal sealed record MdevListResource(IReadOnlyList<MdevResource> Items, IReadOnlyList<UnusableMdevResource> Unusable);

internal sealed record UnusableMdevResource(string File, string Why);

/// <summary><c>POST /api/v1/hosts/{host}/mdev</c>.</summary>
/// <param name="Uuid">Chosen by the caller, so that the request can be repeated; a random one when absent.</param>
/// <param name="Start"><c>auto</c> or <c>manual</c>, the default.</param>
internal sealed record DefineMdevRequest(string? Parent, string? Type, string? Uuid = null, string? Start = null);

/// <summary><c>POST /api/v1/hosts/{host}/mdev/{uuid}/stop</c>; the body may be left out.</summary>
/// <param name="ForceAfterS">Its holder's sessions are closed by force after so many seconds, 0 to 86400; never when absent.</param>
internal sealed record StopMdevRequest(int? ForceAfterS = null);

/// <summary><c>POST /api/v1/claims</c>.</summary>
/// <param name="Id">Chosen by the caller, so that the request can be repeated; lowercase letters, digits and dashes.</param>
/// <param name="Model">The device model; default <c>accelerator-vf</c>. With <paramref name="Device"/> the short form of one device.</param>
/// <param name="Host">Where; any host with a free function when absent.</param>
/// <param name="Device">Which function of that host, as <c>0000:3b:00.2</c>; the first free one when absent.</param>
/// <param name="MemoryMib">Memory of the consumer, in MiB, 1 to 1024; default 16.</param>
/// <param name="StepsPerSecond">Pace of the workload; default 20000.</param>
/// <param name="OnDeviceFailure">
/// What becomes of it when its device is taken out of service, or lost: <c>evacuate</c> (default) moves it away with its state while that can be
/// read, and stops it else; <c>restart</c> moves it away as well, and starts it afresh elsewhere where the state is lost; <c>stay</c> does nothing.
/// </param>
/// <param name="Devices">The long form: 1 to 16 devices, all of one host; in place of <paramref name="Model"/> and <paramref name="Device"/>.</param>
/// <param name="Select">Labels that its host must have, wherever it moves: <c>key=value</c> each, at most 16.</param>
/// <param name="ApartFrom">A group of claims of which no two are on one host.</param>
/// <param name="OnHostLoss">
/// What becomes of it when its host is lost: <c>wait</c> (default) waits for that host; <c>restart</c> runs it under a lease, and starts it afresh
/// elsewhere when that has ended for certain.
/// </param>
/// <param name="LeaseSeconds">Length of that lease, 10 to 3600; default 60.</param>
internal sealed record CreateClaimRequest(
    string Id, string? Model = null, string? Host = null, string? Device = null, int? MemoryMib = null, int? StepsPerSecond = null,
    string? OnDeviceFailure = null, IReadOnlyList<string>? Select = null, string? ApartFrom = null, string? OnHostLoss = null,
    int? LeaseSeconds = null, IReadOnlyList<ClaimDeviceRequest>? Devices = null);

/// <summary>One of several devices that a claim asks for.</summary>
/// <param name="Model">The device model; default <c>accelerator-vf</c>.</param>
/// <param name="Device">Which function of the host, as <c>0000:3b:00.2</c>; a free one when absent.</param>
internal sealed record ClaimDeviceRequest(string? Model = null, string? Device = null);

/// <summary><c>GET /api/v1/claims/{id}</c>: a consumer's hold on devices.</summary>
/// <param name="Model">Of the first device.</param>
/// <param name="Device">The first function.</param>
/// <param name="Phase"><c>placing</c>, <c>running</c>, <c>migrating</c>, <c>restarting</c>, <c>releasing</c>, <c>released</c> or <c>failed</c>.</param>
/// <param name="Generation">Grows with every change of runner; hosts refuse an older one.</param>
/// <param name="Coordinator">Name of the control node that has the claim's shard now.</param>
/// <param name="Migration">Id of the migration under way.</param>
/// <param name="Message">Why it is as it is, where that is not plain.</param>
/// <param name="OnDeviceFailure"><c>evacuate</c>, <c>restart</c> or <c>stay</c>.</param>
/// <param name="OnHostLoss"><c>wait</c> or <c>restart</c>.</param>
/// <param name="DeviceFailure">The last time that a device of it was taken out of service, or lost.</param>
/// <param name="Devices">All of them, in the order that they were asked for.</param>
internal sealed record ClaimResource(
    string Id, string Model, string Phase, string? Host, string? Device, long Generation, string? Coordinator, string? Migration,
    string? Message, DateTimeOffset CreatedAt, WorkloadResource? Workload, IReadOnlyList<MigrationResource> Migrations,
    string? OnDeviceFailure = null, DeviceFailureResource? DeviceFailure = null, IReadOnlyList<string>? Select = null, string? ApartFrom = null,
    string? OnHostLoss = null, LeaseResource? Lease = null, IReadOnlyList<ClaimDeviceResource>? Devices = null);

/// <summary>One device of a claim.</summary>
internal sealed record ClaimDeviceResource(string Model, string Device);

/// <summary>The lease under which a claim runs that is started afresh elsewhere when its host is lost.</summary>
/// <param name="GrantedAt">Last; absent before the first.</param>
/// <param name="EndsAt">Its host stops it by itself before this, if it cannot renew the lease.</param>
internal sealed record LeaseResource(double LengthMs, DateTimeOffset? GrantedAt, DateTimeOffset? EndsAt);

/// <summary>A device of a claim that was taken out of service, or lost, and what became of the claim.</summary>
/// <param name="Device"><c>host/0000:3b:00.2</c>.</param>
/// <param name="Readable">Its state could be moved away.</param>
/// <param name="Since">When the claim heard of it.</param>
/// <param name="Attempts">Migrations that were started for it.</param>
/// <param name="Outcome"><c>evacuated</c>, <c>restarted-afresh</c>, <c>stopped</c> or <c>released</c>; absent while it lasts.</param>
/// <param name="To">Where the claim went.</param>
/// <param name="Ms">From the claim hearing of it to the outcome, or to now.</param>
/// <param name="DowntimeMs">How long the workload stood, where it was evacuated.</param>
internal sealed record DeviceFailureResource(
    string Device, string Reason, bool Readable, DateTimeOffset Since, int Attempts, string? Outcome, string? To, double Ms, double? DowntimeMs);

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
/// <param name="To">Target host; may be left out where a plan is given, or asked for: every host is looked at then.</param>
/// <param name="Plan">Id of a plan that must hold still, else nothing is begun.</param>
/// <param name="DowntimeMs">Limit of the stop, milliseconds; past it the source runs again. Default 300.</param>
/// <param name="TimeoutS">Limit of the whole, seconds. Default 600.</param>
/// <param name="BandwidthMibS">Limit of the pre-copy, MiB/s; 0 is none.</param>
/// <param name="OnNoConvergence">
/// When the workload changes its state as fast as it is sent: <c>continue</c> (default) until the limit of the whole, <c>stop</c> the workload all
/// the same, for longer than its limit, or <c>cancel</c>.
/// </param>
internal sealed record StartMigrationRequest(
    string? To = null, int? DowntimeMs = null, int? TimeoutS = null, int? BandwidthMibS = null, string? Plan = null,
    string? OnNoConvergence = null);

/// <summary>A migration that is only planned.</summary>
/// <param name="To">Where it would lead; absent where no host can take the claim.</param>
/// <param name="Targets">Every host that was looked at, the best first, each with its answer.</param>
/// <param name="Source">The functions that the claim has, as they are.</param>
/// <param name="MibPerS">As it was measured by <see cref="MeasuredBy"/>; absent where nothing has migrated yet: nothing is known then.</param>
/// <param name="TotalMs">Predicted for carrying everything once at that rate.</param>
/// <param name="DowntimeMs">Predicted, if the stop has to carry as much as the last one.</param>
internal sealed record MigrationPlanResource(
    string From, IReadOnlyList<string> FromDevices, string? To, IReadOnlyList<TargetPlanResource> Targets, long StateBytes, long MemoryBytes,
    double? MibPerS, double? TotalMs, double? DowntimeMs, int DowntimeLimitMs, string? MeasuredBy, IReadOnlyList<PlannedDeviceResource> Source);

/// <param name="Devices">The functions that it would take; none where it can not.</param>
/// <param name="Found">Those functions, as they are.</param>
internal sealed record TargetPlanResource(
    string Host, bool Possible, IReadOnlyList<string> Devices, IReadOnlyList<string> Reasons, IReadOnlyList<PlannedDeviceResource> Found);

/// <summary>A function at either end of a planned migration.</summary>
/// <param name="Migrates">Words of <c>stop-copy</c>, <c>p2p</c>, <c>pre-copy</c>; absent where that is known only when it is open.</param>
/// <param name="DirtyTracking">
/// <c>device</c>: it tells which pages of memory it wrote; <c>none</c>: all of them are sent once more in the stop; absent as above.
/// </param>
/// <param name="StateFormat">What its state is written in; absent where its driver does not say.</param>
internal sealed record PlannedDeviceResource(
    string Id, string? Driver, IReadOnlyList<string>? Migrates, string? DirtyTracking, string? StateFormat, IReadOnlyList<string> ResetMethods,
    int? IommuGroup, string Health);

/// <summary><c>GET /api/v1/migrations/{id}</c>.</summary>
/// <param name="Id"><c>claim.n</c>, counted from 1 in each claim.</param>
/// <param name="Phase"><c>reserve</c>, <c>pre-copy</c>, <c>stop-copy</c>, <c>commit</c>, <c>run</c>, <c>release</c>, <c>rollback</c> or <c>done</c>.</param>
/// <param name="Outcome"><c>committed</c>, <c>rolled-back</c> or <c>cancelled</c>, once it is decided and carried out; <c>failed</c> where the claim runs nowhere.</param>
/// <param name="Reason">Why it was rolled back.</param>
/// <param name="Bytes">Payload carried: device state, consumer memory, consumer state.</param>
/// <param name="RemainingBytes">Estimate of what a stop now would still have to carry.</param>
/// <param name="Verified">Length and checksum of both ends were equal before the commit.</param>
/// <param name="Phases">How long each phase took.</param>
/// <param name="Cause">Why the fabric started it by itself; absent where somebody asked for it.</param>
/// <param name="OnNoConvergence"><c>continue</c>, <c>stop</c> or <c>cancel</c>.</param>
/// <param name="DirtyMibPerS">How fast the workload changes its state; absent where it was not measured.</param>
/// <param name="PredictedDowntimeMs">What the stop was predicted to take when it began.</param>
internal sealed record MigrationResource(
    string Id, string Claim, string From, string To, string Phase, string? Outcome, string? Reason, DateTimeOffset StartedAt,
    double TotalMs, double? DowntimeMs, int DowntimeLimitMs, long Bytes, long RemainingBytes, double MibPerS, int Rounds,
    bool Verified, string? Checksum, IReadOnlyList<PhaseResource> Phases, string RequestedBy, string? Cause = null, double? PredictedDowntimeMs = null,
    string? OnNoConvergence = null, double? DirtyMibPerS = null);

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
