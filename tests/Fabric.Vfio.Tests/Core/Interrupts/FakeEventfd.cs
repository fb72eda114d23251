using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>An eventfd that can be listened to: what is signalled while nobody listens waits for the next who does.</summary>
internal sealed class FakeEventfd : IEventTarget, IEventSource
{
    private IEventTarget? listener;
    private bool pending;

    public bool IsListenedTo => listener is not null;

    public void Signal()
    {
        pending = listener is null;
        listener?.Signal();
    }

    public IDisposable Subscribe(IEventTarget listener)
    {
        this.listener = listener;
        if (pending)
            Signal();
        return new Subscription(this);
    }

    private sealed class Subscription(FakeEventfd eventfd) : IDisposable
    {
        public void Dispose() => eventfd.listener = null;
    }
}
