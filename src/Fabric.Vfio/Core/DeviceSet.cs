using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core;

/// <summary>The smallest thing that a reset around a function affects (LC-50).</summary>
internal readonly record struct DeviceSetKey(HotResetKind? Kind, PciAddress Address)
{
    public static DeviceSetKey Of(IPciFunction function, IPciBus? bus)
    {
        var address = function.Address;
        return bus?.HotResetScopeOf(address)?.Kind switch
        {
            HotResetKind.Slot => new(HotResetKind.Slot, address with { Function = 0 }),
            HotResetKind.Bus => new(HotResetKind.Bus, address with { Device = 0, Function = 0 }),
            _ => new(null, address),
        };
    }

    public override string ToString() => Kind switch
    {
        HotResetKind.Slot => $"slot {Address}",
        HotResetKind.Bus => $"bus {Address.Domain:x4}:{Address.Bus:x2}",
        _ => $"function {Address}",
    };
}

/// <summary>
/// The devices that a hot reset affects together (LC-50 to LC-54). What opens, closes or hot-resets one of them has the whole set for itself
/// while it does (INV-7).
/// </summary>
public sealed class DeviceSet
{
    private readonly VfioPciDevices devices;
    private ImmutableArray<VfioPciCore> members = [];

    internal DeviceSet(DeviceSetKey key, VfioPciDevices devices)
    {
        Key = key;
        gate = devices.CallersTakeTurns ? null : new Lock();
        this.devices = devices;
    }

    /// <summary>In the order in which they were registered.</summary>
    public IReadOnlyList<VfioPciCore> Members => members;

    internal DeviceSetKey Key { get; }

    /// <summary>Held for each open, close and hot reset in the set (INV-7), unless callers take turns.</summary>
    private readonly Lock? gate;

    /// <summary>Whether the set is this thread's alone; told only where callers take no turns of their own.</summary>
    internal bool IsTaken => gate is { IsHeldByCurrentThread: true };

    /// <summary>The set is the caller's until the scope ends (INV-7).</summary>
    internal Lock.Scope Take() => (gate ?? new Lock()).EnterScope();

    internal void Add(VfioPciCore device) => members = members.Add(device);

    internal void Remove(VfioPciCore device) => members = members.Remove(device);

    /// <summary>Errors: ENODEV where neither slot nor bus can be reset, EPERM by group where a function has none (IO-60).</summary>
    internal VfioResult<HotResetInfo> Describe(VfioPciCore device, IHotResetOwnership caller)
    {
        if (ScopeOf(device) is not { } scope)
            return NoScope;
        var dependents = ImmutableArray.CreateBuilder<HotResetDependent>(scope.Affected.Length);
        var allOwned = caller.IsByDeviceId;
        foreach (var affected in scope.Affected)
        {
            if (IdOf(affected, caller) is not { } id)
                return new VfioError(Errno.EPERM, "A function that the reset touches has no IOMMU group.");
            allOwned &= id != HotResetDependent.NotOwned;
            dependents.Add(new HotResetDependent(id, affected));
        }

        return new HotResetInfo(caller.IsByDeviceId, allOwned, dependents.DrainToImmutable());
    }

    /// <summary>Errors, in this order: EINVAL, ENODEV, EINVAL, the descriptors' own (IO-62), EINVAL (LC-51), EIO, EINVAL, EBUSY (LC-52), the bus' own.</summary>
    internal VfioResult HotReset(VfioPciCore device, IHotResetOwnership caller)
    {
        if (caller.IsByDeviceId != (caller.Groups == 0))
            return Fail(Errno.EINVAL, "A device opened through its group is hot-reset with groups, one opened through its cdev with none.");
        if (ScopeOf(device) is not { } scope)
            return NoScope;
        if (caller.Groups > scope.Affected.Length)
            return Fail(Errno.EINVAL, "There are more groups than functions that the reset touches.");
        if (caller.Fault.Errno != Errno.None)
            return caller.Fault;
        using (Take())
        {
            if (!HoldsAll(scope.Affected))
                return NotAllOurs;
            return WithAllAwake(() => WithMemoryHeld(caller, () => ResetBus(() => devices.Bus!.HotReset(device.Address))));
        }
    }

