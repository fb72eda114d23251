using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio.Core;

namespace Fabric.Devices.Drivers;

/// <summary>
/// The drivers of a host, and which comes first for a function. driver_override decides alone: it names the one driver, whether that matches or
/// not, or vfio-pci for the core alone. Else the one that its bus wants comes first, then the most specific id, as management software picks the
/// most specific alias (VD-0), then the driver's priority, then its name; after all of them the core alone.
/// </summary>
public sealed class DriverCatalog
{
    private readonly ImmutableArray<DriverRegistration> drivers;

    public DriverCatalog(params IReadOnlyList<DriverRegistration> drivers) => this.drivers = [.. drivers];

    /// <summary>In the order in which they were given.</summary>
    public ImmutableArray<DriverRegistration> Drivers => drivers;

    /// <summary>The best one for a function whose driver nobody has chosen; null for the core alone.</summary>
    public DriverRegistration? For(PciIds ids) => Rank(ids, driverOverride: null).Candidates.FirstOrDefault()?.Driver;

    public DriverRegistration? Find(string name) => drivers.FirstOrDefault(driver => driver.Name == name);

    /// <summary>Whether driver_override may name it.</summary>
    internal bool IsKnown(string name) => name == DriverDeclaration.VfioPci.Name || Find(name) is not null;

    /// <param name="wanted">By its bus; vfio-pci is the core alone; null where it wants none.</param>
    internal DriverRanking Rank(PciIds ids, string? driverOverride, string? wanted = null)
    {
        var matching = drivers
            .Select(driver => (Driver: driver, Id: driver.Match(ids)))
            .Where(static match => match.Id is not null)
            .OrderByDescending(static match => match.Id!.Value.Specificity)
            .ThenByDescending(static match => match.Driver.Priority)
            .ThenBy(static match => match.Driver.Name, StringComparer.Ordinal)
            .Select(match => new DriverCandidate(Complete(match.Driver), match.Id))
            .ToImmutableArray();
        if (driverOverride is null)
        {
            var hidden = drivers
                .Where(driver => driver.Match(ids) is null && driver.Match(ids, overridden: true) is not null)
                .Select(static driver => new DriverPassedOver(driver.Name, "it is taken only where driver_override names it", Refused: false));
            if (wanted == DriverDeclaration.VfioPci.Name)
            {
                var passed = matching.Select(static candidate =>
                    new DriverPassedOver(candidate.Driver.Name, "the function's bus asks for the core alone, but driver_override may name it", Refused: false));
                return new DriverRanking(null, [], [.. passed, .. hidden]);
            }

            ImmutableArray<DriverCandidate> first = wanted is not null && Find(wanted) is { } asked ? [new DriverCandidate(Complete(asked), null)] : [];
            return new DriverRanking(null, [.. first, .. matching.Where(candidate => candidate.Driver.Name != wanted)], [.. hidden]);
        }

        var others = matching
            .Where(candidate => candidate.Driver.Name != driverOverride)
            .Select(candidate => new DriverPassedOver(candidate.Driver.Name, $"driver_override names {driverOverride}", Refused: false));
        // A driver of several kinds of function is registered once for each.
        ImmutableArray<DriverCandidate> named =
        [
            .. drivers
                .Where(driver => driver.Name == driverOverride)
                .Select(driver => new DriverCandidate(Complete(driver), driver.Match(ids, overridden: true)))
                .OrderByDescending(static candidate => candidate.Id?.Specificity ?? -1)
                .Take(1),
        ];
        return new DriverRanking(driverOverride, named, [.. others]);
    }

    /// <summary>Why a driver cannot be bound whatever the function; null where it can.</summary>
    internal string? Problem(DriverRegistration driver)
    {
        var seen = new HashSet<string> { driver.Name };
        for (var name = driver.InFrontOf; name is not null; name = Find(name)!.InFrontOf)
        {
            if (Find(name) is null)
                return $"it stands in front of {name}, which this host does not have";
            if (!seen.Add(name))
                return $"it stands in front of {name}, and that in front of it";
        }

        return null;
    }

    /// <summary>With what it stands in front of, by its name.</summary>
    private DriverRegistration Complete(DriverRegistration driver) =>
        driver.InFrontOf is { } name && Problem(driver) is null ? driver with { Behind = Complete(Find(name)!) } : driver;
}
