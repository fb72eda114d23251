using System.Collections.Immutable;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux;

/// <summary>A function that could not be opened, and why.</summary>
public sealed record NotOpened(PciAddress Function, VfioError Why);

/// <summary>
/// The real functions of this machine that the fabric hands out: those that vfio-pci has and the settings name. Each is held open for as long as it
/// is here, whoever uses it meanwhile: that keeps others from it, and lets its errors and requests be heard at any time.
/// </summary>
public sealed class LinuxPciBus : IPciBus, IDisposable
{
    private readonly Lock gate = new();

    /// <summary>Held while one is opened, which takes as long as its reset.</summary>
    private readonly Lock opening = new();
    private readonly SysfsInventory inventory;
    private readonly KernelVfio vfio;
    private readonly Func<PciAddress, bool> wanted;
    private readonly string sysfs;
    private readonly EventWatch watch = new();
    private readonly DeviceEvents? events;

    private readonly Lazy<PciNames> names = new(PciNames.OfThisMachine);

    /// <summary>By which the VFs of our PFs know that it is us (LC-40).</summary>
    private readonly Guid token = Guid.NewGuid();

    private ImmutableSortedDictionary<PciAddress, KernelFunction> functions = ImmutableSortedDictionary<PciAddress, KernelFunction>.Empty;
    private ImmutableArray<NotOpened> refused = [];
    private Action<BusEvent>? listener;
    private Action? changed;

    /// <summary>Opens every function of vfio-pci's that is wanted.</summary>
    /// <param name="wanted">Which functions the fabric hands out.</param>
    /// <param name="sysfs">Where sysfs is mounted.</param>
    public LinuxPciBus(KernelVfio vfio, Func<PciAddress, bool> wanted, string sysfs = "/sys")
    {
        (this.vfio, this.wanted, this.sysfs) = (vfio, wanted, sysfs);
        inventory = new SysfsInventory(sysfs);
        // A PF before its VFs, which want its token.
        foreach (var seen in inventory.Enumerate().OrderBy(static seen => seen.PhysicalFunction is not null))
            TryOpen(seen);
        events = DeviceEvents.Listen(watch, OnEvent, LookAnew);
    }

    public IReadOnlyList<IPciFunction> Functions => [.. Volatile.Read(ref functions).Values];

    public bool Has(PciAddress function) => Volatile.Read(ref functions).ContainsKey(function);

