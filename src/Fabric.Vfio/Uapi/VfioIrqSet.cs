using System.Runtime.InteropServices;

namespace Fabric.Vfio.Uapi;

/// <summary>The head of SET_IRQS; a byte or a descriptor for each interrupt follows, as the flags say (contract §2.5).</summary>
public readonly record struct VfioIrqSet(uint Argsz, IrqSetFlags Flags, uint Index, uint Start, uint Count) : IUapiRequest<VfioIrqSet>
{
    private const IrqSetFlags DataFlags = IrqSetFlags.DataNone | IrqSetFlags.DataBool | IrqSetFlags.DataEventfd;
    private const IrqSetFlags ActionFlags = IrqSetFlags.ActionMask | IrqSetFlags.ActionUnmask | IrqSetFlags.ActionTrigger;

    /// <summary>Bytes of data that the head announces.</summary>
    public ulong DataSize => (ulong)Count * (Flags & DataFlags) switch
    {
        IrqSetFlags.DataBool => sizeof(byte),
        IrqSetFlags.DataEventfd => sizeof(int),
        _ => 0,
    };

    /// <summary>
    /// IO-40 in its order, but for what only the device knows: whether it has the index, and how many interrupts that has. Errors: EINVAL.
    /// </summary>
    public static VfioResult Check(VfioIrqSet value)
    {
        if (value.Count >= uint.MaxValue - value.Start)
            return VfioResult.Fail(Errno.EINVAL, "SET_IRQS: start and count run past the end of the numbers.");
        if ((value.Flags & ~(DataFlags | ActionFlags)) != 0)
            return VfioResult.Fail(Errno.EINVAL, "SET_IRQS: a flag is not known; use one kind of data and one action.");
        if ((value.Flags & DataFlags) is not (IrqSetFlags.DataNone or IrqSetFlags.DataBool or IrqSetFlags.DataEventfd))
            return VfioResult.Fail(Errno.EINVAL, "SET_IRQS: set exactly one kind of data: none, bool or eventfd.");
        if (value.Argsz < (uint)VfioIrqSet.WireSize + value.DataSize)
            return VfioResult.Fail(Errno.EINVAL, "SET_IRQS: argsz does not cover the data of count interrupts.");
        return VfioResult.Ok;
    }

    /// <summary>
    /// The typed request. Bools are a window on the bytes, not a copy. Errors: those of <see cref="Check"/>; EFAULT for fewer bytes than
    /// argsz promised. A bad descriptor is no error yet (IO-43).
    /// </summary>
    public static VfioResult<SetIrqs> DecodeSetIrqs(ReadOnlyMemory<byte> request, IFileTable files)
    {
        ArgumentNullException.ThrowIfNull(files);
        var decoded = VfioIrqSet.Decode(request.Span);
        if (!decoded.IsOk)
            return decoded.Error;
        var head = decoded.Value;
        if ((ulong)(request.Length - VfioIrqSet.WireSize) < head.DataSize)
            return UapiCodec.MemoryRefusal<VfioIrqSet>();

        var data = request.Slice(VfioIrqSet.WireSize, (int)head.DataSize);
        return (head.Flags & DataFlags) switch
        {
            IrqSetFlags.DataBool => new SetIrqs(head.Index, head.Start, head.Count, head.Flags, Bools: data),
            IrqSetFlags.DataEventfd => new SetIrqs(head.Index, head.Start, head.Count, head.Flags, Events: Resolve(data.Span, files)),
            _ => new SetIrqs(head.Index, head.Start, head.Count, head.Flags),
        };
    }

    /// <summary>Bytes that a typed request takes.</summary>
    public static int SizeOf(SetIrqs request) => VfioIrqSet.WireSize + DataSizeOf(request);

    /// <summary>The request as a client sends it. Errors: EFAULT for a buffer below <see cref="SizeOf"/>.</summary>
    public static VfioResult Encode(SetIrqs request, Span<byte> buffer)
    {
        var size = SizeOf(request);
        if (buffer.Length < size)
            return UapiCodec.MemoryRefusal<VfioIrqSet>();
        new VfioIrqSet((uint)size, request.Flags, request.Index, request.Start, request.Count).Encode(buffer);
        var data = buffer[VfioIrqSet.WireSize..size];
        if ((request.Flags & DataFlags) != IrqSetFlags.DataEventfd)
            request.Bools.Span[..data.Length].CopyTo(data);
        else
            Descriptors(request.Events.Span, MemoryMarshal.Cast<byte, int>(data));
        return VfioResult.Ok;
    }

    private static void Descriptors(ReadOnlySpan<EventRef> events, Span<int> fds)
    {
        for (var i = 0; i < events.Length; i++)
            fds[i] = events[i].Fd;
    }

    private static int DataSizeOf(SetIrqs request) => (request.Flags & DataFlags) switch
    {
        IrqSetFlags.DataBool => request.Bools.Length,
        IrqSetFlags.DataEventfd => request.Events.Length * sizeof(int),
        _ => 0,
    };

    private static EventRef[] Resolve(ReadOnlySpan<byte> data, IFileTable files)
    {
        var fds = MemoryMarshal.Cast<byte, int>(data);
        var events = new EventRef[fds.Length];
        for (var i = 0; i < events.Length; i++)
            events[i] = fds[i] < 0 ? new EventRef(fds[i], null) : files.Eventfd(fds[i]);
        return events;
    }
}
