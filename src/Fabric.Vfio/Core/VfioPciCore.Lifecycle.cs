using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;
using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core;

/// <summary>Opening in two phases, closing, resets, power (contract §1.3, §1.4, §1.6, §1.7).</summary>
public sealed partial class VfioPciCore
{
    // ---- Opening ---------------------------------------------------------------------------------------------------------------------

    /// <summary>Both phases of the first open. Errors: those of <see cref="Enable"/>.</summary>
    /// <param name="hasRawIo">The opener has CAP_SYS_RAWIO.</param>
    public VfioResult Open(bool hasRawIo = true)
    {
        var enabled = Enable(hasRawIo);
        if (enabled.IsOk)
            FinishEnable();
        return enabled;
    }

    /// <summary>
    /// The first phase (LC-20): the function is reset and its config space read. A driver's own opening comes after it; where that fails the
    /// driver calls <see cref="Disable"/> (LC-25). Errors: EBUSY open already, ENODEV being unregistered, EPERM without an IOMMU and without
    /// CAP_SYS_RAWIO (LC-5), EIO where it does not wake, EAGAIN while somebody else resets it (LC-21).
    /// </summary>
    public VfioResult Enable(bool hasRawIo = true)
    {
        if (session is not null)
            return VfioResult.Fail(Errno.EBUSY, "The device is open already.");
        if (Registration != RegistrationState.Registered)
            return VfioResult.Fail(Errno.ENODEV, "The device is being taken away.");
        if (IommuGroup is null && !hasRawIo)
            return VfioResult.Fail(Errno.EPERM, "Opening a device without an IOMMU takes CAP_SYS_RAWIO.");
        using (Set.Take())
        {
            if (!Options.DisableIdleD3 && !runtime.TryGet())
                return VfioResult.Fail(Errno.EIO, "The device does not wake from D3.");
            ForceD0();
            function.ChangeCommand(clear: PciCommand.BusMaster);
            function.ChangeCommand(set: Decoders());
            var reset = FunctionReset.Run(function, ResetMethods, resets);
            if (reset.Error.Errno == Errno.EAGAIN)
            {
                StopDecoding();
                AllowIdleSleep();
                return reset;
            }

            ResetWorks = reset.IsOk;
            if (reset.IsOk)
                power.Resync();
            session = NewSession();
            BlockUnusable(session);
            session.Regions.ClaimBars();
            function.ConnectDma(dma ??= new DmaMap());
            return VfioResult.Ok;
        }
    }

    /// <summary>The second phase (LC-23): which BARs can be mapped, and a VF's use of its PF's token. Errors: EINVAL out of turn.</summary>
    public VfioResult FinishEnable()
    {
        if (session is not { IsFinished: false })
            return VfioResult.Fail(Errno.EINVAL, "The device is not between the two phases of its opening.");
        session.Regions.DecideMappable();
        PhysicalFunction?.token?.AddUser();
        session.IsFinished = true;
        return VfioResult.Ok;
    }

    /// <summary>INV-1 from the start: a function that neither woke nor was reset, and one without memory BARs, for which nothing turned decode on.</summary>
    private void BlockUnusable(Session opening)
    {
        if (power.Current == PciPowerState.D3Hot)
            opening.Gate.Block(MemoryBlocks.Power);
        if (!opening.Config.MemoryEnabled)
            opening.Gate.Block(MemoryBlocks.Decode);
    }

    private Session NewSession()
    {
        var saved = ConfigSnapshot.Save(function);
        var masking = Options.NoIntxMask ? IntxMasking.Host : new IntxRegisters(function).Decide();
        var gate = new MemoryGate();
        var config = new VirtualConfig(function, new ConfigEffects(this));
        // A function without memory BARs has no decoder turned on, and one that answers nothing is in no power state (INV-1).
        if (!config.MemoryEnabled)
            gate.Block(MemoryBlocks.Decode);
        if (power.Current >= PciPowerState.D3Hot)
            gate.Block(MemoryBlocks.Power);
        var msix = MsixTable.Of(config.Capabilities.Msix);
        var regions = new RegionAccess(function, bars, msix, (function.Traits & FunctionTraits.Vga) != 0 && !Options.DisableVga, gate);
        var geometry = new InterruptGeometry(config.InterruptPin != 0, config.Capabilities.Msi?.MaxVectors ?? 0, config.Capabilities.Msix?.TableSize ?? 0);
        return new Session
        {
            Gate = gate,
            Regions = regions,
            Config = config,
            Interrupts = new DeviceInterrupts(function, masking, geometry),
            IoEventFds = new IoEventFds(function, regions, gate),
            DmaBufs = new DmaBufs(function, regions, gate),
            Saved = saved,
        };
    }

