using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Core;

/// <summary>Errors, and what a host does about them: contract §4, CF-11, and beyond the kernel the resets of a supervisor's ladder (ER-32).</summary>
public sealed partial class VfioPciCore
{
    /// <summary>Config space as it was before the error that is being recovered from.</summary>
    private ConfigSnapshot? beforeError;

    /// <summary>
    /// error_detected in any channel state: ERR is signalled where somebody listens, the vote is CAN_RECOVER always (ER-1). What config space
    /// holds now is remembered, as far as it can be read, for <see cref="RepairLost"/>.
    /// </summary>
    public RecoveryVote ErrorDetected()
    {
        session?.Interrupts.SignalError();
        if (session is not null || IsSriovActive)
            beforeError = Answers() ? ConfigSnapshot.Save(function) : session?.Saved;
        return RecoveryVote.CanRecover;
    }

    /// <summary>Whether the function is there: config space that reads all ones is a dead link's.</summary>
    public bool Answers() => Answers(function);

    /// <summary>The same of a function that is not registered.</summary>
    public static bool Answers(IPciFunction function) =>
        // A VF has no ids of its own in hardware; its class code it has.
        function.Read32(ConfigOffset.RevisionId) != uint.MaxValue;

    /// <summary>
    /// After a recovery, whatever was reset in it (ER-10): gives back BARs, decode, bus mastering, MSI and SR-IOV as they were before the error,
    /// and arms interrupts again. Beyond the kernel, which notices at the next write to COMMAND and mends BARs alone (CF-11). The value says
    /// what had been lost.
    /// </summary>
    public LostConfig RepairLost()
    {
        if (beforeError is not { } before)
            return LostConfig.None;
        beforeError = null;
        if (session is null && !IsSriovActive)
            return LostConfig.None;
        var lost = before.FindLost(function);
        if (lost == LostConfig.None)
            return lost;
        power.Resync();
        if (session is not { } open)
        {
            before.Restore(function);
            return lost;
        }

        lock (open.Interrupts.CommandGate)
            before.Restore(function);
        open.Interrupts.AfterReset();
        return lost;
    }

    /// <summary>
    /// A reset of the whole set that the host decides on, whoever holds its members. Errors: ENODEV without slot and bus reset, EINVAL where it
    /// touches a function that is not vfio's (LC-51), EBUSY while a member is accessed (LC-52), EIO, and those of the bus.
    /// </summary>
    public VfioResult HotResetByHost() => Set.ResetByHost(this);

    /// <summary>
    /// Turns the slot off and on again, whoever holds the functions in it. Errors: ENOTTY without a power controller, EINVAL where functions
    /// lose power that are not of the set, EBUSY, EIO, and those of the bus.
    /// </summary>
    public VfioResult CyclePowerByHost() => Set.CyclePowerByHost(this);
}
