using System.Diagnostics;
using System.Globalization;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Pci;

namespace Fabric.Node.Api;

/// <summary>Everything under <c>/api/v1</c>, and health.</summary>
internal static partial class Endpoints
{
    private const string DefaultModel = "accelerator-vf";

    /// <summary>Devices of one claim: each has a connection of its own when it moves.</summary>
    private const int MaxDevices = 16;

    private const int MaxLabels = 16;

    public static void MapFabricApi(this WebApplication app)
    {
        app.MapGet("/health/live", () => Results.Text("live")).WithName("Live");
        app.MapGet("/health/ready", (FabricPresence presence, HostOfNode host, FabricSettings settings) => Ready(presence, host, settings)).WithName("Ready");

        var api = app.MapGroup("/api/v1");
        api.MapGet("/hosts", (FabricQueries fabric) => fabric.AskFleetAsync(
                FleetQuestion.AllHosts with { Moves = true },
                fleet => Json(List(fleet.Hosts.Select(host => Mapping.ToResource(host, fleet.Moves))))))
            .Produces<ListResource<HostResource>>().WithName("ListHosts");
        api.MapGet("/hosts/{name}", (string name, FabricQueries fabric) => fabric.AskFleetAsync(
                FleetQuestion.OfHost(name) with { Moves = true },
                fleet => fleet.Hosts.FirstOrDefault(host => host.Name == name) is { } found ? Json(Mapping.ToResource(found, fleet.Moves)) : NoHost(name)))
            .Produces<HostResource>().WithName("GetHost");

        api.MapMoves();
        api.MapDevices();
        api.MapMdevs();
        api.MapDrivers();

        api.MapGet("/claims", (FabricQueries fabric) => fabric.AskFleetAsync(
                FleetQuestion.AllClaims, static fleet => Json(List(fleet.Claims.Select(Mapping.ToResource)))))
            .Produces<ListResource<ClaimResource>>().WithName("ListClaims");
        api.MapPost("/claims", CreateClaimAsync).Planned().Produces<ClaimResource>(StatusCodes.Status202Accepted).WithName("CreateClaim");
        api.MapGet("/claims/{id}", (string id, FabricQueries fabric) =>
                IsId(id) ? fabric.AskClaimAsync(new DescribeClaim(id), Described) : Task.FromResult(NoClaim(id)))
            .Produces<ClaimResource>().WithName("GetClaim");
        api.MapDelete("/claims/{id}", (string id, bool? plan, HttpContext http, FabricQueries fabric) => IsId(id)
                ? fabric.AskClaimAsync(new ReleaseClaim(id, Requester(http)) { PlanOnly = plan == true }, Accepted, plan == true)
                : Task.FromResult(NoClaim(id)))
            .Planned().Produces<ClaimResource>(StatusCodes.Status202Accepted).WithName("ReleaseClaim");
        api.MapPost("/claims/{id}/verify", (string id, FabricQueries fabric) =>
                IsId(id) ? fabric.AskClaimAsync(new VerifyClaim(id), Verified) : Task.FromResult(NoClaim(id)))
            .Produces<VerificationResource>().WithName("VerifyClaim");

        api.MapPost("/claims/{id}/migrations", StartMigrationAsync)
            .Planned().Produces<MigrationResource>(StatusCodes.Status202Accepted).WithName("StartMigration");
        api.MapPost("/claims/{id}/migrations/plan", (string id, StartMigrationRequest? request, HttpContext http, FabricQueries fabric) =>
                StartMigrationAsync(id, request ?? new StartMigrationRequest(), plan: true, http, fabric))
            .Planned().Produces<PlanResource>().WithName("PlanMigration");
        api.MapGet("/migrations", ListMigrationsAsync)
            .Produces<ListResource<MigrationResource>>().WithName("ListMigrations");
        api.MapGet("/migrations/{id}", (string id, FabricQueries fabric) => WithMigration(id, (claim, number) =>
                fabric.AskClaimAsync(new DescribeClaim(claim), reply => reply is ClaimDescribed described ? OneMigration(described.Claim, number, StatusCodes.Status200OK) : null)))
            .Produces<MigrationResource>().WithName("GetMigration");
        api.MapPost("/migrations/{id}/cancel", (string id, bool? plan, HttpContext http, FabricQueries fabric) => WithMigration(id, (claim, number) =>
                fabric.AskClaimAsync(
                    new CancelMigration(claim, number, Requester(http)) { PlanOnly = plan == true },
                    reply => reply is ClaimAccepted accepted ? OneMigration(accepted.Claim, number, StatusCodes.Status202Accepted) : Accepted(reply),
                    plan == true)))
            .Planned().Produces<MigrationResource>(StatusCodes.Status202Accepted).WithName("CancelMigration");

        api.MapGet("/events", FollowEvents).Produces<EventResource>(contentType: "text/event-stream").WithName("FollowEvents");
    }

