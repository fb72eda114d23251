using Fabric.Devices.Drivers;
using Fabric.Drivers;
using Fabric.VfioUser.Client;

namespace Fabric.Node.Hosting;

/// <summary>The variant drivers of a host: those in the box, and the one for devices that others serve.</summary>
internal static class HostDrivers
{
    private static IReadOnlyList<DriverRegistration> All { get; } = [.. BuiltInDrivers.All, VfioUserDriver.Registration];

    public static IEnumerable<string> Names => All.Select(static driver => driver.Name).Distinct();

    public static bool Has(string name) => Names.Contains(name, StringComparer.Ordinal);

    /// <summary>What a host binds: all but those that it is told to do without.</summary>
    public static DriverCatalog Without(IReadOnlyCollection<string> names) => new([.. All.Where(driver => !names.Contains(driver.Name))]);
}
