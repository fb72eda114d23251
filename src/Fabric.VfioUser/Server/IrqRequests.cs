using Fabric.Devices;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Server;

/// <summary>DEVICE_SET_IRQS. Eventfds come as descriptors of the message, the k-th for interrupt start + k; none takes them back.</summary>
internal sealed class IrqRequests(DeviceClient device, InfoRequests info, ClientDma dma) : IDisposable
{
    private const IrqSetFlags DataFlags = IrqSetFlags.DataNone | IrqSetFlags.DataBool | IrqSetFlags.DataEventfd;
    private const IrqSetFlags ActionFlags = IrqSetFlags.ActionMask | IrqSetFlags.ActionUnmask | IrqSetFlags.ActionTrigger;

    private readonly Dictionary<(uint Index, uint Number), ClientEvent> events = [];

    /// <summary>Errors: EINVAL, those of the device's own matrix (IO-40 to IO-47), ENOSPC where fewer vectors are to be had.</summary>
    public async Task<VfioResult> SetAsync(Message request)
    {
        if (request.TakeBeginning<VfioIrqSet>(out var asked) is { IsOk: false } wrong)
            return wrong;
        if (await CheckAsync(request, asked).ConfigureAwait(false) is { IsOk: false } refused)
            return refused;
        var given = Take(request);
        if (!given.IsOk)
            return given.Error;
        var set = await device.SetIrqsAsync(new SetIrqs(asked.Index, asked.Start, asked.Count, asked.Flags)
        {
            Bools = request.After<VfioIrqSet>(),
            Events = EventsOf(asked, given.Value),
        }).ConfigureAwait(false);
        if (set is { IsOk: true, Value: 0 })
        {
            Keep(asked, given.Value);
            return VfioResult.Ok;
        }

        Drop(given.Value);
        return set.IsOk ? VfioResult.Fail(Errno.ENOSPC, "SET_IRQS: fewer vectors are to be had than asked for; ask for fewer.") : set.Error;
    }

    public void Dispose()
    {
        foreach (var kept in events.Values)
            kept.Dispose();
        events.Clear();
    }

    private async ValueTask<VfioResult> CheckAsync(Message request, VfioIrqSet asked)
    {
        var (data, action) = (asked.Flags & DataFlags, asked.Flags & ActionFlags);
        if ((asked.Flags & ~(DataFlags | ActionFlags)) != 0 || !uint.IsPow2((uint)data) || !uint.IsPow2((uint)action))
            return VfioResult.Fail(Errno.EINVAL, "SET_IRQS: set exactly one kind of data and one action.");
        var bytes = data == IrqSetFlags.DataBool ? asked.Count : 0;
        if ((uint)request.After<VfioIrqSet>().Length != bytes)
            return Refused.Length;
        var fds = (uint)request.Descriptors.Count;
        if (fds != 0 && (data != IrqSetFlags.DataEventfd || fds != asked.Count))
            return Refused.Descriptors;
        var irq = await info.FindIrqAsync(asked.Index).ConfigureAwait(false);
        if (!irq.IsOk)
            return irq.Error;
        return asked.Start <= (uint)irq.Value.Count && asked.Count <= (uint)irq.Value.Count - asked.Start
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "SET_IRQS: start and count run past the interrupts that the index has.");
    }

    /// <summary>All of them are eventfds, or none is taken. Errors: EINVAL.</summary>
    private VfioResult<ClientEvent[]> Take(Message request)
    {
        var given = new ClientEvent[request.Descriptors.Count];
        for (var at = 0; at < given.Length; at++)
        {
            var taken = EventFd.Take(request.Descriptors.Take(at));
            if (!taken.IsOk)
            {
                Drop(given.AsSpan(0, at));
                return taken.Error;
            }

            given[at] = new ClientEvent(taken.Value, dma);
        }

        return given;
    }

    private static ReadOnlyMemory<EventRef> EventsOf(VfioIrqSet asked, ClientEvent[] given)
    {
        if ((asked.Flags & IrqSetFlags.DataEventfd) == 0)
            return default;
        var refs = new EventRef[asked.Count];
        for (var at = 0; at < refs.Length; at++)
            refs[at] = given.Length == 0 ? EventRef.None : EventRef.Of(given[at]);
        return refs;
    }

    /// <summary>The device uses these from now on, and those before them no more.</summary>
    private void Keep(VfioIrqSet asked, ClientEvent[] given)
    {
        if ((asked.Flags & IrqSetFlags.ActionTrigger) == 0)
            return;
        if (asked is { Count: 0 } && (asked.Flags & IrqSetFlags.DataNone) != 0)
        {
            foreach (var key in events.Keys.Where(key => key.Index == asked.Index).ToArray())
                Forget(key);
            return;
        }

        if ((asked.Flags & IrqSetFlags.DataEventfd) == 0)
            return;
        for (var at = 0u; at < asked.Count; at++)
        {
            var key = (asked.Index, asked.Start + at);
            Forget(key);
            if (given.Length > 0)
                events[key] = given[at];
        }
    }

    private void Forget((uint Index, uint Number) key)
    {
        if (events.Remove(key, out var gone))
            gone.Dispose();
    }

    private static void Drop(ReadOnlySpan<ClientEvent> given)
    {
        foreach (var dropped in given)
            dropped.Dispose();
    }
}
