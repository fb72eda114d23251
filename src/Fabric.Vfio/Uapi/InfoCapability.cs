using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Fabric.Vfio.Uapi;

/// <summary>Ids of capabilities that GET_INFO reports (IO-10).</summary>
public static class DeviceCapabilityIds
{
    public const ushort ZpciBase = 1;
    public const ushort ZpciGroup = 2;
    public const ushort ZpciUtil = 3;
    public const ushort ZpciPfip = 4;
    public const ushort PciAtomicCompletion = 5;
}

/// <summary>Ids of capabilities that GET_REGION_INFO reports (contract §2.3).</summary>
public static class RegionCapabilityIds
{
    public const ushort SparseMmap = 1;
    public const ushort Type = 2;
    public const ushort MsixMappable = 3;
}

/// <summary>The widths of atomic operation that reach the host's memory.</summary>
[Flags]
public enum AtomicCompletionFlags : uint
{
    None = 0,
    Bits32 = 1,
    Bits64 = 2,
    Bits128 = 4,
}

/// <summary>The head of each capability (IO-4).</summary>
/// <param name="Next">Where the next one starts, from the start of the info structure; 0 in the last.</param>
public readonly record struct VfioInfoCapHeader(ushort Id, ushort Version, uint Next) : IUapiStruct<VfioInfoCapHeader>;

public readonly record struct VfioDeviceInfoCapPciAtomicComp(VfioInfoCapHeader Header, AtomicCompletionFlags Flags, uint Reserved)
    : IUapiStruct<VfioDeviceInfoCapPciAtomicComp>;

/// <summary><paramref name="NrAreas"/> of <see cref="VfioRegionSparseMmapArea"/> follow.</summary>
public readonly record struct VfioRegionInfoCapSparseMmap(VfioInfoCapHeader Header, uint NrAreas, uint Reserved)
    : IUapiStruct<VfioRegionInfoCapSparseMmap>;

/// <summary>A part of a region that can be mapped, in bytes from the region's start.</summary>
public readonly record struct VfioRegionSparseMmapArea(ulong Offset, ulong Size) : IUapiStruct<VfioRegionSparseMmapArea>;

public readonly record struct VfioRegionInfoCapType(VfioInfoCapHeader Header, uint Type, uint Subtype) : IUapiStruct<VfioRegionInfoCapType>;

/// <summary>A capability of an info reply. Ids are of the kind of info: the same number is another thing in another reply.</summary>
public abstract record InfoCapability(ushort Id, ushort Version)
{
    /// <summary>Bytes, head included, before it is rounded up to a multiple of 8.</summary>
    public abstract int Size { get; }

    /// <summary>Writes <see cref="Size"/> bytes; the buffer has them.</summary>
    public abstract void Write(Span<byte> buffer, uint next);

    private protected VfioInfoCapHeader Header(uint next) => new(Id, Version, next);
}

/// <summary>A capability that has no type here (s390's, newer ones): its bytes after the head, as they are.</summary>
public sealed record RawCapability(ushort Id, ushort Version, ReadOnlyMemory<byte> Body) : InfoCapability(Id, Version)
{
    public override int Size => VfioInfoCapHeader.WireSize + Body.Length;

    public static RawCapability Read(VfioInfoCapHeader header, ReadOnlySpan<byte> capability) =>
        new(header.Id, header.Version, capability[VfioInfoCapHeader.WireSize..].ToArray());

    public override void Write(Span<byte> buffer, uint next)
    {
        Header(next).Encode(buffer);
        Body.Span.CopyTo(buffer[VfioInfoCapHeader.WireSize..]);
    }

    public bool Equals(RawCapability? other) =>
        other is not null && (Id, Version) == (other.Id, other.Version) && Body.Span.SequenceEqual(other.Body.Span);

    public override int GetHashCode() => HashCode.Combine(Id, Version, Body.Length);
}

/// <summary>The device's atomic operations complete in host memory (IO-10).</summary>
public sealed record AtomicCompletionCapability(AtomicCompletionFlags Flags) : InfoCapability(DeviceCapabilityIds.PciAtomicCompletion, 1)
{
    public override int Size => VfioDeviceInfoCapPciAtomicComp.WireSize;

    public static AtomicCompletionCapability? Read(ReadOnlySpan<byte> capability) =>
        VfioDeviceInfoCapPciAtomicComp.TryRead(capability, out var read) ? new(read.Flags) : null;

    public override void Write(Span<byte> buffer, uint next) => new VfioDeviceInfoCapPciAtomicComp(Header(next), Flags, 0).Encode(buffer);
}

/// <summary>Only these areas of the region can be mapped.</summary>
public sealed record SparseMmapCapability(ImmutableArray<VfioRegionSparseMmapArea> Areas) : InfoCapability(RegionCapabilityIds.SparseMmap, 1)
{
    public override int Size => VfioRegionInfoCapSparseMmap.WireSize + (Areas.Length * VfioRegionSparseMmapArea.WireSize);

    public static SparseMmapCapability? Read(ReadOnlySpan<byte> capability) =>
        VfioRegionInfoCapSparseMmap.TryRead(capability, out var read) &&
        UapiCodec.TryView<VfioRegionSparseMmapArea>(capability[VfioRegionInfoCapSparseMmap.WireSize..], read.NrAreas, out var areas)
            ? new([.. areas])
            : null;

    public override void Write(Span<byte> buffer, uint next)
    {
        new VfioRegionInfoCapSparseMmap(Header(next), (uint)Areas.Length, 0).Encode(buffer);
        MemoryMarshal.AsBytes(Areas.AsSpan()).CopyTo(buffer[VfioRegionInfoCapSparseMmap.WireSize..]);
    }

    public bool Equals(SparseMmapCapability? other) => other is not null && Areas.AsSpan().SequenceEqual(other.Areas.AsSpan());

    public override int GetHashCode() => HashCode.Combine(Id, Areas.Length);
}

/// <summary>What a device region is: a vendor's numbers (contract §2.3).</summary>
public sealed record RegionTypeCapability(uint Type, uint Subtype) : InfoCapability(RegionCapabilityIds.Type, 1)
{
    public override int Size => VfioRegionInfoCapType.WireSize;

    public static RegionTypeCapability? Read(ReadOnlySpan<byte> capability) =>
        VfioRegionInfoCapType.TryRead(capability, out var read) ? new(read.Type, read.Subtype) : null;

    public override void Write(Span<byte> buffer, uint next) => new VfioRegionInfoCapType(Header(next), Type, Subtype).Encode(buffer);
}

/// <summary>The page of the MSI-X table can be mapped with the rest of its BAR (contract §2.3).</summary>
public sealed record MsixMappableCapability() : InfoCapability(RegionCapabilityIds.MsixMappable, 1)
{
    public override int Size => VfioInfoCapHeader.WireSize;

    public override void Write(Span<byte> buffer, uint next) => Header(next).Encode(buffer);
}
