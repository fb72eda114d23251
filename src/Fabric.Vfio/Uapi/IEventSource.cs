namespace Fabric.Vfio.Uapi;

/// <summary>
/// An eventfd that the core listens to, as the resample eventfd of INTx (contract §2.5). The target of an <see cref="EventRef"/> that is
/// one too can be used there.
/// </summary>
public interface IEventSource
{
    /// <summary>
    /// Passes on every signal from now on, and at once the one that nobody has consumed yet. Disposing ends that: when it has returned, the
    /// listener is not signalled any more.
    /// </summary>
    /// <param name="listener">Called from any thread.</param>
    IDisposable Subscribe(IEventTarget listener);
}
