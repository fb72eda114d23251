using System.Buffers.Binary;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>What a virtio function is for.</summary>
/// <param name="Features">What it offers.</param>
/// <param name="FirstServed">The first queue of which it takes buffers by itself: nothing ever arrives for a network card's queue 0.</param>
internal sealed record VirtioKind(PciIds Ids, ulong Features, int Queues, int FirstServed, Func<PciAddress, byte[]> ConfigOf)
{
    public static VirtioKind Net { get; } = new(
        new PciIds(VirtioIds.Vendor, VirtioIds.Net, VirtioIds.Vendor, VirtioIds.ModernSubsystem, VirtioIds.NetClass),
        VirtioFeature.NetMac | VirtioFeature.NetStatus | VirtioFeature.Version1,
        Queues: 2, FirstServed: 1,
        static address => [0x52, 0x54, 0, 0, (byte)(address.RoutingId >> 8), (byte)address.RoutingId, 1, 0]);

    /// <summary>A disk of zeros.</summary>
    public static VirtioKind Block { get; } = new(
        new PciIds(VirtioIds.Vendor, VirtioIds.Block, VirtioIds.Vendor, VirtioIds.ModernSubsystem, VirtioIds.BlockClass),
        VirtioFeature.BlockSegments | VirtioFeature.BlockSize | VirtioFeature.Version1,
        Queues: 1, FirstServed: 0,
        static _ => BlockConfig());

    private static byte[] BlockConfig()
    {
        var config = new byte[VirtioBlockConfig.Bytes];
        BinaryPrimitives.WriteUInt64LittleEndian(config.AsSpan(VirtioBlockConfig.Capacity), 1 << 21);
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(VirtioBlockConfig.Segments), VirtioRing.MaxSize - 2);
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(VirtioBlockConfig.BlockSize), 512);
        return config;
    }
}
