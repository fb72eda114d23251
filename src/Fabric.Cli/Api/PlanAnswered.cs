using Fabric.Node.Api;

namespace Fabric.Cli.Api;

/// <summary>Ends a command that was only planned, at the point where it would have changed something.</summary>
internal sealed class PlanAnswered(ApiReply<PlanResource> plan) : Exception
{
    public ApiReply<PlanResource> Plan { get; } = plan;
}
