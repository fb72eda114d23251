using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric migration …</c></summary>
internal static class MigrationCommands
{
    public static Command Build(CommandContext context) => new("migration", "Migrations, past and under way.")
    {
        BuildList(context),
        OfOne(context, "show", "Show one migration: when each of its phases began and how long it took, what was predicted, who asked and why.",
            static (api, id, cancellation) => api.MigrationAsync(id, cancellation)),
        OfOne(context, "cancel", "Cancel a migration that is not committed yet; its claim runs on where it was.",
            static (api, id, cancellation) => api.CancelMigrationAsync(id, cancellation)),
    };

    private static Command BuildList(CommandContext context)
    {
        var claim = new Option<string?>("--claim") { Description = "Only this claim's.", HelpName = "CLAIM" };
        var since = new Option<DateTimeOffset?>("--since") { Description = "Only those begun then or later, as 2026-03-01T12:00Z.", HelpName = "TIME" };
        var outcome = new Option<string?>("--outcome") { Description = "Only those that ended so; open are those under way.", HelpName = "OUTCOME" };
        outcome.AcceptOnlyFromAmong("open", "committed", "rolled-back", "cancelled", "failed");
        return context.Command(
            "list",
            "List the migrations, the newest last.",
            async invocation =>
            {
                invocation.Print(
                    await invocation.Api.MigrationsAsync(invocation.Value(claim), invocation.Value(since), invocation.Value(outcome), invocation.Cancellation),
                    ResourceViews.Show);
                return ExitCode.Ok;
            },
            claim, since, outcome);
    }

    private static Command OfOne(
        CommandContext context, string name, string description, Func<FabricApi, string, CancellationToken, Task<ApiReply<MigrationResource>>> request)
    {
        var id = new Argument<string>("migration") { Description = "The migration's id: CLAIM.N.", HelpName = "MIGRATION" };
        return context.Command(
            name,
            description,
            async invocation =>
            {
                invocation.Print(await request(invocation.Api, invocation.Value(id), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            id);
    }
}
