using Fabric.Hardware.Specs.Igd;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Igd;

/// <summary>A region that shows something of the host's, and lets nobody write there.</summary>
/// <param name="read">Reads from an offset; the range lies within the size.</param>
internal sealed class IgdRegion(uint subtype, ulong size, IgdRegion.Reading read) : IDeviceRegion
{
    public delegate VfioResult Reading(ulong offset, Span<byte> destination);

    public uint Type => IgdRegionType.Type;

    public uint Subtype => subtype;

    public ulong Size => size;

    public RegionFlags Flags => RegionFlags.Read;

    public VfioResult<int> Read(ulong offset, Span<byte> destination)
    {
        if (offset >= size)
            return new VfioError(Errno.EINVAL, "The region ends before this offset; ask GET_REGION_INFO for its size.");
        var part = destination[..(int)Math.Min((ulong)destination.Length, size - offset)];
        var done = read(offset, part);
        return done.IsOk ? part.Length : done.Error;
    }

    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source) =>
        new VfioError(Errno.EINVAL, "The region is the host's, and is read only.");

    public void Release()
    {
    }
}
