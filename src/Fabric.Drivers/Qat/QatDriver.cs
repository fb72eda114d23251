using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Qat;

/// <summary>
/// VFs of Intel QuickAssist: owns migration, by way of the PF's driver; and, as the kernel's has no device_feature, none of the core's features are
/// there (VD-QAT-1). Everything else is the core's.
/// </summary>
public sealed class QatDriver : MigratingDriver
{
    private readonly QatCommands? commands;

    public QatDriver(DriverContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        commands = context.Platform.PhysicalFunction is { Protocol: QatMigration.Protocol } channel ? new QatCommands(channel) : null;
        const string Absent = "The driver of this VF has none of the core's features; go on without.";
        Hide<FindFeature>(Absent);
        Hide<UseFeature>(Absent);
        Hide<EnterLowPower>(Absent);
        Hide<ExitLowPower>(Absent);
        Hide<SetVfToken>(Absent);
        Hide<GetDmaBuf>(Absent);
    }

    public static ImmutableArray<DriverRegistration> Registrations { get; } =
    [
        .. QatIds.VirtualFunctions.Select(static device => new DriverRegistration(
            "qat", new PciIds(QatIds.Vendor, device), $"qat-{device:x4}", static context => Props.Create(() => new QatDriver(context)))
        {
            StateFormat = $"qat/{QatState.Version}",
        }),
    ];

    /// <summary>A VF that was found suspended was so for a driver that failed, and its stream is lost.</summary>
    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        if (commands is null)
            return new VfioError(Errno.ENODEV, "The PF of this VF has no driver; bring it back, then have the host probe the VF again.");
        var suspended = commands.Open();
        return suspended.IsOk ? new MigratingDevice(new QatArcs(commands)) { IsLost = suspended.Value } : suspended.Error;
    }

    protected override void OnDetached() => commands?.Close();
}
