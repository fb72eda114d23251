using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric mdev …</c></summary>
internal static class MdevCommands
{
    public static Command Build(CommandContext context) => new("mdev", "Mediated devices: parts of a host's devices, made and removed by UUID.")
    {
        OfHost(context, "types", "List what mediated devices of a host can be, and how many more of each.", static async (invocation, host) =>
            invocation.Print(await invocation.Api.MdevTypesAsync(host, invocation.Cancellation), ResourceViews.Show)),
        OfHost(context, "list", "List the mediated devices that a host has defined.", static async (invocation, host) =>
            invocation.Print(await invocation.Api.MdevsAsync(host, invocation.Cancellation), ResourceViews.Show)),
        BuildDefine(context),
        OfOne(context, "start", "Make a mediated device: from then on it is a device of its host.", static async (invocation, mdev) =>
            invocation.Print(await invocation.Api.StartMdevAsync(mdev.Host, mdev.Uuid, invocation.Cancellation), ResourceViews.Show)),
        BuildStop(context),
        OfOne(context, "undefine", "Forget a mediated device that is not started.", static async (invocation, mdev) =>
            invocation.Print(await invocation.Api.UndefineMdevAsync(mdev.Host, mdev.Uuid, invocation.Cancellation), ResourceViews.Show)),
    };

    private static Argument<string> Host() => new("host") { Description = "The host.", HelpName = "HOST" };

    private static Command OfHost(CommandContext context, string name, string description, Func<Invocation, string, Task> run)
    {
        var host = Host();
        return context.Command(
            name,
            description,
            async invocation =>
            {
                await run(invocation, invocation.Value(host));
                return ExitCode.Ok;
            },
            host);
    }

    private static Command OfOne(CommandContext context, string name, string description, Func<Invocation, MdevName, Task> run)
    {
        var mdev = MdevName.Argument();
        return context.Command(
            name,
            description,
            async invocation =>
            {
                await run(invocation, invocation.Value(mdev));
                return ExitCode.Ok;
            },
            mdev);
    }

    private static Command BuildDefine(CommandContext context)
    {
        var host = Host();
        var parent = new Argument<string>("parent") { Description = "What it is to be a part of, such as mtty.", HelpName = "PARENT" };
        var type = new Argument<string>("type") { Description = "A type of that parent, such as mtty-2.", HelpName = "TYPE" };
        var uuid = MdevName.Option();
        var auto = new Option<bool>("--auto") { Description = "Start it whenever the host starts; default only when it is asked for." };
        return context.Command(
            "define",
            "Define a mediated device, to be started later.",
            async invocation =>
            {
                var request = new DefineMdevRequest(
                    invocation.Value(parent), invocation.Value(type), invocation.Value(uuid), invocation.Value(auto) ? "auto" : "manual");
                invocation.Print(await invocation.Api.DefineMdevAsync(invocation.Value(host), request, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            host, parent, type, uuid, auto);
    }

    private static Command BuildStop(CommandContext context)
    {
        var mdev = MdevName.Argument();
        var force = Numbers.Option(
            "--force-after", "Close its holder's sessions by force after so many seconds; default never.", "SECONDS", least: 0);
        return context.Command(
            "stop",
            "Take a mediated device away when its holder has released it; exit 4 while it is waited for.",
            async invocation =>
            {
                var (host, uuid) = invocation.Value(mdev);
                var stopped = await invocation.Api.StopMdevAsync(host, uuid, new StopMdevRequest(invocation.Value(force)), invocation.Cancellation);
                invocation.Print(stopped, ResourceViews.Show);
                if (stopped.Value.Outcome == "done")
                    return ExitCode.Ok;
                invocation.Complain(stopped.Value.Message ?? $"{stopped.Value.Device} is waited for.");
                return ExitCode.Timeout;
            },
            mdev,
            force);
    }
}
