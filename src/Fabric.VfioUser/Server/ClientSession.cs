using System.Buffers;
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>Which device a server serves, and how.</summary>
/// <param name="Front">Takes the device's messages.</param>
internal sealed record ServedDevice(ActorSystem System, IActorRef Front, string Path, ServerOptions Options, ILoggingAdapter Log);

/// <summary>
/// One connection, from VERSION to its end: the device's session is opened when the version is agreed, and closed with the connection. One thread
/// reads, and passes replies on at once; a loop carries requests out in the order in which they came, on that thread while nothing is waited
/// for. So a device that waits for the client's memory is not waited for by what would bring it.
/// </summary>
internal sealed class ClientSession(ServedDevice served, Seat seat, MessageConnection connection)
{
    /// <summary>Requests that are read and not yet answered: QEMU has five on their way. After these the client's socket fills up.</summary>
    private const int Depth = 16;

    /// <summary>QEMU receives the reply into the buffer of its request, which is of so many bytes (facts §4).</summary>
    private const int MostVersionReply = 214;

    private readonly TaskCompletionSource left = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The client is gone, or is being put out.</summary>
    public bool IsLeaving => left.Task.IsCompleted || connection.IsHungUp;

    /// <summary>When the device has let go of the client.</summary>
    public Task Left => left.Task;

    public async Task RunAsync()
    {
        try
        {
            await ServeAsync().ConfigureAwait(false);
        }
        catch (Exception over) when (IsEnd(over))
        {
            // The connection ended, from either side or by a deadline: there is nobody to tell.
        }
        catch (Exception failed)
        {
            served.Log.Error(failed, "{0}: the session failed, and is closed; the server goes on", served.Path);
        }
        finally
        {
            seat.Leave(this);
            connection.Dispose();
            left.TrySetResult();
        }
    }

    private async Task ServeAsync()
    {
        var message = new Message();
        connection.Expect(served.Options.HandshakeDeadline);
        try
        {
            if (!await ReadVersionAsync(message).ConfigureAwait(false))
                return;
            var agreed = Agree(message);
            var seated = agreed.IsOk
                ? await seat.TakeAsync(this, served.Options.HandshakeDeadline, served.Options.Time, connection.Ending).ConfigureAwait(false)
                : agreed.Error;
            if (seated.IsOk)
                await ServeAsync(message, agreed.Value).ConfigureAwait(false);
            else
                await RefuseAsync(message.Header, seated.Error).ConfigureAwait(false);
        }
        finally
        {
            message.Clear();
        }
    }

    /// <summary>What both take. Errors: EINVAL for a message that is no VERSION, for another major version, and for malformed capabilities.</summary>
    private VfioResult<PeerCapabilities> Agree(Message message)
    {
        if (message.Fault.Errno != Errno.None)
            return message.Fault;
        if (message.Header is not { IsCommand: true, Command: Command.Version, WantsReply: true })
            return new VfioError(Errno.EINVAL, "A client's first message is VERSION, and wants a reply.");
        if (message.Descriptors.Count > 0 || message.Descriptors.IsTooMany)
            return Refused.Descriptors;
        if (!message.Begins<VersionPayload>(out var version))
            return Refused.Length;
        if (version.Major != 0)
            return new VfioError(Errno.EINVAL, "VERSION: major version 0 is the only one that there is.");
        var peer = PeerCapabilities.Read(message.After<VersionPayload>().Span);
        if (!peer.IsOk)
            return peer.Error;
        var own = served.Options.Capabilities;
        return own with
        {
            MaxTransfer = Math.Min(own.MaxTransfer, peer.Value.MaxTransfer),
            WritesMultiple = peer.Value.WritesMultiple,
        };
    }

    private async Task ServeAsync(Message message, PeerCapabilities agreed)
    {
        var life = served.System.ActorOf(Props.Create(static () => new ClientLife()));
        try
        {
            var opened = await DeviceClient.OpenAsync(served.Front, $"vfio-user client of {served.Path}", life).ConfigureAwait(false);
            if (!opened.IsOk)
            {
                await RefuseAsync(message.Header, opened.Error).ConfigureAwait(false);
                return;
            }

            using var dma = new ClientDma(connection, agreed.MaxTransfer, served.Options);
            // What the client gave is let go of last, when the device uses it no more.
            using var requests = new Requests(opened.Value, agreed, dma);
            try
            {
                await connection.SendAsync(VersionReply(message.Header, agreed)).ConfigureAwait(false);
                message.Clear();
                await ServeAsync(requests, dma).ConfigureAwait(false);
            }
            finally
            {
                // A device in the middle of its DMA finds that there is nobody any more, and the close does not wait for it.
                dma.Dispose();
                var closed = await opened.Value.CloseAsync().ConfigureAwait(false);
                if (!closed.IsOk)
                    served.Log.Warning("{0}: the device did not close for its client: {1}", served.Path, closed.Error.Sentence);
            }
        }
        finally
        {
            served.System.Stop(life);
        }
    }

