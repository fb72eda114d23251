using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Zpci;
using Fabric.Hardware.Specs.Ism;
using Fabric.Hardware.Specs.Zpci;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Ism;

/// <summary>
/// s390's internal shared memory (contract §7.3): its BARs are reached by store and load instructions, which carry so much and cross no page;
/// nothing is mapped, there is no ROM and no VGA, and file offsets of regions are further apart. It is an s390 function beside that.
/// </summary>
public sealed class IsmDriver : ZpciDriver
{
    private readonly ulong storeBlock;

    public IsmDriver(DriverContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        storeBlock = context.Platform.TryGetProperty(ZpciProperties.MaxStoreBlock, out var most) && most > 0 ? most : IsmRules.DefaultStoreBlock;
        RewriteReply<GetRegionInfo, RegionInfoRead>(static (_, read) => new RegionInfoRead(read.Info with
        {
            Flags = read.Info.Flags & ~RegionFlags.Mmap,
            Caps = ImmutableArray<RegionCapability>.Empty,
            Offset = (ulong)read.Info.Index << IsmRules.OffsetShift,
        }));
        On<GetRegionInfo>(static info => IsAbsent(info.Index), _ => Reply(Absent));
        On<ReadRegion>(static read => IsAbsent(read.Region), _ => Reply(Absent));
        On<WriteRegion>(static write => IsAbsent(write.Region), _ => Reply(Absent));
        On<ReadRegion>(read => IsBar(read.Region) && !Carries(read.Offset, read.Length), _ => Reply(NotOneStore));
        On<WriteRegion>(write => IsBar(write.Region) && !Carries(write.Offset, write.Data.Length), _ => Reply(NotOneStore));
        On<MapRegion>(_ => Reply(VfioResult.Fail(Errno.EINVAL, "This device is reached by read and write alone; nothing of it is mapped.")));
    }

    public static new DriverRegistration Registration { get; } = new(
        "ism", new PciIds(IsmRules.Vendor, IsmRules.Device), "ism", context => Props.Create(() => new IsmDriver(context))) { Migrates = false };

    private bool Carries(ulong offset, int length) =>
        length >= 0 && (ulong)length <= storeBlock && (offset % IsmRules.PageBytes) + (ulong)length <= IsmRules.PageBytes;

    private static bool IsBar(int region) => region is >= RegionIndex.Bar0 and <= RegionIndex.Bar5;

    private static bool IsAbsent(int region) => region is RegionIndex.Rom or RegionIndex.Vga;

    private static VfioResult Absent => VfioResult.Fail(Errno.EINVAL, "This device has neither ROM nor VGA.");

    private static VfioResult NotOneStore =>
        VfioResult.Fail(Errno.EINVAL, "One access carries at most the device's store block and crosses no page; split it.");
}
