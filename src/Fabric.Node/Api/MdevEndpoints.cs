using Fabric.Migration.Fleet;
using Fabric.Vfio;

namespace Fabric.Node.Api;

/// <summary><c>/api/v1/hosts/{host}/mdev</c>: what mediated devices can be made of, and the lifecycle of those that are defined.</summary>
internal static class MdevEndpoints
{
    public static void MapMdevs(this RouteGroupBuilder api)
    {
        var mdevs = api.MapGroup("/hosts/{host}/mdev");
        mdevs.MapGet("/types", TypesAsync)
            .Describe<ListResource<MdevTypeResource>>("ListMdevTypes", "What mediated devices of a host can be, and how many more of each.");
        mdevs.MapGet("", (string host, FabricQueries fabric) => ListAsync(fabric, host, read => Endpoints.Json(Listed(host, read))))
            .Describe<MdevListResource>("ListMdevs", "The mediated devices that a host has defined.");
        mdevs.MapPost("", DefineAsync).Planned()
            .Produces<MdevResource>(StatusCodes.Status201Created)
            .Describe<MdevResource>("DefineMdev", "Defines a mediated device; it is not made before it is started.");

        var mdev = mdevs.MapGroup("/{uuid}");
        mdev.MapGet("", GetAsync).Describe<MdevResource>("GetMdev", "One mediated device.");
        mdev.MapDelete("", UndefineAsync).Planned().Describe<OperationResource>("UndefineMdev", "Forgets a mediated device that is not started.");
        mdev.MapPost("/start", StartAsync).Planned().Describe<MdevResource>("StartMdev", "Makes a mediated device: from then on it is a device of its host.");
        mdev.MapPost("/stop", StopAsync).Planned()
            .Produces<OperationResource>(StatusCodes.Status202Accepted)
            .Describe<OperationResource>("StopMdev", "Takes a mediated device away when its holder has released it; 202 says who is waited for.");
    }

    private static Task<IResult> TypesAsync(string host, FabricQueries fabric) => fabric.AskHostAsync(
        host, new ReadMdevTypes(),
        static reply => reply is MdevTypesRead read ? Endpoints.Json(Endpoints.List(read.Types.Select(Mapping.ToResource))) : null);

    private static Task<IResult> ListAsync(FabricQueries fabric, string host, Func<MdevsRead, IResult> then) =>
        fabric.AskHostAsync(host, new ReadMdevs(), reply => reply is MdevsRead read ? then(read) : null);

    private static MdevListResource Listed(string host, MdevsRead read) => new(
        [.. read.Mdevs.Select(mdev => Mapping.ToResource(host, mdev))],
        [.. read.Unusable.Select(static file => new UnusableMdevResource(file.File, file.Why))]);

    private static Task<IResult> GetAsync(string host, string uuid, FabricQueries fabric) => WithUuid(uuid, parsed => ListAsync(
        fabric, host, read => read.Mdevs.FirstOrDefault(mdev => mdev.Uuid == parsed) is { } found
            ? Endpoints.Json(Mapping.ToResource(host, found))
            : Problems.NotFound($"{host} defines no mdev {parsed}; list its mdevs.")));

    private static Task<IResult> DefineAsync(string host, bool? plan, DefineMdevRequest request, HttpContext http, FabricQueries fabric)
    {
        if (string.IsNullOrEmpty(request.Parent) || string.IsNullOrEmpty(request.Type))
            return Task.FromResult(Problems.Invalid("'parent' and 'type' are needed; list the types of the host."));
        if (request.Start is not (null or "auto" or "manual"))
            return Task.FromResult(Problems.Invalid($"start is '{Endpoints.Shown(request.Start)}'; it must be auto or manual."));
        return WithUuid(request.Uuid ?? Guid.NewGuid().ToString(), uuid => fabric.AskHostAsync(
            host,
            new PlanMdev(uuid, Endpoints.Shown(request.Parent), Endpoints.Shown(request.Type), request.Start == "auto", Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply is MdevDone done
                ? Results.Json(Mapping.ToResource(host, done.Mdev), ApiJson.Options, statusCode: StatusCodes.Status201Created)
                : null));
    }

    private static Task<IResult> StartAsync(string host, string uuid, bool? plan, HttpContext http, FabricQueries fabric) =>
        WithUuid(uuid, parsed => fabric.AskHostAsync(
            host, new BringMdevUp(parsed, Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply is MdevDone done ? Endpoints.Json(Mapping.ToResource(host, done.Mdev)) : null));

    private static Task<IResult> StopAsync(string host, string uuid, bool? plan, StopMdevRequest? request, HttpContext http, FabricQueries fabric)
    {
        if (request?.ForceAfterS is < 0 or > 86_400)
            return Task.FromResult(Problems.Invalid($"force_after_s is {request.ForceAfterS}; it must be 0 to 86400."));
        return WithUuid(uuid, parsed => fabric.AskHostAsync(
            host, new TakeMdevDown(parsed, request?.ForceAfterS * 1000, Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply switch
            {
                HolderAwaited awaited => Results.Json(
                    new OperationResource($"{host}/{parsed}", "waiting", awaited.Holder, awaited.Sentence), ApiJson.Options,
                    statusCode: StatusCodes.Status202Accepted),
                MdevDone => Endpoints.Json(new OperationResource($"{host}/{parsed}", "done")),
                _ => null,
            }));
    }

    private static Task<IResult> UndefineAsync(string host, string uuid, bool? plan, HttpContext http, FabricQueries fabric) =>
        WithUuid(uuid, parsed => fabric.AskHostAsync(
            host, new DropMdev(parsed, Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply is MdevDone ? Endpoints.Json(new OperationResource($"{host}/{parsed}", "done")) : null));

    /// <summary>In the spelling of sysfs alone, in either case: one device must not go by several names.</summary>
    private static Task<IResult> WithUuid(string text, Func<Guid, Task<IResult>> then) => Guid.TryParseExact(text, "D", out var uuid)
        ? then(uuid)
        : Task.FromResult(Problems.Of(
            StatusCodes.Status400BadRequest, "Invalid request", ProblemCode.InvalidRequest,
            $"'{Endpoints.Shown(text)}' is no UUID; write it as 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001.", nameof(Errno.EINVAL)));
}