    /// <summary>On a thread of its own, as everything is read: a client that says nothing holds up nobody else.</summary>
    private Task<bool> ReadVersionAsync(Message message) => Task.Factory.StartNew(
        () => connection.Read(message, VersionPayload.WireSize + PeerCapabilities.MaxJsonBytes),
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private async Task ServeAsync(Requests requests, ClientDma dma)
    {
        using var free = new BlockingCollection<Message>();
        // What is read is carried out at once, on the reading thread, where nothing is waited for.
        var due = Channel.CreateUnbounded<Message>(new UnboundedChannelOptions
        {
            SingleReader = true, SingleWriter = true, AllowSynchronousContinuations = true,
        });
        for (var at = 0; at < Depth; at++)
            free.Add(new Message());
        // Whichever ends first, however it ends, ends the others.
        var (carrying, sending) = (CarryOutAsync(requests, dma, due.Reader, free), dma.RunAsync());
        var reading = new ReadingThread(connection, dma, free, due.Writer, MostPayload).RunAsync();
        await Task.WhenAll(reading, carrying, sending).ConfigureAwait(false);
        while (due.Reader.TryRead(out var left))
            left.Clear();
        while (free.TryTake(out var kept))
            kept.Clear();
    }

    private async Task CarryOutAsync(Requests requests, ClientDma dma, ChannelReader<Message> due, BlockingCollection<Message> free)
    {
        var reply = new Reply();
        try
        {
            await foreach (var message in due.ReadAllAsync().ConfigureAwait(false))
            {
                var header = message.Header;
                var done = await requests.CarryOutAsync(message, reply).ConfigureAwait(false);
                if (!done.IsOk)
                    served.Log.Debug("{0}: {1} was refused with {2}", served.Path, header.Command, done.Error);
                // A device that did not answer may look at the bytes still.
                if (done.Error.Errno == Errno.ETIMEDOUT)
                    message.Abandon();
                if (header.WantsReply)
                {
                    await connection.SendAsync(done.IsOk ? reply.Complete(header) : reply.Refuse(header, done.Error.Errno)).ConfigureAwait(false);
                    dma.Answered();
                }

                reply.Clear();
                message.Clear();
                free.Add(message);
            }
        }
        catch (Exception over) when (IsEnd(over))
        {
            // Nobody is there any more to be answered.
        }
        finally
        {
            connection.End();
            reply.Clear();
        }
    }

    private static ReadOnlyMemory<byte> VersionReply(MessageHeader request, PeerCapabilities agreed)
    {
        var json = new ArrayBufferWriter<byte>();
        agreed.Write(json);
        var reply = new Reply();
        // 0.0 is what every client proposes at least, and QEMU takes no more.
        reply.Put(new VersionPayload(0, 0), json.WrittenSpan);
        var message = reply.Complete(request);
        return message.Length <= MostVersionReply
            ? message
            : throw new InvalidOperationException($"The VERSION reply has {message.Length} bytes; QEMU takes {MostVersionReply}.");
    }

    private async Task RefuseAsync(MessageHeader request, VfioError error)
    {
        served.Log.Info("{0}: a client was refused: {1}", served.Path, error);
        if (request.WantsReply)
            await connection.SendAsync(new Reply().Refuse(request, error.Errno)).ConfigureAwait(false);
    }

    internal static bool IsEnd(Exception over) => over is OperationCanceledException or SocketException or ObjectDisposedException;

    /// <summary>The longest is a write of as many bytes as one access carries.</summary>
    private static int MostPayload => RegionAccessPayload.WireSize + DeviceLimits.MaxTransfer;
}

/// <summary>The client's life, as the device watches it: should a session ever end without a close, its end closes the device.</summary>
internal sealed class ClientLife : UntypedActor
{
    protected override void OnReceive(object message)
    {
        // The device asks for its release by the interrupt REQ, which goes to the client itself.
    }
}
