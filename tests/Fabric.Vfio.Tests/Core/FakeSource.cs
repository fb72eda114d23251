using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

/// <summary>Fires when a test says so.</summary>
internal sealed class FakeSource : IEventSource
{
    private readonly List<IEventTarget> listeners = [];

    public int Listeners => listeners.Count;

    public IDisposable Subscribe(IEventTarget listener)
    {
        listeners.Add(listener);
        return new Subscription(() => listeners.Remove(listener));
    }

    public void Fire()
    {
        foreach (var listener in listeners.ToArray())
            listener.Signal();
    }

    private sealed class Subscription(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
