using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;
using Fabric.Pci;

namespace Fabric.Devices.Drivers;

/// <summary>One entry of a driver's table of ids (kernel: struct pci_device_id). Null is PCI_ANY: it matches everything.</summary>
public readonly partial record struct DriverId(ushort? Vendor = null, ushort? Device = null, ushort? SubsystemVendor = null, ushort? Subsystem = null)
{
    private const string OverridePrefix = "vfio_pci:";

    /// <summary>24 bits; compared where <see cref="ClassMask"/> is set.</summary>
    public uint Class { get; init; }

    /// <summary>24 bits; 0 matches every class.</summary>
    public uint ClassMask { get; init; }

    /// <summary>Counts only where the function's driver_override names the driver (kernel: override_only; VD-0).</summary>
    public bool OverrideOnly { get; init; }

    /// <summary>
    /// Of the seven fields of a module alias (vendor, device, their subsystem's, base class, sub-class, interface) those that are no wildcard. The
    /// most specific alias is the one with the most of them (VD-0).
    /// </summary>
    public int Specificity =>
        (Vendor is null ? 0 : 1) + (Device is null ? 0 : 1) + (SubsystemVendor is null ? 0 : 1) + (Subsystem is null ? 0 : 1) +
        Whole(16) + Whole(8) + Whole(0);

    /// <summary>Vendor and device of a function, whatever else it is.</summary>
    public static DriverId Of(PciIds ids) => new(ids.Vendor, ids.Device);

    public bool Matches(PciIds ids) =>
        (Vendor is null || Vendor == ids.Vendor) &&
        (Device is null || Device == ids.Device) &&
        (SubsystemVendor is null || SubsystemVendor == ids.SubsystemVendor) &&
        (Subsystem is null || Subsystem == ids.Subsystem) &&
        ((Class ^ ids.Class) & ClassMask) == 0;

    /// <summary>
    /// Reads <c>1d0f:efa1</c>, <c>1d0f:*</c>, with a subsystem <c>15b3:101e:15b3:0001</c>, with a class <c>*:*/0108xx</c> (x is any digit) or
    /// <c>*:*/010802&amp;ffff00</c> (a mask). <c>vfio_pci:</c> in front makes it count only with driver_override, as in a module alias.
    /// </summary>
    public static bool TryParse(string? text, out DriverId id)
    {
        id = default;
        if (Pattern().Match(text ?? "") is not { Success: true } match)
            return false;
        var (value, mask) = ClassOf(match.Groups["class"].Value, match.Groups["mask"].Value);
        id = new DriverId(Field(match, "vendor"), Field(match, "device"), Field(match, "subvendor"), Field(match, "subdevice"))
        {
            Class = value & mask,
            ClassMask = mask,
            OverrideOnly = match.Groups["prefix"].Success,
        };
        return true;
    }

    /// <summary>As <see cref="TryParse"/> reads it.</summary>
    public override string ToString()
    {
        var subsystem = SubsystemVendor is null && Subsystem is null ? "" : $":{Show(SubsystemVendor)}:{Show(Subsystem)}";
        return $"{(OverrideOnly ? OverridePrefix : "")}{Show(Vendor)}:{Show(Device)}{subsystem}{ShowClass()}";
    }

    private int Whole(int shift) => ((ClassMask >> shift) & 0xff) == 0xff ? 1 : 0;

    private static string Show(ushort? field) => field?.ToString("x4", CultureInfo.InvariantCulture) ?? "*";

    private string ShowClass()
    {
        if (ClassMask == 0)
            return "";
        var (value, mask) = (Class, ClassMask);
        var nibbles = Enumerable.Range(0, 6).Select(static digit => 20 - (4 * digit)).ToArray();
        return nibbles.All(shift => BitOperations.PopCount((mask >> shift) & 0xf) is 0 or 4)
            ? $"/{string.Concat(nibbles.Select(Digit))}"
            : string.Create(CultureInfo.InvariantCulture, $"/{value & mask:x6}&{mask:x6}");

        string Digit(int shift) => ((mask >> shift) & 0xf) == 0 ? "x" : ((value >> shift) & 0xf).ToString("x", CultureInfo.InvariantCulture);
    }

    private static ushort? Field(Match match, string name) => match.Groups[name] is { Success: true, Value: not "*" } field
        ? ushort.Parse(field.ValueSpan, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
        : null;

    private static (uint Value, uint Mask) ClassOf(string digits, string mask)
    {
        if (digits.Length == 0)
            return default;
        if (mask.Length > 0)
            return (Hex(digits), Hex(mask));
        return (Hex(digits.Replace('x', '0')), Hex(string.Concat(digits.Select(static digit => digit == 'x' ? '0' : 'f'))));
    }

    private static uint Hex(string digits) => uint.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(
        @"\A(?<prefix>vfio_pci:)?(?<vendor>[0-9a-f]{4}|\*):(?<device>[0-9a-f]{4}|\*)(:(?<subvendor>[0-9a-f]{4}|\*):(?<subdevice>[0-9a-f]{4}|\*))?"
        + @"(/((?<class>[0-9a-f]{6})&(?<mask>[0-9a-f]{6})|(?<class>[0-9a-fx]{6})))?\z",
        RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();
}
