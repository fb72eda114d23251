using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>
/// The functions of one host that are registered with the core: which sets they make (LC-50), which of them are PFs with VFs of the core's
/// own making (SV-22). Without a bus every device is a set of its own.
/// </summary>
/// <param name="callersTakeTurns">
/// Whoever calls sees to it that one device of a set is opened, closed or hot-reset at a time (INV-7), and asks for
/// <see cref="VfioPciCore.TryResetSet"/> after a close: a set has no lock then, at which all would wait for one whose hardware hangs.
/// </param>
public sealed class VfioPciDevices(IPciBus? bus = null, Func<Guid>? newToken = null, bool callersTakeTurns = false)
{
    private readonly Lock gate = new();
    private readonly SortedDictionary<PciAddress, VfioPciCore> registered = [];
    private readonly Dictionary<DeviceSetKey, DeviceSet> sets = [];
    private readonly HashSet<PciAddress> physicalFunctions = [];
    private readonly Dictionary<PciAddress, string> driverOverrides = [];
    private readonly Alike<PciBar> bars = new();
    private readonly Alike<string> resetMethods = new();

    /// <summary>Every device that can be found, by address; one that is being unregistered cannot.</summary>
    public IReadOnlyList<VfioPciCore> Devices
    {
        get
        {
            lock (gate)
                return [.. registered.Values.Where(IsFound)];
        }
    }

    /// <summary>A copy, one for all functions that have the same.</summary>
    internal PciBar[] Share(IReadOnlyList<PciBar> bars) => this.bars.Share(bars);

    /// <inheritdoc cref="Share(IReadOnlyList{PciBar})"/>
    internal ImmutableArray<string> Share(IReadOnlyList<string> methods) => ImmutableCollectionsMarshal.AsImmutableArray(resetMethods.Share(methods));

    internal IPciBus? Bus => bus;

    internal bool CallersTakeTurns => callersTakeTurns;

    public bool TryFind(PciAddress address, [NotNullWhen(true)] out VfioPciCore? device)
    {
        lock (gate)
            device = registered.TryGetValue(address, out var candidate) && IsFound(candidate) ? candidate : null;
        return device is not null;
    }

    /// <summary>
    /// Registers a function (LC-2 to LC-6). Errors: EINVAL on the driver's denylist, without a driver's name, not of type 0, with callbacks of
    /// migration or logging missing, without an IOMMU group, or with DMA that is not coherent; EBUSY with VFs that somebody else made, or
    /// registered already; ENODEV given up meanwhile.
    /// </summary>
    /// <param name="isGivenUp">Asked in the moment of registration: looking at the function before that may have taken for ever.</param>
    public VfioResult<VfioPciCore> Register(
        IPciFunction function, DriverDeclaration? driver = null, CoreOptions? options = null, Func<bool>? isGivenUp = null)
    {
        ArgumentNullException.ThrowIfNull(function);
        driver ??= DriverDeclaration.VfioPci;
        options ??= CoreOptions.Default;
        if (RegistrationRules.Check(function, driver, options, bus) is { IsOk: false } refused)
            return refused.Error;
        var device = new VfioPciCore(function, driver, options, this, newToken ?? Guid.NewGuid);
        lock (gate)
        {
            if (isGivenUp?.Invoke() == true)
                return new VfioError(Errno.ENODEV, "The function was given up while it was looked at.");
            if (!registered.TryAdd(function.Address, device))
                return new VfioError(Errno.EBUSY, "A device of this address is registered already, or still on its way out.");
            var key = DeviceSetKey.Of(function, bus);
            if (!sets.TryGetValue(key, out var set))
                sets[key] = set = new DeviceSet(key, this);
            set.Add(device);
            device.Join(set);
        }

        // Hardware is touched without the gate: one that hangs keeps nobody else waiting.
        try
        {
            device.FinishRegistering();
        }
        catch
        {
            Remove(device);
            throw;
        }

        return device;
    }

    /// <summary>
    /// Forgets a device whose core is given up, in whatever state it is: its address can be registered anew. What it had of the host is given
    /// back; whoever registers it next resets the function.
    /// </summary>
    public void Forget(VfioPciCore device)
    {
        ArgumentNullException.ThrowIfNull(device);
        lock (gate)
        {
            if (!registered.TryGetValue(device.Address, out var known) || known != device)
                return;
        }

        try
        {
            device.GiveUp();
        }
        finally
        {
            Unlist(device.Address);
            Remove(device);
        }
    }

    /// <summary>
    /// As <see cref="Forget"/>, of whatever device is registered at an address, a call to which may hang: the address is free at once. What is
    /// returned gives back what the device had of the host, and may wait for the call.
    /// </summary>
    public Action Strike(PciAddress address)
    {
        VfioPciCore? device;
        lock (gate)
            device = registered.GetValueOrDefault(address);
        if (device is null)
            return static () => { };
        Unlist(address);
        Remove(device);
        return device.GiveUp;
    }

    /// <summary>The VFs of a PF, found or on their way out.</summary>
    internal ImmutableArray<VfioPciCore> VirtualFunctionsOf(VfioPciCore device)
    {
        lock (gate)
            return [.. registered.Values.Where(candidate => candidate.PhysicalFunction == device)];
    }

    /// <summary>Forgets a device: its address is free again.</summary>
    internal void Remove(VfioPciCore device)
    {
        lock (gate)
        {
            registered.Remove(device.Address);
            device.Set.Remove(device);
            if (device.Set.Members.Count == 0)
                sets.Remove(device.Set.Key);
        }
    }

    /// <summary>What is on its way out is found by nobody (LC-32).</summary>
    private static bool IsFound(VfioPciCore device) => device.Registration == RegistrationState.Registered;

    /// <summary>False where the PF is listed already (SV-7).</summary>
    internal bool List(PciAddress physicalFunction)
    {
        lock (gate)
            return physicalFunctions.Add(physicalFunction);
    }

    internal void Unlist(PciAddress physicalFunction)
    {
        lock (gate)
            physicalFunctions.Remove(physicalFunction);
    }

    /// <summary>The PF of a VF, where the core made its VFs (SV-22).</summary>
    internal VfioPciCore? ListedPhysicalFunctionOf(IPciFunction function)
    {
        lock (gate)
        {
            return function.PhysicalFunction is { } address && physicalFunctions.Contains(address)
                ? registered.GetValueOrDefault(address)
                : null;
        }
    }

    internal void Override(PciAddress function, string? driver)
    {
        lock (gate)
        {
            if (driver is null)
                driverOverrides.Remove(function);
            else
                driverOverrides[function] = driver;
        }
    }

    /// <summary>The one driver that may bind a VF (SV-21); null for any.</summary>
    public string? DriverOverrideOf(PciAddress function)
    {
        lock (gate)
            return driverOverrides.GetValueOrDefault(function);
    }
}
