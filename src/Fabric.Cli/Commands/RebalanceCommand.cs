using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric rebalance</c></summary>
internal static class RebalanceCommand
{
    private static readonly TimeSpan WaitLimit = TimeSpan.FromHours(1);

    public static Command Build(CommandContext context)
    {
        var downtime = Numbers.Option("--downtime-ms", "Longest stop of each claim that moves, in ms; default 300.", "N");
        var dry = new Option<bool>("--dry-run") { Description = "Show which claims would move, and move none; as 'fabric plan rebalance'." };
        var wait = new Option<bool>("--wait") { Description = "Return when it has ended." };
        return context.Command(
            "rebalance",
            "Even claims over the hosts, model by model, and part those that are to keep apart. The plan is shown first.",
            async invocation =>
            {
                var request = new RebalanceRequest(invocation.Value(downtime));
                if (invocation.Value(dry))
                {
                    invocation.Print(await invocation.Api.PlanRebalanceAsync(request, invocation.Cancellation), ResourceViews.Show);
                    return ExitCode.Ok;
                }

                var started = await invocation.Api.StartRebalanceAsync(request, invocation.Cancellation);
                invocation.Print(started, ResourceViews.Show);
                if (!invocation.Value(wait) || started.Value.State != "running")
                    return ExitCode.Ok;
                var ended = await invocation.Patience(WaitLimit).UntilAsync(
                    invocation.Api.RebalanceAsync, static reply => reply.Value.State != "running", "The rebalance has not ended",
                    invocation.Cancellation);
                invocation.Print(ended, ResourceViews.Show);
                return ended.Value.Claims.All(static claim => claim.State == "moved") ? ExitCode.Ok : ExitCode.Failed;
            },
            downtime, dry, wait).With(
            context.Command("show", "Show the last rebalance, and how far it is.", ShowAsync),
            context.Command("stop", "End a rebalance: what has not begun to move stays.", StopAsync));
    }

    private static Command With(this Command command, params Command[] below)
    {
        foreach (var one in below)
            command.Add(one);
        return command;
    }

    private static async Task<int> ShowAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.RebalanceAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static async Task<int> StopAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.StopRebalanceAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }
}
