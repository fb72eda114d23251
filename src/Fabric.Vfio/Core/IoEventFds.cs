using System.Buffers.Binary;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>A write that firing makes (contract §2.8). Size in bytes: 1, 2, 4 or 8.</summary>
public readonly record struct IoEvent(int Region, ulong Offset, int Size, ulong Data);

/// <summary>The ioeventfds of an open device: events that become BAR writes without a system call (IO-70, IO-71).</summary>
internal sealed class IoEventFds(IPciFunction function, RegionAccess regions, MemoryGate gate)
{
    public const int Max = 1000;

    private readonly Dictionary<IoEvent, IDisposable> entries = [];

    public int Count => entries.Count;

    /// <summary>
    /// Installs a write, or (null) removes it. Errors: EINVAL for a size or place that cannot be, ENODEV nothing to remove, EEXIST, ENOSPC,
    /// and what the BAR's claim failed with.
    /// </summary>
    public VfioResult Set(IoEvent request, IEventSource? source) => Set(request, source, default);

    /// <summary>The same with a descriptor, whose own error comes last (IO-47); a negative one removes.</summary>
    public VfioResult Set(IoEvent request, EventRef eventfd)
    {
        if (eventfd.Resolve(out var target) is { Errno: not Errno.None } wrong)
            return Set(request, Never.Instance, wrong);
        return target switch
        {
            null => Set(request, null, default),
            IEventSource source => Set(request, source, default),
            _ => Set(request, Never.Instance, new VfioError(Errno.EINVAL, "This eventfd cannot be listened to; use one that can be.")),
        };
    }

    private VfioResult Set(IoEvent request, IEventSource? source, VfioError wrong)
    {
        if (request.Size is not (1 or 2 or 4 or 8))
            return Fail(Errno.EINVAL, "An ioeventfd writes 1, 2, 4 or 8 bytes.");
        if (request.Region is < RegionIndex.Bar0 or > RegionIndex.Bar5)
            return Fail(Errno.EINVAL, "An ioeventfd writes to a BAR.");
        var bytes = regions.BarBytes(request.Region);
        if (request.Offset >= bytes || (ulong)request.Size > bytes - request.Offset)
            return Fail(Errno.EINVAL, "The ioeventfd's place lies past the end of the BAR.");
        if (regions.Msix.Overlaps(request.Region, request.Offset, (ulong)request.Size))
            return Fail(Errno.EINVAL, "The ioeventfd's place lies in the MSI-X table.");
        if (regions.ClaimOf(request.Region) is { Errno: not Errno.None } unclaimed)
            return unclaimed;
        if (source is null)
        {
            if (!entries.Remove(request, out var subscription))
                return Fail(Errno.ENODEV, "No ioeventfd of this place, size and data is installed.");
            subscription.Dispose();
            return VfioResult.Ok;
        }

        if (entries.ContainsKey(request))
            return Fail(Errno.EEXIST, "An ioeventfd of this place, size and data is installed; remove it first.");
        if (entries.Count == Max)
            return Fail(Errno.ENOSPC, "1000 ioeventfds are the limit of one device.");
        if (wrong.Errno != Errno.None)
            return wrong;
        entries.Add(request, source.Subscribe(new RegionWriter(function, gate, request)));
        return VfioResult.Ok;
    }

    public void Clear()
    {
        foreach (var subscription in entries.Values)
            subscription.Dispose();
        entries.Clear();
    }

    private static VfioResult Fail(Errno errno, string sentence) => VfioResult.Fail(errno, sentence);

    /// <summary>Stands for a descriptor that is refused in the end.</summary>
    private sealed class Never : IEventSource
    {
        public static readonly Never Instance = new();

        public IDisposable Subscribe(IEventTarget listener) => throw new InvalidOperationException("A descriptor that is refused was listened to.");
    }

    private sealed class RegionWriter(IPciFunction function, MemoryGate gate, IoEvent write) : IEventTarget
    {
        /// <summary>While memory is unusable the write is dropped in silence (IO-71).</summary>
        public void Signal()
        {
            Span<byte> data = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(data, write.Data);
            if (gate.TryEnter(MemoryBlocks.None) != MemoryBlocks.None)
                return;
            try
            {
                function.WriteRegion(write.Region, write.Offset, data[..write.Size]);
            }
            finally
            {
                gate.Leave();
            }
        }
    }
}
