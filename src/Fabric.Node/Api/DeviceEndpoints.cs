using Fabric.Migration.Fleet;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Node.Api;

/// <summary><c>/api/v1/devices</c>: what is there, and what operators do with it. Each command is one message to the device's host.</summary>
internal static class DeviceEndpoints
{
    private const int MaxReason = 500;
    private const int DefaultHistory = 50;
    private const string NoReason = "an operator took it out of service";
    private const string ProblemType = "application/problem+json";

    public static void MapDevices(this RouteGroupBuilder api)
    {
        api.MapGet("/devices", (string? host, FabricQueries fabric) => fabric.AskFleetAsync(FleetQuestion.OfHost(host), fleet => ListDevices(fleet, host)))
            .Produces<ListResource<DeviceResource>>().WithName("ListDevices");

        var device = api.MapGroup("/devices/{host}/{address}");
        device.MapGet("", (string host, string address, FabricQueries fabric) =>
                fabric.AskFleetAsync(FleetQuestion.OfHost(host), fleet => GetDevice(fleet, host, address)))
            .Produces<DeviceResource>().WithName("GetDevice");
        device.MapGet("/history", HistoryAsync)
            .Describe<ListResource<DeviceEventResource>>("GetDeviceHistory", "What happened to a device, newest last.");
        device.MapGet("/inspect", InspectAsync)
            .Describe<InspectResource>("InspectDevice", "The live state of a device's supervisor, driver and core.");

        device.MapPost("/reset", ResetAsync).Planned().Describe<OperationResource>("ResetDevice", "Resets a device, whoever holds it.");
        device.MapPut("/reset-methods", SetResetMethodsAsync).Planned()
            .Describe<OperationResource>("SetResetMethods", "Which reset methods are tried, and in which order.");
        device.MapPost("/quarantine", QuarantineAsync).Planned()
            .Describe<OperationResource>("QuarantineDevice", "Takes a device out of service: it is handed to nobody until it is put back.");
        device.MapPost("/unquarantine", UnquarantineAsync).Planned()
            .Describe<OperationResource>("UnquarantineDevice", "Resets a device, probes it, and puts it back into service.");
        device.MapPost("/remove", RemoveAsync).Planned()
            .Produces<OperationResource>(StatusCodes.Status202Accepted)
            .Describe<OperationResource>("RemoveDevice", "Takes a device off its bus when its holder has released it; 202 says who is waited for.");
        device.MapPut("/driver-override", OverrideAsync).Planned()
            .Describe<OperationResource>("SetDriverOverride", "Names the one driver that may be bound to a device, and probes it anew.");
        device.MapDelete("/driver-override", ClearOverrideAsync).Planned()
            .Describe<OperationResource>("ClearDriverOverride", "Leaves the choice of a device's driver to its host, and probes it anew.");
        device.MapPut("/binding", BindAsync).Planned()
            .Describe<OperationResource>("BindDevice", "Gives a real function to vfio-pci, and hands it out; again after each start of its host's daemon.");
        device.MapDelete("/binding", UnbindAsync).Planned()
            .Describe<OperationResource>("UnbindDevice", "Gives a real function back to the driver that it had.");
        device.MapPut("/sriov", SetSriovAsync).Planned().Describe<SriovResource>("SetSriov", "Makes so many VFs of a PF, or removes them.");
        device.MapPut("/socket", ServeAsync).Planned()
            .Describe<SocketResource>("ServeDevice", "Serves a device to a VMM by vfio-user, on a socket of its host.");
        device.MapDelete("/socket", EndServingAsync).Planned()
            .Describe<SocketResource>("EndServingDevice", "Puts a device's vfio-user client out, and takes its socket away.");
        api.MapGet("/hosts/{host}/sockets", SocketsAsync)
            .Describe<ListResource<SocketResource>>("ListSockets", "The devices that a host serves to VMMs, and where.");
        device.MapPost("/faults", FaultAsync).Planned().Describe<FaultResource>("InjectFault", "Makes an emulated function fail, or ends that.");
    }