    /// <summary>The set is reset if nobody holds any of it and somebody needs it (LC-53). The gate is held. Failure is silent.</summary>
    internal void TryReset()
    {
        var pending = members;
        if (pending.IsEmpty || pending.Any(static member => member.HasSession) || !pending.Any(static member => member.NeedsReset))
            return;
        if (ScopeOf(pending[0]) is not { } scope || !HoldsAll(scope.Affected))
            return;
        if (!WithAllAwake(() => ResetBus(() => devices.Bus!.HotReset(pending[0].Address))).IsOk)
            return;
        foreach (var member in pending)
            member.NeedsReset = false;
    }

    /// <summary>A hot reset that the host decides on (ER-32). Errors: ENODEV, EINVAL (LC-51), EIO, EBUSY (LC-52), and those of the bus.</summary>
    internal VfioResult ResetByHost(VfioPciCore device)
    {
        if (ScopeOf(device) is not { } scope)
            return NoScope;
        using (Take())
        {
            return HoldsAll(scope.Affected)
                ? WithAllAwake(() => WithMemoryHeld(AllOwned.Instance, () => ResetBus(() => devices.Bus!.HotReset(device.Address))))
                : NotAllOurs;
        }
    }

    /// <summary>The slot's power off and on again. Errors: ENOTTY, EINVAL, EIO, EBUSY, and those of the bus.</summary>
    internal VfioResult CyclePowerByHost(VfioPciCore device)
    {
        if (devices.Bus?.PowerScopeOf(device.Address) is not { IsDefaultOrEmpty: false } powered)
            return Fail(Errno.ENOTTY, "The slot of this function has no power controller.");
        using (Take())
        {
            return HoldsAll(powered)
                ? WithAllAwake(() => WithMemoryHeld(AllOwned.Instance, () => ResetBus(() => devices.Bus!.CyclePower(device.Address))))
                : NotAllOurs;
        }
    }

    /// <summary>No member is accessed while something is done to all of them, and each is in D0 (LC-52).</summary>
    private VfioResult WithMemoryHeld(IHotResetOwnership caller, Func<VfioResult> then)
    {
        var held = 0;
        try
        {
            foreach (var member in members)
            {
                if (!caller.Owns(member))
                    return Fail(Errno.EINVAL, "The reset touches a device that is not the caller's.");
                if (!member.TryHoldMemory())
                    return Fail(Errno.EBUSY, "A device that the reset touches is being accessed; try again.");
                held++;
            }

            foreach (var member in members)
                member.ForceD0();
            return then();
        }
        finally
        {
            while (held > 0)
                members[--held].ReleaseMemory();
        }
    }

    /// <summary>Config space of each function is carried over the reset, and its driver is told (IO-51).</summary>
    private VfioResult ResetBus(Func<VfioResult> perform)
    {
        var carried = members.Select(static member => (Member: member, Reset: member.PrepareReset())).ToArray();
        var outcome = perform();
        foreach (var (member, reset) in carried)
        {
            reset.Finish(outcome);
            member.AfterSetReset(outcome);
        }

        return outcome;
    }

    private VfioResult WithAllAwake(Func<VfioResult> then)
    {
        var awake = 0;
        try
        {
            foreach (var member in members)
            {
                if (!member.TryWake())
                    return Fail(Errno.EIO, "A device that the reset touches does not wake from D3.");
                awake++;
            }

            return then();
        }
        finally
        {
            while (awake > 0)
                members[--awake].MaySleep();
        }
    }

    private bool HoldsAll(ImmutableArray<PciAddress> affected) => affected.All(address => members.Any(member => member.Address == address));

    private HotResetScope? ScopeOf(VfioPciCore device) => devices.Bus?.HotResetScopeOf(device.Address);

    private int? IdOf(PciAddress affected, IHotResetOwnership caller)
    {
        if (!caller.IsByDeviceId)
            return devices.Bus!.Functions.FirstOrDefault(function => function.Address == affected)?.IommuGroup;
        var member = members.FirstOrDefault(member => member.Address == affected);
        return member is null ? HotResetDependent.NotOwned : caller.DeviceIdOf(member);
    }

    private static VfioError NotAllOurs =>
        new(Errno.EINVAL, "The reset touches a function that is not vfio's; GET_PCI_HOT_RESET_INFO lists them.");

    private static VfioError NoScope => new(Errno.ENODEV, "Neither the slot nor the bus of this function can be reset.");

    private static VfioResult Fail(Errno errno, string sentence) => VfioResult.Fail(errno, sentence);
}
