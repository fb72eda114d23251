using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Drivers.HisiAcc;

/// <summary>
/// VFs of HiSilicon's accelerators: owns migration, keeps the half of BAR 2 that is migration control from the user (VD-HIS-2), and resets the VF
/// while nothing else of its card is reset (VD-HIS-4). Without the PF's driver it is the core alone.
/// </summary>
public sealed class HisiAccDriver : MigratingDriver
{
    private readonly TimeProvider time;
    private readonly ushort deviceId;
    private readonly HisiAccPfCommands? physical;
    private readonly HisiAccResetTurn? turn;

    public HisiAccDriver(DriverContext context)
        : base(context, HisiAccBar.Number)
    {
        ArgumentNullException.ThrowIfNull(context);
        (time, deviceId) = (context.Time, context.Ids.Device);
        if (context.Platform.PhysicalFunction is not { Protocol: HisiAccPf.Protocol } channel)
            return;
        physical = new HisiAccPfCommands(channel);
        turn = new HisiAccResetTurn(physical, time);
        if (physical.ReadVersion() is { IsOk: true, Value: < HisiAccPf.VersionWithControl })
            HideControl();
    }

    public static ImmutableArray<DriverRegistration> Registrations { get; } =
    [
        Of(HisiAccIds.SecVirtualFunction, "hisi-sec"),
        Of(HisiAccIds.HpreVirtualFunction, "hisi-hpre"),
        Of(HisiAccIds.ZipVirtualFunction, "hisi-zip"),
    ];

    /// <summary>A VF whose queues were found standing has lost its stream with the driver that stopped it.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (physical is null)
            return new MigratingDevice(null);
        var device = HisiAccCommands.Attach(mapped[HisiAccBar.Number], physical, deviceId);
        return device.IsOk
            ? new MigratingDevice(new HisiAccArcs(device.Value, time)) { IsLost = device.Value.IsStopped() is not { IsOk: true, Value: false } }
            : device.Error;
    }

    protected override void PrepareReset(Action then)
    {
        if (turn?.Take() is { } delay)
            After(delay, () => PrepareReset(then));
        else
            then();
    }

    protected override void CompleteReset(Action then)
    {
        turn?.Release();
        then();
    }

    protected override void AbandonReset() => turn?.Release();

    private void HideControl()
    {
        RewriteReply<GetRegionInfo, RegionInfoRead>(static (asked, read) => asked.Index == HisiAccBar.Number
            ? new RegionInfoRead(read.Info with { Size = HisiAccBar.Control })
            : read);
        On<ReadRegion>(static read => read.Region == HisiAccBar.Number, read => Below(
            read.Offset, () => Forward(read with { Length = (int)Math.Min((ulong)Math.Max(0, read.Length), HisiAccBar.Control - read.Offset) })));
        On<WriteRegion>(static write => write.Region == HisiAccBar.Number, write => Below(
            write.Offset,
            () => Forward(write with { Data = write.Data[..(int)Math.Min((ulong)write.Data.Length, HisiAccBar.Control - write.Offset)] })));
        On<SetIoEventFd>(static set => set.Write.Region == HisiAccBar.Number, set => Below(set.Write.Offset, Forward));
        On<GetDmaBuf>(static get => get.Region == HisiAccBar.Number && get.Ranges.Any(ReachesControl), _ => Reply(Control));
        RewriteReply<MapRegion, RegionMapped>(static (asked, mapped) => asked.Region == HisiAccBar.Number
            ? new RegionMapped(mapped.Mapping.Narrow(HisiAccBar.Control))
            : mapped);
    }

    private static bool ReachesControl(DmaBufRange range) => range.Length > HisiAccBar.Control - Math.Min(range.Offset, HisiAccBar.Control);

    private void Below(ulong offset, Action then)
    {
        if (offset < HisiAccBar.Control)
            then();
        else
            Reply(Control);
    }

    private static VfioResult Control =>
        VfioResult.Fail(Errno.EINVAL, "The upper half of this region is the host driver's; GET_REGION_INFO shows the size of the lower one.");

    private static DriverRegistration Of(ushort device, string model) =>
        new("hisi_acc", new PciIds(HisiAccIds.Vendor, device), model, context => Props.Create(() => new HisiAccDriver(context)))
        {
            StateFormat = $"hisi_acc/{HisiAccStreamFormat.Major}",
        };
}
