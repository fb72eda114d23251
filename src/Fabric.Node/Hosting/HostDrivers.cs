using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;

namespace Fabric.Node.Hosting;

/// <summary>The variant drivers in the box.</summary>
internal static class HostDrivers
{
    private static readonly DriverRegistration[] All = [AcceleratorDriver.Registration];

    public static IEnumerable<string> Names => All.Select(driver => driver.Name);

    public static bool Has(string name) => Names.Contains(name, StringComparer.Ordinal);

    /// <summary>What a host binds: all but those that it is told to do without.</summary>
    public static DriverCatalog Without(IReadOnlyCollection<string> names) => new([.. All.Where(driver => !names.Contains(driver.Name))]);
}
