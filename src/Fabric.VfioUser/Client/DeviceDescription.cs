using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>What a server says of its device when it is asked; checked, because everything after it is believed.</summary>
/// <param name="Bars">Six entries, as <see cref="IPciFunction.Bars"/> has them.</param>
/// <param name="RomBytes">Of the expansion ROM; 0 without one.</param>
/// <param name="Irqs">INTx, MSI, MSI-X.</param>
internal sealed record DeviceDescription(
    PciIds Ids, int ConfigSize, ImmutableArray<PciBar> Bars, ulong RomBytes, bool HasReset, ImmutableArray<IrqInfo> Irqs)
{
    /// <summary>QEMU refuses more (facts §5).</summary>
    private const uint MostRegions = 100;
    private const uint MostIrqs = 50;

    /// <summary>A 32-bit BAR decodes no more.</summary>
    private const ulong Most32 = 1UL << 31;
    private const ulong Most64 = 1UL << 62;
    private const ulong LeastRom = 2048;

    private static readonly ImmutableArray<int> MostVectors = [1, 32, 2048];

    /// <summary>Asks for all of it. Errors: EIO, ETIMEDOUT; EINVAL for a device that is no PCI function, or none that could be.</summary>
    public static VfioResult<DeviceDescription> Read(ServerConnection server)
    {
        var request = new DeviceInfoPayload((uint)DeviceInfoPayload.WireSize, DeviceFlags.None, 0, 0);
        var device = server.Ask<DeviceInfoPayload, DeviceInfoPayload>(Command.DeviceGetInfo, request);
        if (!device.IsOk)
            return device.Error;
        if ((device.Value.Flags & DeviceFlags.Pci) == 0)
            return Wrong("The vfio-user device is no PCI device.");
        if (device.Value.Regions is <= RegionIndex.Config or > MostRegions || device.Value.Irqs is <= (uint)IrqIndex.Msix or > MostIrqs)
            return Wrong("The vfio-user device has fewer regions or interrupts than a PCI device, or more than 100 and 50.");

        var sizes = new ulong[RegionIndex.Config + 1];
        for (var region = 0; region < sizes.Length; region++)
        {
            var asked = new VfioRegionInfo((uint)VfioRegionInfo.WireSize, RegionFlags.None, (uint)region, 0, 0, 0);
            var told = server.Ask<VfioRegionInfo, VfioRegionInfo>(Command.DeviceGetRegionInfo, asked);
            if (!told.IsOk && server.IsOver)
                return told.Error;
            // A region that is refused is one that the device does not have.
            sizes[region] = told.IsOk ? told.Value.Size : 0;
        }

        if (sizes[RegionIndex.Config] < ConfigOffset.ConventionalSize)
            return Wrong("The config space of the vfio-user device is shorter than 256 bytes.");
        var irqs = ReadIrqs(server);
        if (!irqs.IsOk)
            return irqs.Error;
        var header = new byte[ConfigOffset.HeaderSize];
        var read = RemoteRegions.Read(server, RegionIndex.Config, 0, header);
        if (!read.IsOk)
            return read.Error;
        var bars = BarsOf(header, sizes);
        if (!bars.IsOk)
            return bars.Error;
        var rom = sizes[RegionIndex.Rom];
        return new DeviceDescription(
            IdsOf(header),
            sizes[RegionIndex.Config] < ConfigOffset.ExtendedSize ? ConfigOffset.ConventionalSize : ConfigOffset.ExtendedSize,
            bars.Value,
            ulong.IsPow2(rom) && rom is >= LeastRom and <= Most32 ? rom : 0,
            (device.Value.Flags & DeviceFlags.Reset) != 0,
            irqs.Value);
    }

    private static VfioResult<ImmutableArray<IrqInfo>> ReadIrqs(ServerConnection server)
    {
        var irqs = ImmutableArray.CreateBuilder<IrqInfo>(MostVectors.Length);
        for (var index = 0; index < MostVectors.Length; index++)
        {
            var asked = new VfioIrqInfo((uint)VfioIrqInfo.WireSize, IrqFlags.None, (uint)index, 0);
            var told = server.Ask<VfioIrqInfo, VfioIrqInfo>(Command.DeviceGetIrqInfo, asked);
            if (!told.IsOk && server.IsOver)
                return told.Error;
            // An index that is refused is one that the device does not have: so the kernel's mtty refuses MSI-X.
            var count = told.IsOk ? told.Value.Count : 0;
            if (count > MostVectors[index])
                return Wrong("The vfio-user device has more interrupts of a kind than PCI knows.");
            irqs.Add(new IrqInfo((IrqIndex)index, told.IsOk ? told.Value.Flags : IrqFlags.None, (int)count));
        }

        return irqs.MoveToImmutable();
    }

    /// <summary>Sizes as the regions have them, kinds as the header has them (PCI Local Bus 3.0, 6.2.5.1).</summary>
    private static VfioResult<ImmutableArray<PciBar>> BarsOf(ReadOnlySpan<byte> header, ReadOnlySpan<ulong> sizes)
    {
        const byte io = 1 << 0, is64 = 2 << 1, type = 3 << 1, prefetchable = 1 << 3;
        var bars = new PciBar[ConfigOffset.BarCount];
        for (var bar = 0; bar < bars.Length; bar++)
        {
            var (register, size) = (header[ConfigOffset.Bar0 + (4 * bar)], sizes[bar]);
            if (size == 0)
                continue;
            var kind = (register & io) != 0 ? BarKind.Io : (register & type) == is64 ? BarKind.Memory64 : BarKind.Memory32;
            if (!ulong.IsPow2(size) || size < 4 || size > (kind == BarKind.Memory64 ? Most64 : Most32))
                return Wrong("The size of a BAR of the vfio-user device is no power of two, or none that a BAR of its kind can have.");
            bars[bar] = new PciBar(kind, size, kind != BarKind.Io && (register & prefetchable) != 0);
            if (kind != BarKind.Memory64)
                continue;
            if (++bar == bars.Length || sizes[bar] != 0)
                return Wrong("A 64-bit BAR of the vfio-user device lacks its second half.");
        }

        return ImmutableArray.Create(bars);
    }

    private static PciIds IdsOf(ReadOnlySpan<byte> header) => new(
        BinaryPrimitives.ReadUInt16LittleEndian(header),
        BinaryPrimitives.ReadUInt16LittleEndian(header[ConfigOffset.DeviceId..]),
        BinaryPrimitives.ReadUInt16LittleEndian(header[ConfigOffset.SubsystemVendorId..]),
        BinaryPrimitives.ReadUInt16LittleEndian(header[ConfigOffset.SubsystemId..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[ConfigOffset.Revision..]) >> 8);

    private static VfioError Wrong(string sentence) => new(Errno.EINVAL, sentence);
}
