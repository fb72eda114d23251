using Fabric.Devices;
using Fabric.Vfio;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>DMA_MAP and DMA_UNMAP: what is mapped, and what has to be let go of when it is not any more.</summary>
internal sealed class DmaRequests(DeviceClient device, ClientDma dma, int most) : IDisposable
{
    private const MapFlags Known = MapFlags.Read | MapFlags.Write | MapFlags.Mmap | MapFlags.FileIo;

    private readonly Dictionary<ulong, Mapped> mappings = [];

    /// <summary>From the first byte that is mapped to the last; null where nothing is.</summary>
    public (ulong First, ulong Last)? Hull => mappings.Count == 0
        ? null
        : (mappings.Keys.Min(), mappings.Max(static mapping => mapping.Key + (mapping.Value.Length - 1)));

    /// <summary>Errors: EINVAL, EEXIST over a mapping, EOVERFLOW, ENOSPC past max_dma_maps, those of <see cref="ClientFile.Open"/>.</summary>
    public async Task<VfioResult> MapAsync(Message request)
    {
        if (request.Take<DmaMapPayload>(out var asked) is { IsOk: false } wrong)
            return wrong;
        if ((asked.Flags & ~Known) != 0)
            return Refused.Flags;
        var access = (DmaAccess)(asked.Flags & (MapFlags.Read | MapFlags.Write));
        if (access == DmaAccess.None)
            return VfioResult.Fail(Errno.EINVAL, "DMA_MAP: the device may neither read nor write there; set a flag.");
        if (asked.Length == 0 || ((asked.Iova | asked.Length) & 0xfff) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DMA_MAP: address and size must be multiples of 4096, and the size not 0.");
        if (mappings.Count == most)
            return VfioResult.Fail(Errno.ENOSPC, "DMA_MAP: there are max_dma_maps mappings; map larger ranges.");
        if (request.Descriptors.Count == 0 && (asked.Flags & (MapFlags.Mmap | MapFlags.FileIo)) != 0)
            return VfioResult.Fail(Errno.EINVAL, "DMA_MAP: the flags want a descriptor, and none came.");
        var target = Target(request, asked, access);
        if (!target.IsOk)
            return target.Error;
        var mapped = await device.MapDmaAsync(asked.Iova, target.Value, access).ConfigureAwait(false);
        if (mapped.IsOk)
            mappings[asked.Iova] = new Mapped(asked.Length, (IDisposable)target.Value);
        else
            ((IDisposable)target.Value).Dispose();
        return mapped;
    }

    /// <summary>A mapping exactly, or all. Errors: ENOENT for what is not mapped so, EINVAL.</summary>
    public async Task<VfioResult> UnmapAsync(Message request, Reply reply)
    {
        if (request.Take<DmaUnmapPayload>(out var asked) is { IsOk: false } wrong)
            return wrong;
        if ((asked.Flags & ~UnmapFlags.All) != 0)
            return Refused.Flags;
        var isAll = asked.Flags == UnmapFlags.All;
        if (isAll && (asked.Iova, asked.Length) != (0, 0))
            return VfioResult.Fail(Errno.EINVAL, "DMA_UNMAP: who unmaps all gives neither address nor size.");
        if (!isAll && !(mappings.TryGetValue(asked.Iova, out var mapped) && mapped.Length == asked.Length))
            return VfioResult.Fail(Errno.ENOENT, "DMA_UNMAP: there is no such mapping; give address and size as they were mapped.");
        foreach (var iova in isAll ? [.. mappings.Keys] : new[] { asked.Iova })
        {
            var unmapped = await device.UnmapDmaAsync(iova).ConfigureAwait(false);
            if (!unmapped.IsOk)
                return unmapped;
            mappings.Remove(iova, out var gone);
            gone.Target.Dispose();
        }

        reply.Echo(request);
        return VfioResult.Ok;
    }

    public void Dispose()
    {
        foreach (var mapping in mappings.Values)
            mapping.Target.Dispose();
        mappings.Clear();
    }

    private VfioResult<IDmaTarget> Target(Message request, DmaMapPayload asked, DmaAccess access)
    {
        switch (request.Descriptors.Count)
        {
            case 0:
                return new ClientMemory(asked.Iova, asked.Length, dma);
            case 1:
                var file = ClientFile.Open(request.Descriptors.Take(0), asked, access);
                return file.IsOk ? file.Value : file.Error;
            default:
                return Refused.Descriptors;
        }
    }

    private readonly record struct Mapped(ulong Length, IDisposable Target);
}
