using System.Collections.Immutable;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>DEVICE_GET_INFO, _REGION_INFO, _REGION_IO_FDS and _IRQ_INFO; what the device said of its regions and interrupts is kept.</summary>
internal sealed class InfoRequests(DeviceClient device)
{
    private readonly Dictionary<uint, RegionInfo> regions = [];
    private readonly Dictionary<uint, IrqInfo> irqs = [];

    public async Task<VfioResult> DeviceAsync(Message request, Reply reply)
    {
        if (request.Take<DeviceInfoPayload>(out var asked) is { IsOk: false } wrong)
            return wrong;
        var info = await device.GetInfoAsync().ConfigureAwait(false);
        if (!info.IsOk)
            return info.Error;
        // The structure here ends before the chain of capabilities begins.
        var flags = info.Value.Flags & ~DeviceFlags.Caps;
        reply.Put(new DeviceInfoPayload((uint)DeviceInfoPayload.WireSize, flags, (uint)info.Value.Regions, (uint)info.Value.Irqs));
        return VfioResult.Ok;
    }

    /// <summary>
    /// No region is mapped by clients yet, and without an mmap flag QEMU posts its writes. A client that lends too little for the capabilities
    /// gets the structure alone, and learns from argsz what it takes (facts §5).
    /// </summary>
    public async Task<VfioResult> RegionAsync(Message request, Reply reply)
    {
        if (request.Take<VfioRegionInfo>(out var asked) is { IsOk: false } wrong)
            return wrong;
        var info = await FindRegionAsync(asked.Index).ConfigureAwait(false);
        if (!info.IsOk)
            return info.Error;
        var (capabilities, need) = Chain(info.Value);
        var shown = VfioRegionInfo.Of(info.Value, need) with { Flags = info.Value.Flags & (RegionFlags.Read | RegionFlags.Write) };
        if (capabilities.Length == 0 || asked.Argsz < need)
            reply.Put(shown);
        else
            shown.EncodeReply(reply.Payload((int)need), need, capabilities);
        return VfioResult.Ok;
    }

    /// <summary>No region has descriptors of its own: the answer is a count of 0, which the specification allows.</summary>
    public async Task<VfioResult> RegionIoFdsAsync(Message request, Reply reply)
    {
        if (request.Take<RegionIoFdsPayload>(out var asked) is { IsOk: false } wrong)
            return wrong;
        if (asked.Flags != 0 || asked.Count != 0)
            return Refused.Flags;
        var info = await FindRegionAsync(asked.Index).ConfigureAwait(false);
        if (!info.IsOk)
            return info.Error;
        if (info.Value.Flags == RegionFlags.None)
            return VfioResult.Fail(Errno.EINVAL, "DEVICE_GET_REGION_IO_FDS: the device does not have this region.");
        reply.Put(new RegionIoFdsPayload((uint)RegionIoFdsPayload.WireSize, 0, asked.Index, 0));
        return VfioResult.Ok;
    }

    public async Task<VfioResult> IrqAsync(Message request, Reply reply)
    {
        if (request.Take<VfioIrqInfo>(out var asked) is { IsOk: false } wrong)
            return wrong;
        var info = await FindIrqAsync(asked.Index).ConfigureAwait(false);
        if (!info.IsOk)
            return info.Error;
        reply.Put(VfioIrqInfo.Of(info.Value, (uint)VfioIrqInfo.WireSize));
        return VfioResult.Ok;
    }

    /// <summary>Errors: EINVAL.</summary>
    public async ValueTask<VfioResult<RegionInfo>> FindRegionAsync(uint index)
    {
        if (regions.TryGetValue(index, out var known))
            return known;
        var read = await device.GetRegionInfoAsync((int)Math.Min(index, int.MaxValue)).ConfigureAwait(false);
        if (read.IsOk)
            regions[index] = read.Value;
        return read;
    }

    /// <summary>Errors: EINVAL.</summary>
    public async ValueTask<VfioResult<IrqInfo>> FindIrqAsync(uint index)
    {
        if (irqs.TryGetValue(index, out var known))
            return known;
        var read = await device.GetIrqInfoAsync((int)Math.Min(index, int.MaxValue)).ConfigureAwait(false);
        if (read.IsOk)
            irqs[index] = read.Value;
        return read;
    }

    /// <summary>What a region is can be told without mapping it; where it can be mapped cannot.</summary>
    private static (InfoCapability[] Capabilities, uint Bytes) Chain(RegionInfo info)
    {
        var caps = info.Caps.IsDefault ? ImmutableArray<RegionCapability>.Empty : info.Caps;
        InfoCapability[] shown = [.. caps.OfType<RegionCapability.OfType>().Select(static type => new RegionTypeCapability(type.Type, type.Subtype))];
        return (shown, (uint)(VfioRegionInfo.WireSize + shown.Sum(static capability => (capability.Size + 7) & ~7)));
    }
}
