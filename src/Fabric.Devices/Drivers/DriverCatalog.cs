using Akka.Actor;
using Fabric.Pci;

namespace Fabric.Devices.Drivers;

/// <summary>A driver that can be bound: which functions it matches, what claims call them, how it is made.</summary>
/// <param name="Name">As shown to people, such as <c>accelerator</c>.</param>
/// <param name="Model">The model that its functions are claimed by; null where they are not claimed.</param>
public sealed record DriverRegistration(string Name, PciIds Match, string? Model, Func<DriverContext, Props> Create)
{
    public bool Matches(PciIds ids) => ids.Vendor == Match.Vendor && ids.Device == Match.Device;
}

/// <summary>The drivers of a host, in order of preference. A function that none matches is left to the core alone.</summary>
public sealed class DriverCatalog(params IReadOnlyList<DriverRegistration> drivers)
{
    public DriverRegistration? For(PciIds ids) => drivers.FirstOrDefault(driver => driver.Matches(ids));
}
