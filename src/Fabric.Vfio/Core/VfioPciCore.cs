using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>
/// The vfio-pci core of one function: synchronous, deterministic, no thread, no clock. One caller at a time, across all devices of a
/// <see cref="DeviceSet"/>; mappings alone are used by their holders at any time. It opens and closes the device, answers its uAPI, and
/// knows nothing of migration: that is a variant driver's (contract §11.4).
/// </summary>
public sealed partial class VfioPciCore
{
    private readonly IPciFunction function;
    private readonly VfioPciDevices devices;
    private readonly PciBar[] bars;
    private readonly FunctionPower power;
    private readonly RuntimePower runtime;

    /// <summary>Of a function without the capability it comes to be when it is asked for VFs all the same.</summary>
    private Sriov? sriov;

    /// <summary>A PF with SR-IOV capability has one (contract §1.5).</summary>
    private readonly VfToken? token;

    /// <summary>Comes to be when the device is first opened.</summary>
    private DmaMap? dma;

    private readonly ResetWatch resets;
    private Session? session;
    private Unregistration? leaving;
    private bool isRemovingVirtualFunctions;

    /// <summary>Descriptors that hold the registration without having the device open.</summary>
    private int holds;

    internal VfioPciCore(IPciFunction function, DriverDeclaration driver, CoreOptions options, VfioPciDevices devices, Func<Guid> newToken)
    {
        this.function = function;
        this.devices = devices;
        (Driver, Options) = (driver, options);
        resets = new ResetWatch(driver.Resets);
        bars = devices.Share(function.Bars);
        ResetMethods = devices.Share(function.ResetMethods);
        var capabilities = RegisteredCapabilities.Of(function);
        power = new FunctionPower(function, capabilities.PowerManagement);
        runtime = new RuntimePower(function, power, new PowerEffects(this));
        sriov = capabilities.Sriov is null ? null : new Sriov(this, function, capabilities.Sriov, devices, power, runtime);
        token = capabilities.Sriov is not null ? new VfToken(newToken()) : null;
        PhysicalFunction = function.IsVirtualFunction ? devices.ListedPhysicalFunctionOf(function) : null;
    }

    public PciAddress Address => function.Address;

    /// <summary>Null in no-IOMMU mode (LC-5).</summary>
    public int? IommuGroup => function.IommuGroup;

    public FunctionTraits Traits => function.Traits;

    public DriverDeclaration Driver { get; }

    /// <summary>As they were when it was registered (LC-2).</summary>
    public CoreOptions Options { get; }

    /// <summary>The set that it belongs to from registration on (LC-50).</summary>
    public DeviceSet Set { get; private set; } = null!;

    public RegistrationState Registration { get; private set; }

    /// <summary>Opened in both phases, and not closed.</summary>
    public bool IsOpen => session is { IsFinished: true };

    /// <summary>Those that are tried, in order (sysfs: reset_method); hardware's own order until <see cref="SetResetMethods"/>.</summary>
    public ImmutableArray<string> ResetMethods { get; private set; }

    /// <summary>Whether the last function reset worked (LC-21); decides the RESET flag and IO-50.</summary>
    public bool ResetWorks { get; private set; }

    /// <summary>Closed without a reset having worked (LC-31).</summary>
    public bool NeedsReset { get; internal set; }

    /// <summary>A reset of it is under way: until that has ended it is attached to nothing (IO-101).</summary>
    public bool IsResetting => resets.IsResetting;

    public int DmaMappings => dma?.Count ?? 0;

    /// <summary>References to its registration: descriptors, the open device, and the DMA buffers exported while it is open (LC-32, IO-92).</summary>
    public int References => holds + (session is null ? 0 : 1 + session.DmaBufs.Count);

    /// <summary>The PF of a VF that the core made; null for any other function (SV-22).</summary>
    public VfioPciCore? PhysicalFunction { get; }

    /// <summary>VFs that are open under the PF's token (LC-42).</summary>
    public int TokenUsers => token?.Users ?? 0;

    /// <summary>A VF that another driver took than the one that the PF's driver chose: worth a warning (SV-21).</summary>
    public bool BypassesDriverOverride => devices.DriverOverrideOf(Address) is { } driver && driver != Driver.Name;

    /// <summary>power below D3hot, and memory decode on where the function has it (contract §11.1).</summary>
    public bool IsMemoryUsable => session is not null && power.Current < PciPowerState.D3Hot && session.Config.MemoryEnabled;

    internal bool HasSession => session is not null;

    /// <summary>Registers a function by itself, on no bus. Errors: those of <see cref="VfioPciDevices.Register"/>.</summary>
    public static VfioResult<VfioPciCore> Register(IPciFunction function, DriverDeclaration? driver = null, CoreOptions? options = null) =>
        new VfioPciDevices().Register(function, driver, options);

