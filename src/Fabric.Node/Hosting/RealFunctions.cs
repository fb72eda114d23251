using Fabric.Hardware.Linux;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Node.Configuration;
using Fabric.Pci;

namespace Fabric.Node.Hosting;

/// <summary>The real functions that this host hands out: given to vfio-pci where settings say so, opened, and given back at the end.</summary>
internal sealed class RealFunctions : IDisposable
{
    private readonly DriverBinding binding;
    private readonly ILogger log;

    private RealFunctions(LinuxPciBus bus, DriverBinding binding, ILogger log) => (Bus, this.binding, this.log) = (bus, binding, log);

    public LinuxPciBus Bus { get; }

    /// <summary>Null for a host that hands out none.</summary>
    public static RealFunctions? Open(LinuxSettings settings, string dataDirectory, ILogger log)
    {
        var binding = new DriverBinding(Path.Combine(dataDirectory, "bindings"), new FunctionUses(settings.Sysfs), settings.Sysfs);
        var named = settings.Functions.Where(static function => function != "*").Select(static function => PciAddress.Parse(function)).ToHashSet();
        // What a daemon that was killed had taken, and this one does not want.
        GiveBack(binding, log, function => !settings.Enabled || !settings.Bind || !named.Contains(function));
        if (settings is not { Enabled: true, Functions.Length: > 0 })
            return null;
        foreach (var function in settings.Bind ? named : [])
        {
            if (binding.Take(function) is { IsOk: false } refused)
                log.LogWarning("{Function} is not given to vfio-pci: {Why}", function, refused.Error);
        }

        var all = settings.Functions.Contains("*");
        var bus = new LinuxPciBus(new KernelVfio(settings.Sysfs), function => all || named.Contains(function), settings.Sysfs);
        foreach (var refused in bus.Refused)
            log.LogWarning("{Function} cannot be opened, and is only listed: {Why}", refused.Function, refused.Why);
        return new RealFunctions(bus, binding, log);
    }

    public void Dispose()
    {
        // Closed first: the kernel waits for that before it lets a driver go.
        Bus.Dispose();
        GiveBack(binding, log, static _ => true);
    }

    private static void GiveBack(DriverBinding binding, ILogger log, Func<PciAddress, bool> which)
    {
        foreach (var function in binding.Taken.Where(which))
        {
            if (binding.GiveBack(function) is { IsOk: false } refused)
                log.LogWarning("{Function} is not given back to its driver: {Why}", function, refused.Error);
        }
    }
}
