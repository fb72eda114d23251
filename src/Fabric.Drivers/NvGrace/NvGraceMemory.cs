using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.NvGrace;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Drivers.NvGrace;

/// <summary>How a GPU's memory is shown as BARs: found at probe, from what firmware says and the GPU's own DVSEC (VD-NVG-1).</summary>
internal static class NvGraceMemory
{
    /// <summary>Empty where firmware describes no memory, or less than has to be reserved.</summary>
    public static ImmutableArray<FakeBar> Find(DriverContext context)
    {
        if (!context.Platform.TryGetProperty(NvGraceProperties.MemoryBase, out var start) ||
            !context.Platform.TryGetProperty(NvGraceProperties.MemorySize, out var length) || length == 0 || start > ulong.MaxValue - length)
        {
            return [];
        }

        if (!NeedsReserved(context))
            return [new FakeBar(NvGraceBar.Usable, start, length)];
        if (length < NvGraceBar.ReservedBytes + NvGraceBar.Block)
            return [];
        var usable = (length - NvGraceBar.ReservedBytes) / NvGraceBar.Block * NvGraceBar.Block;
        return [new FakeBar(NvGraceBar.Usable, start, usable), new FakeBar(NvGraceBar.Reserved, start + usable, length - usable)];
    }

    /// <summary>A GPU that does not say that it is sound has the erratum.</summary>
    private static bool NeedsReserved(DriverContext context)
    {
        var config = new byte[ConfigOffset.ExtendedSize];
        if (!context.Platform.ReadConfig(context.Address, 0, config).IsOk)
            return true;
        return !CapabilityWalk.Extended(config).Any(
            entry => entry.Id == ExtendedCapability.DesignatedVendorSpecific && IsSound(config, entry.Offset));
    }

    private static bool IsSound(byte[] config, int dvsec) =>
        dvsec + NvGraceDvsec.Length <= config.Length &&
        Word(config, dvsec + NvGraceDvsec.VendorAt) == NvGraceIds.Vendor &&
        Word(config, dvsec + NvGraceDvsec.IdAt) == NvGraceDvsec.Id &&
        (Word(config, dvsec + NvGraceDvsec.Bits) & NvGraceDvsec.MigWithCachedMemory) != 0;

    private static ushort Word(byte[] config, int at) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(at));
}
