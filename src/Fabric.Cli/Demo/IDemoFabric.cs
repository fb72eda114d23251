using Fabric.Cli.Api;
using Fabric.Cli.Output;

namespace Fabric.Cli.Demo;

/// <summary>The daemons of a demo, as the script sees them.</summary>
internal interface IDemoFabric
{
    IReadOnlyList<string> Controls { get; }

    IReadOnlyList<string> Hosts { get; }

    /// <summary>Starts every daemon and waits until each is ready.</summary>
    Task StartAsync(IBoard board, CancellationToken cancellation);

    /// <summary>The API of a daemon that has been listening.</summary>
    FabricApi Api(string daemon);

    int Pid(string daemon);

    /// <summary>SIGKILL. The daemon is gone when the task ends, and not held to have died.</summary>
    Task KillAsync(string daemon);

    /// <summary>Starts a killed daemon: on its data and its ports again, or with nothing of what it was but its name.</summary>
    void Restart(string daemon, bool inPlace);

    /// <summary>Waits until the daemon's API answers.</summary>
    Task LiveAsync(string daemon, CancellationToken cancellation);

    /// <summary>Waits until the daemon says that it is ready.</summary>
    Task ReadyAsync(string daemon, CancellationToken cancellation);

    /// <exception cref="CommandFailure">A daemon that nobody killed has ended.</exception>
    void ThrowIfOneDied();
}
