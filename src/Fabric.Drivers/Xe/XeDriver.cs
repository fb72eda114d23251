using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Xe;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Xe;

/// <summary>
/// A VF of an Intel graphics card: migration is its PF's driver's, and everything else is the core's (contract §7.3). After a reset nothing reaches
/// the VF before its PF has cleared up (VD-XE-3). The PF itself has the same ids, and this driver then does nothing.
/// </summary>
public sealed class XeDriver(DriverContext context) : MigratingDriver(context)
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromMilliseconds(10);

    /// <summary>As long as the PF's driver gives its own clearing up.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly IFunctionPlatform platform = context.Platform;

    public static DriverRegistration Registration { get; } = new(
        "xe",
        new PciIds(XeIds.Vendor, XeIds.Device),
        "xe",
        static context => Props.Create(() => new XeDriver(context)))
    {
        StateFormat = $"xe/{XePacket.CurrentVersion}",
    };

    private XeCommands? Pf => platform.PhysicalFunction is { Protocol: XeCommand.Protocol } channel ? new XeCommands(channel) : null;

    /// <summary>A VF that its PF has suspended, or stopped, has lost its stream with the driver that asked for it.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (Pf is not { } device)
            return new MigratingDevice(Ops: null);
        var found = device.GetState();
        return found.IsOk ? new MigratingDevice(new XeArcs(device)) { IsLost = found.Value != XeVfState.Running } : found.Error;
    }

    /// <summary>The core has reset the VF.</summary>
    protected override void CompleteOpen(Action then) => AwaitCleanUp(Patience, then);

    /// <summary>A PF that cannot be told has gone; what becomes of the reset is the core's to say.</summary>
    protected override void PrepareReset(Action then)
    {
        Pf?.Call(XeCall.PrepareReset);
        then();
    }

    protected override void CompleteReset(Action then) => AwaitCleanUp(Patience, then);

    private void AwaitCleanUp(TimeSpan patience, Action then)
    {
        if (Pf?.GetState() is not { IsOk: true, Value: XeVfState.CleaningUp })
        {
            then();
        }
        else if (patience > TimeSpan.Zero)
        {
            After(LookAgain, () => AwaitCleanUp(patience - LookAgain, then));
        }
        else
        {
            // As the kernel's driver: said, and gone on with. Nothing of migration works until the PF has done it.
            Record(new DriverFault($"the PF did not clear up within {Patience.TotalSeconds:0} s of a reset"));
            then();
        }
    }
}
