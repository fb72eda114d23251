namespace Fabric.Cli.Api;

/// <summary>A request that failed.</summary>
internal interface IApiFailure
{
    /// <summary>Whether the same request may well succeed a little later: a daemon is away or has lost its control node.</summary>
    bool MayPass { get; }
}
