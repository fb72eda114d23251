using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>
/// /dev/iommu: address spaces, and the ids that ATTACH takes (IO-101). It also answers VFIO's own requests for a group that has it as its
/// container. What it has no behaviour for, nested page tables and the like, is EOPNOTSUPP.
/// </summary>
public sealed class IommufdFile : VfioFile
{
    private const int PageMask = 4095;
    private const uint AlignmentBytes = 4096;

    internal IommufdFile()
    {
    }

    public IommufdContext Context { get; } = new();

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files) => number switch
    {
        IommufdIoctls.Destroy => Fetch<IommuDestroy>(argument, memory, asked => Done(Context.Destroy(asked.Id))),
        IommufdIoctls.IoasAlloc => Fetch<IommuIoasAlloc>(argument, memory, asked => Allocate(asked, argument, memory)),
        IommufdIoctls.IoasIovaRanges => Fetch<IommuIoasIovaRanges>(argument, memory, asked => Ranges(asked, argument, memory)),
        IommufdIoctls.IoasMap => Fetch<IommuIoasMap>(argument, memory, asked => Map(asked, argument, memory)),
        IommufdIoctls.IoasMapFile => Fetch<IommuIoasMapFile>(argument, memory, asked => MapFile(asked, argument, memory, files)),
        IommufdIoctls.IoasCopy => Fetch<IommuIoasCopy>(argument, memory, asked => Copy(asked, argument, memory)),
        IommufdIoctls.IoasUnmap => Fetch<IommuIoasUnmap>(argument, memory, asked => Unmap(asked, argument, memory)),
        IommufdIoctls.VfioIoas => Fetch<IommuVfioIoas>(argument, memory, asked => VfioIoas(asked, argument, memory)),
        IommufdIoctls.IoasAllowIovas => Refuse<IommuIoasAllowIovas>(argument, memory),
        IommufdIoctls.Option => Refuse<IommuOption>(argument, memory),
        IommufdIoctls.HwptAlloc => Refuse<IommuHwptAlloc>(argument, memory),
        IommufdIoctls.GetHwInfo => Refuse<IommuHwInfo>(argument, memory),
        IommufdIoctls.HwptSetDirtyTracking => Refuse<IommuHwptSetDirtyTracking>(argument, memory),
        IommufdIoctls.HwptGetDirtyBitmap => Refuse<IommuHwptGetDirtyBitmap>(argument, memory),
        IommufdIoctls.HwptInvalidate => Refuse<IommuHwptInvalidate>(argument, memory),
        IommufdIoctls.FaultQueueAlloc => Refuse<IommuFaultAlloc>(argument, memory),
        IommufdIoctls.ViommuAlloc => Refuse<IommuViommuAlloc>(argument, memory),
        IommufdIoctls.VdeviceAlloc => Refuse<IommuVdeviceAlloc>(argument, memory),
        IommufdIoctls.IoasChangeProcess => Refuse<IommuIoasChangeProcess>(argument, memory),
        IommufdIoctls.VeventqAlloc => Refuse<IommuVeventqAlloc>(argument, memory),
        IommufdIoctls.HwQueueAlloc => Refuse<IommuHwQueueAlloc>(argument, memory),
        IommufdIoctls.IoasNoiommuGetPa => Refuse<IommuIoasNoiommuGetPa>(argument, memory),
        _ => Compatible(number, argument, memory),
    };

    /// <summary>Devices that are bound keep the context, and what is mapped there (IO-103).</summary>
    private protected override void OnClose() => Context.Release();

    private static VfioResult<int> Fetch<T>(ulong argument, IUserMemory memory, Func<T, VfioResult<int>> answer) where T : unmanaged, IUapiRequest<T>
    {
        var fetched = memory.Fetch<T>(argument);
        return fetched.IsOk ? answer(fetched.Value) : fetched.Error;
    }

    private static VfioResult<int> Refuse<T>(ulong argument, IUserMemory memory) where T : unmanaged, IUapiRequest<T> => Fetch<T>(
        argument, memory, static _ => new VfioError(Errno.EOPNOTSUPP, "The iommufd has no behaviour for this request; there is no such hardware."));

    private static VfioResult<int> Done(VfioResult result) => result.IsOk ? 0 : result.Error;

    // ---- Address spaces --------------------------------------------------------------------------------------------------------------

    private VfioResult<int> Allocate(IommuIoasAlloc asked, ulong argument, IUserMemory memory)
    {
        if (asked.Flags != 0)
            return NotSupported;
        var ioas = Context.AllocateIoas();
        var told = memory.Respond(argument, asked with { OutIoasId = ioas.Id }, asked.Size);
        if (!told.IsOk)
            Context.Destroy(ioas.Id);
        return told;
    }

    /// <summary>All IOVAs are usable, in pages. EMSGSIZE, with their number, where there is no room for the one range.</summary>
    private VfioResult<int> Ranges(IommuIoasIovaRanges asked, ulong argument, IUserMemory memory)
    {
        if (asked.Reserved != 0)
            return NotSupported;
        if (Context.FindIoas(asked.IoasId) is null)
            return IommufdContext.NoObject.Error;
        if (asked.NumIovas > 0 && !memory.TryPut(asked.AllowedIovas, (First: 0UL, Last: ulong.MaxValue)))
            return UserMemory.Fault;
        var told = memory.Respond(argument, asked with { NumIovas = 1, OutIovaAlignment = AlignmentBytes }, asked.Size);
        if (!told.IsOk || asked.NumIovas > 0)
            return told;
        return new VfioError(Errno.EMSGSIZE, "IOAS_IOVA_RANGES: there is no room for the ranges; num_iovas says how many there are.");
    }

    private VfioResult<int> Map(IommuIoasMap asked, ulong argument, IUserMemory memory)
    {
        if (asked.Reserved != 0)
            return NotSupported;
        var place = Place(asked.Flags, asked.IoasId, asked.Iova, asked.Length, asked.UserVa);
        if (!place.IsOk)
            return place.Error;
        if (asked.Length - 1 > ulong.MaxValue - asked.UserVa)
            return TooFar;
        if (!memory.TryPin(asked.UserVa, asked.Length, Access(asked.Flags), out var pinned))
            return UserMemory.Fault;
        var (ioas, iova) = place.Value;
        var mapped = ioas.Space.Map(iova, pinned, Access(asked.Flags));
        return mapped.IsOk ? Told(ioas, iova, argument, asked with { Iova = iova }, asked.Size, memory) : mapped.Error;
    }

    /// <summary>Only DMA buffers of one range can be mapped by their descriptor (IO-93).</summary>
    private VfioResult<int> MapFile(IommuIoasMapFile asked, ulong argument, IUserMemory memory, IFileTable files)
    {
        var place = Place(asked.Flags, asked.IoasId, asked.Iova, asked.Length, asked.Start);
        if (!place.IsOk)
            return place.Error;
        var file = asked.Fd < 0 ? new VfioError(Errno.EBADF, "IOAS_MAP_FILE: the descriptor is not open.") : files.File(asked.Fd);
        if (!file.IsOk)
            return file.Error;
        if (file.Value is not DmaBufFile { IsClosed: false } buffer)
            return new VfioError(Errno.EINVAL, "IOAS_MAP_FILE: the descriptor is not that of a DMA buffer.");
        var imported = DmaBufTarget.Import(buffer.Buffer, asked.Start, asked.Length);
        if (!imported.IsOk)
            return imported.Error;
        var (ioas, iova) = place.Value;
        var mapped = ioas.Space.Map(iova, imported.Value, Access(asked.Flags));
        if (mapped.IsOk)
            return Told(ioas, iova, argument, asked with { Iova = iova }, asked.Size, memory);
        imported.Value.Return();
        return mapped.Error;
    }

    private VfioResult<int> Copy(IommuIoasCopy asked, ulong argument, IUserMemory memory)
    {
        if (Refusal(asked.Flags, asked.Length, asked.DstIova, asked.SrcIova) is { Errno: not Errno.None } refused)
            return refused;
        if (Context.FindIoas(asked.SrcIoasId) is not { } source)
            return IommufdContext.NoObject.Error;
        if (asked.Length == 0 || ((asked.Length | asked.SrcIova) & PageMask) != 0)
            return Misaligned;
        if (asked.Length - 1 > ulong.MaxValue - asked.SrcIova)
            return TooFar;
        var parts = Parts(source.Space, asked.SrcIova, asked.Length);
        if (!parts.IsOk)
            return parts.Error;
        var place = Place(asked.Flags, asked.DstIoasId, asked.DstIova, asked.Length, 0);
        if (!place.IsOk)
            return place.Error;
        if ((Access(asked.Flags) & DmaAccess.Write) != 0 && parts.Value.Any(static part => (part.Access & DmaAccess.Write) == 0))
            return new VfioError(Errno.EPERM, "IOAS_COPY: what is mapped for reading only cannot be copied for writing.");
        var (ioas, iova) = place.Value;
        foreach (var part in parts.Value)
        {
            var mapped = ioas.Space.Map(iova + (part.Iova - asked.SrcIova), part.Target, Access(asked.Flags));
            if (mapped.IsOk)
            {
                (part.Target as ISharedTarget)?.Keep();
                continue;
            }

            ioas.Space.Release(iova, iova + (asked.Length - 1));
            return mapped.Error;
        }

        var told = memory.Respond(argument, asked with { DstIova = iova }, asked.Size);
        if (!told.IsOk)
            ioas.Space.Release(iova, iova + (asked.Length - 1));
        return told;
    }

    /// <summary>The mappings of a range without a gap, each cut to it. Errors: ENOENT where anything is missing.</summary>
    private static VfioResult<List<DmaMapping>> Parts(DmaMap space, ulong start, ulong length)
    {
        var (next, last) = (start, start + (length - 1));
        var parts = new List<DmaMapping>();
        foreach (var mapping in space.Between(start, last))
        {
            if (mapping.Iova > next)
                return IommufdContext.NoObject.Error;
            var end = Math.Min(mapping.Last, last);
            var part = new DmaPart(mapping.Target, next - mapping.Iova, end - next + 1);
            parts.Add(new DmaMapping(next, part.Length, part, mapping.Access));
            if (end == last)
                return parts;
            next = end + 1;
        }

        return IommufdContext.NoObject.Error;
    }

    private VfioResult<int> Unmap(IommuIoasUnmap asked, ulong argument, IUserMemory memory)
    {
        if (Context.FindIoas(asked.IoasId) is not { } ioas)
            return IommufdContext.NoObject.Error;
        if (asked is { Iova: 0, Length: ulong.MaxValue })
            return memory.Respond(argument, asked with { Length = ioas.Space.Release(0, ulong.MaxValue) }, asked.Size);
        if (asked.Iova == ulong.MaxValue || asked.Length == ulong.MaxValue)
            return TooFar;
        if (asked.Length == 0)
            return Misaligned;
        if (asked.Length - 1 > ulong.MaxValue - asked.Iova)
            return TooFar;
        var last = asked.Iova + (asked.Length - 1);
        var mappings = ioas.Space.Between(asked.Iova, last);
        if (mappings.Count == 0 || mappings[0].Iova < asked.Iova || mappings[^1].Last > last)
            return IommufdContext.NoObject.Error;
        return memory.Respond(argument, asked with { Length = ioas.Space.Release(asked.Iova, last) }, asked.Size);
    }

    /// <summary>Where a mapping is to go. Errors, in this order: EOPNOTSUPP, EOVERFLOW, EINVAL, ENOENT, EINVAL, EOVERFLOW, EEXIST, ENOSPC.</summary>
    private VfioResult<(Ioas Ioas, ulong Iova)> Place(IoasMapFlags flags, uint ioasId, ulong iova, ulong length, ulong source)
    {
        if (Refusal(flags, length, iova, 0) is { Errno: not Errno.None } refused)
            return refused;
        if (Context.FindIoas(ioasId) is not { } ioas)
            return IommufdContext.NoObject.Error;
        if (length == 0 || ((length | source) & PageMask) != 0)
            return Misaligned;
        if ((flags & IoasMapFlags.FixedIova) == 0)
        {
            return ioas.Space.FindGap(length) is { } gap
                ? (ioas, gap)
                : new VfioError(Errno.ENOSPC, "IOAS: no range of so many free IOVAs is left; unmap something first.");
        }

        if ((iova & PageMask) != 0)
            return Misaligned;
        if (length - 1 > ulong.MaxValue - iova)
            return TooFar;
        return ioas.Space.Between(iova, iova + (length - 1)).Count == 0
            ? (ioas, iova)
            : new VfioError(Errno.EEXIST, "IOAS: the range overlaps a mapping; unmap that first.");
    }

    private static VfioError Refusal(IoasMapFlags flags, ulong length, ulong iova, ulong other)
    {
        if ((flags & ~(IoasMapFlags.FixedIova | IoasMapFlags.Readable | IoasMapFlags.Writeable)) != 0)
            return NotSupported;
        if (length == ulong.MaxValue || iova == ulong.MaxValue || other == ulong.MaxValue)
            return TooFar;
        return (flags & (IoasMapFlags.Readable | IoasMapFlags.Writeable)) == 0
            ? new VfioError(Errno.EINVAL, "IOAS: a mapping is for reading, for writing, or both; set a flag.")
            : default;
    }

    /// <summary>Where the answer cannot be written, nothing was mapped.</summary>
    private static VfioResult<int> Told<T>(Ioas ioas, ulong iova, ulong argument, T answer, uint size, IUserMemory memory)
        where T : unmanaged, IUapiStruct<T>
    {
        var told = memory.Respond(argument, answer, size);
        if (!told.IsOk)
            ioas.Space.Release(iova, iova);
        return told;
    }

    private static DmaAccess Access(IoasMapFlags flags) =>
        ((flags & IoasMapFlags.Readable) != 0 ? DmaAccess.Read : DmaAccess.None) |
        ((flags & IoasMapFlags.Writeable) != 0 ? DmaAccess.Write : DmaAccess.None);

    private static VfioError NotSupported => new(Errno.EOPNOTSUPP, "The iommufd knows no such flag or operation, and reserved fields are 0.");

    private static VfioError TooFar => new(Errno.EOVERFLOW, "The range runs past the end of the address space.");

    private static VfioError Misaligned => new(Errno.EINVAL, "A mapping is whole pages of 4096 bytes, and not empty.");

    // ---- VFIO's own requests, for a group that has this as its container ---------------------------------------------------------------

    private VfioResult<int> VfioIoas(IommuVfioIoas asked, ulong argument, IUserMemory memory)
    {
        if (asked.Reserved != 0)
            return NotSupported;
        switch (asked.Op)
        {
            case 0:
                return Context.Compatible is { } ioas ? memory.Respond(argument, asked with { IoasId = ioas.Id }, asked.Size) : NoCompatible;
            case 1:
                if (Context.FindIoas(asked.IoasId) is not { } chosen)
                    return IommufdContext.NoObject.Error;
                Context.Compatible = chosen;
                return 0;
            case 2:
                Context.Compatible = null;
                return 0;
            default:
                return NotSupported;
        }
    }

    private VfioResult<int> Compatible(uint number, ulong argument, IUserMemory memory)
    {
        switch (number)
        {
            case ContainerIoctls.GetApiVersion:
                return 0;
            case ContainerIoctls.CheckExtension:
                return Type1.HasExtension(argument) ? 1 : 0;
            case ContainerIoctls.SetIommu when Context.Compatible is null:
                return NoCompatible;
            case ContainerIoctls.SetIommu:
                return Type1.Supports(argument) ? 0 : new VfioError(Errno.EINVAL, "SET_IOMMU: an iommufd is type 1 or type 1 v2.");
            case ContainerIoctls.IommuGetInfo or ContainerIoctls.IommuMapDma or ContainerIoctls.IommuUnmapDma when Context.Compatible is null:
                return NoCompatible;
            case ContainerIoctls.IommuGetInfo or ContainerIoctls.IommuMapDma or ContainerIoctls.IommuUnmapDma:
                return new Type1(Context.Compatible.Space, isVersion2: true).Ioctl(number, argument, memory);
            default:
                return UnknownNumber;
        }
    }

    private static VfioError NoCompatible =>
        new(Errno.ENODEV, "The iommufd has no address space for VFIO's own requests; set a group's container to it.");
}
