using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Devices.Drivers;

/// <summary>A driver that can be bound: which functions it matches, what claims call them, how it is made.</summary>
/// <param name="Name">As shown to people, such as <c>accelerator</c>.</param>
/// <param name="Ids">Its table of ids; without any it is bound only where driver_override names it.</param>
/// <param name="Model">The model that its functions are claimed by; null where they are not claimed, or as the driver behind it says.</param>
public sealed record DriverRegistration(string Name, ImmutableArray<DriverId> Ids, string? Model, Func<DriverContext, Props> Create)
{
    private readonly string? model = Model;

    /// <summary>A driver of one kind of function, by vendor and device.</summary>
    public DriverRegistration(string name, PciIds match, string? model, Func<DriverContext, Props> create)
        : this(name, [DriverId.Of(match)], model, create)
    {
    }

    public string? Model
    {
        get => model ?? Behind?.Model;
        init => model = value;
    }

    /// <summary>See <see cref="IDriverProbe.Probe"/>; null takes every function that it matches.</summary>
    public Func<DriverContext, VfioResult>? Probe { get; init; }

    /// <summary>Decides between drivers that match a function equally specifically: the highest is chosen.</summary>
    public int Priority { get; init; }

    /// <summary>The driver that it stands in front of; null for the core. Several may stand in a row.</summary>
    public DriverRegistration? Behind { get; init; }

    /// <summary>
    /// It has the callback sriov_configure, and may ask the core to make VFs (<see cref="SetVirtualFunctions"/>). Without it the core refuses with
    /// ENOENT, as for every variant driver of the kernel (SV-4). Of a stack the front's counts.
    /// </summary>
    public bool ConfiguresSriov { get; init; }

    /// <summary>Whether it may give its devices migration states; a device may have none all the same (VD-1).</summary>
    public bool Migrates { get; init; } = true;

    /// <summary>
    /// What its state streams are written in, such as <c>accelerator/2</c>: a device takes a state only where its driver has the same. Null where it
    /// does not say, and a stream that does not fit is refused as it is loaded.
    /// </summary>
    public string? StateFormat { get; init; }

    /// <summary>The name of the driver that it stands in front of, where that is looked up among the host's.</summary>
    public string? InFrontOf { get; init; }

    /// <summary>The plugin that it came with; null for one in the box.</summary>
    public string? Plugin { get; init; }

    /// <summary>It, and what it stands in front of.</summary>
    internal IEnumerable<DriverRegistration> Stack
    {
        get
        {
            for (var driver = this; driver is not null; driver = driver.Behind)
                yield return driver;
        }
    }

    /// <summary>Of the first of its stack that says so.</summary>
    internal string? StackStateFormat => Stack.Select(static driver => driver.StateFormat).FirstOrDefault(static format => format is not null);

    /// <summary>What its device is in when nobody has it; null for one without migration states.</summary>
    internal MigrationState? FreshState => Stack.Any(static driver => driver.Migrates) ? MigrationState.Running : null;

    /// <summary>The most specific entry that matches; null where none does.</summary>
    /// <param name="overridden">driver_override names this driver: entries count that do not else (VD-0).</param>
    public DriverId? Match(PciIds ids, bool overridden = false)
    {
        DriverId? best = null;
        foreach (var id in Ids)
        {
            if ((overridden || !id.OverrideOnly) && id.Matches(ids) && (best is null || id.Specificity > best.Value.Specificity))
                best = id;
        }

        return best;
    }
}
