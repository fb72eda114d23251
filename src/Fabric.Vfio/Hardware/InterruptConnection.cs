using Fabric.Vfio.Uapi;

namespace Fabric.Vfio;

/// <summary>A handler that the host has connected to an interrupt. No lock is held while it is signalled: it may call back into the function.</summary>
public sealed class InterruptConnection(IEventTarget handler)
{
    private readonly object gate = new();
    private int underWay;
    private bool isClosed;

    /// <summary>False where it is closed already.</summary>
    public bool Signal()
    {
        lock (gate)
        {
            if (isClosed)
                return false;
            underWay++;
        }

        try
        {
            handler.Signal();
            return true;
        }
        finally
        {
            lock (gate)
            {
                underWay--;
                Monitor.PulseAll(gate);
            }
        }
    }

    /// <summary>
    /// Waits for the signals under way; when it has returned, the handler is not signalled any more. Not to be called by the handler.
    /// </summary>
    public void Close()
    {
        lock (gate)
        {
            isClosed = true;
            while (underWay > 0)
                Monitor.Wait(gate);
        }
    }
}
