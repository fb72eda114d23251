using System.Buffers.Binary;
using Fabric.Pci;

namespace Fabric.Hardware.Emulated;

/// <summary>The config space of a software function: a type-0 header, extended size, no capabilities.</summary>
internal static class ConfigBytes
{
    public static byte[] Type0(PciIds ids)
    {
        var config = new byte[ConfigOffset.ExtendedSize];
        BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(ConfigOffset.VendorId), ids.Vendor);
        BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(ConfigOffset.DeviceId), ids.Device);
        config[ConfigOffset.ClassCode] = (byte)ids.Class;
        config[ConfigOffset.ClassCode + 1] = (byte)(ids.Class >> 8);
        config[ConfigOffset.ClassCode + 2] = (byte)(ids.Class >> 16);
        BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(ConfigOffset.SubsystemVendorId), ids.SubsystemVendor);
        BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(ConfigOffset.SubsystemId), ids.Subsystem);
        return config;
    }
}
