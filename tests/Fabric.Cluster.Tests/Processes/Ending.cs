namespace Fabric.Cluster.Tests.Processes;

/// <summary>How a process ended, and what it said.</summary>
internal sealed record Ending(int ExitCode, string Out, string Error)
{
    public override string ToString() => $"exit code {ExitCode}\n{Out}\n{Error}";

    /// <summary>The only line on standard error; more than one fails the test, and so does none.</summary>
    public string Sentence => Assert.Single(Error.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
}
