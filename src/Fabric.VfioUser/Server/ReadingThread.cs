using System.Collections.Concurrent;
using System.Threading.Channels;
using Fabric.Devices.Asking;
using Fabric.Vfio;

namespace Fabric.VfioUser.Server;

/// <summary>
/// Reads one client's messages on a thread of its own, and does there what they ask of the device, as long as nothing has to be waited for: between
/// a request and its answer nobody is woken up. A thread that hardware does not let go of is replaced; it ends when it comes back.
/// </summary>
internal sealed class ReadingThread(
    MessageConnection connection, ClientDma dma, BlockingCollection<Message> free, ChannelWriter<Message> due, int mostPayload)
{
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>That no request took.</summary>
    private Message? spare;

    /// <summary>Until the stream ends, or makes no sense any more.</summary>
    public Task RunAsync()
    {
        Start();
        return ended.Task;
    }

    private void Start() => new Thread(Read) { IsBackground = true, Name = "vfio-user client" }.Start();

    private void Read()
    {
        var asking = new AskingThread(_ => Start());
        asking.Enter();
        try
        {
            while (TryPass())
            {
                if (!asking.Pump())
                    return;
            }
        }
        catch (Exception over) when (ClientSession.IsEnd(over))
        {
            connection.End();
        }
        catch (Exception failed)
        {
            connection.End();
            ended.TrySetException(failed);
        }

        due.TryComplete();
        ended.TrySetResult();
    }

    /// <summary>One message; false after the last.</summary>
    private bool TryPass()
    {
        var message = Next();
        if (!connection.Read(message, mostPayload))
        {
            message.Clear();
            return false;
        }

        var isLast = message.Fault.Errno != Errno.None;
        if (message.Header.IsReply && !isLast)
        {
            dma.Accept(message);
            message.Clear();
            spare = message;
            return true;
        }

        // Of a posted write nobody waits for the end: DMA may go on meanwhile.
        if (message.Header.WantsReply)
            dma.Received();
        due.TryWrite(message);
        return !isLast;
    }

    /// <summary>As many requests are read ahead as there are messages for them; this thread waits for one that is carried out.</summary>
    private Message Next()
    {
        if (spare is { } kept)
        {
            spare = null;
            return kept;
        }

        return free.Take(connection.Ending);
    }
}
