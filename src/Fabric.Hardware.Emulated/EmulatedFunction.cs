using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Faults;
using Fabric.Hardware.Emulated.Interrupts;
using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// A PCI function in software: config space that obeys the standard, BARs that answer only where they are decoded, resets that lose what a
/// reset loses, and the one gate through which every call passes, where faults are made. What the function is for, its kinds add.
/// </summary>
public abstract class EmulatedFunction : IPciFunction, IDisposable
{
    private readonly FunctionInterrupts? interrupts;
    private ConfigRegisters config;
    private FunctionFaults? faults;

    /// <summary>BARs as the host has placed them; null where it has placed none, and then they are not looked at.</summary>
    private uint[]? placed;

    /// <summary>Which BARs (0 to 5) and whether the ROM (6) answer, as config space says: read on every access.</summary>
    private volatile byte decoded;

    private protected EmulatedFunction(PciAddress address, FunctionModel model)
    {
        (Address, Model) = (address, model);
        config = new ConfigRegisters(model.Layout);
        if (model.Layout.HasPin || model.Layout.Msi is not null || model.Layout.Msix is not null)
        {
            Memory = new BarMemory(model.Bars);
            interrupts = new FunctionInterrupts(this, Memory, model.CanGrowMsix, model.HostVectors);
            interrupts.PowerOn();
        }

        if (model.Fault is not null || model.HangsInReset)
            Faults.SetReset(model.Fault);
        if (model.HangsInReset)
            Faults.Hang.Close(HangPoint.Reset);
        Decode();
    }

    public PciAddress Address { get; }

    public PciIds Ids => Model.Ids;

    public FunctionTraits Traits => Model.Traits;

    public bool IsVirtualFunction => (Model.Traits & FunctionTraits.VirtualFunction) != 0;

    public virtual PciAddress? PhysicalFunction => null;

    /// <summary>The PF that made this VF; null for any other, and for a VF that was there from the start.</summary>
    internal virtual EmulatedFunction? Parent => null;

    public virtual IFunctionPlatform Platform => Model.Platform;

    /// <summary>A group of its own, where its place on the bus does not say otherwise.</summary>
    public virtual int? IommuGroup => Bus?.IommuGroupOf(this) ?? Address.RoutingId;

    public int ConfigSize => Model.Layout.Size;

    public IReadOnlyList<PciBar> Bars => Model.Bars;

    public PciRom Rom => Model.Rom;

    public IReadOnlyList<string> ResetMethods => Model.ResetMethods;

    public IFunctionInterrupts Interrupts => interrupts is null ? NoInterrupts.Instance : interrupts;

    /// <summary>
    /// The function's clock domain: whoever holds it has the function's registers to himself. Never held while a handler is signalled.
    /// </summary>
    internal Lock Clock { get; } = new();

    internal ConfigLayout Layout => Model.Layout;

    /// <summary>The bus that it sits on; null for one that stands alone.</summary>
    internal EmulatedBus? Bus { get; set; }

    internal bool IsPresent => faults is not { IsGone: true };

    /// <summary>Whether it is powered and linked at all, faults apart: a VF is there only while its PF says so.</summary>
    private protected virtual bool IsEnabled => true;

    private protected FunctionModel Model { get; }

    /// <summary>Memory behind its BARs, where it has interrupts.</summary>
    private protected BarMemory? Memory { get; }

    internal PciCommand Command => (PciCommand)config.Word(ConfigOffset.Command);

    private protected bool MastersBus => IsPresent && (Command & PciCommand.BusMaster) != 0;

    private FunctionFaults Faults => faults ?? Interlocked.CompareExchange(ref faults, new FunctionFaults(), null) ?? faults;

    private PciPowerState PowerState => Layout.PowerManagement == 0
        ? PciPowerState.D0
        : (PciPowerState)(config.Word(Pmcsr) & PowerManagementCapability.StateMask);

    private int Pmcsr => Layout.PowerManagement + PowerManagementCapability.ControlStatus;

    // ---- The port --------------------------------------------------------------------------------------------------------------------

