using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>
/// A wire between two hosts that goes wrong at chosen bytes: each connection in turn by the next of the meddlings, and those after them not
/// at all. It can also be broken altogether, and mended.
/// </summary>
internal sealed class MeddlingProxy : IAsyncDisposable
{
    public enum Fault
    {
        /// <summary>Changes one bit of that byte.</summary>
        Flip,

        /// <summary>Ends the stream before that byte, as a process does that exits.</summary>
        Close,

        /// <summary>Tears the connection before that byte.</summary>
        Reset,

        /// <summary>Passes nothing any more from that byte on, but stays connected.</summary>
        Swallow,
    }

    private readonly Socket _listening = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly ConcurrentQueue<Meddling> _meddlings;
    private readonly ConcurrentDictionary<Connection, Task> _connections = [];
    private readonly Task _accepting;
    private volatile bool _broken;

    public MeddlingProxy(IPEndPoint target, params Meddling[] meddlings)
    {
        Target = target;
        _meddlings = new ConcurrentQueue<Meddling>(meddlings);
        _listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listening.Listen();
        EndPoint = (IPEndPoint)_listening.LocalEndPoint!;
        _accepting = AcceptAsync();
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Where the next connections go.</summary>
    public IPEndPoint Target { get; set; }

    /// <summary>How many connections have come.</summary>
    public int Connections { get; private set; }

    /// <summary>Tears what there is.</summary>
    public void Cut()
    {
        foreach (var connection in _connections.Keys)
            connection.Reset();
    }

    /// <summary>Tears what there is, and what comes, until it is mended.</summary>
    public void Break()
    {
        _broken = true;
        Cut();
    }

    public void Mend() => _broken = false;

    public async ValueTask DisposeAsync()
    {
        _listening.Dispose();
        await _accepting;
        Cut();
        await Task.WhenAll(_connections.Values);
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket source;
            try
            {
                source = await _listening.AcceptAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }

            Connections++;
            var connection = new Connection(source, _meddlings.TryDequeue(out var meddling) ? meddling : null);
            _connections[connection] = connection.RunAsync(Target);
            if (_broken)
                connection.Reset();
        }
    }

    /// <param name="At">Which byte, counted from the connection's first.</param>
    /// <param name="OfReplies">Of what the target sends, instead of what the source sends.</param>
    internal sealed record Meddling(Fault Fault, long At, bool OfReplies = false);

    private sealed class Connection(Socket source, Meddling? meddling)
    {
        private readonly Socket _onward = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

        public async Task RunAsync(IPEndPoint target)
        {
            await Task.Yield();
            try
            {
                await _onward.ConnectAsync(target);
                await Task.WhenAll(
                    PumpAsync(source, _onward, meddling is { OfReplies: false } ? meddling : null),
                    PumpAsync(_onward, source, meddling is { OfReplies: true } ? meddling : null));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Either host may close first; what matters is what the other one makes of it.
            }

            Reset();
        }

        public void Reset()
        {
            foreach (var socket in new[] { source, _onward })
            {
                try
                {
                    socket.LingerState = new LingerOption(true, 0);
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // It is closed already.
                }

                socket.Dispose();
            }
        }

        private async Task PumpAsync(Socket from, Socket to, Meddling? here)
        {
            var buffer = new byte[16 * 1024];
            var passed = 0L;
            while (await from.ReceiveAsync(buffer) is > 0 and var read)
            {
                var at = here is not null && here.At >= passed && here.At < passed + read ? (int)(here.At - passed) : -1;
                passed += read;
                if (at < 0)
                {
                    await SendAllAsync(to, buffer.AsMemory(0, read));
                    continue;
                }

                if (here!.Fault == Fault.Flip)
                {
                    buffer[at] ^= 0x10;
                    await SendAllAsync(to, buffer.AsMemory(0, read));
                    continue;
                }

                await SendAllAsync(to, buffer.AsMemory(0, at));
                switch (here.Fault)
                {
                    case Fault.Reset:
                        Reset();
                        return;
                    case Fault.Swallow:
                        while (await from.ReceiveAsync(buffer) > 0)
                        {
                        }

                        return;
                    default:
                        to.Shutdown(SocketShutdown.Send);
                        return;
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }

        private static async Task SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes)
        {
            while (!bytes.IsEmpty)
                bytes = bytes[await socket.SendAsync(bytes)..];
        }
    }
}