    // ---- Health ----------------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Ready: a member, with what its roles ask for started, and a control node in sight. A host that cannot write down what happens to its devices
    /// is ready, and says that it is degraded: it serves them all the same.
    /// </summary>
    private static IResult Ready(FabricPresence presence, HostOfNode host, FabricSettings settings)
    {
        if (presence.Current is not { } membership || !membership.IsUp)
            return Problems.NotJoined($"{settings.Node.Name} has not joined a fabric yet.");
        if (membership.Claims is null)
            return Problems.NotJoined($"{settings.Node.Name} has joined and is starting its part.");
        return membership.Members.Controls.Any(membership.Members.IsReachable)
            ? Results.Text(host.System?.HistoryTrouble is { } why ? $"ready, degraded: histories of devices are not written down: {why}" : "ready")
            : Problems.NotJoined("No control node of the fabric answers; devices go on meanwhile.");
    }

    // ---- Claims ----------------------------------------------------------------------------------------------------------------------

    private static async Task<IResult> CreateClaimAsync(CreateClaimRequest request, bool? plan, HttpContext http, FabricQueries fabric)
    {
        if (!IsId(request.Id))
            return Problems.Invalid($"'{Shown(request.Id)}' is not a claim id; use lowercase letters, digits and dashes, at most 63.");
        if (DevicesOf(request, out var devices) is { } unfit)
            return Problems.Invalid(unfit);
        if (request.MemoryMib is < 1 or > 1024)
            return Problems.Invalid($"memory_mib is {request.MemoryMib}; it must be 1 to 1024.");
        if (request.StepsPerSecond is < 1 or > 1_000_000)
            return Problems.Invalid($"steps_per_second is {request.StepsPerSecond}; it must be 1 to 1000000.");
        if (PolicyOf(request.OnDeviceFailure) is not { } policy)
            return Problems.Invalid($"on_device_failure is '{Shown(request.OnDeviceFailure)}'; it must be evacuate, restart or stay.");
        if (HostLossPolicyOf(request.OnHostLoss) is not { } onHostLoss)
            return Problems.Invalid($"on_host_loss is '{Shown(request.OnHostLoss)}'; it must be wait or restart.");
        if (request.LeaseSeconds is not null && onHostLoss != HostLossPolicy.Restart)
            return Problems.Invalid("lease_seconds is given, and the claim has no lease: that is of on_host_loss restart; give both, or neither.");
        var lease = request.LeaseSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : LeaseTerms.Default;
        if (lease < LeaseTerms.Least || lease > LeaseTerms.Most)
            return Problems.Invalid($"lease_seconds is {request.LeaseSeconds}; it must be {LeaseTerms.Least.TotalSeconds} to {LeaseTerms.Most.TotalSeconds}.");
        if (request.Select is { Count: > MaxLabels })
            return Problems.Invalid($"select has {request.Select.Count} labels; at most {MaxLabels} are taken.");
        // An item may be null, whatever its type says: JSON has no word on that.
        foreach (var wrong in (request.Select ?? []).Where(static label => !PlacementWords.IsLabel(label)))
            return Problems.Invalid($"select has '{Shown(wrong)}'; write key=value, such as zone=a.");
        if (request.ApartFrom is not null && !PlacementWords.IsGroup(request.ApartFrom))
            return Problems.Invalid($"apart_from is '{Shown(request.ApartFrom)}'; a group is named by letters, digits, dots, dashes and underscores, at most 63.");
        return await fabric.AskClaimAsync(
            new CreateClaim(
                request.Id,
                devices,
                request.Host,
                (request.MemoryMib ?? 16) * 1024L * 1024,
                request.StepsPerSecond ?? 20_000,
                Requester(http),
                fabric.Deadline,
                policy)
            {
                Select = [.. request.Select ?? []],
                ApartFrom = request.ApartFrom,
                PlanOnly = plan == true,
                OnHostLoss = onHostLoss,
                LeaseMs = onHostLoss == HostLossPolicy.Restart ? (int)lease.TotalMilliseconds : 0,
            },
            Accepted, plan == true);
    }

