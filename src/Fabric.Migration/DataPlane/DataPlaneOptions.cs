using System.Net.Security;

namespace Fabric.Migration.DataPlane;

/// <summary>How connections between hosts behave. Both ends should agree on <see cref="IoTimeout"/>; nothing else has to match.</summary>
public sealed record DataPlaneOptions
{
    /// <summary>How long a call may see no progress at all before its peer counts as dead; noticed at most a quarter of it later.</summary>
    public TimeSpan IoTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(10);

    /// <summary>How long a new connection has to say who it is.</summary>
    public TimeSpan HelloTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(5);

    /// <summary>How long <see cref="InboundStream.AcceptAsync"/> waits for its peer.</summary>
    public TimeSpan AcceptTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(30);

    /// <summary>How many connections may be open without having said who they are; further ones wait in the kernel's backlog.</summary>
    public int MaxUnauthenticated
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value);
            field = value;
        }
    } = 64;

    /// <summary>
    /// Bytes of each socket buffer; 0 leaves them to the kernel, which grows them with the path. A fixed size switches that growth off and
    /// is capped by net.core.rmem_max and wmem_max, so it is for bounding memory, not for speed.
    /// </summary>
    public int SocketBufferBytes
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            field = value;
        }
    }

    /// <summary>The limit a writer starts with.</summary>
    public BandwidthLimit Limit { get; init; }

    /// <summary>TLS of the listening side; without it the connection is in the clear, which is for loopback only.</summary>
    public SslServerAuthenticationOptions? ServerTls { get; init; }

    /// <summary>TLS of the connecting side; has to be given exactly when the listener has its own.</summary>
    public SslClientAuthenticationOptions? ClientTls { get; init; }

    public TimeProvider Time { get; init; } = TimeProvider.System;

    private static TimeSpan Positive(TimeSpan value)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(value, TimeSpan.Zero);
        return value;
    }
}
