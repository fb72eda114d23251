using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Fabric.Devices.Hardware;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>
/// Interrupts of a device that another process serves: eventfds of ours that the server signals (DEVICE_SET_IRQS). The line is masked here, for the
/// server masks it by itself when it signals, or does not mask it at all.
/// </summary>
internal sealed class RemoteInterrupts(ServerConnection server, ImmutableArray<IrqInfo> irqs, LaneThreads threads) : IFunctionInterrupts, IDisposable
{
    private readonly EventListener listener = new(threads);
    private readonly Lock gate = new();
    private readonly Dictionary<int, Wired> vectors = [];
    private Wired? line;
    private bool isLineMasked;
    private bool isLinePending;
    private IrqIndex? type;

    private sealed record Wired(InterruptConnection Handler, EventListener.Listened Listened);

    public bool HasLine => irqs[(int)IrqIndex.Intx].Count > 0;

    public bool CanGrowMsix => (irqs[(int)IrqIndex.Msix].Flags & IrqFlags.NoResize) == 0;

    // ---- The line --------------------------------------------------------------------------------------------------------------------

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive)
    {
        if (!HasLine)
            return VfioResult.Fail(Errno.ENODEV, "The vfio-user device has no INTx line.");
        if (line is not null)
            return VfioResult.Fail(Errno.EBUSY, "The line of the vfio-user device is connected already.");
        lock (gate)
            (isLineMasked, isLinePending) = (false, false);
        var wired = Wire(IrqIndex.Intx, 0, handler, OnLine);
        line = wired.IsOk ? wired.Value : null;
        return wired.Error;
    }

    public void DisconnectLine()
    {
        if (line is not { } ending)
            return;
        line = null;
        Disable(IrqIndex.Intx);
        Unwire(ending);
    }

    public void MaskLine(bool masked)
    {
        bool isDue;
        lock (gate)
        {
            isLineMasked = masked;
            isDue = !masked && isLinePending;
            isLinePending &= masked;
        }

        if (masked || line is not { } connected)
            return;
        // A server that masks by itself signals once more where the line is asserted still; from another that was the only word.
        Set(new VfioIrqSet((uint)VfioIrqSet.WireSize, IrqSetFlags.DataNone | IrqSetFlags.ActionUnmask, (uint)IrqIndex.Intx, 0, 1), []);
        if (isDue && (irqs[(int)IrqIndex.Intx].Flags & IrqFlags.AutoMasked) == 0)
            connected.Handler.Signal();
    }

    private void OnLine(InterruptConnection handler)
    {
        lock (gate)
        {
            isLinePending = isLineMasked;
            if (isLineMasked)
                return;
        }

        handler.Signal();
    }

    // ---- Messages --------------------------------------------------------------------------------------------------------------------

    /// <summary>The server reserves them: a vector without an eventfd is one that is enabled and signals nobody.</summary>
    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        var most = type is IrqIndex.Msi or IrqIndex.Msix ? irqs[(int)type].Count : 0;
        if (most == 0)
            return new VfioError(Errno.ENODEV, "The vfio-user device has no such interrupts.");
        if (count > most)
            return most;
        var set = Set(EventSet(type, 0, count), []);
        if (!set.IsOk)
            return set.Error;
        this.type = type;
        return count;
    }

    /// <summary>The server adds it when it is connected.</summary>
    public VfioResult Grow(int vector) => type == IrqIndex.Msix && CanGrowMsix && vector < irqs[(int)IrqIndex.Msix].Count
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "The vfio-user device has no such vector to be added.");

    public void Free()
    {
        foreach (var vector in vectors.Keys.ToArray())
            Disconnect(vector);
        if (type is { } freed)
            Disable(freed);
        type = null;
    }

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        if (type is not { } messages)
            return VfioResult.Fail(Errno.EINVAL, "The vector is not allocated.");
        Disconnect(vector);
        var wired = Wire(messages, vector, handler, static connected => connected.Signal());
        if (wired.IsOk)
            vectors[vector] = wired.Value;
        return wired.Error;
    }

    public void Disconnect(int vector)
    {
        if (!vectors.Remove(vector, out var ending))
            return;
        if (type is { } messages)
            Set(EventSet(messages, vector, 1), []);
        Unwire(ending);
    }

    public void Dispose() => listener.Dispose();

    /// <summary>Gives the server an eventfd for one interrupt.</summary>
    private VfioResult<Wired> Wire(IrqIndex index, int number, IEventTarget handler, Action<InterruptConnection> signalled)
    {
        if (server.Server.MaxMessageFds < 1)
            return new VfioError(Errno.ENODEV, "The vfio-user server takes no descriptors, so it can signal no interrupt.");
        var connection = new InterruptConnection(handler);
        var listened = listener.Listen(() => signalled(connection));
        if (!listened.IsOk)
            return listened.Error;
        var set = Set(EventSet(index, number, 1), [listened.Value.Eventfd.Number]);
        if (set.IsOk)
            return new Wired(connection, listened.Value);
        listener.Forget(listened.Value);
        return set.Error;
    }

    private void Unwire(Wired ending)
    {
        listener.Forget(ending.Listened);
        ending.Handler.Close();
    }

    private void Disable(IrqIndex index) =>
        Set(new VfioIrqSet((uint)VfioIrqSet.WireSize, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, (uint)index, 0, 0), []);

    private static VfioIrqSet EventSet(IrqIndex index, int start, int count) =>
        new((uint)VfioIrqSet.WireSize, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, (uint)index, (uint)start, (uint)count);

    private VfioResult Set(VfioIrqSet set, ReadOnlySpan<int> fds) =>
        server.Call(Command.DeviceSetIrqs, MemoryMarshal.AsBytes(new ReadOnlySpan<VfioIrqSet>(in set)), [], fds, [], []).Error;
}
