using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric migrate CLAIM --to HOST</c></summary>
internal static class MigrateCommand
{
    private const int DefaultTimeoutSeconds = 600;

    /// <summary>How much longer than the migration's own limit one watches: its rollback takes time too.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);

    public static Command Build(CommandContext context)
    {
        var claim = new Argument<string>("claim") { Description = "The claim's id.", HelpName = "CLAIM" };
        var to = new Option<string?>("--to") { Description = "Target host; below 'fabric plan' every host is looked at without.", HelpName = "HOST" };
        var plan = new Option<string?>("--plan") { Description = "Begin only if this plan holds still; 'fabric plan migrate' gives one.", HelpName = "ID" };
        var downtime = Numbers.Option("--downtime-ms", "Longest stop of the workload, in ms; default 300.", "N");
        var timeout = Numbers.Option("--timeout-s", $"Longest time for the whole, in s; default {DefaultTimeoutSeconds}.", "N");
        var bandwidth = Numbers.Option("--bandwidth-mib", "Limit of the pre-copy, in MiB/s; 0, the default, is none.", "N", least: 0);
        var onNoConvergence = new Option<string?>("--on-no-convergence")
        {
            Description = "When the workload changes its state as fast as it is sent: continue (default) until the timeout, stop the workload all the same, for "
                + "longer than its limit, or cancel.",
            HelpName = "STRATEGY",
        };
        onNoConvergence.AcceptOnlyFromAmong("continue", "stop", "cancel");
        var watch = new Option<bool>("--watch") { Description = "Show it to its end; exit 0 only if it was committed." };
        var command = context.Command(
            "migrate",
            "Move a claim, with its device's state, to another host while it works.",
            async invocation =>
            {
                var request = new StartMigrationRequest(
                    invocation.Value(to), invocation.Value(downtime), invocation.Value(timeout), invocation.Value(bandwidth), invocation.Value(plan),
                    invocation.Value(onNoConvergence));
                var started = await invocation.Api.MigrateAsync(invocation.Value(claim), request, invocation.Cancellation);
                if (!invocation.Value(watch))
                {
                    invocation.Print(started, ResourceViews.Show);
                    return ExitCode.Ok;
                }

                var limit = TimeSpan.FromSeconds(request.TimeoutS ?? DefaultTimeoutSeconds) + Grace;
                return Ended(invocation, await WatchAsync(invocation, started, limit));
            },
            claim, to, plan, downtime, timeout, bandwidth, onNoConvergence, watch);
        command.Validators.Add(result =>
        {
            if (!context.Options.PlansOnly && result.GetResult(to) is null && result.GetResult(plan) is null)
                result.AddError("Option '--to' is required: name the target host, or give a plan by --plan.");
        });
        return command;
    }

    private static async Task<ApiReply<MigrationResource>> WatchAsync(
        Invocation invocation, ApiReply<MigrationResource> started, TimeSpan limit)
    {
        var id = started.Value.Id;
        try
        {
            return await invocation.ProgressScreen().ShowAsync(board =>
            {
                MigrationProgress.Set(board, started.Value);
                return invocation.Patience(limit).UntilAsync(
                    cancellation => invocation.Api.MigrationAsync(id, cancellation),
                    reply => reply.Value.Outcome is not null,
                    $"Migration {id} has not ended",
                    invocation.Cancellation,
                    reply => MigrationProgress.Set(board, reply.Value));
            });
        }
        catch (OperationCanceledException)
        {
            invocation.Complain($"Migration {id} goes on. See 'fabric migration show {id}', or 'fabric migration cancel {id}'.");
            throw;
        }
    }

    private static int Ended(Invocation invocation, ApiReply<MigrationResource> ended)
    {
        invocation.Print(ended, ResourceViews.Show);
        var migration = ended.Value;
        if (migration.Outcome == "committed")
            return ExitCode.Ok;
        invocation.Complain(
            $"Migration {migration.Id} to {migration.To} ended {migration.Outcome}: "
            + $"{migration.Reason?.TrimEnd('.') ?? "no reason was given"}. {(migration.Outcome == "failed" ? "The claim runs nowhere; look at it." : $"The claim is still on {migration.From}.")}");
        return ExitCode.Failed;
    }
}
