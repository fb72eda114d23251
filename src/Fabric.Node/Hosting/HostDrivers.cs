using Fabric.Devices.Drivers;
using Fabric.Drivers;

namespace Fabric.Node.Hosting;

/// <summary>The variant drivers of a host.</summary>
internal static class HostDrivers
{
    public static IEnumerable<string> Names => BuiltInDrivers.All.Select(static driver => driver.Name).Distinct();

    public static bool Has(string name) => Names.Contains(name, StringComparer.Ordinal);

    /// <summary>What a host binds: all but those that it is told to do without.</summary>
    public static DriverCatalog Without(IReadOnlyCollection<string> names) => new([.. BuiltInDrivers.All.Where(driver => !names.Contains(driver.Name))]);
}
