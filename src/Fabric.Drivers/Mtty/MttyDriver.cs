using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The serial card: owns migration and a dummy DMA log, hides the BAR that is the host's, and every interrupt but INTx and MSI (contract
/// §8.4). Everything else falls through to the core.
/// </summary>
public sealed class MttyDriver : MigratingDriver
{
    private readonly MigrationFlags flags;

    public MttyDriver(DriverContext context, MigrationFlags flags)
        : base(context, MttyBar.Migration)
    {
        this.flags = flags;
        HideRegion(MttyBar.Migration);
        On<GetIrqInfo>(info => !HasInterrupt((IrqIndex)info.Index), _ => Reply(NoInterrupt(Errno.EINVAL)));
        On<SetTrigger>(set => !HasInterrupt(set.Index), _ => Reply(NoInterrupt(Errno.ENOTTY)));
    }

    public static DriverRegistration Registration { get; } = RegistrationWith(MttyMigrationOps.Everything);

    /// <summary>The driver with fewer migration states than the card could have, as other kernel drivers are (MG-5).</summary>
    internal static DriverRegistration RegistrationWith(MigrationFlags flags) => new(
        "mtty",
        new PciIds(MttyIds.Vendor, MttyIds.Device),
        "mtty",
        context => Props.Create(() => new MttyDriver(context, flags)))
    {
        StateFormat = $"mtty/{MttyMigrationOps.Major}",
    };

    /// <summary>A card found suspended has lost its stream with the driver that suspended it.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        var card = mapped[MttyBar.Migration];
        var (ports, status) = (card.Read32(MttyMigration.Ports), card.Read32(MttyMigration.Status));
        if (ports is not { IsOk: true, Value: 1 or 2 })
            return ports.IsOk ? NoSuchCard : ports.Error;
        return new MigratingDevice(new MttyMigrationOps(card, (int)ports.Value, flags), new SilentDmaLog())
        {
            IsLost = status is not { IsOk: true, Value: var told } || (told & (uint)MttyStatus.Suspended) != 0,
        };
    }

    private static bool HasInterrupt(IrqIndex index) => index is IrqIndex.Intx or IrqIndex.Msi;

    private static VfioError NoSuchCard => new(Errno.EIO, "The serial card tells no possible number of ports; reset it, or take it out of service.");

    private static VfioResult NoInterrupt(Errno errno) =>
        VfioResult.Fail(errno, "The serial card has INTx and one MSI vector, and no other interrupt.");
}
