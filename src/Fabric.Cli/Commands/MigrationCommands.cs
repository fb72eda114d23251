using System.CommandLine;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric migration …</c></summary>
internal static class MigrationCommands
{
    public static Command Build(CommandContext context) => new("migration", "Migrations, past and under way.")
    {
        BuildList(context),
        BuildShow(context),
        BuildCancel(context),
    };

    private static Argument<string> Id() => new("migration") { Description = "The migration's id: CLAIM.N.", HelpName = "MIGRATION" };

    private static Command BuildList(CommandContext context)
    {
        var claim = new Option<string?>("--claim") { Description = "Only this claim's.", HelpName = "CLAIM" };
        return context.Command(
            "list",
            "List the migrations.",
            async invocation =>
            {
                invocation.Print(
                    await invocation.Api.MigrationsAsync(invocation.Value(claim), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            claim);
    }

    private static Command BuildShow(CommandContext context)
    {
        var id = Id();
        return context.Command(
            "show",
            "Show one migration and how long each of its phases took.",
            async invocation =>
            {
                invocation.Print(
                    await invocation.Api.MigrationAsync(invocation.Value(id), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            id);
    }

    private static Command BuildCancel(CommandContext context)
    {
        var id = Id();
        return context.Command(
            "cancel",
            "Cancel a migration that is not committed yet; its claim runs on where it was.",
            async invocation =>
            {
                invocation.Print(
                    await invocation.Api.CancelMigrationAsync(invocation.Value(id), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            id);
    }
}
