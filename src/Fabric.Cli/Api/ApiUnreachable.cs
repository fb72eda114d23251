namespace Fabric.Cli.Api;

/// <summary>No daemon answered, or not in time.</summary>
internal sealed class ApiUnreachable(string message, int exitCode, Exception inner)
    : CommandFailure(message, exitCode, inner), IApiFailure
{
    public bool MayPass => true;
}
