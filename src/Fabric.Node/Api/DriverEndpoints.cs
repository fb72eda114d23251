using Fabric.Migration.Fleet;

namespace Fabric.Node.Api;

/// <summary><c>/api/v1/hosts/{name}/drivers</c>: the drivers of a host, and what operators do with those that are plugins.</summary>
internal static class DriverEndpoints
{
    /// <summary>Characters of the name of a driver, or of a plugin's folder.</summary>
    public const int MaxName = 255;

    public static void MapDrivers(this RouteGroupBuilder api)
    {
        var drivers = api.MapGroup("/hosts/{name}/drivers");
        drivers.MapGet("", (string name, FabricQueries fabric) => fabric.AskHostAsync(name, new ShowDrivers(), Shown(name)))
            .Describe<ListResource<DriverResource>>("ListDrivers", "The drivers of a host, and the plugins that it does not take.");
        drivers.MapPost("/load", LoadAsync).Planned()
            .Describe<ListResource<DriverResource>>("LoadDrivers", "Loads the plugins that are in the folder of drivers and not loaded, or one.");
        drivers.MapPost("/{driver}/unload", UnloadAsync).Planned()
            .Describe<OperationResource>("UnloadDriver", "Unloads the plugin that a driver came with; its devices get the next best driver.");
    }

    private static Task<IResult> LoadAsync(string name, bool? plan, LoadDriversRequest? request, HttpContext http, FabricQueries fabric) =>
        IsWrong(request?.Plugin)
            ? Task.FromResult(Problems.Invalid(
                $"'{Endpoints.Shown(request?.Plugin)}' is not the name of a plugin; a plugin is named like its folder."))
            : fabric.AskHostAsync(name, new LoadPlugins(request?.Plugin, Endpoints.Requester(http)) { PlanOnly = plan == true }, Shown(name));

    private static Task<IResult> UnloadAsync(string name, string driver, bool? plan, HttpContext http, FabricQueries fabric) => IsWrong(driver)
        ? Task.FromResult(Problems.Invalid($"'{Endpoints.Shown(driver)}' is not the name of a driver."))
        : fabric.AskHostAsync(
            name, new UnloadPlugin(driver, Endpoints.Requester(http)) { PlanOnly = plan == true },
            reply => reply is OperationDone done ? Endpoints.Json(new OperationResource($"{name}/{done.Device}", "done")) : null);

    private static bool IsWrong(string? name) =>
        name is { Length: 0 or > MaxName } || name?.Any(static letter => char.IsControl(letter) || letter is '/') == true;

    private static Func<object, IResult?> Shown(string host) => reply =>
        reply is DriversShown shown ? Endpoints.Json(Endpoints.List(shown.Drivers.Select(driver => Mapping.ToResource(host, driver)))) : null;
}
