using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

/// <summary>What an operator has a host do with the sockets on which it serves devices to VMMs.</summary>
public interface IServingOperation : IHostOperation;

/// <summary>The devices that a host serves. Answered with <see cref="ServedRead"/>.</summary>
public sealed record ReadServed : IServingOperation
{
    public string Subject => "sockets";
}

public sealed record ServedRead(ServedEntry[] Served) : IWireMessage;

/// <summary>A device on a socket; words as in the HTTP API.</summary>
/// <param name="Device">PCI address.</param>
/// <param name="Socket">A path of the host.</param>
/// <param name="IsConfigured">The host's settings say so; else somebody asked for it, and it lasts as long as the daemon.</param>
/// <param name="Clients">Connections; one of them has the device.</param>
/// <param name="Reason">Why nobody can connect now; null where one can.</param>
public sealed record ServedEntry(string Device, string Socket, bool IsConfigured, int Clients, string? Reason) : IWireMessage;

/// <summary>
/// Serves a device on a socket, until it is ended or the daemon ends. Answered with <see cref="ServingChanged"/>. Errors: EINVAL no absolute path, or too
/// long; EBUSY it is served on another socket, or another server has this one; EEXIST something else is there; EACCES, ENOENT; ENODEV no such device.
/// </summary>
public sealed record ServeFunction(string Device, string Socket, string By) : IServingOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => Device;
}

/// <summary>Puts the client out and takes the socket away. Answered with <see cref="ServingChanged"/>. Errors: ENOENT it is not served.</summary>
public sealed record EndServing(string Device, string By) : IServingOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => Device;
}

/// <summary>As it is now; of one that is ended, as it was.</summary>
public sealed record ServingChanged(ServedEntry Served) : IWireMessage;
