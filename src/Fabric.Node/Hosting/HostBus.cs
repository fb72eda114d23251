using Fabric.Devices.Hardware;
using Fabric.Devices.Mdev;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Node.Configuration;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.VfioUser.Client;

namespace Fabric.Node.Hosting;

/// <summary>
/// The functions that a host hands out, as one bus: emulated ones, real ones of vfio-pci, mediated devices where there are parents, and devices that
/// other processes serve.
/// </summary>
internal sealed class HostBus : IDisposable
{
    private readonly EmulatedBus emulated;
    private readonly VfioUserBus? served;

    /// <param name="settings">As <see cref="SettingsLoader"/> has let them through.</param>
    public HostBus(FabricSettings settings, ILoggerFactory loggers, TimeProvider time)
    {
        emulated = new EmulatedBus(OptionsOf(settings.Hardware.Emulated), time);
        Mdev = MdevOf(settings);
        served = ServedOf(settings, loggers.CreateLogger("VfioUser"), time);
        Real = RealFunctions.Open(settings.Hardware.Linux, settings.Node.DataDirectory, loggers.CreateLogger("Hardware"));
        IPciBus own = Real is null ? emulated : new CompositeBus(Real.Bus, EmulatedBus.Has, emulated);
        own = Mdev is null ? own : new CompositeBus(own, MdevBus.Has, Mdev.Bus);
        Whole = served is null ? own : new CompositeBus(own, VfioUserBus.Has, served);
    }

    public IPciBus Whole { get; }

    /// <summary>Null for a host that does not even list them.</summary>
    public RealFunctions? Real { get; }

    /// <summary>Null for a host that nothing can be made of.</summary>
    public MdevOptions? Mdev { get; }

    public void Dispose()
    {
        emulated.Dispose();
        served?.Dispose();
        Real?.Dispose();
    }

    /// <summary>A server that is silent is given up before the host takes its device for hung.</summary>
    internal static ClientOptions ClientOptionsOf(DevicesSettings settings, TimeProvider time)
    {
        var devices = HostSystem.DeviceOptionsOf(settings);
        return ClientOptions.Default with
        {
            RequestDeadline = devices.CallDeadline * 0.6,
            SlowDeadline = devices.SlowCallDeadline * 0.8,
            MessageDeadline = devices.CallDeadline * 0.6,
            Time = time,
        };
    }

    private static EmulatedBusOptions OptionsOf(EmulatedSettings emulated) =>
        new(emulated.Accelerators, emulated.FunctionsPerAccelerator, emulated.StateBytes)
        {
            VirtualFunctionsAtStart = emulated.VirtualFunctionsAtStart,
            Cards = [.. emulated.Cards.Select(static card => new EmulatedCard(card.Model, card.Count, VirtualFunctions: card.VirtualFunctions))],
        };

    private static MdevOptions? MdevOf(FabricSettings settings) => settings.Hardware.Emulated.MdevParents is not { Length: > 0 } names
        ? null
        : new MdevOptions(
            new MdevBus([.. names.Select(EmulatedMdevParents.Create)]), new MdevDirectory(Path.Combine(settings.Node.DataDirectory, "mdev.d")));

    private static VfioUserBus? ServedOf(FabricSettings settings, ILogger log, TimeProvider time) => settings.Hardware.VfioUser is not { Length: > 0 } devices
        ? null
        : new VfioUserBus(
            [.. devices.Select(static device => new ServedElsewhere(PciAddress.Parse(device.Address), Path.GetFullPath(device.Socket)))],
            (device, why) => log.LogWarning("{Address} is not there, its server at {Socket} is not reached: {Why}", device.Address, device.Socket, why),
            ClientOptionsOf(settings.Devices, time));
}
