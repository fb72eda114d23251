namespace Fabric.VfioUser.Client;

/// <summary>How patient a client is with its servers.</summary>
public sealed record ClientOptions
{
    public static ClientOptions Default { get; } = new();

    /// <summary>For the answer to a register access, an interrupt, a mapping. Shorter than what the host waits for a call that hangs.</summary>
    public TimeSpan RequestDeadline { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>For the answer to a reset and to a change of migration state.</summary>
    public TimeSpan SlowDeadline { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>From the first byte of a message to its last.</summary>
    public TimeSpan MessageDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two attempts to reach a server that is not there.</summary>
    public TimeSpan RetryInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>By which it is tried again; deadlines are those of real sockets.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