    private static HostLossPolicy? HostLossPolicyOf(string? word) => word switch
    {
        null or "wait" => HostLossPolicy.Wait,
        "restart" => HostLossPolicy.Restart,
        _ => null,
    };

    /// <summary>The devices that are asked for, in the short form or the long one; else what is wrong with them.</summary>
    private static string? DevicesOf(CreateClaimRequest request, out DeviceAsk[] devices)
    {
        devices = [];
        if (request.Devices is not null && (request.Model ?? request.Device) is not null)
            return "'devices' says what 'model' and 'device' say of one; give either.";
        var asked = request.Devices ?? [new ClaimDeviceRequest(request.Model, request.Device)];
        if (asked.Count is 0 or > MaxDevices)
            return $"'devices' has {asked.Count} devices; a claim has 1 to {MaxDevices}.";
        if (asked.Any(static one => one is null))
            return "'devices' has a null in it; write each as {\"model\": …, \"device\": …}.";
        if (asked.FirstOrDefault(static one => one.Device is not null && !PciAddress.TryParse(one.Device, out _)) is { } misnamed)
            return PciAddress.Malformed(Shown(misnamed.Device));
        if (request.Host is null && asked.Any(static one => one.Device is not null))
            return "A device is named without its host, and an address names a slot of a host; give both, or neither.";
        devices = [.. asked.Select(static one => new DeviceAsk(
            one.Model ?? DefaultModel, one.Device is null ? null : PciAddress.Parse(one.Device).ToString()))];
        return null;
    }

    private static DeviceFailurePolicy? PolicyOf(string? word) => word switch
    {
        null or "evacuate" => DeviceFailurePolicy.Evacuate,
        "restart" => DeviceFailurePolicy.Restart,
        "stay" => DeviceFailurePolicy.Stay,
        _ => null,
    };

    private static IResult? Accepted(object reply) => reply switch
    {
        ClaimAccepted accepted => Results.Json(Mapping.ToResource(accepted.Claim), ApiJson.Options, statusCode: StatusCodes.Status202Accepted),
        ClaimPlanned planned => Plans.Answer(possible: true, planned.Would, [], []),
        _ => null,
    };

    private static IResult? Described(object reply) => reply is ClaimDescribed described ? Json(Mapping.ToResource(described.Claim)) : null;

    private static IResult? Verified(object reply) => reply is ClaimVerified { Result: var result }
        ? Json(new VerificationResource(result.Steps, result.MemoryRecords, result.DeviceCells, result.Damaged))
        : null;

    // ---- Migrations ------------------------------------------------------------------------------------------------------------------

    private static async Task<IResult> StartMigrationAsync(string id, StartMigrationRequest request, bool? plan, HttpContext http, FabricQueries fabric)
    {
        if (!IsId(id))
            return NoClaim(id);
        if (string.IsNullOrEmpty(request.To) && request.Plan is null && plan != true)
            return Problems.Invalid("'to' is missing; name the target host, or a plan.");
        if (request.DowntimeMs is < 1 or > 600_000)
            return Problems.Invalid($"downtime_ms is {request.DowntimeMs}; it must be 1 to 600000.");
        if (request.TimeoutS is < 1 or > 86_400)
            return Problems.Invalid($"timeout_s is {request.TimeoutS}; it must be 1 to 86400.");
        if (request.BandwidthMibS is < 0 or > 1_000_000)
            return Problems.Invalid($"bandwidth_mib_s is {request.BandwidthMibS}; it must be 0 (no limit) to 1000000.");
        if (StrategyOf(request.OnNoConvergence) is not { } strategy)
            return Problems.Invalid($"on_no_convergence is '{Shown(request.OnNoConvergence)}'; it must be continue, stop or cancel.");
        return await fabric.AskClaimAsync(
            new StartMigration(
                id, request.To ?? "", request.DowntimeMs ?? 300, (request.TimeoutS ?? 600) * 1000, (request.BandwidthMibS ?? 0) * 1024L * 1024, Requester(http),
                strategy)
            {
                Traceparent = Activity.Current is { Recorded: true } asking ? asking.Id : null,
                Plan = request.Plan,
                PlanOnly = plan == true,
            },
            reply => reply switch
            {
                ClaimAccepted accepted => OneMigration(accepted.Claim, accepted.Claim.Migrations[^1].Number, StatusCodes.Status202Accepted),
                MigrationPlanned planned => Plans.Answer(planned),
                _ => null,
            },
            plan == true);
    }