    public void ReadConfig(int offset, Span<byte> destination)
    {
        if (!Reaches(HangPoint.Config, out var answer))
        {
            destination.Fill(0xff);
            if (answer == NotReadyAnswer.RetryStatus && offset == ConfigOffset.VendorId && destination.Length > 1)
                (destination[0], destination[1]) = (0x01, 0x00);
            return;
        }

        lock (Clock)
            config.Read(offset, destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (!Reaches(HangPoint.Config, out _))
            return;
        ConfigEffects effects;
        lock (Clock)
        {
            var before = PowerState;
            config.Write(offset, source);
            ChangePowerState(before);
            effects = Asked(offset, source) | OnConfigWritten(offset, source);
            Decode();
        }

        if ((effects & ConfigEffects.FunctionLevelReset) != 0)
            Undergo(ResetRungs.Function);
        if ((effects & ConfigEffects.SecondaryBusReset) != 0)
            Bus?.ResetBelow(this);
        interrupts?.Deliver();
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) =>
        Decodes(region) ? ReadBar(region, offset, destination) : NoAnswer;

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) =>
        Decodes(region) ? WriteBar(region, offset, source) : NoAnswer;

    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "The function has no such reset.");
        if (!Reaches(HangPoint.Reset, out _))
        {
            return IsPresent
                ? VfioResult.Fail(Errno.ETIMEDOUT, "The function is not ready: it answers nothing, and no reset of its own reaches it.")
                : VfioResult.Fail(Errno.EIO, "The function is gone.");
        }

        return method == ResetMethod.Bus ? ResetBus() : Undergo(ResetRungs.Function);
    }

    public abstract void ConnectDma(IDmaSpace? space);

    public VfioResult SetVirtualFunctions(int count)
    {
        if (Layout.Sriov == 0)
            return VfioResult.Fail(Errno.ENOTTY, "This function has no SR-IOV capability.");
        if (!Reaches(HangPoint.Sriov, out _))
            return NoAnswer;
        return Bus is { } bus
            ? bus.SetVirtualFunctions(this, count)
            : VfioResult.Fail(Errno.ENODEV, "The function is on no bus that VFs could appear on.");
    }

    /// <summary>The function's own doing: it sends the message of a vector, of whichever of MSI and MSI-X the host has enabled.</summary>
    /// <returns>Whether it reached a handler.</returns>
    public bool SendMessage(int vector) => interrupts?.Send(vector) ?? false;

    /// <summary>The function's own doing: it asserts its INTx line, or lets go of it.</summary>
    public void SetLine(bool asserted) => interrupts?.SetLine(asserted);

    public virtual void Dispose()
    {
        faults?.Hang.ReleaseForGood();
        GC.SuppressFinalize(this);
    }

    // ---- What its kind adds ----------------------------------------------------------------------------------------------------------

    private protected abstract VfioResult ReadBar(int region, ulong offset, Span<byte> destination);

    private protected abstract VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source);

    /// <summary>Config space was written, and its registers hold what came of it. The clock is held.</summary>
    private protected virtual ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source) => ConfigEffects.None;

    /// <summary>A reset took config space back to power-on; whatever else the function holds goes now. The clock is held.</summary>
    private protected virtual void OnReset()
    {
    }

    /// <summary>After a reset, when the clock is free again.</summary>
    private protected virtual void AfterReset()
    {
    }

    /// <summary>It is pulled out. The clock is held.</summary>
    private protected virtual void OnVanished()
    {
    }

    /// <summary>An uncorrectable error: what it was doing stands still.</summary>
    internal virtual void Fail()
    {
    }

    /// <summary>The same function as at power-on: what is put in where this one was pulled out.</summary>
    internal abstract EmulatedFunction Renew();

    // ---- For the bus -----------------------------------------------------------------------------------------------------------------

    /// <summary>Places its BARs, as firmware does at power-on.</summary>
    internal void Place(HostAddresses addresses)
    {
        if (IsVirtualFunction || Bars.All(static bar => bar.Size == 0))
            return;
        PlaceAt(addresses.Place(Bars, Rom));
    }

    /// <summary>Places its BARs where those of the one before it were.</summary>
    internal void PlaceLike(EmulatedFunction before)
    {
        if (before.placed is { } addresses)
            PlaceAt(addresses);
    }

    internal void Vanish()
    {
        Faults.SetGone();
        lock (Clock)
        {
            interrupts?.PowerOn();
            OnVanished();
        }
    }

    internal void Hang(HangPoint point) => Faults.Hang.Close(point);

    internal void Release() => faults?.Hang.Release();

    /// <summary>Calls that hang now.</summary>
    internal int HungCalls => faults?.Hang.Waiting ?? 0;

    internal void SetResetFault(ResetFault? fault) => Faults.SetReset(fault);

    /// <summary>
    /// A reset of any kind from outside: config space is as after power-on, but for what is sticky, and everything else is lost. Errors: what
    /// its <see cref="ResetFault"/> makes of it.
    /// </summary>
    internal VfioResult Undergo(ResetRungs rung)
    {
        var fault = faults?.Meet(rung);
        if (fault is ResetFault.Fails failed)
            return VfioResult.Fail(failed.Errno, "The reset did not work.");
        Lose(keepsPower: rung != ResetRungs.Power);
        faults?.Recover(rung);
        if (fault is not null)
            Faults.Suffer(fault, rung, Bus?.Time ?? TimeProvider.System);
        return fault is ResetFault.NotReady { OutlastsPoll: true }
            ? VfioResult.Fail(Errno.ETIMEDOUT, "The function was not ready when the time to wait for it after a reset was over.")
            : VfioResult.Ok;
    }

    /// <summary>Loses what a reset loses.</summary>
    internal void Lose(bool keepsPower)
    {
        lock (Clock)
            LoseHeld(keepsPower);
        AfterReset();
    }

    /// <summary>The registers of an error, set as the function itself would. Errors: EOPNOTSUPP without AER.</summary>
    internal VfioResult<AerRecord> ReportError(AerSeverity severity)
    {
        if (Layout.Aer == 0)
            return new VfioError(Errno.EOPNOTSUPP, "This function cannot report errors, it has no AER capability; the port above it can.");
        if (!IsPresent)
            return new VfioError(Errno.ENODEV, "The function is not there.");
        var error = AerErrors.Of(severity);
        lock (Clock)
        {
            if (Layout.Express != 0)
            {
                var status = Layout.Express + PciExpressCapability.DeviceStatus;
                config.Put16(status, config.Word(status) | 1 << (int)severity);
            }

            return severity == AerSeverity.Correctable ? Correctable(error) : Uncorrectable(error, severity);
        }
    }

    // ---- For its interrupts and its kinds; the clock is held -------------------------------------------------------------------------

    internal ushort Get16(int offset) => config.Word(offset);

    internal uint Get32(int offset) => config.Dword(offset);

    internal void Put16(int offset, int value) => config.Put16(offset, value);

    internal void Put32(int offset, uint value) => config.Put32(offset, value);

    internal void PutStatus(PciStatus bit, bool set) =>
        config.Put16(ConfigOffset.Status, set ? config.Word(ConfigOffset.Status) | (int)bit : config.Word(ConfigOffset.Status) & ~(int)bit);

    internal void PutCommand(PciCommand bit, bool set) =>
        config.Put16(ConfigOffset.Command, (int)(set ? Command | bit : Command & ~bit));

    /// <summary>Something that decides whether BARs answer has changed.</summary>
    private protected void Decode()
    {
        var answers = 0;
        var memory = (Traits & (FunctionTraits.VirtualFunction | FunctionTraits.NoMemoryEnable)) != 0
            || ((Command & PciCommand.MemorySpace) != 0 && PowerState == PciPowerState.D0);
        var io = (Command & PciCommand.IoSpace) != 0 && PowerState == PciPowerState.D0;
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            var kind = Bars[bar].Kind;
            if ((kind == BarKind.Io ? io : memory) && Bars[bar].Size != 0 && IsWhereItWasPlaced(bar))
                answers |= 1 << bar;
        }

        if (memory && Rom.ContentBytes != 0)
            answers |= 1 << ConfigOffset.BarCount;
        decoded = (byte)answers;
    }

    // ---- Insides ---------------------------------------------------------------------------------------------------------------------

    private static VfioResult NoAnswer =>
        VfioResult.Fail(Errno.EIO, "The function does not answer: it is gone, not ready, asleep, or does not decode this BAR.");

    /// <summary>The gate: where calls hang, and where those to a function that answers nothing end.</summary>
    private protected bool Reaches(HangPoint point, out NotReadyAnswer answer)
    {
        answer = NotReadyAnswer.AllOnes;
        if (faults is { } wrong)
        {
            wrong.Hang.Pass(point);
            if (!wrong.Answers(out answer))
                return false;
        }

        return IsEnabled;
    }

    private bool Decodes(int region) =>
        Reaches(HangPoint.Region, out _) && (uint)region <= ConfigOffset.BarCount && ((decoded >> region) & 1) != 0;

    /// <summary>BARs that a reset has wiped out do not answer where the host looks for them (ER-10, CF-11).</summary>
    private bool IsWhereItWasPlaced(int bar)
    {
        if (placed is null)
            return true;
        var at = ConfigOffset.Bar0 + (4 * bar);
        return config.Dword(at) == placed[bar] && (Bars[bar].Kind != BarKind.Memory64 || config.Dword(at + 4) == placed[bar + 1]);
    }

    private void PlaceAt(uint[] addresses)
    {
        placed = addresses;
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
            config.Put32(ConfigOffset.Bar0 + (4 * bar), addresses[bar]);
        config.Put32(ConfigOffset.RomBar, addresses[ConfigOffset.BarCount]);
        Decode();
    }

    /// <summary>Of a function that is alone on its bus, the bus is reset; else there is no such reset, as the kernel decides.</summary>
    private VfioResult ResetBus() => Bus is { } bus
        ? bus.ResetBusOf(this)
        : Undergo(ResetRungs.Function);

    private void LoseHeld(bool keepsPower)
    {
        config.Reset(keepsPower);
        Memory?.Clear();
        interrupts?.PowerOn();
        OnReset();
        Decode();
    }

    /// <summary>
    /// A state that it has not leaves it where it was; coming back from D3hot it has lost its registers, unless it keeps them (PCI PM 1.2,
    /// 5.4.1).
    /// </summary>
    private void ChangePowerState(PciPowerState before)
    {
        var after = PowerState;
        if (after == before)
            return;
        var management = PowerManagementCapability.Parse(Layout.PowerOn, Layout.PowerManagement);
        var isThere = after switch
        {
            PciPowerState.D1 => management.SupportsD1,
            PciPowerState.D2 => management.SupportsD2,
            _ => true,
        };
        if (!isThere)
            config.Put16(Pmcsr, (config.Word(Pmcsr) & ~PowerManagementCapability.StateMask) | (int)before);
        else if (before == PciPowerState.D3Hot && after == PciPowerState.D0 && !management.NoSoftReset)
            LoseHeld(keepsPower: true);
    }

    /// <summary>Bits that act when they are written, and read 0.</summary>
    private ConfigEffects Asked(int offset, ReadOnlySpan<byte> source)
    {
        const int expressFlr = PciExpressCapability.InitiateFunctionLevelReset >> 8;
        var express = Layout.Express != 0 && HasFunctionLevelReset
            ? Written(Layout.Express + PciExpressCapability.DeviceControl + 1, offset, source) & expressFlr
            : 0;
        var conventional = Layout.AdvancedFeatures == 0
            ? 0
            : Written(Layout.AdvancedFeatures + AdvancedFeaturesCapability.Control, offset, source)
                & AdvancedFeaturesCapability.InitiateFunctionLevelReset;
        return (express | conventional) != 0 ? ConfigEffects.FunctionLevelReset : ConfigEffects.None;
    }

    private bool HasFunctionLevelReset => PciExpressCapability.Parse(Layout.PowerOn, Layout.Express).HasFunctionLevelReset;

    /// <summary>The byte that a write puts at a place; 0 where it puts none.</summary>
    private protected static byte Written(int at, int offset, ReadOnlySpan<byte> source) =>
        at >= offset && at < offset + source.Length ? source[at - offset] : (byte)0;

    private AerRecord Correctable(AerErrors.Kind error)
    {
        var status = Layout.Aer + AerRegister.CorrectableStatus;
        config.Put32(status, config.Dword(status) | error.Bit);
        return new AerRecord(Address, AerSeverity.Correctable, config.Dword(status));
    }

    /// <summary>The header log holds the first error until its status is cleared (PCIe 6.0, 6.2.4.2).</summary>
    private AerRecord Uncorrectable(AerErrors.Kind error, AerSeverity severity)
    {
        var (status, control) = (Layout.Aer + AerRegister.UncorrectableStatus, Layout.Aer + AerRegister.Control);
        var log = Layout.Aer + AerRegister.HeaderLog;
        if (config.Dword(status) == 0)
        {
            var header = error.HeaderOf(Address);
            config.Put32(control, (config.Dword(control) & ~AerErrors.FirstErrorPointer) | (uint)System.Numerics.BitOperations.Log2(error.Bit));
            config.Put32(log, header.Dword0);
            config.Put32(log + 4, header.Dword1);
            config.Put32(log + 8, header.Dword2);
            config.Put32(log + 12, header.Dword3);
        }

        config.Put32(status, config.Dword(status) | error.Bit);
        return new AerRecord(
            Address, severity, config.Dword(status),
            new AerHeaderLog(config.Dword(log), config.Dword(log + 4), config.Dword(log + 8), config.Dword(log + 12)));
    }
}

/// <summary>What a write to config space sets off when it is done.</summary>
[Flags]
internal enum ConfigEffects
{
    None = 0,
    FunctionLevelReset = 1 << 0,

    /// <summary>A bridge holds what is below it in reset.</summary>
    SecondaryBusReset = 1 << 1,
}
