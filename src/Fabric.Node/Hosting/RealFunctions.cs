using System.Collections.Immutable;
using Fabric.Devices;
using Fabric.Hardware.Linux;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Node.Configuration;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Node.Hosting;

/// <summary>
/// The real functions of this machine: those that are handed out, given to vfio-pci where settings or operators say so, opened, and given back at the
/// end; and all others, which are shown. What operators ask is carried out one after the other; the rest may be asked from any thread.
/// </summary>
internal sealed class RealFunctions : IDisposable
{
    private readonly LinuxSettings settings;
    private readonly ImmutableHashSet<PciAddress> named;
    private readonly DriverBinding binding;
    private readonly BindingRequests requests;
    private readonly SysfsInventory inventory;
    private readonly IommuGroups groups;
    private readonly ILogger log;

    private RealFunctions(LinuxSettings settings, ImmutableHashSet<PciAddress> named, DriverBinding binding, BindingRequests requests, ILogger log)
    {
        (this.settings, this.named, this.binding, this.requests, this.log) = (settings, named, binding, requests, log);
        (inventory, groups) = (new SysfsInventory(settings.Sysfs), new IommuGroups(settings.Sysfs));
        foreach (var function in settings.Bind ? named : [])
            Take(function, force: false);
        foreach (var request in requests.All)
            Take(PciAddress.Parse(request.Function), request.Force);
        Bus = new LinuxPciBus(new KernelVfio(settings.Sysfs), IsWanted, settings.Sysfs);
        foreach (var refused in Bus.Refused)
            log.LogWarning("{Function} cannot be opened, and is only listed: {Why}", refused.Function, refused.Why);
    }

    public LinuxPciBus Bus { get; }

    /// <summary>Null for a host that does not even list them.</summary>
    /// <exception cref="SettingsException">What operators had it take cannot be read.</exception>
    public static RealFunctions? Open(LinuxSettings settings, string dataDirectory, ILogger log) => Open(
        settings, dataDirectory, new DriverBinding(Path.Combine(dataDirectory, "bindings"), new FunctionUses(settings.Sysfs), settings.Sysfs), log);

    internal static RealFunctions? Open(LinuxSettings settings, string dataDirectory, DriverBinding binding, ILogger log)
    {
        BindingRequests requests;
        try
        {
            requests = new BindingRequests(Path.Combine(dataDirectory, "bindings", "requests.json"));
        }
        catch (IOException e)
        {
            throw new SettingsException(e.Message);
        }

        var named = settings.Functions.Where(static function => function != "*").Select(static function => PciAddress.Parse(function)).ToImmutableHashSet();
        // What a daemon that was killed had taken, and this one does not want.
        GiveBack(binding, log, function => !settings.Enabled || !(requests.Has(function) || (settings.Bind && named.Contains(function))));
        return settings.Enabled ? new RealFunctions(settings, named, binding, requests, log) : null;
    }

    public void Dispose()
    {
        // Closed first: the kernel waits for that before it lets a driver go.
        Bus.Dispose();
        GiveBack(binding, log, static _ => true);
    }

    /// <summary>The functions that are not handed out: shown, and left alone.</summary>
    public ImmutableArray<DeviceStatus> Listed =>
        [.. inventory.Enumerate().Where(seen => !Bus.Has(seen.Address)).Select(seen => new DeviceStatus(
            seen.Address,
            seen.Ids,
            Model: null,
            Physical: true,
            seen.DriverName,
            DeviceState.Inventory,
            DeviceHealth.Unknown,
            Migration: null,
            Holder: null,
            StateBytes: null,
            seen.IommuGroup,
            seen.PhysicalFunction,
            [.. seen.ResetMethods])
            {
                Reason = Bus.Refused.FirstOrDefault(refused => refused.Function == seen.Address)?.Why.Sentence,
            })];

    // ---- What operators ask ----------------------------------------------------------------------------------------------------------

    /// <summary>
    /// What <see cref="Bind"/> would take, in order. Errors: ENODEV no such function; EINVAL no IOMMU serves it, or vfio-pci is not loaded; EBUSY the
    /// machine needs it, or others of its group are in the way.
    /// </summary>
    /// <param name="force">Though the machine needs it.</param>
    /// <param name="group">With what is in its way in its IOMMU group.</param>
    public VfioResult<ImmutableArray<PciAddress>> PlanBind(PciAddress function, bool force, bool group)
    {
        if (inventory.Find(function) is not { } seen)
            return NoFunction(function);
        if (seen.IommuGroup is not { } number)
        {
            return new VfioError(
                Errno.EINVAL, $"No IOMMU serves {function}: switch it on in the firmware, and in the kernel (intel_iommu=on).");
        }

        var others = groups.InTheWayOf(number).Where(other => other.Function != function.ToString()).ToArray();
        if (others.Length > 0 && !group)
        {
            return new VfioError(
                Errno.EBUSY,
                $"{function} shares IOMMU group {number} with {string.Join(", ", others.Select(static other => $"{other.Function} ({other.Driver})"))}; "
                + "a group is given to VFIO as a whole. Take them too with --group, or unbind them first.");
        }

        if (others.FirstOrDefault(static other => !PciAddress.TryParse(other.Function, out _)) is { } strange)
        {
            return new VfioError(
                Errno.EBUSY, $"{function} shares IOMMU group {number} with {strange.Function} ({strange.Driver}), which is no PCI function; unbind it first.");
        }

        ImmutableArray<PciAddress> all = [function, .. others.Select(static other => PciAddress.Parse(other.Function))];
        foreach (var one in all)
        {
            if (binding.WhyNot(one, force) is { IsOk: false } refused)
                return refused.Error;
        }

        return all;
    }

