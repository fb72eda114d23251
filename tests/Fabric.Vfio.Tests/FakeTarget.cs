using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests;

/// <summary>Counts how often it was signalled, as an eventfd does.</summary>
internal sealed class FakeTarget : IEventTarget
{
    public int Signals { get; private set; }

    public void Signal() => Signals++;
}
