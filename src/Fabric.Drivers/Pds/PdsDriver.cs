using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Pds;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Pds;

/// <summary>
/// VFs of Pensando cards: owns migration and the DMA log, both by commands to the PF's firmware (VD-PDS-1). Everything else is the core's.
/// </summary>
public sealed class PdsDriver : MigratingDriver
{
    private readonly TimeProvider time;
    private readonly IPfChannel? channel;
    private readonly IActorRef self;
    private PdsArcs? arcs;
    private PdsDmaLog? log;

    public PdsDriver(DriverContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        (time, self) = (context.Time, Self);
        channel = context.Platform.PhysicalFunction is { Protocol: PdsAdminQueue.Protocol } physical ? physical : null;
    }

    public static DriverRegistration Registration { get; } = new(
        "pds", new PciIds(PdsIds.Vendor, PdsIds.VirtualFunction), "pds", context => Props.Create(() => new PdsDriver(context)));

    private sealed record Told(PfEvent Happened) : DriverMessage;

    /// <summary>A VF that firmware has suspended was so for a driver that failed, and its stream is lost.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (channel is null)
            return new VfioError(Errno.ENODEV, "The PF of this VF has no driver; bring it back, then open the device.");
        var device = new PdsCommands(channel);
        var regions = device.GetMaxRegions();
        if (!regions.IsOk)
            return regions.Error;
        var host = new PdsHost(device);
        log = new PdsDmaLog(device, host, Math.Max(1, regions.Value));
        arcs = new PdsArcs(device, host, log, time);
        channel.ReportTo(happened => self.Tell(new Told(happened)));
        return new MigratingDevice(arcs, log) { IsLost = device.IsSuspended(PdsSuspension.Full).Error.Errno != Errno.EINVAL };
    }

    protected override void OnDetached()
    {
        channel?.ReportTo(null);
        log?.End();
        (arcs, log) = (null, null);
    }

    protected override void OnOwnMessage(DriverMessage message)
    {
        if (message is Told { Happened: PfEvent.FirmwareReset } && Migration is { } migration && arcs!.OnFirmwareRecovered(migration))
            Record(new MigrationStateChanged(migration.State));
    }
}