    /// <summary>What enabling the device turns on in COMMAND: the decoders of the BARs that it has. Memory decode of one without such a bit is on (CF-13).</summary>
    private PciCommand Decoders()
    {
        var decoders = PciCommand.None;
        if (function.IsVirtualFunction)
            return decoders;
        foreach (var bar in bars)
            decoders |= bar.IsMemory && !function.HasNoMemoryEnable() ? PciCommand.MemorySpace : bar.Kind == BarKind.Io ? PciCommand.IoSpace : PciCommand.None;
        return decoders;
    }

    private void StopDecoding() => function.ChangeCommand(clear: PciCommand.BusMaster | PciCommand.MemorySpace | PciCommand.IoSpace);

    private void AllowIdleSleep()
    {
        if (!Options.DisableIdleD3)
            runtime.Put();
    }

    // ---- Closing ---------------------------------------------------------------------------------------------------------------------

    /// <summary>Last close (LC-30): everything of the session is undone, the function is reset.</summary>
    public void Close()
    {
        if (IsOpen)
            Disable();
    }

    /// <summary>
    /// Undoes <see cref="Enable"/> (LC-31). By itself it is for a driver whose own opening failed (LC-25); otherwise <see cref="Close"/>
    /// does it.
    /// </summary>
    public void Disable()
    {
        if (session is not { } ending)
            return;
        using (Set.Take())
        {
            ending.Gate.Block(MemoryBlocks.Session);
            if (ending.IsFinished)
                PhysicalFunction?.token?.RemoveUser();
            ending.DmaBufs.End();
            runtime.Disengage();
            var awake = runtime.TryGet();
            ForceD0();
            lock (ending.Interrupts.CommandGate)
                function.ChangeCommand(clear: PciCommand.BusMaster);
            function.ConnectDma(null);
            dma?.Clear();
            ending.Interrupts.TearDown();
            ending.IoEventFds.Clear();
            foreach (var added in ending.DeviceRegions)
                added.Region.Release();
            ending.Regions.ReleaseBars();
            NeedsReset = true;
            function.WriteCommand(PciCommand.InterruptDisable);
            if (ResetWorks && FunctionReset.Try(function, ResetMethods).IsOk)
            {
                NeedsReset = false;
                power.Resync();
            }

            runtime.Stage(ending.Saved);
            ending.Saved.Restore(function);
            ending.Interrupts.DropTriggers();
            session = null;
            StopDecoding();
            if (!devices.CallersTakeTurns)
                Set.TryReset();
            if (awake)
                runtime.Put();
            AllowIdleSleep();
        }

        LeaveIfUnheld();
    }

    /// <summary>A descriptor of the device is opened that does not open the device: it holds a reference to its registration (LC-32).</summary>
    public void Hold() => holds++;

    /// <summary>That descriptor is closed.</summary>
    public void Unhold()
    {
        holds--;
        LeaveIfUnheld();
    }

    private void LeaveIfUnheld()
    {
        if (leaving is not null && References == 0 && Registration == RegistrationState.Unregistering && !IsSriovActive)
            FinishUnregistering();
    }