    /// <summary>What a command answers: its resource, or a problem.</summary>
    internal static RouteHandlerBuilder Describe<T>(this RouteHandlerBuilder route, string name, string summary)
    {
        foreach (var status in (int[])[400, 403, 404, 409, 422, 502, 503, 504])
            route.Produces<ProblemResource>(status, ProblemType);
        return route.Produces<T>().WithName(name).WithSummary(summary);
    }

    // ---- Looking ---------------------------------------------------------------------------------------------------------------------

    private static IResult ListDevices(FleetDescribed fleet, string? host)
    {
        if (host is not null && fleet.Hosts.All(known => known.Name != host))
            return Endpoints.NoHost(host);
        return Endpoints.Json(Endpoints.List(
            from known in fleet.Hosts
            where host is null || known.Name == host
            from device in known.Inventory?.Devices ?? []
            select Mapping.ToResource(known.Name, device)));
    }

    private static IResult GetDevice(FleetDescribed fleet, string host, string address)
    {
        if (fleet.Hosts.FirstOrDefault(known => known.Name == host) is not { } found)
            return Endpoints.NoHost(host);
        if (!PciAddress.TryParse(address, out var parsed))
            return NoAddress(address);
        return found.Inventory?.Devices.FirstOrDefault(device => device.Address == parsed.ToString()) is { } device
            ? Endpoints.Json(Mapping.ToResource(host, device))
            : Problems.NotFound($"{host} has no device {parsed}; list its devices.");
    }

    private static Task<IResult> HistoryAsync(string host, string address, int? limit, FabricQueries fabric) => limit is < 1 or > 1000
        ? Task.FromResult(Problems.Invalid($"limit is {limit}; it must be 1 to 1000."))
        : AskAsync(fabric, host, address, device => new ReadHistory(device, limit ?? DefaultHistory), static reply => reply is HistoryRead read
            ? Endpoints.Json(Endpoints.List(read.Lines.Select(static line => new DeviceEventResource(line.Time, line.Kind, line.Message))))
            : null);

    private static Task<IResult> InspectAsync(string host, string address, FabricQueries fabric) =>
        AskAsync(fabric, host, address, static device => new InspectFunction(device), static reply =>
            reply is FunctionInspected { Lines.Length: > 0 } inspected ? Endpoints.Json(Mapping.ToResource(inspected.Lines)) : null);

    // ---- Commands --------------------------------------------------------------------------------------------------------------------

