using System.Net.Security;

namespace Fabric.Migration.DataPlane;

/// <summary>How connections between hosts behave. Both ends should agree on <see cref="IoTimeout"/>; nothing else has to match.</summary>
public sealed record DataPlaneOptions
{
    /// <summary>How long a call may see no progress at all before its peer counts as dead; noticed at most a quarter of it later.</summary>
    public TimeSpan IoTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(10);

    /// <summary>How long a new connection has to say who it is.</summary>
    public TimeSpan HelloTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(5);

    /// <summary>How long <see cref="InboundMigration.AcceptAsync"/> waits for its peer.</summary>
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

    /// <summary>
    /// How long a stream whose connection broke may be without a new one, on either side; zero ends the stream with its connection. A peer that
    /// was silent for <see cref="IoTimeout"/> from the beginning of a connection is not given another.
    /// </summary>
    public TimeSpan ResumeTimeout
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, TimeSpan.Zero);
            field = value;
        }
    } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The most bytes of a stream that its source keeps until the target has acknowledged them, and has to send again on a new connection. It
    /// keeps no more than its path is worth (<see cref="FlightLimit"/>), and reaches this only where rate and distance are great.
    /// </summary>
    public int WindowBytes
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 4 * FrameHeader.MaxPayload);
            field = value;
        }
    } = 8 << 20;

    /// <summary>Paces a writer; one for all that are given the same. Without it nothing does.</summary>
    public TokenBucket? Pace { get; init; }

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
