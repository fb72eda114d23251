using System.CommandLine;
using System.Text.Json;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric driver …</c></summary>
internal static class DriverCommands
{
    public static Command Build(CommandContext context) => new("driver", "The drivers of the hosts, and plugins.")
    {
        BuildList(context),
        BuildLoad(context),
        BuildUnload(context),
    };

    private static Option<string?> Host() => new("--host") { Description = "On this host; may be left out where there is one.", HelpName = "HOST" };

    private static Command BuildList(CommandContext context)
    {
        var host = new Option<string?>("--host") { Description = "Only this host's.", HelpName = "HOST" };
        return context.Command(
            "list",
            "List the drivers, the functions that they match and where they come from; and plugins that are refused, with the reason.",
            async invocation =>
            {
                var lists = new List<ApiReply<ListResource<DriverResource>>>();
                foreach (var name in invocation.Value(host) is { } one ? [one] : await HostsAsync(invocation))
                    lists.Add(await invocation.Api.DriversAsync(name, invocation.Cancellation));
                invocation.Print(Together(lists), ResourceViews.Show);
                return ExitCode.Ok;
            },
            host);
    }

    private static Command BuildLoad(CommandContext context)
    {
        var plugin = new Argument<string?>("plugin")
        {
            Description = "A folder in that of drivers; all that are not loaded when left out.", HelpName = "PLUGIN", Arity = ArgumentArity.ZeroOrOne,
            DefaultValueFactory = static _ => null,
        };
        var host = Host();
        return context.Command(
            "load",
            "Load the plugins that are in the folder of drivers and not loaded, or one; devices that nobody holds get the driver that is best then.",
            async invocation =>
            {
                var name = await OneHostAsync(invocation, host);
                var request = new LoadDriversRequest(invocation.Value(plugin));
                invocation.Print(await invocation.Api.LoadDriversAsync(name, request, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            plugin,
            host);
    }

    private static Command BuildUnload(CommandContext context)
    {
        var driver = new Argument<string>("driver") { Description = "A driver that came with a plugin.", HelpName = "DRIVER" };
        var host = Host();
        return context.Command(
            "unload",
            "Unload the plugin that a driver came with; refused while one of its devices is held. They get the next best driver.",
            async invocation =>
            {
                var name = await OneHostAsync(invocation, host);
                invocation.Print(await invocation.Api.UnloadDriverAsync(name, invocation.Value(driver), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            driver,
            host);
    }

    private static async Task<string> OneHostAsync(Invocation invocation, Option<string?> host)
    {
        if (invocation.Value(host) is { } named)
            return named;
        var hosts = await HostsAsync(invocation);
        return hosts.Length == 1
            ? hosts[0]
            : throw new CommandFailure(
                hosts.Length == 0
                    ? "No host answers; start one."
                    : $"There are {hosts.Length} hosts ({string.Join(", ", hosts)}); say which with --host.",
                ExitCode.Usage);
    }

    /// <summary>Those that answer.</summary>
    private static async Task<string[]> HostsAsync(Invocation invocation) =>
    [
        .. (await invocation.Api.HostsAsync(invocation.Cancellation)).Value.Items
            .Where(static host => host.State == "up")
            .Select(static host => host.Name),
    ];

    private static ApiReply<ListResource<DriverResource>> Together(List<ApiReply<ListResource<DriverResource>>> lists) => new(
        new ListResource<DriverResource>([.. lists.SelectMany(static list => list.Value.Items)]),
        JsonSerializer.SerializeToElement(
            new ListResource<JsonElement>([.. lists.SelectMany(static list => list.Json.GetProperty("items").EnumerateArray())]), ApiJson.Options));
}
