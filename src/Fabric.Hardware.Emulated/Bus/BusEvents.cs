using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// What happens on a bus on its way to whoever listens: in the order in which it happened, whichever threads it came from, and with no lock
/// of the bus held, so that the listener may call back.
/// </summary>
internal sealed class BusEvents
{
    private readonly Lock gate = new();
    private readonly Queue<BusEvent> queued = [];
    private Action<BusEvent>? sink;
    private bool isDelivering;

    public void ReportTo(Action<BusEvent> next)
    {
        lock (gate)
            sink = next;
    }

    /// <summary>Nobody is told before <see cref="Deliver"/>; what happens while nobody listens is not kept.</summary>
    public void Add(BusEvent happened)
    {
        lock (gate)
        {
            if (sink is not null)
                queued.Enqueue(happened);
        }
    }

    /// <summary>Tells what is queued, unless another thread is at it already: then that one tells it.</summary>
    public void Deliver()
    {
        while (Next() is var (happened, listener))
        {
            try
            {
                listener(happened);
            }
            finally
            {
                lock (gate)
                    isDelivering = false;
            }
        }
    }

    private (BusEvent Happened, Action<BusEvent> Listener)? Next()
    {
        lock (gate)
        {
            if (isDelivering || sink is null || !queued.TryDequeue(out var happened))
                return null;
            isDelivering = true;
            return (happened, sink);
        }
    }
}
