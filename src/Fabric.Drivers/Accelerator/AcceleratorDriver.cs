using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's virtual function: owns migration (all flags) and dirty logging, hides the two BARs that are the host's, clears the
/// engine's error in mmio_enabled. Everything else falls through to the core.
/// </summary>
public sealed class AcceleratorDriver : MigratingDriver
{
    private AcceleratorCommands? commands;

    public AcceleratorDriver(DriverContext context)
        : base(context, AcceleratorBar.Registers, AcceleratorBar.State, AcceleratorBar.Migration)
    {
        for (var hidden = AcceleratorBar.State; hidden <= AcceleratorBar.Migration + 1; hidden++)
            HideRegion(hidden);
        On<MmioEnabled>(_ => ClearError());
    }

    public static DriverRegistration Registration { get; } = new(
        "accelerator",
        new PciIds(AcceleratorIds.Vendor, AcceleratorIds.VirtualFunction),
        "accelerator-vf",
        context => Props.Create(() => new AcceleratorDriver(context)))
    {
        StateFormat = $"accelerator/{AcceleratorStreamFormat.Version}",
    };

    /// <summary>
    /// A device found in the middle of a migration has lost its stream with the driver: ERROR, until a reset (MG-31). A log that nobody knows of is
    /// stopped.
    /// </summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        var attached = AcceleratorCommands.Attach(
            mapped[AcceleratorBar.Registers], mapped[AcceleratorBar.State], mapped[AcceleratorBar.Migration]);
        if (!attached.IsOk)
            return attached.Error;
        commands = attached.Value;
        var activity = commands.ReadActivity();
        var isLost = !activity.IsOk || (activity.Value & ~AcceleratorActivity.DmaLogOn) != AcceleratorActivity.None;
        if (!isLost && activity.Value != AcceleratorActivity.None)
            commands.Execute(AcceleratorCommand.StopDmaLog);
        return new MigratingDevice(new AcceleratorArcs(commands), new AcceleratorDmaLog(commands)) { IsLost = isLost };
    }

    /// <summary>
    /// mmio_enabled. No vote where nobody has the device open, or has it no more: its next open resets it. A device that does not answer is
    /// given up.
    /// </summary>
    private void ClearError()
    {
        if (HeldBy == default)
            Vote(VfioResult.Fail(Errno.ENODEV, "The device is not open."));
        else
            WithDevice(HeldBy, () => Vote(commands!.ClearInternalError()), failed => Vote(failed.Error));

        void Vote(VfioResult cleared) => Reply(new RecoveryVoted(cleared.Error.Errno switch
        {
            Errno.None => RecoveryVote.Recovered,
            Errno.ENODEV => RecoveryVote.None,
            _ => RecoveryVote.Disconnect,
        }));
    }
}
