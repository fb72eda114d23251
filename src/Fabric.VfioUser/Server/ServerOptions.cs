using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>How a server treats its clients.</summary>
public sealed record ServerOptions
{
    public static ServerOptions Default { get; } = new();

    /// <summary>From connect to VERSION, and how long a client waits for one before it that is leaving.</summary>
    public TimeSpan HandshakeDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>From the first byte of a message to its last.</summary>
    public TimeSpan MessageDeadline { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a client may leave an answer unread that does not fit into its socket any more.</summary>
    public TimeSpan SendDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a client has to answer DMA_READ and DMA_WRITE. QEMU gives up a request after 5 s.</summary>
    public TimeSpan DmaDeadline { get; init; } = TimeSpan.FromSeconds(4);

    /// <summary>Connections at a time; what is beyond is answered EBUSY and closed.</summary>
    public int MaxConnections { get; init; } = 16;

    /// <summary>DMA mappings at a time: each may cost a descriptor.</summary>
    public int MaxDmaMaps { get; init; } = 4096;

    public TimeProvider Time { get; init; } = TimeProvider.System;

    internal PeerCapabilities Capabilities => PeerCapabilities.Default with
    {
        MaxMessageFds = Linux.ReceivedDescriptors.Max,
        MaxTransfer = Devices.DeviceLimits.MaxTransfer,
        MaxDmaMaps = (uint)MaxDmaMaps,
        WritesMultiple = true,
    };
}