    /// <summary>After a close, where callers take turns: the set is reset if nobody holds any of it and somebody needs it (LC-53). Failure is silent.</summary>
    public void TryResetSet()
    {
        using (Set.Take())
            Set.TryReset();
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// RESET (IO-50): config space is after it what it was before (IO-51). Errors: EINVAL where no reset works, EAGAIN under contention (the
    /// caller retries), EIO where the device does not wake.
    /// </summary>
    public VfioResult Reset()
    {
        using var use = BeginUse();
        if (session is not { } open)
            return NotOpen;
        if (use.Refused.Errno != Errno.None)
            return use.Refused;
        if (!ResetWorks)
            return VfioResult.Fail(Errno.EINVAL, "No reset of this device works; GET_INFO shows it without the RESET flag.");
        return ResetAlone(open, ResetMethods);
    }

    /// <summary>
    /// A reset that the host decides on, open or not (sysfs: reset), by one method or by the first of <see cref="ResetMethods"/>. It is as
    /// RESET for the holder, and wakes the device while it lasts; one that does not wake is reset all the same, as that may help. Errors:
    /// ENOTTY no such method, EAGAIN under contention, EIO or ETIMEDOUT when it failed.
    /// </summary>
    public VfioResult ResetByHost(string? method = null)
    {
        ImmutableArray<string> methods = method is null ? ResetMethods : [method];
        var awake = runtime.TryGet();
        var reset = session is { } open ? ResetAlone(open, methods) : ResetClosed(methods);
        if (awake || (reset.IsOk && runtime.TryGet()))
            runtime.Put();
        return reset;
    }

    private VfioResult ResetClosed(ImmutableArray<string> methods)
    {
        ForceD0();
        var reset = FunctionReset.Run(function, methods, resets);
        if (reset.IsOk)
        {
            NeedsReset = false;
            power.Resync();
        }

        return reset;
    }

    /// <summary>No access is under way while it lasts.</summary>
    private VfioResult ResetAlone(Session open, ImmutableArray<string> methods)
    {
        open.Gate.Lock();
        try
        {
            return ResetHeld(open, methods);
        }
        finally
        {
            open.Gate.Unlock();
        }
    }

    /// <summary>Memory is held; DMA buffers come back where memory can be used.</summary>
    private VfioResult ResetHeld(Session open, ImmutableArray<string> methods)
    {
        ForceD0();
        open.DmaBufs.Revoke();
        var reset = FunctionReset.Run(function, methods, resets);
        AfterReset(open, reset);
        return reset;
    }

    /// <summary>Interrupts are armed anew (IO-52), and the function is in D0 even where it could not be put there before.</summary>
    private void AfterReset(Session open, VfioResult reset)
    {
        if (reset.IsOk)
        {
            power.Resync();
            if (!ForceD0())
                BlockMemory(open, MemoryBlocks.Power);                                   // it does not answer after its reset (INV-1)
            open.Interrupts.AfterReset();
        }

        RestoreDmaBufs(open);
    }

    /// <summary>GET_PCI_HOT_RESET_INFO (IO-60, IO-61). Errors: ENODEV, EPERM.</summary>
    public VfioResult<HotResetInfo> GetHotResetInfo(IHotResetOwnership caller)
    {
        ArgumentNullException.ThrowIfNull(caller);
        using var use = BeginUse();
        if (session is null)
            return NotOpen;
        return use.Refused.Errno != Errno.None ? use.Refused : Set.Describe(this, caller);
    }

    /// <summary>
    /// PCI_HOT_RESET of the slot or bus (LC-51, LC-52, IO-62). Errors: EINVAL not all functions are vfio's and the caller's, ENODEV without
    /// slot and bus reset, EBUSY while any of them is accessed, EAGAIN from the bus, EIO where one does not wake.
    /// </summary>
    public VfioResult HotReset(IHotResetOwnership caller)
    {
        ArgumentNullException.ThrowIfNull(caller);
        using var use = BeginUse();
        if (session is null)
            return NotOpen;
        return use.Refused.Errno != Errno.None ? use.Refused : Set.HotReset(this, caller);
    }

    /// <summary>Part of a hot reset: no access is under way, none begins. False where one is under way (LC-52).</summary>
    internal bool TryHoldMemory()
    {
        if (session is null)
            return true;
        if (!session.Gate.TryLock())
            return false;
        session.DmaBufs.Revoke();
        return true;
    }

    internal void ReleaseMemory()
    {
        if (session is null)
            return;
        RestoreDmaBufs(session);
        session.Gate.Unlock();
    }

    /// <summary>Before a reset of the whole set (IO-51).</summary>
    internal FunctionReset PrepareReset() => FunctionReset.Prepare(function, resets);

    /// <summary>After a reset of the whole set, with config space restored.</summary>
    internal void AfterSetReset(VfioResult reset)
    {
        if (session is { } open)
            AfterReset(open, reset);
        else if (reset.IsOk)
            power.Resync();
    }

    // ---- Power -----------------------------------------------------------------------------------------------------------------------

    internal bool TryWake() => runtime.TryGet();

    internal void MaySleep() => runtime.Put();

    /// <summary>D0, whatever its holder chose. DMA buffers stay as they are: who forces it goes on to something that they must not see.</summary>
    internal bool ForceD0()
    {
        if (!power.Set(PciPowerState.D0).IsOk)
            return false;
        if (session is { } open)
        {
            KeepMemoryDecode(open);
            open.Gate.Unblock(MemoryBlocks.Power);
        }

        return true;
    }

    /// <summary>
    /// Config space restored on the way to D0 is older than what the holder may have written to COMMAND in D3hot: memory decode is as the
    /// holder sees it.
    /// </summary>
    private void KeepMemoryDecode(Session open)
    {
        if (function.HasNoMemoryEnable())
            return;
        lock (open.Interrupts.CommandGate)
        {
            function.ChangeCommand(
                set: open.Config.MemoryEnabled ? PciCommand.MemorySpace : PciCommand.None,
                clear: open.Config.MemoryEnabled ? PciCommand.None : PciCommand.MemorySpace);
        }
    }

    /// <summary>
    /// A change of power state for which memory is made unusable before and usable after (LC-64). Errors: those of
    /// <see cref="FunctionPower.Set"/>.
    /// </summary>
    private VfioResult SetPowerState(PciPowerState state)
    {
        if (session is not { } open)
            return power.Set(state);
        if (state == PciPowerState.D3Hot && !power.IsPinned)
            BlockMemory(open, MemoryBlocks.Power);
        var changed = power.Set(state);
        if (power.Current < PciPowerState.D3Hot)
        {
            KeepMemoryDecode(open);
            open.Gate.Unblock(MemoryBlocks.Power);
            RestoreDmaBufs(open);
        }

        return changed;
    }

    /// <summary>The host, or a PME of the device, wakes it (LC-62). False where it does not wake.</summary>
    public bool Wake()
    {
        if (!runtime.TryGet())
            return false;
        runtime.Put();
        return true;
    }

    private static void BlockMemory(Session open, MemoryBlocks reason)
    {
        open.Gate.Block(reason);
        open.DmaBufs.Revoke();
    }

    /// <summary>DMA buffers are given back where nothing stands against the use of memory.</summary>
    private void RestoreDmaBufs(Session open)
    {
        if (open.Gate.Blocks == MemoryBlocks.None && IsMemoryUsable)
            open.DmaBufs.Restore();
    }

    private sealed class PowerEffects(VfioPciCore core) : IRuntimePowerEffects
    {
        public void Suspending()
        {
            core.ForceD0();
            core.session?.Interrupts.Suspend();
        }

        public void Resumed() => core.session?.Interrupts.Resume();

        public void EnterLowPower()
        {
            if (core.session is { } open)
                BlockMemory(open, MemoryBlocks.LowPower);
        }

        public void LeaveLowPower() => core.session?.Gate.Unblock(MemoryBlocks.LowPower);
    }

    /// <summary>What writes to config space set off (contract §3.3, §3.5).</summary>
    private sealed class ConfigEffects(VfioPciCore core) : IConfigEffects
    {
        /// <summary>While the session is being made no interrupt is on.</summary>
        private readonly Lock noInterrupts = new();

        public Lock CommandGate => core.session?.Interrupts.CommandGate ?? noInterrupts;

        public bool IsMsiActive => core.session?.Interrupts.Active == IrqIndex.Msi;

        public int MsiQueueMax => core.session?.Interrupts.MsiQueueMax ?? 0;

        public void BlockMemory()
        {
            if (core.session is { } open)
                VfioPciCore.BlockMemory(open, MemoryBlocks.Decode);
        }

        public void UnblockMemory()
        {
            if (core.session is not { } open || !open.Config.MemoryEnabled)
                return;
            open.Gate.Unblock(MemoryBlocks.Decode);
            core.RestoreDmaBufs(open);
        }

        public void SetIntxDisabled(bool disabled) => core.session?.Interrupts.SetVirtuallyDisabled(disabled);

        public void ChangePowerState(PciPowerState state) => core.SetPowerState(state);

        public void ResetFunction()
        {
            if (core.session is not { } open)
                return;
            open.Gate.Lock();
            core.ResetHeld(open, core.ResetMethods);
            open.Gate.Unlock();
        }
    }
}
