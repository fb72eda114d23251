using Fabric.Vfio;

namespace Fabric.Devices.Drivers;

/// <summary>
/// Makes a class a driver that can be bound: a <see cref="VariantDriver"/> with a public constructor that takes a <see cref="DriverContext"/> and
/// nothing else. The constructor registers what the driver takes over, and no more: what may fail or take time belongs into
/// <see cref="IDriverProbe.Probe"/>, or to the first open.
/// </summary>
/// <param name="name">As shown to people and named in driver_override: lowercase letters, digits, <c>-</c> and <c>_</c>, at most 63.</param>
[AttributeUsage(AttributeTargets.Class, Inherited = false)]
public sealed class PciDriverAttribute(string name) : Attribute
{
    public string Name { get; } = name;

    /// <summary>
    /// The functions that it matches, as <see cref="DriverId.TryParse"/> reads each, separated by spaces or commas. None: it is bound only where
    /// driver_override names it.
    /// </summary>
    public new string Match { get; set; } = "";

    /// <summary>The model that its functions are claimed by; null where they are not claimed, or as the driver behind it says.</summary>
    public string? Model { get; set; }

    /// <summary>Decides between drivers that match a function equally specifically: the highest is chosen.</summary>
    public int Priority { get; set; }

    /// <summary>It may ask the core to make VFs (SV-4).</summary>
    public bool ConfiguresSriov { get; set; }

    /// <summary>The driver that it stands in front of, by name; null for the core.</summary>
    public string? InFrontOf { get; set; }
}

/// <summary>A driver that looks at a function before it is bound to it.</summary>
public interface IDriverProbe
{
    /// <summary>
    /// Whether the driver takes the function (kernel: probe). An error refuses it: the next best driver is taken, and the error is shown. ENODEV
    /// where something that it needs is missing, such as the driver of its PF (VD-0). Called before there is a core, on a thread of its own,
    /// with a deadline; of the context there are ids, clock and platform.
    /// </summary>
    static abstract VfioResult Probe(DriverContext context);
}
