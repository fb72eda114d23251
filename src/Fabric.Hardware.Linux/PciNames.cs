using System.Globalization;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>
/// Names of vendors, devices and classes from the PCI ID database (Debian: pci.ids, hwdata), a file that a machine may have or not. What it does not
/// know has no name.
/// </summary>
public sealed class PciNames
{
    /// <summary>Today's is a tenth of it: what is larger is no such file.</summary>
    private const long LargestFile = 16 << 20;

    private static readonly string[] Places = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

    private readonly Dictionary<uint, string> vendors = [];
    private readonly Dictionary<uint, string> devices = [];
    private readonly Dictionary<(uint Device, uint Subsystem), string> subsystems = [];
    private readonly Dictionary<uint, string> classes = [];

    private PciNames()
    {
    }

    /// <summary>The database of this machine; without one nothing has a name.</summary>
    public static PciNames OfThisMachine() => Array.Find(Places, File.Exists) is { } file ? Read(file) : new PciNames();

    /// <summary>A line that makes no sense is passed over.</summary>
    /// <exception cref="IOException">The file cannot be read, or is none of the kind.</exception>
    public static PciNames Read(string file)
    {
        if (new FileInfo(file).Length > LargestFile)
            throw new IOException($"{file} is too large to be a database of PCI ids.");
        var names = new PciNames();
        var inClasses = false;
        uint outer = 0, inner = 0;
        foreach (var line in File.ReadLines(file))
        {
            var depth = line.Length - line.AsSpan().TrimStart('\t').Length;
            var rest = line.AsSpan(depth);
            if (rest.IsEmpty || rest[0] == '#')
                continue;
            if (depth == 0)
                inClasses = rest.StartsWith("C ", StringComparison.Ordinal);
            switch (depth, inClasses)
            {
                case (0, true) when TryTake(rest[2..], 2, out outer, out var name):
                    names.classes[outer << 8 | NoSubclass] = name;
                    break;
                case (1, true) when TryTake(rest, 2, out inner, out var name):
                    names.classes[(outer << 8) | inner] = name;
                    break;
                case (0, false) when TryTake(rest, 4, out outer, out var name):
                    names.vendors[outer] = name;
                    break;
                case (1, false) when TryTake(rest, 4, out inner, out var name):
                    names.devices[(outer << 16) | inner] = name;
                    break;
                case (2, false) when TryTake(rest, 4, out var vendor, out _) && TryTake(rest[5..], 4, out var device, out var name):
                    names.subsystems[((outer << 16) | inner, (vendor << 16) | device)] = name;
                    break;
            }
        }

        return names;
    }

    /// <summary>Vendor and device, such as <c>Intel Corporation 82574L Gigabit Network Connection</c>; null where the vendor has no name.</summary>
    public string? NameOf(PciIds ids)
    {
        if (!vendors.TryGetValue(ids.Vendor, out var vendor))
            return null;
        var device = devices.GetValueOrDefault(((uint)ids.Vendor << 16) | ids.Device) ?? $"device {ids.Device:x4}";
        var subsystem = subsystems.GetValueOrDefault((((uint)ids.Vendor << 16) | ids.Device, ((uint)ids.SubsystemVendor << 16) | ids.Subsystem));
        return subsystem is null ? $"{vendor} {device}" : $"{vendor} {device} ({subsystem})";
    }

    /// <summary>What it is, such as <c>Ethernet controller</c>; null where its class has no name.</summary>
    public string? ClassOf(PciIds ids) =>
        classes.GetValueOrDefault((ids.Class >> 8) & 0xffff) ?? classes.GetValueOrDefault(((ids.Class >> 16) << 8) | NoSubclass);

    /// <summary>No subclass has this number, and a byte has not got it.</summary>
    private const uint NoSubclass = 0x1_0000;

    private static bool TryTake(ReadOnlySpan<char> text, int digits, out uint number, out string name)
    {
        name = "";
        number = 0;
        if (text.Length <= digits || text[digits] != ' ' ||
            !uint.TryParse(text[..digits], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number))
        {
            return false;
        }

        name = text[digits..].Trim().ToString();
        return true;
    }
}
