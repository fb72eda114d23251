using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Fabric.Migration.DataPlane;

/// <summary>Opens both ends of a connection: socket options and TLS, nothing of the protocol.</summary>
internal static class Transport
{
    /// <exception cref="DataPlaneException">Refused, not connected in <see cref="DataPlaneOptions.IoTimeout"/>, or TLS failed.</exception>
    public static async Task<(Stream Stream, SocketStream Socket)> ConnectAsync(EndPoint endPoint, DataPlaneOptions options, CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(options.IoTimeout, options.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            Tune(socket, options);
            await ConnectAsync(socket, endPoint, either.Token);
            var stream = new SocketStream(socket);
            return options.ClientTls is { } tls
                ? (await SecureAsync(stream, secured => secured.AuthenticateAsClientAsync(tls, either.Token)), stream)
                : (stream, stream);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
            {
                throw new DataPlaneException(FormattableString.Invariant(
                    $"No connection to {endPoint} within {options.IoTimeout.TotalSeconds:0.###} seconds.")) { IsLoss = true };
            }

            if (e is SocketException or IOException or AuthenticationException)
                throw new DataPlaneException($"No connection to {endPoint}: {e.Message.TrimEnd('.')}.", e) { IsLoss = true };
            throw;
        }
    }

    /// <summary>As <see cref="SocketStream"/> waits, and for its reason.</summary>
    private static async ValueTask ConnectAsync(Socket socket, EndPoint endPoint, CancellationToken cancellationToken)
    {
        if (!StreamThread.IsCurrent)
        {
            await socket.ConnectAsync(endPoint, cancellationToken);
            return;
        }

        using var cancelling = cancellationToken.UnsafeRegister(static socket => ((Socket)socket!).Dispose(), socket);
        try
        {
            socket.Connect(endPoint);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException && cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }

        cancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>The stream of an accepted socket; closes the socket if it throws.</summary>
    public static async Task<Stream> AcceptAsync(Socket socket, DataPlaneOptions options, CancellationToken cancellationToken)
    {
        try
        {
            Tune(socket, options);
            var stream = new SocketStream(socket);
            return options.ServerTls is { } tls
                ? await SecureAsync(stream, secured => secured.AuthenticateAsServerAsync(tls, cancellationToken))
                : stream;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static async Task<Stream> SecureAsync(Stream plain, Func<SslStream, Task> authenticate)
    {
        var secured = new SslStream(plain);
        try
        {
            await authenticate(secured);
            return secured;
        }
        catch
        {
            await secured.DisposeAsync();
            throw;
        }
    }

    private static void Tune(Socket socket, DataPlaneOptions options)
    {
        // Frames are gathered before they are sent; what is sent should leave.
        socket.NoDelay = true;
        if (options.SocketBufferBytes == 0)
            return;
        socket.SendBufferSize = options.SocketBufferBytes;
        socket.ReceiveBufferSize = options.SocketBufferBytes;
    }
}
