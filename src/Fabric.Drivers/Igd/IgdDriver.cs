using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Igd;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Igd;

/// <summary>
/// Intel's integrated graphics: adds three regions that a guest's driver needs and the function itself has not, the OpRegion and copies of the
/// config spaces of host bridge and LPC bridge (contract §7.3, "vfio-pci extras"). All else falls through to the core. Where firmware has made no
/// OpRegion, there are none.
/// </summary>
public sealed class IgdDriver : VariantDriver
{
    private const int ConfigBytes = 256;

    public IgdDriver(DriverContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        var platform = context.Platform;
        if (OpRegionOf(platform, context.Address) is not { } opRegion)
            return;
        AddRegion(new IgdRegion(IgdRegionType.OpRegion, opRegion.Size, opRegion.Read));
        AddBridge(platform, context.Address with { Bus = 0, Device = 0, Function = 0 }, IgdPlatform.HostBridgeClass, IgdRegionType.HostBridgeConfig);
        AddBridge(platform, context.Address with { Bus = 0, Device = 0x1f, Function = 0 }, IgdPlatform.IsaBridgeClass, IgdRegionType.LpcBridgeConfig);
    }

    public static DriverRegistration Registration { get; } = new(
        "igd", new PciIds(IgdPlatform.Vendor, IgdPlatform.Device), "igd", context => Props.Create(() => new IgdDriver(context))) { Migrates = false };

    private static IPlatformMemory? OpRegionOf(IFunctionPlatform platform, PciAddress address)
    {
        Span<byte> pointer = stackalloc byte[sizeof(uint)];
        if (!platform.ReadConfig(address, IgdPlatform.OpRegionRegister, pointer).IsOk)
            return null;
        var at = BinaryPrimitives.ReadUInt32LittleEndian(pointer);
        Span<byte> header = stackalloc byte[IgdPlatform.OpRegionHeaderBytes];
        if (at is 0 or uint.MaxValue || platform.MapMemory(at, (ulong)header.Length) is not { IsOk: true } mapped ||
            !mapped.Value.Read(0, header).IsOk || !header.StartsWith(IgdPlatform.OpRegionSignature))
        {
            return null;
        }

        var bytes = BinaryPrimitives.ReadUInt32LittleEndian(header[IgdPlatform.OpRegionSize..]) * 1024UL;
        return platform.MapMemory(at, bytes) is { IsOk: true } whole ? whole.Value : null;
    }

    /// <summary>A bridge that is not Intel's, or of another class, is not shown: a guest's driver would take it for one that it knows.</summary>
    private void AddBridge(IFunctionPlatform platform, PciAddress bridge, uint expectedClass, uint subtype)
    {
        Span<byte> header = stackalloc byte[ConfigOffset.ClassCode + 3];
        if (!platform.ReadConfig(bridge, 0, header).IsOk ||
            BinaryPrimitives.ReadUInt16LittleEndian(header) != IgdPlatform.Vendor ||
            BinaryPrimitives.ReadUInt32LittleEndian(header[(ConfigOffset.ClassCode - 1)..]) >> 8 != expectedClass)
        {
            return;
        }

        AddRegion(new IgdRegion(subtype, ConfigBytes, (offset, destination) => platform.ReadConfig(bridge, (int)offset, destination)));
    }
}
