using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// The bytes of a connection. On a thread of a stream's own (<see cref="StreamThread"/>) a call waits in the kernel until it is done or
/// cancelled; nothing can be read after a read that was cancelled, nor written after a write. On any other thread it waits as a
/// <see cref="NetworkStream"/> does. As long as only the former happens the runtime does not watch the socket, which it would for good, at the
/// price of a wake-up for each segment.
/// </summary>
internal sealed class SocketStream(Socket socket) : NetworkStream(socket, ownsSocket: true)
{
    /// <summary>What no path has: nothing is held back for it.</summary>
    private static readonly TimeSpan Unknown = TimeSpan.FromSeconds(1);

    private const int TcpInfo = 11;
    private const int MinRoundTripOffset = 148;

    /// <summary>The shortest round trip that the kernel has seen on this connection (tcp(7), tcpi_min_rtt); a long one where it does not tell.</summary>
    public TimeSpan RoundTrip
    {
        get
        {
            Span<byte> info = stackalloc byte[MinRoundTripOffset + sizeof(uint)];
            try
            {
                return Socket.GetRawSocketOption((int)SocketOptionLevel.Tcp, TcpInfo, info) < info.Length
                    ? Unknown
                    : TimeSpan.FromMicroseconds(MemoryMarshal.Read<uint>(info[MinRoundTripOffset..]));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return Unknown;
            }
        }
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!StreamThread.IsCurrent)
            return base.ReadAsync(buffer, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        using var cancelling = cancellationToken.UnsafeRegister(static socket => ShutDown((Socket)socket!, SocketShutdown.Receive), Socket);
        try
        {
            var read = Read(buffer.Span);
            if (read == 0)
                cancellationToken.ThrowIfCancellationRequested();
            return ValueTask.FromResult(read);
        }
        catch (IOException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!StreamThread.IsCurrent)
            return base.WriteAsync(buffer, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        // For this direction alone: who hears the peer would take it for the peer's end, and say so first.
        using var cancelling = cancellationToken.UnsafeRegister(static socket => ShutDown((Socket)socket!, SocketShutdown.Send), Socket);
        try
        {
            Write(buffer.Span);
            return ValueTask.CompletedTask;
        }
        catch (IOException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }

    private static void ShutDown(Socket socket, SocketShutdown direction)
    {
        try
        {
            socket.Shutdown(direction);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is no longer connected, and nobody waits for it.
        }
    }
}
