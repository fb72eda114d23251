namespace Fabric.Cli;

/// <summary>Ends a command. The message is the one sentence the user sees: the thing, the cause and the remedy.</summary>
internal class CommandFailure : Exception
{
    public CommandFailure(string message, int exitCode = Cli.ExitCode.Failed, Exception? inner = null)
        : base(message, inner) => ExitCode = exitCode;

    public int ExitCode { get; }
}