    private static Task<IResult> ResetAsync(string host, string address, bool? plan, ResetDeviceRequest? request, HttpContext http, FabricQueries fabric) =>
        request?.Method is { } method && !ResetMethod.All.Contains(method)
            ? Task.FromResult(NoMethod(method))
            : AskAsync(fabric, host, address, device => new ResetFunction(device, request?.Method, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    private static Task<IResult> SetResetMethodsAsync(
        string host, string address, bool? plan, ResetMethodsRequest request, HttpContext http, FabricQueries fabric)
    {
        if (request.Methods is not { } methods)
            return Task.FromResult(Problems.Invalid("'methods' is missing; list reset methods in the order in which to try them."));
        // An item may be null, whatever its type says: JSON has no word on that.
        foreach (var unknown in methods.Where(static method => !ResetMethod.All.Contains(method)))
            return Task.FromResult(NoMethod(unknown));
        if (methods.Distinct().Count() != methods.Count)
            return Task.FromResult(Problems.Invalid("'methods' has a reset method twice; name each once."));
        return AskAsync(fabric, host, address, device => new ChooseResetMethods(device, [.. methods], Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));
    }

    private static Task<IResult> QuarantineAsync(string host, string address, bool? plan, QuarantineRequest? request, HttpContext http, FabricQueries fabric)
    {
        var reason = request?.Reason?.Trim();
        if (reason?.Length > MaxReason || reason?.Any(char.IsControl) == true)
            return Task.FromResult(Problems.Invalid($"'reason' must be one line of at most {MaxReason} characters."));
        return AskAsync(
            fabric, host, address,
            device => new TakeOutOfService(device, string.IsNullOrEmpty(reason) ? NoReason : reason, Endpoints.Requester(http)) { PlanOnly = plan == true },
            Done(host));
    }

    private static Task<IResult> UnquarantineAsync(string host, string address, bool? plan, HttpContext http, FabricQueries fabric) =>
        AskAsync(fabric, host, address, device => new PutIntoService(device, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    private static Task<IResult> RemoveAsync(string host, string address, bool? plan, RemoveDeviceRequest? request, HttpContext http, FabricQueries fabric)
    {
        if (request?.ForceAfterS is < 0 or > 86_400)
            return Task.FromResult(Problems.Invalid($"force_after_s is {request.ForceAfterS}; it must be 0 to 86400."));
        return AskAsync(
            fabric, host, address, device => new TakeAway(device, request?.ForceAfterS * 1000, Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply is HolderAwaited awaited
                ? Results.Json(
                    new OperationResource($"{host}/{awaited.Device}", "waiting", awaited.Holder, awaited.Sentence), ApiJson.Options,
                    statusCode: StatusCodes.Status202Accepted)
                : Done(host)(reply));
    }

    private static Task<IResult> OverrideAsync(
        string host, string address, bool? plan, DriverOverrideRequest request, HttpContext http, FabricQueries fabric) =>
        string.IsNullOrWhiteSpace(request.Driver)
            ? Task.FromResult(Problems.Invalid("'driver' is missing; name the driver, or vfio-pci for the core alone."))
            : request.Driver.Length > DriverEndpoints.MaxName
            ? Task.FromResult(Problems.Invalid($"'driver' has {request.Driver.Length} characters; the name of a driver has at most {DriverEndpoints.MaxName}."))
            : AskAsync(fabric, host, address, device => new ChooseDriver(device, request.Driver, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    private static Task<IResult> ClearOverrideAsync(string host, string address, bool? plan, HttpContext http, FabricQueries fabric) =>
        AskAsync(fabric, host, address, device => new ChooseDriver(device, null, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    private static Task<IResult> SetSriovAsync(string host, string address, bool? plan, SriovRequest request, HttpContext http, FabricQueries fabric) =>
        request.Count is not { } count
            ? Task.FromResult(Problems.Invalid("count is missing; it must be 0 to 65535."))
            : count is < 0 or > ushort.MaxValue
            ? Task.FromResult(Problems.Invalid($"count is {count}; it must be 0 to 65535."))
            : AskAsync(fabric, host, address, device => new MakeVirtualFunctions(device, count, Endpoints.Requester(http)) { PlanOnly = plan == true }, reply =>
                reply is VirtualFunctionsMade made ? Endpoints.Json(new SriovResource($"{host}/{made.Device}", made.VirtualFunctions)) : null);

    // ---- Binding ---------------------------------------------------------------------------------------------------------------------

    private static Task<IResult> BindAsync(string host, string address, bool? plan, BindDeviceRequest request, HttpContext http, FabricQueries fabric) =>
        AskAsync(
            fabric, host, address,
            device => new BindFunction(device, request.Force == true, request.Group == true, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    private static Task<IResult> UnbindAsync(string host, string address, bool? group, bool? plan, HttpContext http, FabricQueries fabric) =>
        AskAsync(fabric, host, address, device => new UnbindFunction(device, group == true, Endpoints.Requester(http)) { PlanOnly = plan == true }, Done(host));

    // ---- Sockets ---------------------------------------------------------------------------------------------------------------------

    private static Task<IResult> ServeAsync(string host, string address, bool? plan, ServeDeviceRequest request, HttpContext http, FabricQueries fabric) =>
        string.IsNullOrEmpty(request.Socket) || request.Socket.Length > MaxReason
            ? Task.FromResult(Problems.Invalid("'socket' is missing, or too long; give the path of a UNIX socket on the device's host."))
            : AskAsync(fabric, host, address, device => new ServeFunction(device, request.Socket, Endpoints.Requester(http)) { PlanOnly = plan == true }, Served(host));

    private static Task<IResult> EndServingAsync(string host, string address, bool? plan, HttpContext http, FabricQueries fabric) =>
        AskAsync(fabric, host, address, device => new EndServing(device, Endpoints.Requester(http)) { PlanOnly = plan == true }, Served(host));

    private static Task<IResult> SocketsAsync(string host, FabricQueries fabric) => fabric.AskHostAsync(
        host, new ReadServed(),
        reply => reply is ServedRead read ? Endpoints.Json(Endpoints.List(read.Served.Select(served => Mapping.ToResource(host, served)))) : null);

    private static Func<object, IResult?> Served(string host) => reply =>
        reply is ServingChanged changed ? Endpoints.Json(Mapping.ToResource(host, changed.Served)) : null;

    // ---- Faults ----------------------------------------------------------------------------------------------------------------------

    private static Task<IResult> FaultAsync(string host, string address, bool? plan, FaultRequest request, HttpContext http, FabricQueries fabric)
    {
        if (WrongIn(request) is { } wrong)
            return Task.FromResult(Problems.Invalid(wrong));
        var by = Endpoints.Requester(http);
        return AskAsync(
            fabric, host, address,
            device => request.Kind switch
            {
                "aer" => new InjectError(device, request.Severity!, by) { PlanOnly = plan == true },
                "hang" => new HangFunction(device, request.Point!, by) { PlanOnly = plan == true },
                "release" => new ReleaseFunction(device, by) { PlanOnly = plan == true },
                "remove" => new PullOutFunction(device, by) { PlanOnly = plan == true },
                "return" => new PutBackFunction(device, by) { PlanOnly = plan == true },
                _ => new FlapLink(device, request.Times ?? 1, request.EachMs ?? 100, by) { PlanOnly = plan == true },
            },
            reply => reply switch
            {
                ErrorInjected error => Endpoints.Json(new FaultResource($"{host}/{error.Device}", request.Kind!, new RecoveryResource(
                    $"{host}/{error.Device}", error.Severity, error.Outcome, error.Ms, error.Steps))),
                OperationDone done => Endpoints.Json(new FaultResource($"{host}/{done.Device}", request.Kind!)),
                _ => null,
            });
    }

    private static string? WrongIn(FaultRequest request) => request switch
    {
        { Kind: not ("aer" or "hang" or "release" or "remove" or "return" or "flap") } =>
            $"'{Endpoints.Shown(request.Kind)}' is not a kind of fault; there are aer, hang, release, remove, return and flap.",
        { Kind: "aer" } when FaultWords.SeverityOf(request.Severity) is null =>
            $"'{Endpoints.Shown(request.Severity)}' is not a severity; there are correctable, non-fatal and fatal.",
        { Kind: "hang" } when FaultWords.PointOf(request.Point) is null =>
            $"'{Endpoints.Shown(request.Point)}' is not a point at which calls hang; there are config, region, reset and sriov.",
        { Kind: "flap", Times: < 1 or > 100 } => $"times is {request.Times}; it must be 1 to 100.",
        { Kind: "flap", EachMs: < 1 or > 60_000 } => $"each_ms is {request.EachMs}; it must be 1 to 60000.",
        { Kind: not "aer", Severity: not null } => "'severity' belongs to aer; leave it out.",
        { Kind: not "hang", Point: not null } => "'point' belongs to hang; leave it out.",
        { Kind: not "flap", Times: not null } or { Kind: not "flap", EachMs: not null } => "'times' and 'each_ms' belong to flap; leave them out.",
        _ => null,
    };

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    /// <summary>An address in any of its spellings goes on in the one that devices are known by.</summary>
    private static Task<IResult> AskAsync(
        FabricQueries fabric, string host, string address, Func<string, IHostOperation> operation, Func<object, IResult?> map) =>
        PciAddress.TryParse(address, out var parsed)
            ? fabric.AskHostAsync(host, operation(parsed.ToString()), map)
            : Task.FromResult(NoAddress(address));

    private static Func<object, IResult?> Done(string host) => reply =>
        reply is OperationDone done ? Endpoints.Json(new OperationResource($"{host}/{done.Device}", "done")) : null;

    private static IResult NoAddress(string address) =>
        Problems.Invalid(PciAddress.Malformed(Endpoints.Shown(address)));

    private static IResult NoMethod(string? method) =>
        Problems.Invalid($"'{Endpoints.Shown(method)}' is not a reset method; there are {string.Join(", ", ResetMethod.All)}.");
}