    /// <summary>Of every claim that is known, or of one; newest last.</summary>
    /// <param name="outcome">As a migration shows it, or <c>open</c> for those under way.</param>
    private static Task<IResult> ListMigrationsAsync(string? claim, DateTimeOffset? since, string? outcome, FabricQueries fabric) =>
        outcome is not (null or "open" or "committed" or "rolled-back" or "cancelled" or "failed")
            ? Task.FromResult(Problems.Invalid($"outcome is '{Shown(outcome)}'; it must be open, committed, rolled-back, cancelled or failed."))
            : fabric.AskFleetAsync(FleetQuestion.OfClaim(claim), fleet => Json(List(
                from known in fleet.Claims
                where claim is null || known.Id == claim
                from migration in known.Migrations
                where since is null || migration.StartedAt >= since
                where outcome is null || (migration.Outcome ?? "open") == outcome
                orderby migration.StartedAt
                select Mapping.ToResource(known, migration))));

    private static NoConvergence? StrategyOf(string? word) => word switch
    {
        null or "continue" => NoConvergence.Continue,
        "stop" => NoConvergence.Stop,
        "cancel" => NoConvergence.Cancel,
        _ => null,
    };

    private static Task<IResult> WithMigration(string id, Func<string, int, Task<IResult>> then)
    {
        var dot = id.LastIndexOf('.');
        return dot > 0 && IsId(id[..dot]) && int.TryParse(id.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? then(id[..dot], number)
            : Task.FromResult(Problems.NotFound($"There is no migration '{id}'; a migration is named claim.number, such as demo.1."));
    }

    private static IResult OneMigration(ClaimView claim, int number, int status) =>
        claim.Migrations.FirstOrDefault(migration => migration.Number == number) is { } found
            ? Results.Json(Mapping.ToResource(claim, found), ApiJson.Options, statusCode: status)
            : Problems.NotFound($"Claim {claim.Id} has no migration {claim.Id}.{number}; list its migrations.");

    // ---- Events ----------------------------------------------------------------------------------------------------------------------

    /// <summary>A control node tells its own; a host passes on those of the first control node that answers.</summary>
    private static IResult FollowEvents(HttpContext http, FabricPresence presence)
    {
        if (presence.Current is not { Claims: not null } membership)
            return Problems.NotJoined("This daemon is not part of a fabric at the moment; wait for it to join, or look at its log.");
        var members = membership.Members;
        if (members.Controls.Where(members.IsReachable).OrderByDescending(control => FabricMembers.NameOf(control) == members.Self).FirstOrDefault() is not { } teller)
            return Problems.NotJoined("No control node of the fabric answers; start one. Devices go on meanwhile.");
        _ = long.TryParse(http.Request.Headers["Last-Event-ID"], NumberStyles.None, CultureInfo.InvariantCulture, out var after);
        return TypedResults.ServerSentEvents(AsItems(FabricQueries.FollowAsync(membership, teller, after, http.RequestAborted), http.RequestAborted));
    }

    private static async IAsyncEnumerable<SseItem<EventResource>> AsItems(
        IAsyncEnumerable<NumberedEvent> events, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await foreach (var numbered in events.WithCancellation(cancellation))
        {
            var resource = Mapping.ToResource(numbered);
            yield return new SseItem<EventResource>(resource, resource.Kind) { EventId = resource.Id.ToString(CultureInfo.InvariantCulture) };
        }
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    internal static IResult Json<T>(T resource) => Results.Json(resource, ApiJson.Options);

    internal static ListResource<T> List<T>(IEnumerable<T> items) => new([.. items]);

    internal static IResult NoHost(string name) => Problems.NotFound($"There is no host {name} in the fabric; list the hosts.");

    private static IResult NoClaim(string id) => Problems.NotFound($"There is no claim {id}; list the claims.");

    /// <summary>What a caller sent, in one line of bounded length.</summary>
    internal static string Shown(string? text) => new([.. (text ?? "").Take(80).Select(letter => char.IsControl(letter) ? '?' : letter)]);

    private static bool IsId(string? id) => id is not null && Id().IsMatch(id);

    /// <summary>Who asks, for the record: there is no authentication yet, so it is what the caller says and where from.</summary>
    internal static string Requester(HttpContext http)
    {
        var agent = http.Request.Headers["Fabric-Requester"].ToString();
        var name = new string([.. agent.Where(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_' or '@' or '.').Take(64)]);
        return name.Length > 0 ? name : $"{http.Connection.RemoteIpAddress}";
    }

    // Not $: that matches before a last newline too, and the id becomes part of an actor's name.
    [GeneratedRegex(@"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")]
    private static partial Regex Id();
}
