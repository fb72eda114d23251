namespace Fabric.Cli;

/// <summary>Being told from outside to stop.</summary>
internal interface ITermination
{
    CancellationToken Token { get; }

    /// <summary>What to exit with once <see cref="Token"/> is cancelled.</summary>
    int ExitCode { get; }
}
