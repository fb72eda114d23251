using System.Net;
using System.Net.Sockets;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>
/// A wire between two hosts that goes wrong at a chosen byte of the source's stream: it flips that byte, or tears the connection before it.
/// The other direction passes untouched.
/// </summary>
internal sealed class MeddlingProxy : IAsyncDisposable
{
    public enum Fault
    {
        Flip,
        Close,
        Reset,
    }

    private readonly Socket _listening = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly Fault _fault;
    private readonly long _at;
    private readonly Task _pumping;

    public MeddlingProxy(IPEndPoint target, Fault fault, long at)
    {
        _fault = fault;
        _at = at;
        _listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listening.Listen();
        EndPoint = (IPEndPoint)_listening.LocalEndPoint!;
        _pumping = PumpAsync(target);
    }

    public IPEndPoint EndPoint { get; }

    public async ValueTask DisposeAsync()
    {
        _listening.Dispose();
        await _pumping;
    }

    private async Task PumpAsync(IPEndPoint target)
    {
        using var source = await _listening.AcceptAsync();
        using var onward = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await onward.ConnectAsync(target);
        var replies = PumpRepliesAsync(onward, source);
        await PumpWithFaultAsync(source, onward);
        if (_fault == Fault.Reset)
        {
            onward.LingerState = new LingerOption(true, 0);
            source.LingerState = new LingerOption(true, 0);
            onward.Dispose();
            source.Dispose();
        }
        else
        {
            onward.Shutdown(SocketShutdown.Send);
        }

        await replies;
    }

    private async Task PumpWithFaultAsync(Socket source, Socket onward)
    {
        var buffer = new byte[16 * 1024];
        var passed = 0L;
        try
        {
            while (await source.ReceiveAsync(buffer) is > 0 and var read)
            {
                var here = _at >= passed && _at < passed + read;
                if (here && _fault != Fault.Flip)
                {
                    await SendAllAsync(onward, buffer.AsMemory(0, (int)(_at - passed)));
                    return;
                }

                if (here)
                    buffer[_at - passed] ^= 0x10;
                passed += read;
                await SendAllAsync(onward, buffer.AsMemory(0, read));
            }
        }
        catch (SocketException)
        {
            // Either host may close first; what matters is what the other one makes of it.
        }
    }

    private static async Task PumpRepliesAsync(Socket onward, Socket source)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await onward.ReceiveAsync(buffer) is > 0 and var read)
                await SendAllAsync(source, buffer.AsMemory(0, read));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // As above.
        }
    }

    private static async Task SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[await socket.SendAsync(bytes)..];
    }
}
