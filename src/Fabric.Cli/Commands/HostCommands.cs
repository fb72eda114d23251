using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric host …</c></summary>
internal static class HostCommands
{
    private const int DefaultTimeoutSeconds = 3600;

    public static Command Build(CommandContext context) => new("host", "The hosts of the fabric.")
    {
        context.Command("list", "List the hosts, their state and their free functions.", ListAsync),
        BuildShow(context),
        BuildDrain(context),
        BuildUndrain(context),
        context.Command("drains", "List the hosts that are drained, and why each claim that is left waits.", DrainsAsync),
    };

    private static Argument<string> Host() => new("host") { Description = "The host's name.", HelpName = "HOST" };

    private static Command BuildShow(CommandContext context)
    {
        var host = Host();
        return context.Command(
            "show",
            "Show one host and, while it is drained, what becomes of each of its claims.",
            async invocation =>
            {
                invocation.Print(await invocation.Api.HostAsync(invocation.Value(host), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            host);
    }

    private static Command BuildDrain(CommandContext context)
    {
        var host = Host();
        var downtime = Numbers.Option("--downtime-ms", "Longest stop of each claim that moves away, in ms; default 300.", "N");
        var wait = new Option<bool>("--wait") { Description = "Return when nothing is left on it; exit 1 when what is left cannot move." };
        var timeout = Numbers.Option("--timeout-s", $"Longest wait, in s; default {DefaultTimeoutSeconds}. The drain goes on after it.", "N");
        return context.Command(
            "drain",
            "Close a host to claims, and move those that it has away. Asked again, what had failed is tried again.",
            async invocation =>
            {
                var name = invocation.Value(host);
                var drain = await invocation.Api.DrainAsync(name, new DrainRequest(invocation.Value(downtime)), invocation.Cancellation);
                return invocation.Value(wait)
                    ? await DrainedAsync(invocation, name, TimeSpan.FromSeconds(invocation.Value(timeout) ?? DefaultTimeoutSeconds))
                    : Print(invocation, drain);
            },
            host, downtime, wait, timeout);
    }

    private static Command BuildUndrain(CommandContext context)
    {
        var host = Host();
        return context.Command(
            "undrain",
            "Let a host take claims again; moves that have begun end as they would have.",
            async invocation =>
            {
                invocation.Print(await invocation.Api.UndrainAsync(invocation.Value(host), invocation.Cancellation), ResourceViews.ShowHost);
                return ExitCode.Ok;
            },
            host);
    }

    private static async Task<int> ListAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.HostsAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static async Task<int> DrainsAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.DrainsAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static async Task<int> DrainedAsync(Invocation invocation, string name, TimeSpan limit)
    {
        var host = await invocation.Patience(limit).UntilAsync(
            cancellation => invocation.Api.HostAsync(name, cancellation),
            static reply => reply.Value.Drain is null or { State: "drained" or "blocked" },
            $"Host {name} is not drained",
            invocation.Cancellation);
        invocation.Print(host, ResourceViews.Show);
        if (host.Value.Drain is { State: "drained" })
            return ExitCode.Ok;
        invocation.Complain(host.Value.Drain is null
            ? $"The drain of host {name} was called off: somebody undrained it."
            : $"Host {name} is not empty: what is left on it cannot move, each claim for its reason above. "
                + $"It stays closed; 'fabric host undrain {name}' opens it.");
        return ExitCode.Failed;
    }

    private static int Print(Invocation invocation, ApiReply<DrainResource> drain)
    {
        invocation.Print(drain, ResourceViews.Show);
        return ExitCode.Ok;
    }
}