    /// <summary>
    /// Whether the device may be opened with a VF token, or without (contract §1.5). A PF without open VFs takes the token that it is offered.
    /// Errors: EINVAL a token where there is none, EACCES the wrong one, or none.
    /// </summary>
    public VfioResult Match(Guid? offered)
    {
        if (PhysicalFunction?.token is { } shared)
            return shared.MatchVirtualFunction(offered);
        if (token is not null)
            return token.MatchPhysicalFunction(offered);
        return offered is null
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EINVAL, "This device has no VF token; open it without one.");
    }

    /// <summary>
    /// request(n): something has waited n times for the device to be released (LC-34). REQ is signalled on every call. The core closes
    /// nothing by itself.
    /// </summary>
    public RequestNotice Request(int n)
    {
        if (session is not null && session.Interrupts.SignalRequest())
            return n % 10 == 0 ? RequestNotice.Signalled | RequestNotice.Notice : RequestNotice.Signalled;
        return n == 0 ? RequestNotice.Unheard : RequestNotice.None;
    }

    // ---- SR-IOV ----------------------------------------------------------------------------------------------------------------------

    /// <summary>VFs that there are of the core's making.</summary>
    public int VirtualFunctions => sriov?.Count ?? 0;

    public bool IsSriovActive => sriov is { IsActive: true };

    /// <summary>A write to sriov_numvfs (contract §5). Errors: EINVAL, ERANGE, ENOENT, EBUSY, EIO, and hardware's own.</summary>
    public VfioResult<SriovChange> WriteNumVfs(ReadOnlySpan<char> text) => Sriov.Write(text);

    /// <summary>What <see cref="WriteNumVfs"/> would refuse so many VFs with before it asks hardware; null for nothing.</summary>
    public VfioError? WhyNotNumVfs(int count) => Sriov.WhyNot(count);

    /// <summary>sriov_configure of the core (SV-7 to SV-11), for a driver that calls it itself. Errors: EINVAL, EIO, and hardware's own.</summary>
    public VfioResult<SriovChange> ConfigureSriov(int count) => Sriov.Configure(count);

    private Sriov Sriov => sriov ??= new Sriov(this, function, null, devices, power, runtime);

    // ---- Unregistering ---------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Takes the device away from the core (LC-32): VFs first, then look-up, then it waits for the last reference. Asked again, it answers
    /// with the same.
    /// </summary>
    public Unregistration Unregister()
    {
        if (leaving is not null)
            return leaving;
        leaving = new Unregistration(this);
        Registration = RegistrationState.Unregistering;
        ContinueUnregistering();
        return leaving;
    }

    /// <summary>Goes on where VFs were in the way: waits for the last reference.</summary>
    private void ContinueUnregistering()
    {
        if (leaving is null || leaving.Requests > 0 || Registration == RegistrationState.Unregistered || !TryRemoveVirtualFunctions(leaving))
            return;
        if (References > 0)
            leaving.Request();
        else
            FinishUnregistering();
    }

    /// <summary>False while VFs are still held, and for a VF that goes while they are being removed: that is part of it.</summary>
    private bool TryRemoveVirtualFunctions(Unregistration waiter)
    {
        if (!IsSriovActive)
            return true;
        if (isRemovingVirtualFunctions)
            return false;
        isRemovingVirtualFunctions = true;
        var removed = Sriov.Configure(0).Value;
        isRemovingVirtualFunctions = false;
        waiter.VirtualFunctions = removed.Waiting;
        return removed.IsComplete;
    }

    private void FinishUnregistering()
    {
        if (!Options.DisableIdleD3)
            runtime.TryGet();
        devices.Remove(this);
        Registration = RegistrationState.Unregistered;
        PhysicalFunction?.ContinueUnregistering();
    }

    /// <summary>
    /// Gives back what a core that is given up had of others and of the host: its use of the PF's token (LC-42), mappings, buffers, vectors, BARs.
    /// What is left in the function is for a reset.
    /// </summary>
    internal void GiveUp()
    {
        Registration = RegistrationState.Unregistered;
        if (session is not { } lost)
            return;
        session = null;
        lost.Gate.Block(MemoryBlocks.Session);
        if (lost.IsFinished)
            PhysicalFunction?.token?.RemoveUser();
        dma?.Clear();
        lost.DmaBufs.End();
        lost.IoEventFds.Clear();
        foreach (var added in lost.DeviceRegions)
            added.Region.Release();
        lost.Interrupts.TearDown();
        lost.Interrupts.DropTriggers();
        lost.Regions.ReleaseBars();
    }

    internal void Join(DeviceSet set) => Set = set;

    /// <summary>Registered in its set: from here on it may sleep until it is opened (LC-4).</summary>
    internal void FinishRegistering()
    {
        power.Resync();
        ForceD0();
        AllowIdleSleep();
    }

    /// <summary>
    /// A write to reset_method: only these, in this order; none turns resets off. Errors: EINVAL for a method that the function has not, or
    /// the same one twice.
    /// </summary>
    public VfioResult SetResetMethods(ImmutableArray<string> methods)
    {
        if (methods.Except(function.ResetMethods).Any() || methods.Distinct().Count() != methods.Length)
            return VfioResult.Fail(Errno.EINVAL, "Reset methods are those that the function has, each once.");
        ResetMethods = methods;
        return VfioResult.Ok;
    }

    private static VfioError NotOpen => new(Errno.EINVAL, "The device is not open; open it first.");
}
