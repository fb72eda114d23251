using System.Net.Sockets;
using Akka.Actor;
using Akka.Event;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>
/// Serves one device to one client at a time over a UNIX socket. The socket is its owner's alone (0600); one that a dead server left is taken away,
/// one that lives is not.
/// </summary>
public sealed class VfioUserServer : IAsyncDisposable
{
    private const int Backlog = 512;

    /// <summary>sun_path, unix(7), its NUL included.</summary>
    private const int MostPathBytes = 108;

    /// <summary>Connections that are leaving, for each that may be open.</summary>
    private const int LeavingForEach = 16;

    private static readonly TimeSpan NoDescriptorsPause = TimeSpan.FromMilliseconds(100);

    private readonly Socket listener;
    private readonly ServedDevice served;
    private readonly Seat seat = new();
    private readonly CancellationTokenSource ending = new();
    private readonly Lock gate = new();
    private readonly Dictionary<Task, ClientSession> sessions = [];
    private readonly Task accepting;

    private VfioUserServer(Socket listener, ServedDevice served)
    {
        (this.listener, this.served) = (listener, served);
        accepting = AcceptAsync();
    }

    public string Path => served.Path;

    /// <summary>Connections that are open, those that are being refused included.</summary>
    public int Connections
    {
        get
        {
            lock (gate)
                return sessions.Count;
        }
    }

    /// <summary>Whether a socket could have this path: an absolute one that is short enough.</summary>
    public static bool IsPath(string path) =>
        System.IO.Path.IsPathFullyQualified(path) && !path.Contains('\0', StringComparison.Ordinal)
        && System.Text.Encoding.UTF8.GetByteCount(path) < MostPathBytes;

    /// <summary>
    /// Listens. Errors: EINVAL for a path that is too long, EEXIST for one where something else is, EBUSY where another server listens, EACCES or
    /// ENOENT where the folder does not let it be made.
    /// </summary>
    /// <param name="front">Takes the device's messages.</param>
    public static async Task<VfioResult<VfioUserServer>> StartAsync(ActorSystem system, IActorRef front, string path, ServerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(system);
        ArgumentNullException.ThrowIfNull(front);
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (System.Text.Encoding.UTF8.GetByteCount(path) >= MostPathBytes)
            return new VfioError(Errno.EINVAL, "The path of a socket has at most 107 bytes; choose a shorter one.");
        if (await RecoverAsync(path).ConfigureAwait(false) is { IsOk: false } refused)
            return refused.Error;
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // The socket's own mode becomes that of the file, so there is no moment in which others could connect.
            SocketFile.KeepToOwner(listener);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen(Backlog);
        }
        catch (SocketException failed)
        {
            listener.Dispose();
            return failed.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => new VfioError(Errno.EBUSY, "Another server has just taken the path; stop it, or choose another."),
                SocketError.AccessDenied => new VfioError(Errno.EACCES, "The socket's folder may not be written to; choose another."),
                _ => new VfioError(Errno.ENOENT, "The socket's folder is not there, or takes no sockets; make it first."),
            };
        }

        var log = Logging.GetLogger(system, "vfio-user");
        return new VfioUserServer(listener, new ServedDevice(system, front, path, options ?? ServerOptions.Default, log));
    }

    /// <summary>Ends every session, and takes the socket away.</summary>
    public async ValueTask DisposeAsync()
    {
        if (ending.IsCancellationRequested)
            return;
        await ending.CancelAsync().ConfigureAwait(false);
        listener.Dispose();
        await accepting.ConfigureAwait(false);
        Task[] open;
        lock (gate)
            open = [.. sessions.Keys];
        await Task.WhenAll(open).ConfigureAwait(false);
        File.Delete(Path);
        ending.Dispose();
    }

    /// <summary>A socket of ours that nobody listens on is left over from a server that died.</summary>
    private static async Task<VfioResult> RecoverAsync(string path)
    {
        switch (SocketFile.Look(path))
        {
            case SocketFile.Found.Nothing:
                return VfioResult.Ok;
            case SocketFile.Found.Other:
                return VfioResult.Fail(Errno.EEXIST, "At the socket's path there is something that is no socket; move it, or choose another path.");
            case SocketFile.Found.SocketOfOther:
                return VfioResult.Fail(Errno.EACCES, "The socket at this path is another user's; choose another path.");
            case SocketFile.Found.Socket:
                break;
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await probe.ConnectAsync(new UnixDomainSocketEndPoint(path)).ConfigureAwait(false);
            return VfioResult.Fail(Errno.EBUSY, "Another server listens on the socket; stop it, or choose another path.");
        }
        catch (SocketException refused) when (refused.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
            return VfioResult.Ok;
        }
        catch (SocketException)
        {
            return VfioResult.Fail(Errno.EBUSY, "The socket cannot be looked at; stop who listens there, or choose another path.");
        }
    }

    private async Task AcceptAsync()
    {
        while (!ending.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(ending.Token).ConfigureAwait(false);
                if (HasRoom)
                    Begin(new MessageConnection(socket, served.Options, ending.Token));
                else
                    TurnAway(socket);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException failed)
            {
                // The process has no descriptors left: who waits to be accepted does so until some are closed.
                served.Log.Warning("{0}: no connection is accepted now: {1}", Path, failed.Message);
                await Task.Delay(NoDescriptorsPause, served.Options.Time, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Who has hung up takes no room, though he is not gone yet; there are not many of those either.</summary>
    private bool HasRoom
    {
        get
        {
            var most = served.Options.MaxConnections;
            lock (gate)
            {
                return sessions.Count < most
                    || (sessions.Count < most * LeavingForEach && sessions.Values.Count(static session => !session.IsLeaving) < most);
            }
        }
    }

    private void Begin(MessageConnection connection)
    {
        var session = new ClientSession(served, seat, connection);
        lock (gate)
        {
            var running = Task.Run(session.RunAsync);
            sessions.Add(running, session);
            running.ContinueWith(Forget, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    private void Forget(Task session)
    {
        lock (gate)
            sessions.Remove(session);
    }

    /// <summary>More than are looked after: an answer, before its question is read, and the end.</summary>
    private static void TurnAway(Socket socket)
    {
        using (socket)
        {
            var answer = new byte[MessageHeader.Bytes];
            MessageHeader.Request(0, Command.Version, 0).Refusal(Errno.EBUSY).Encode(answer);
            try
            {
                DescriptorMessages.Send(socket.SafeHandle, answer, []);
            }
            catch (SocketException)
            {
                // It is gone already.
            }
        }
    }
}
