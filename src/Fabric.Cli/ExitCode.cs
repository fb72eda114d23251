namespace Fabric.Cli;

/// <summary>What the process says to the shell; scripts rely on these numbers.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int Failed = 1;
    public const int Usage = 2;

    /// <summary>Both ends were looked at and the answer was no; nothing was changed.</summary>
    public const int RefusedByPlan = 3;

    public const int Timeout = 4;

    /// <summary>128 + SIGINT, as shells count.</summary>
    public const int Interrupted = 130;
}
