using System.CommandLine;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric host …</c></summary>
internal static class HostCommands
{
    public static Command Build(CommandContext context) => new("host", "The hosts of the fabric.")
    {
        context.Command("list", "List the hosts, their state and their free functions.", ListAsync),
    };

    private static async Task<int> ListAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.HostsAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }
}
