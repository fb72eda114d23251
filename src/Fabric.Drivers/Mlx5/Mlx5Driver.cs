using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Mlx5;

/// <summary>
/// A VF of a ConnectX card: migration and DMA logging are its PF's firmware's, and everything else is the core's (contract §7.3). Without its
/// PF's driver, or with another's, it does not migrate (VD-0).
/// </summary>
public sealed class Mlx5Driver(DriverContext context) : MigratingDriver(context)
{
    private readonly DriverContext context = context;
    private Action letGo = () => { };

    public static DriverRegistration Registration { get; } = new(
        "mlx5",
        new PciIds(Mlx5Ids.Vendor, Mlx5Ids.VirtualFunction),
        "mlx5",
        static context => Props.Create(() => new Mlx5Driver(context)));

    /// <summary>A VF found in mid-migration has lost its stream with the driver that began it.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (context.Platform.PhysicalFunction is not { Protocol: Mlx5Command.Protocol } channel)
            return new MigratingDevice(Ops: null);
        var device = Mlx5Commands.Attach(channel);
        var found = device.IsOk ? device.Value.QuerySize(Mlx5Flags.None) : device.Error;
        if (!found.IsOk)
            return found.Error;

        var (arcs, log) = (new Mlx5Arcs(device.Value, context.Time), new Mlx5DmaLog(device.Value));
        channel.ReportTo(happened =>
        {
            arcs.Hear(happened);
            log.Hear(happened);
        });
        letGo = () =>
        {
            channel.ReportTo(null);
            log.LetGo();
        };
        return new MigratingDevice(arcs, log) { IsLost = found.Value.IsMigrating };
    }

    protected override void OnDetached() => letGo();
}
