using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric breaker …</c></summary>
internal static class BreakerCommands
{
    public static Command Build(CommandContext context) => new("breaker", "What stops automatic moves when too much misbehaves.")
    {
        Build(context, "show", "Show whether automatic moves stand, and why.", static (api, cancellation) => api.BreakerAsync(cancellation)),
        Build(
            context, "reset", "Let automatic moves go on; what misbehaves now is not counted again.",
            static (api, cancellation) => api.ResetBreakerAsync(cancellation)),
    };

    private static Command Build(
        CommandContext context, string name, string description, Func<FabricApi, CancellationToken, Task<ApiReply<BreakerResource>>> request) =>
        context.Command(
            name,
            description,
            async invocation =>
            {
                invocation.Print(await request(invocation.Api, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            });
}
