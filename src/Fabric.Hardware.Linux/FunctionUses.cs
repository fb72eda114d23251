using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>
/// What this machine itself needs a function for: the disks behind it that are mounted or swapped to, the interfaces behind it that have routes.
/// </summary>
/// <param name="sysfs">Where sysfs is mounted.</param>
/// <param name="proc">Where procfs is mounted.</param>
public sealed class FunctionUses(string sysfs = "/sys", string proc = "/proc")
{
    /// <summary>Fields of /proc/self/mountinfo, proc(5).</summary>
    private const int MountDevice = 2;
    private const int MountPoint = 4;

    private const int RouteInterface = 0;
    private const int Route6Interface = 9;

    /// <summary>One sentence's part each, such as <c>nvme0n1p2 is mounted at /</c>; empty where nothing needs it.</summary>
    public ImmutableArray<string> Of(PciAddress function)
    {
        var folder = Path.Combine(sysfs, "bus", "pci", "devices", function.ToString());
        return [.. Disks(folder).Order(StringComparer.Ordinal), .. Interfaces(folder).Order(StringComparer.Ordinal)];
    }

    // ---- Disks -----------------------------------------------------------------------------------------------------------------------

    private IEnumerable<string> Disks(string folder)
    {
        var behind = BlockDevices(folder).ToDictionary(static device => device.Number, static device => device.Name);
        if (behind.Count == 0)
            yield break;
        foreach (var fields in Lines(Path.Combine(proc, "self", "mountinfo")))
        {
            if (fields.Length > MountPoint && behind.TryGetValue(fields[MountDevice], out var name))
                yield return $"{name} is mounted at {fields[MountPoint]}";
        }

        foreach (var fields in Lines(Path.Combine(proc, "swaps")))
        {
            if (fields is [var file, ..] && behind.ContainsValue(Path.GetFileName(file)))
                yield return $"{Path.GetFileName(file)} is swapped to";
        }
    }

    /// <summary>Disks, their partitions, and what is made of those (device mapper, RAID), with major:minor.</summary>
    private IEnumerable<(string Number, string Name)> BlockDevices(string folder)
    {
        var all = Path.Combine(sysfs, "class", "block");
        if (!Directory.Exists(all))
            yield break;
        var found = new HashSet<string>(StringComparer.Ordinal);
        var target = Sysfs.Real(folder);
        var left = new Queue<string>(Directory.EnumerateFileSystemEntries(all).Where(entry => Sysfs.IsBelow(Sysfs.Real(entry), target)));
        while (left.TryDequeue(out var device))
        {
            var name = Path.GetFileName(device);
            if (!found.Add(name))
                continue;
            if (File.Exists(Path.Combine(device, "dev")))
                yield return (File.ReadAllText(Path.Combine(device, "dev")).Trim(), name);
            var holders = Path.Combine(device, "holders");
            if (!Directory.Exists(holders))
                continue;
            foreach (var holder in Directory.EnumerateFileSystemEntries(holders))
                left.Enqueue(Path.Combine(all, Path.GetFileName(holder)));
        }
    }

    // ---- Interfaces ------------------------------------------------------------------------------------------------------------------

    private IEnumerable<string> Interfaces(string folder)
    {
        var all = Path.Combine(sysfs, "class", "net");
        if (!Directory.Exists(all))
            return [];
        var target = Sysfs.Real(folder);
        var routed = Lines(Path.Combine(proc, "net", "route")).Skip(1).Select(static fields => fields.ElementAtOrDefault(RouteInterface))
            .Concat(Lines(Path.Combine(proc, "net", "ipv6_route"))
                .Where(static fields => !IsAutomatic(fields))
                .Select(static fields => fields.ElementAtOrDefault(Route6Interface)))
            .ToHashSet();
        return Directory.EnumerateFileSystemEntries(all)
            .Where(entry => Sysfs.IsBelow(Sysfs.Real(entry), target))
            .Select(static entry => Path.GetFileName(entry))
            .Where(routed.Contains)
            .Select(static name => $"interface {name} has routes");
    }

    /// <summary>Link-local and multicast: every interface that is up has those.</summary>
    private static bool IsAutomatic(string[] fields) =>
        fields.Length <= Route6Interface ||
        fields[0].StartsWith("fe8", StringComparison.Ordinal) || fields[0].StartsWith("ff", StringComparison.Ordinal);

    private static IEnumerable<string[]> Lines(string file) => File.Exists(file)
        ? File.ReadLines(file).Select(static line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        : [];
}
