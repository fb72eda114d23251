using System.Buffers.Binary;
using Fabric.Hardware.Specs.Zpci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Zpci;

/// <summary>The four capabilities of an s390 function in GET_INFO (vfio_zdev.h; IO-10), laid out little-endian as the rest of the uAPI here is.</summary>
internal static class ZpciCapabilities
{
    /// <summary>Two of them have grown since the first version.</summary>
    private const ushort Second = 2;

    private const ushort First = 1;

    /// <summary>start_dma u64, end_dma u64, pchid u16, vfn u16, fmb_length u16, pft u8, gid u8, fh u32.</summary>
    public static RawCapability Base(IFunctionPlatform platform)
    {
        var body = new byte[28];
        BinaryPrimitives.WriteUInt64LittleEndian(body, Number(platform, ZpciProperties.StartDma));
        BinaryPrimitives.WriteUInt64LittleEndian(body.AsSpan(8), Number(platform, ZpciProperties.EndDma));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(16), (ushort)Number(platform, ZpciProperties.Pchid));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(18), (ushort)Number(platform, ZpciProperties.Vfn));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(20), (ushort)Number(platform, ZpciProperties.FmbLength));
        body[22] = (byte)Number(platform, ZpciProperties.Pft);
        body[23] = (byte)Number(platform, ZpciProperties.Gid);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(24), (uint)Number(platform, ZpciProperties.FunctionHandle));
        return new RawCapability(DeviceCapabilityIds.ZpciBase, Second, body);
    }

    /// <summary>dasm u64, msi_addr u64, flags u64, mui u16, noi u16, maxstbl u16, version u8, reserved u8, imaxstbl u16.</summary>
    public static RawCapability Group(IFunctionPlatform platform)
    {
        var body = new byte[34];
        BinaryPrimitives.WriteUInt64LittleEndian(body, Number(platform, ZpciProperties.Dasm));
        BinaryPrimitives.WriteUInt64LittleEndian(body.AsSpan(8), Number(platform, ZpciProperties.MsiAddress));
        BinaryPrimitives.WriteUInt64LittleEndian(body.AsSpan(16), Number(platform, ZpciProperties.Refresh) & 1);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(24), (ushort)Number(platform, ZpciProperties.Mui));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(26), (ushort)Number(platform, ZpciProperties.Noi));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(28), (ushort)Number(platform, ZpciProperties.MaxStoreBlock));
        body[30] = (byte)Number(platform, ZpciProperties.Version);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(32), (ushort)Number(platform, ZpciProperties.MaxStoreBlock));
        return new RawCapability(DeviceCapabilityIds.ZpciGroup, Second, body);
    }

    /// <summary>size u32, then as many bytes.</summary>
    public static RawCapability Sized(ushort id, ReadOnlyMemory<byte> content)
    {
        var body = new byte[sizeof(uint) + content.Length];
        BinaryPrimitives.WriteInt32LittleEndian(body, content.Length);
        content.Span.CopyTo(body.AsSpan(sizeof(uint)));
        return new RawCapability(id, First, body);
    }

    private static ulong Number(IFunctionPlatform platform, string property) => platform.TryGetProperty(property, out var value) ? value : 0;
}
