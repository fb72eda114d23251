using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// Virtio VFs, network cards and disks: owns migration, and shows a modern VF as a transitional one, where its PF takes the commands for that
/// (VD-VIR-1). Everything else falls through to the core, and so does all where the PF takes none.
/// </summary>
public sealed class VirtioDriver : MigratingDriver
{
    private const int Bar0 = 0;

    private readonly VirtioOffer offer;
    private readonly TimeProvider time;
    private int? msixControl;

    internal VirtioDriver(DriverContext context, VirtioOffer offer)
        : base(context, offer.MappedBars)
    {
        (this.offer, time) = (offer, context.Time);
        if (offer.Legacy is not { } legacy)
            return;
        On<GetRegionInfo>(info => info.Index == Bar0, info => AskCore(
            info, reply => Reply(reply is RegionInfoRead ? new RegionInfoRead(VirtioLegacyIo.Bar0) : reply)));
        On<ReadRegion>(read => read is { Region: Bar0, Length: not 0 }, read => AtBar0(read.Session, read.Offset, msix => Read(legacy, read, msix)));
        On<WriteRegion>(write => write is { Region: Bar0, Data.Length: not 0 }, write => AtBar0(write.Session, write.Offset, msix => Reply(
            legacy.Write(write.Offset, write.Data.Span, msix), write.Data.Length)));
        On<ReadRegion>(static read => read.Region == RegionIndex.Config, read => AskCore(read, reply => Reply(Shown(legacy, read, reply))));
        On<WriteRegion>(static write => write.Region == RegionIndex.Config, write => AskCore(write, reply =>
        {
            if (reply is RegionWritten written)
                legacy.Take(write.Offset, write.Data.Span[..written.Length]);
            Reply(reply);
        }));
    }

    public static IReadOnlyList<DriverRegistration> Registrations { get; } =
        [RegistrationOf("virtio-net", VirtioIds.Net), RegistrationOf("virtio-blk", VirtioIds.Block)];

    private static DriverRegistration RegistrationOf(string model, ushort device) => new(
        "virtio", new PciIds(VirtioIds.Vendor, device), model, PropsOf);

    private static Props PropsOf(DriverContext context) => VirtioOffer.Find(context) is { } offer
        ? DriverProps.Of(() => new VirtioDriver(context, offer))
        : PassthroughDriver.Props(context);

    /// <summary>A device found stopped has lost its stream with the driver that stopped it; one that is opened was reset, and runs.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        var isNew = HeldBy == default;
        if (offer.Legacy is { } legacy)
        {
            if (isNew)
                legacy.Clear();
            legacy.Notify = offer.NotifyBar is { } bar ? mapped[bar] : null;
        }

        if (!offer.Migrates)
            return new MigratingDevice(null);
        var isLost = !isNew && offer.Commands.IsStopped() is not { IsOk: true, Value: false };
        return new MigratingDevice(new VirtioArcs(offer.Commands, time)) { IsLost = isLost };
    }

    protected override void CompleteReset(Action then)
    {
        offer.Legacy?.Reset();
        base.CompleteReset(then);
    }

    // ---- The legacy ports (VD-VIR-2) -------------------------------------------------------------------------------------------------

    /// <summary>Goes on with whether MSI-X is enabled, where it matters: the two ports of its vectors are there only then.</summary>
    private void AtBar0(SessionId session, ulong offset, Action<bool> then) => WithDevice(
        session,
        () =>
        {
            if (offset < (ulong)VirtioLegacy.DeviceConfigAt(msixEnabled: false))
                then(false);
            else if (msixControl is { } at)
                AskMsix(session, at, then);
            else
                FindMsix(session, then);
        },
        Reply);

    private void FindMsix(SessionId session, Action<bool> then) => AskConfig(session, 0, ConfigOffset.ConventionalSize, config =>
    {
        var found = CapabilityWalk.Standard(config.Span).FirstOrDefault(static entry => entry.Id == StandardCapability.Msix);
        if (found.Offset == 0)
            then(false);
        else
            AskMsix(session, (msixControl = found.Offset + MsixCapability.Control).Value, then);
    });

    private void AskMsix(SessionId session, int at, Action<bool> then) => AskConfig(
        session, at, sizeof(ushort), control => then((control.Span[1] & (MsixCapability.Enable >> 8)) != 0));

    private void AskConfig(SessionId session, int offset, int length, Action<ReadOnlyMemory<byte>> then) => AskCore(
        new ReadRegion(session, RegionIndex.Config, (ulong)offset, length),
        reply =>
        {
            if (reply is RegionRead read)
                then(read.Data);
            else
                Reply(reply);
        });

    private void Read(VirtioLegacyIo legacy, ReadRegion read, bool msixEnabled)
    {
        var data = new byte[Math.Clamp(read.Length, 0, VirtioLegacy.BarBytes + 1)];
        var done = legacy.Read(read.Offset, data, msixEnabled);
        Reply(done.IsOk ? new RegionRead(data) : new DeviceFailed(done.Error));
    }

    private void Reply(VfioResult written, int length) =>
        Reply(written.IsOk ? new RegionWritten(length) : new DeviceFailed(written.Error));

    private static DeviceReply Shown(VirtioLegacyIo legacy, ReadRegion read, DeviceReply reply)
    {
        if (reply is not RegionRead answered)
            return reply;
        var shown = answered.Data.ToArray();
        legacy.Show(read.Offset, shown);
        return new RegionRead(shown);
    }
}
