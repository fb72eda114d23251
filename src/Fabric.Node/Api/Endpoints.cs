using System.Globalization;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Pci;

namespace Fabric.Node.Api;

/// <summary>Everything under <c>/api/v1</c>, and health.</summary>
internal static partial class Endpoints
{
    private const string DefaultModel = "accelerator-vf";

    public static void MapFabricApi(this WebApplication app)
    {
        app.MapGet("/health/live", () => Results.Text("live")).WithName("Live");
        app.MapGet("/health/ready", (FabricPresence presence, HostOfNode host, FabricSettings settings) => Ready(presence, host, settings)).WithName("Ready");

        var api = app.MapGroup("/api/v1");
        api.MapGet("/hosts", (FabricQueries fabric) => fabric.AskFleetAsync(fleet => Json(List(fleet.Hosts.Select(Mapping.ToResource)))))
            .Produces<ListResource<HostResource>>().WithName("ListHosts");
        api.MapGet("/hosts/{name}", (string name, FabricQueries fabric) => fabric.AskFleetAsync(fleet =>
                fleet.Hosts.FirstOrDefault(host => host.Name == name) is { } found ? Json(Mapping.ToResource(found)) : NoHost(name)))
            .Produces<HostResource>().WithName("GetHost");

        api.MapDevices();

        api.MapGet("/claims", (FabricQueries fabric) => fabric.AskFleetAsync(fleet => Json(List(fleet.Claims.Select(Mapping.ToResource)))))
            .Produces<ListResource<ClaimResource>>().WithName("ListClaims");
        api.MapPost("/claims", CreateClaimAsync).Produces<ClaimResource>(StatusCodes.Status202Accepted).WithName("CreateClaim");
        api.MapGet("/claims/{id}", (string id, FabricQueries fabric) =>
                IsId(id) ? fabric.AskClaimAsync(new DescribeClaim(id), Described) : Task.FromResult(NoClaim(id)))
            .Produces<ClaimResource>().WithName("GetClaim");
        api.MapDelete("/claims/{id}", (string id, HttpContext http, FabricQueries fabric) =>
                IsId(id) ? fabric.AskClaimAsync(new ReleaseClaim(id, Requester(http)), Accepted) : Task.FromResult(NoClaim(id)))
            .Produces<ClaimResource>(StatusCodes.Status202Accepted).WithName("ReleaseClaim");
        api.MapPost("/claims/{id}/verify", (string id, FabricQueries fabric) =>
                IsId(id) ? fabric.AskClaimAsync(new VerifyClaim(id), Verified) : Task.FromResult(NoClaim(id)))
            .Produces<VerificationResource>().WithName("VerifyClaim");

        api.MapPost("/claims/{id}/migrations", StartMigrationAsync).Produces<MigrationResource>(StatusCodes.Status202Accepted).WithName("StartMigration");
        api.MapGet("/migrations", (string? claim, FabricQueries fabric) => fabric.AskFleetAsync(fleet => Json(List(
                fleet.Claims.Where(known => claim is null || known.Id == claim).SelectMany(known => known.Migrations.Select(migration => Mapping.ToResource(known, migration)))))))
            .Produces<ListResource<MigrationResource>>().WithName("ListMigrations");
        api.MapGet("/migrations/{id}", (string id, FabricQueries fabric) => WithMigration(id, (claim, number) =>
                fabric.AskClaimAsync(new DescribeClaim(claim), reply => reply is ClaimDescribed described ? OneMigration(described.Claim, number, StatusCodes.Status200OK) : null)))
            .Produces<MigrationResource>().WithName("GetMigration");
        api.MapPost("/migrations/{id}/cancel", (string id, HttpContext http, FabricQueries fabric) => WithMigration(id, (claim, number) =>
                fabric.AskClaimAsync(
                    new CancelMigration(claim, number, Requester(http)),
                    reply => reply is ClaimAccepted accepted ? OneMigration(accepted.Claim, number, StatusCodes.Status202Accepted) : null)))
            .Produces<MigrationResource>(StatusCodes.Status202Accepted).WithName("CancelMigration");

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

    private static async Task<IResult> CreateClaimAsync(CreateClaimRequest request, HttpContext http, FabricQueries fabric)
    {
        if (!IsId(request.Id))
            return Problems.Invalid($"'{Shown(request.Id)}' is not a claim id; use lowercase letters, digits and dashes, at most 63.");
        PciAddress device = default;
        if (request.Device is not null && !PciAddress.TryParse(request.Device, out device))
            return Problems.Invalid($"'{request.Device}' is not a PCI address; write domain:bus:device.function, such as 0000:3b:00.2.");
        if (request.Device is not null && request.Host is null)
            return Problems.Invalid("A device is named without its host, and an address names a slot of a host; give both, or neither.");
        if (request.MemoryMib is < 1 or > 1024)
            return Problems.Invalid($"memory_mib is {request.MemoryMib}; it must be 1 to 1024.");
        if (request.StepsPerSecond is < 1 or > 1_000_000)
            return Problems.Invalid($"steps_per_second is {request.StepsPerSecond}; it must be 1 to 1000000.");
        return await fabric.AskClaimAsync(
            new CreateClaim(
                request.Id,
                request.Model ?? DefaultModel,
                request.Host,
                request.Device is null ? null : device.ToString(),
                (request.MemoryMib ?? 16) * 1024L * 1024,
                request.StepsPerSecond ?? 20_000,
                Requester(http),
                fabric.Deadline),
            Accepted);
    }

    private static IResult? Accepted(object reply) =>
        reply is ClaimAccepted accepted ? Results.Json(Mapping.ToResource(accepted.Claim), ApiJson.Options, statusCode: StatusCodes.Status202Accepted) : null;

    private static IResult? Described(object reply) => reply is ClaimDescribed described ? Json(Mapping.ToResource(described.Claim)) : null;

    private static IResult? Verified(object reply) => reply is ClaimVerified { Result: var result }
        ? Json(new VerificationResource(result.Steps, result.MemoryRecords, result.DeviceCells, result.Damaged))
        : null;

    // ---- Migrations ------------------------------------------------------------------------------------------------------------------

    private static async Task<IResult> StartMigrationAsync(string id, StartMigrationRequest request, HttpContext http, FabricQueries fabric)
    {
        if (!IsId(id))
            return NoClaim(id);
        if (string.IsNullOrEmpty(request.To))
            return Problems.Invalid("'to' is missing; name the target host.");
        if (request.DowntimeMs is < 1 or > 600_000)
            return Problems.Invalid($"downtime_ms is {request.DowntimeMs}; it must be 1 to 600000.");
        if (request.TimeoutS is < 1 or > 86_400)
            return Problems.Invalid($"timeout_s is {request.TimeoutS}; it must be 1 to 86400.");
        if (request.BandwidthMibS is < 0 or > 1_000_000)
            return Problems.Invalid($"bandwidth_mib_s is {request.BandwidthMibS}; it must be 0 (no limit) to 1000000.");
        return await fabric.AskClaimAsync(
            new StartMigration(
                id, request.To, request.DowntimeMs ?? 300, (request.TimeoutS ?? 600) * 1000, (request.BandwidthMibS ?? 0) * 1024L * 1024, Requester(http)),
            reply => reply is ClaimAccepted accepted ? OneMigration(accepted.Claim, accepted.Claim.Migrations[^1].Number, StatusCodes.Status202Accepted) : null);
    }

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
