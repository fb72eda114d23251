using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>Lays out config space: capabilities are chained in the order in which they are added.</summary>
internal sealed class ConfigBuilder
{
    /// <summary>Endpoint, version 2, with FLR.</summary>
    public static readonly byte[] Express2 = [0x02, 0x00, 0x00, 0x00, 0x00, 0x10];

    private readonly byte[] config;
    private int standardLink = ConfigOffset.CapabilitiesPointer;
    private int extendedLink = -1;

    public ConfigBuilder(int size = ConfigOffset.ExtendedSize)
    {
        config = new byte[size];
        Word(ConfigOffset.VendorId, 0x8086).Word(ConfigOffset.DeviceId, 0x1572);
        Word(ConfigOffset.Command, (ushort)PciCommand.MemorySpace);
        Byte(ConfigOffset.InterruptPin, 1);
    }

    public ConfigBuilder Byte(int at, byte value)
    {
        config[at] = value;
        return this;
    }

    public ConfigBuilder Word(int at, ushort value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(at), value);
        return this;
    }

    public ConfigBuilder Dword(int at, uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(at), value);
        return this;
    }

    /// <param name="body">From byte 2 of the capability on.</param>
    public ConfigBuilder Standard(StandardCapability id, int offset, params ReadOnlySpan<byte> body)
    {
        config[ConfigOffset.Status] |= (byte)PciStatus.CapabilitiesList;
        config[standardLink] = (byte)offset;
        standardLink = offset + 1;
        config[offset] = (byte)id;
        body.CopyTo(config.AsSpan(offset + 2));
        return this;
    }

    /// <param name="body">From byte 4 of the capability on. The first capability must be at 0x100.</param>
    public ConfigBuilder Extended(ExtendedCapability id, int offset, params ReadOnlySpan<byte> body)
    {
        if (extendedLink > 0)
            config[extendedLink] |= (byte)((offset & 0xf) << 4);
        if (extendedLink > 0)
            config[extendedLink + 1] = (byte)(offset >> 4);
        extendedLink = offset + 2;
        Word(offset, (ushort)id).Byte(offset + 2, 1);
        body.CopyTo(config.AsSpan(offset + 4));
        return this;
    }

    public ConfigFunction Build(FunctionTraits traits = FunctionTraits.None) => new((byte[])config.Clone()) { Traits = traits };

    public OpenConfig Open(FunctionTraits traits = FunctionTraits.None) => new(Build(traits));
}
