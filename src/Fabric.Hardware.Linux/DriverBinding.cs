using System.Collections.Immutable;
using System.Text.Json;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux;

/// <summary>What a function was before it was taken.</summary>
/// <param name="Driver">Null where it had none.</param>
/// <param name="Override">Its driver_override; null where there was none.</param>
public sealed record BindingBefore(string? Driver, string? Override);

/// <summary>
/// Gives a function of the host to vfio-pci, and gives it back. By driver_override alone, so that no other function of the same ids is taken
/// (never new_id). What it was is written down before it is touched: it can be given back after whatever ended this process.
/// </summary>
/// <param name="journal">A folder of this host's own; a file for each function that is taken.</param>
/// <param name="sysfs">Where sysfs is mounted.</param>
/// <param name="uses">Who else needs the function.</param>
public sealed class DriverBinding(string journal, FunctionUses uses, string sysfs = "/sys")
{
    private const string VfioDriver = KernelFunction.VfioDriver;

    private readonly string bus = Path.Combine(sysfs, "bus", "pci");

    /// <summary>Gives an attribute of sysfs a value; tests put a kernel behind it.</summary>
    internal Action<string, string> Write { get; init; } = Sysfs.Write;

    /// <summary>Those that are taken, or were when the process that took them ended.</summary>
    public ImmutableArray<PciAddress> Taken => Directory.Exists(journal)
        ? [.. Directory.EnumerateFiles(journal, "*.json")
            .Select(static file => PciAddress.TryParse(Path.GetFileNameWithoutExtension(file), out var function) ? function : (PciAddress?)null)
            .OfType<PciAddress>().Order()]
        : [];

    /// <summary>
    /// Errors: ENODEV no such function; EBUSY the host needs it, which the sentence names (a mounted disk, a routed interface); EINVAL vfio-pci is
    /// not loaded, or does not take it; EACCES; EIO. On an error it is as it was.
    /// </summary>
    /// <param name="force">Takes what the host needs all the same.</param>
    public VfioResult Take(PciAddress function, bool force = false)
    {
        var folder = FolderOf(function);
        if (WhyNot(function, force) is { IsOk: false } refused)
            return refused;
        if (DriverOf(folder) == VfioDriver)
            return VfioResult.Ok;
        try
        {
            var before = new BindingBefore(DriverOf(folder), OverrideOf(folder));
            DurableFile.Write(EntryOf(function), before);
            var bound = Bind(function, folder, VfioDriver);
            return bound.IsOk || !GiveBack(function).IsOk
                ? bound
                : VfioResult.Fail(bound.Error.Errno, $"{bound.Error.Sentence} It has been given back.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            GiveBack(function);
            return Failed(function, e);
        }
    }

    /// <summary>What <see cref="Take"/> would refuse before it touches anything: ENODEV, EINVAL or EBUSY.</summary>
    public VfioResult WhyNot(PciAddress function, bool force = false)
    {
        var folder = FolderOf(function);
        if (!Directory.Exists(folder))
            return NoFunction(function);
        if (!Directory.Exists(Path.Combine(bus, "drivers", VfioDriver)))
            return VfioResult.Fail(Errno.EINVAL, "The driver vfio-pci is not there: modprobe vfio-pci.");
        return !force && DriverOf(folder) != VfioDriver && uses.Of(function) is { IsEmpty: false } needed
            ? VfioResult.Fail(Errno.EBUSY, $"{function} is in use: {string.Join(", ", needed)}. Free it first, or force it.")
            : VfioResult.Ok;
    }

    /// <summary>
    /// Undoes <see cref="Take"/>: its driver_override and its driver are what they were. Errors: ENOENT it was not taken; ENODEV; EACCES; EIO.
    /// </summary>
    public VfioResult GiveBack(PciAddress function)
    {
        var entry = EntryOf(function);
        if (!File.Exists(entry))
            return VfioResult.Fail(Errno.ENOENT, $"{function} was not taken by this host.");
        var folder = FolderOf(function);
        if (!Directory.Exists(folder))
            return NoFunction(function);
        try
        {
            var before = JsonSerializer.Deserialize<BindingBefore>(File.ReadAllBytes(entry)) ?? new BindingBefore(null, null);
            var bound = Bind(function, folder, before.Override, before.Driver);
            if (bound.IsOk)
                File.Delete(entry);
            return bound;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return Failed(function, e);
        }
    }

    private VfioResult Bind(PciAddress function, string folder, string? asked, string? driver = VfioDriver)
    {
        // An empty line clears an override.
        Write(Path.Combine(folder, "driver_override"), asked ?? "");
        if (DriverOf(folder) == driver)
            return VfioResult.Ok;
        if (DriverOf(folder) is not null)
            Write(Path.Combine(folder, "driver", "unbind"), function.ToString());
        if (driver is not null)
            Write(Path.Combine(bus, "drivers_probe"), function.ToString());
        return DriverOf(folder) == driver
            ? VfioResult.Ok
            : VfioResult.Fail(
                Errno.EINVAL, $"{function} is bound to {DriverOf(folder) ?? "no driver"}, not to {driver ?? "none"}: see the kernel's log for why.");
    }

    private static string? DriverOf(string folder) => new FunctionFolder(folder).LinkName("driver");

    /// <summary>The kernel says (null) where there is none.</summary>
    private static string? OverrideOf(string folder) =>
        File.ReadAllText(Path.Combine(folder, "driver_override")).Trim() is var text && text is "" or "(null)" ? null : text;

    private string FolderOf(PciAddress function) => Path.Combine(bus, "devices", function.ToString());

    private string EntryOf(PciAddress function) => Path.Combine(journal, $"{function}.json");

    private static VfioResult NoFunction(PciAddress function) => VfioResult.Fail(Errno.ENODEV, $"This machine has no {function}.");

    private static VfioResult Failed(PciAddress function, Exception cause) => VfioResult.Fail(
        cause is UnauthorizedAccessException ? Errno.EACCES : Errno.EIO, $"The driver of {function} could not be changed: {cause.Message}");
}