    /// <summary>Gives functions to vfio-pci and hands them out. On an error all is as it was.</summary>
    public VfioResult Bind(ImmutableArray<PciAddress> functions, bool force, string by)
    {
        var taken = new List<PciAddress>();
        foreach (var function in functions)
        {
            // Written down first: whatever ends this daemon, the next one knows.
            requests.Add(function, force, by);
            taken.Add(function);
            if (binding.Take(function, force) is { IsOk: false } refused)
                return Undone(refused);
        }

        foreach (var function in functions)
        {
            if (Bus.Open(function) is { IsOk: false } closed)
                return Undone(closed);
        }

        return VfioResult.Ok;

        VfioResult Undone(VfioResult why)
        {
            foreach (var function in Enumerable.Reverse(taken))
            {
                Unwant(function);
                if (Bus.Has(function))
                    Bus.Remove(function);
                GiveBack(function);
            }

            return why;
        }
    }

    /// <summary>
    /// What is given back together: the kernel gives no function of a group to a driver of the machine's while VFIO has another one open. Errors:
    /// ENOENT no operator had it taken; ENODEV no such function; EINVAL it is the settings'; EBUSY others of its group are handed out.
    /// </summary>
    /// <param name="group">With what else of its IOMMU group is handed out.</param>
    public VfioResult<ImmutableArray<BindingRequest>> PlanUnbind(PciAddress function, bool group)
    {
        var others = inventory.Find(function)?.IommuGroup is { } number
            ? inventory.Enumerate().Where(seen => seen.IommuGroup == number && seen.Address != function && Bus.Has(seen.Address)).ToArray()
            : [];
        if (Bus.Has(function) && others.Length > 0 && !group)
        {
            return new VfioError(
                Errno.EBUSY,
                $"{function} shares its IOMMU group with {string.Join(", ", others.Select(static other => other.Address))}, which is handed out; "
                + "its driver gets it back only with them. Unbind them together, with --group.");
        }

        var all = new List<BindingRequest>();
        foreach (var one in (PciAddress[])[function, .. group ? others.Select(static other => other.Address) : []])
        {
            if (named.Contains(one))
                return new VfioError(Errno.EINVAL, $"{one} is named in hardware.linux.functions; take it out there.");
            if (requests.Of(one) is { } request)
                all.Add(request);
            else
                return inventory.Find(one) is null ? NoFunction(one) : new VfioError(Errno.ENOENT, $"{one} was not taken by an operator.");
        }

        return all.ToImmutableArray();
    }

    /// <summary>It is wanted no more: whoever lets it go leaves it on its bus.</summary>
    public void Unwant(PciAddress function) => requests.Remove(function);

    /// <summary>One that is wanted no more, to the driver that it had. One that vfio-pci had before stays there.</summary>
    public VfioResult GiveBack(PciAddress function) => binding.Taken.Contains(function) ? binding.GiveBack(function) : VfioResult.Ok;

    /// <summary>It could not be given back: it is as it was before.</summary>
    public void TakeAgain(BindingRequest request)
    {
        var function = PciAddress.Parse(request.Function);
        requests.Add(function, request.Force, request.By);
        Take(function, force: true);
        if (Bus.Open(function) is { IsOk: false } refused)
            log.LogWarning("{Function} is not handed out again: {Why}", function, refused.Error);
    }

    private bool IsWanted(PciAddress function) => settings.Functions.Contains("*") || named.Contains(function) || requests.Has(function);

    private static VfioError NoFunction(PciAddress function) => new(Errno.ENODEV, $"This machine has no real function {function}.");

    private void Take(PciAddress function, bool force)
    {
        if (binding.Take(function, force) is { IsOk: false } refused)
            log.LogWarning("{Function} is not given to vfio-pci: {Why}", function, refused.Error);
    }

    private static void GiveBack(DriverBinding binding, ILogger log, Func<PciAddress, bool> which)
    {
        foreach (var function in binding.Taken.Where(which))
        {
            if (binding.GiveBack(function) is { IsOk: false } refused)
                log.LogWarning("{Function} is not given back to its driver: {Why}", function, refused.Error);
        }
    }
}
