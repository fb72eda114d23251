using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>
/// The interrupts of a function whose kernel driver is vfio-pci: each comes by an eventfd. A handler that is an eventfd itself is given to the
/// kernel, which signals it without us; any other is called by the thread of an <see cref="EventWatch"/>.
/// </summary>
internal sealed class KernelInterrupts(KernelDevice device, EventWatch watch) : IFunctionInterrupts, IDisposable
{
    private readonly Dictionary<int, IDisposable> vectors = [];
    private IrqIndex messages = IrqIndex.Msix;
    private IDisposable? line;

    public bool HasLine => CountOf(IrqIndex.Intx) > 0;

    public bool CanGrowMsix => device.GetIrqInfo(IrqIndex.Msix) is { IsOk: true } told && (told.Value.Flags & IrqFlags.NoResize) == 0;

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive)
    {
        // Whether it is shared the kernel has decided by itself. It masks the line when it is asserted, and DisINTx unmasks it, as MaskLine does.
        var connected = Connect(IrqIndex.Intx, 0, handler);
        line = connected.IsOk ? connected.Value : null;
        return connected.IsOk ? VfioResult.Ok : connected.Error;
    }

    public void DisconnectLine()
    {
        device.DisableIrqs(IrqIndex.Intx);
        line?.Dispose();
        line = null;
    }

    public void MaskLine(bool masked) => device.SetIrqs(new SetIrqs(
        (uint)IrqIndex.Intx, 0, 1, IrqSetFlags.DataNone | (masked ? IrqSetFlags.ActionMask : IrqSetFlags.ActionUnmask)));

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        var events = new EventRef[count];
        events.AsSpan().Fill(EventRef.None);
        var allocated = device.SetIrqs(new SetIrqs((uint)type, 0, (uint)count, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, Events: events));
        messages = type;
        return allocated is { IsOk: true, Value: 0 } ? count : allocated;
    }

    public VfioResult Grow(int vector)
    {
        var grown = device.SetTrigger(messages, vector, null);
        return grown.IsOk ? VfioResult.Ok : grown.Error;
    }

    public void Free()
    {
        device.DisableIrqs(messages);
        foreach (var vector in vectors.Values)
            vector.Dispose();
        vectors.Clear();
    }

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        var connected = Connect(messages, vector, handler);
        if (!connected.IsOk)
            return connected.Error;
        vectors[vector] = connected.Value;
        return VfioResult.Ok;
    }

    public void Disconnect(int vector)
    {
        device.SetTrigger(messages, vector, null);
        if (vectors.Remove(vector, out var connection))
            connection.Dispose();
    }

    /// <summary>ERR or REQ (contract §2.4). Errors: EINVAL for a function that has none, as the kernel sees it.</summary>
    public VfioResult<IDisposable> Listen(IrqIndex index, IEventTarget handler) => Connect(index, 0, handler);

    public void Dispose()
    {
        line?.Dispose();
        foreach (var vector in vectors.Values)
            vector.Dispose();
    }

    private int CountOf(IrqIndex index) => device.GetIrqInfo(index) is { IsOk: true } told ? told.Value.Count : 0;

    private VfioResult<IDisposable> Connect(IrqIndex index, int vector, IEventTarget handler)
    {
        if (handler is EventFd direct)
        {
            var given = device.SetTrigger(index, vector, direct);
            return given.IsOk ? VfioResult.Of<IDisposable>(Nothing.Instance) : given.Error;
        }

        var eventfd = EventFd.Create();
        var connection = new Connection(eventfd, watch.Add(eventfd, handler));
        var set = device.SetTrigger(index, vector, eventfd);
        if (set.IsOk)
            return connection;
        connection.Dispose();
        return set.Error;
    }

    private sealed class Connection(EventFd eventfd, IDisposable watched) : IDisposable
    {
        public void Dispose()
        {
            watched.Dispose();
            eventfd.Dispose();
        }
    }

    private sealed class Nothing : IDisposable
    {
        public static Nothing Instance { get; } = new();

        public void Dispose()
        {
        }
    }
}