    /// <summary>Functions that are wanted and could not be had.</summary>
    public ImmutableArray<NotOpened> Refused => refused;

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source)
    {
        var at = Sysfs.Real(FolderOf(source));
        var port = functions.ContainsKey(source) ? Path.GetDirectoryName(at)! : at;
        return [.. functions.Keys.Where(function => Sysfs.IsBelow(Sysfs.Real(FolderOf(function)), port))];
    }

    /// <summary>The kernel resets a link by a reset of the slot or bus below it.</summary>
    public VfioResult ResetLink(PciAddress source) => HotReset(source);

    /// <summary>The kernel does not say which of slot and bus it takes.</summary>
    public HotResetScope? HotResetScopeOf(PciAddress function)
    {
        if (!functions.TryGetValue(function, out var found) || ((IPciFunction)found).IsVirtualFunction)
            return null;
        var scope = found.Device.GetHotResetInfo();
        return scope.IsOk ? new HotResetScope(HotResetKind.Bus, [.. scope.Value.Select(static device => device.Address).Order()]) : null;
    }

    /// <summary>Errors: ENODEV it is not open here, or has neither; EINVAL not every function in the scope is; EAGAIN.</summary>
    public VfioResult HotReset(PciAddress function)
    {
        if (!functions.TryGetValue(function, out var found))
            return VfioResult.Fail(Errno.ENODEV, "This function is not open here.");
        var scope = found.Device.GetHotResetInfo();
        if (!scope.IsOk)
            return scope.Error;
        var affected = scope.Value.Select(static device => device.Address).ToHashSet();
        return found.Device.HotReset(functions.Values.Where(other => affected.Contains(other.Address)).Select(static other => other.Device));
    }

    /// <summary>
    /// Lets a function go. One that the kernel had asked for goes wherever it was to go, one that is wanted no more stays where it is; any other is
    /// removed from the machine's bus.
    /// </summary>
    public VfioResult Remove(PciAddress function)
    {
        if (Take(function) is not { } taken)
            return VfioResult.Fail(Errno.ENODEV, "This function is not open here.");
        var stays = taken.IsWantedBack || !wanted(function);
        taken.Dispose();
        listener?.Invoke(new FunctionVanished(function));
        if (stays)
            return VfioResult.Ok;
        try
        {
            Sysfs.Write(Path.Combine(FolderOf(function), "remove"), "1");
            return VfioResult.Ok;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return VfioResult.Fail(Errno.EIO, "The kernel does not remove the function; it is let go of here.");
        }
    }

    /// <summary>
    /// Opens a function of vfio-pci's that is wanted since, and lets the host have it. Errors: those of opening it (<see cref="KernelVfio"/>); EINVAL it is not
    /// wanted, or another driver has it.
    /// </summary>
    public VfioResult Open(PciAddress function)
    {
        lock (opening)
            Appear(function);
        if (Has(function))
            return VfioResult.Ok;
        return refused.FirstOrDefault(other => other.Function == function) is { } why
            ? why.Why
            : VfioResult.Fail(Errno.EINVAL, $"{function} is not handed out, or not bound to {KernelFunction.VfioDriver}.");
    }

    /// <summary>Told whenever a function of this machine comes, goes, or changes its driver, handed out or not. Must not block.</summary>
    public void ReportChanges(Action sink) => changed = sink;

    public void ReportTo(Action<BusEvent> sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        lock (gate)
        {
            listener = sink;
            foreach (var function in functions.Values)
                function.ReportTo(sink);
        }
    }

    public void Dispose()
    {
        events?.Dispose();
        foreach (var function in functions.Values)
            function.Dispose();
        watch.Dispose();
    }

    internal PciNames Names => names.Value;

    /// <summary>They have been let go of above already.</summary>
    internal void CloseVirtualFunctionsOf(PciAddress physical)
    {
        foreach (var function in functions.Values.Where(function => function.PhysicalFunction == physical))
            Take(function.Address)?.Dispose();
    }

    internal void OpenVirtualFunctionsOf(PciAddress physical)
    {
        lock (opening)
        {
            foreach (var seen in inventory.Enumerate().Where(seen => seen.PhysicalFunction == physical))
                Appear(seen.Address);
        }
    }

    // ---- Coming and going ------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// From the hardware's thread. What vfio-pci got is opened on another one: the kernel resets it first. So is what could not be opened before: its
    /// group may be viable now that another function of it changed its driver.
    /// </summary>
    private void OnEvent(DeviceEvent happened)
    {
        changed?.Invoke();
        switch (happened.Action)
        {
            case "bind" or "unbind":
                ThreadPool.UnsafeQueueUserWorkItem(
                    static work => work.Bus.OpenAfter(work.Function), (Bus: this, happened.Function), preferLocal: false);
                break;
            case "remove":
                Vanish(happened.Function);
                break;
        }
    }

    private void OpenAfter(PciAddress changed)
    {
        lock (opening)
        {
            Appear(changed);
            foreach (var again in Refused.Where(other => other.Function != changed))
                Appear(again.Function);
        }
    }

    private void LookAnew()
    {
        foreach (var seen in inventory.Enumerate())
            OnEvent(new DeviceEvent("bind", seen.Address, seen.DriverName));
        foreach (var gone in functions.Keys.Where(function => !Directory.Exists(FolderOf(function))))
            Vanish(gone);
    }

    private void Appear(PciAddress function)
    {
        if (inventory.Find(function) is { } seen && TryOpen(seen) is { } opened && listener is { } told)
        {
            opened.ReportTo(told);
            told(new FunctionAppeared(opened));
        }
    }

    private void Vanish(PciAddress function)
    {
        if (Take(function) is not { } gone)
            return;
        listener?.Invoke(new FunctionVanished(function));
        gone.Dispose();
    }

    private KernelFunction? Take(PciAddress function)
    {
        lock (gate)
        {
            if (!functions.TryGetValue(function, out var found))
                return null;
            functions = functions.Remove(function);
            return found;
        }
    }

    private KernelFunction? TryOpen(LinuxPciFunction seen)
    {
        if (seen.DriverName != KernelFunction.VfioDriver || !wanted(seen.Address) || functions.ContainsKey(seen.Address))
            return null;
        var opened = vfio.Open(seen.Address, by: null, TokenOf(seen));
        // A kernel that asks no token of a cdev does not know the flag either (before 7).
        if (opened is { IsOk: false, Error.Errno: Errno.EINVAL } && TokenOf(seen) is not null)
            opened = vfio.Open(seen.Address);
        lock (gate)
        {
            refused = refused.RemoveAll(other => other.Function == seen.Address);
            if (!opened.IsOk)
            {
                refused = refused.Add(new NotOpened(seen.Address, opened.Error));
                return null;
            }

            if (seen.IsPhysicalFunction)
                opened.Value.Set(new VfToken(token));
            var function = new KernelFunction(this, seen, opened.Value, watch, FolderOf(seen.Address));
            functions = functions.Add(seen.Address, function);
            return function;
        }
    }

    private Guid? TokenOf(LinuxPciFunction seen) => seen.PhysicalFunction is { } physical && functions.ContainsKey(physical) ? token : null;

    private string FolderOf(PciAddress function) => Path.Combine(sysfs, "bus", "pci", "devices", function.ToString());
}
