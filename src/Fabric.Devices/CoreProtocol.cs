using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices;

// Inside a device: what driver, core, supervisor, device set and IOMMU group say to each other. Nobody else sends these.

/// <summary>A driver's own request to the core, answered to the driver with <see cref="CoreReplied"/> of the same number.</summary>
/// <param name="Number">Above 0.</param>
public sealed record CoreCall(long Number, DeviceRequest Request) : INoSerializationVerificationNeeded;

public sealed record CoreReplied(long Number, DeviceReply Reply) : INoSerializationVerificationNeeded;

/// <summary>A driver stands in front of the core from now on, with others or alone: it is told of resets that it has not asked for.</summary>
internal sealed record DriverAttached : INoSerializationVerificationNeeded
{
    public static DriverAttached Instance { get; } = new();
}

// ---- Supervisor to driver ------------------------------------------------------------------------------------------------------------

/// <summary>Every request is answered with this from now on; null lets them through again.</summary>
/// <param name="OpensOnly">Who holds the device goes on; nobody else opens it.</param>
internal sealed record FenceDevice(VfioError? Standing, bool OpensOnly = false) : INoSerializationVerificationNeeded;

/// <summary>Asks driver or core for its part of the device's state. Answered with <see cref="PartInspected"/>.</summary>
internal sealed record InspectPart : INoSerializationVerificationNeeded
{
    public static InspectPart Instance { get; } = new();
}

internal sealed record PartInspected(InspectNode State) : INoSerializationVerificationNeeded;

// ---- Supervisor to core --------------------------------------------------------------------------------------------------------------

/// <summary>What the host has a core do.</summary>
internal abstract record CoreCommand : INoSerializationVerificationNeeded;

/// <summary>A change of VFs that is only planned. Its asker is answered with <see cref="CommandPlanned"/> or <see cref="DeviceFailed"/>.</summary>
/// <param name="Affects">VFs that are held, and by whom.</param>
internal sealed record PlanNumVfs(int Count, int Now, ImmutableArray<string> Affects) : CoreCommand;

/// <summary>Gives up what there is, resets the function and registers it anew. Answered with <see cref="CoreProbed"/>.</summary>
internal sealed record ProbeAnew : CoreCommand
{
    public static ProbeAnew Instance { get; } = new();
}

/// <param name="Refused">Why the core does not take the function; null where it does.</param>
/// <param name="Anew">The function was reset first.</param>
internal sealed record CoreProbed(VfioError? Refused, bool Anew) : INoSerializationVerificationNeeded;

internal enum ResetScope
{
    Function,

    /// <summary>The slot or bus, with every device of the set.</summary>
    DeviceSet,

    /// <summary>The slot's power.</summary>
    Power,
}

/// <summary>Answered with <see cref="CoreWasReset"/>.</summary>
/// <param name="Method">Of a function reset; null for the first that works.</param>
internal sealed record ResetCore(ResetScope Scope, string? Method = null) : CoreCommand;

/// <param name="Answers">Config space reads as that of a function that is there.</param>
internal sealed record CoreWasReset(VfioResult Outcome, bool Answers, TimeSpan Took) : INoSerializationVerificationNeeded;

/// <summary>Closes every session. Answered with <see cref="CoreDone"/>.</summary>
internal sealed record EndSessions(string Why) : CoreCommand;

internal sealed record CoreDone : INoSerializationVerificationNeeded
{
    public static CoreDone Instance { get; } = new();
}

/// <summary>Unregisters: the holder is asked for release until it is (LC-32, LC-33). <see cref="CoreLeft"/> follows.</summary>
internal sealed record LeaveBus : CoreCommand
{
    public static LeaveBus Instance { get; } = new();
}

/// <summary>Unregisters a function that nobody holds, to be bound anew. Answered with <see cref="CoreUnbound"/>.</summary>
internal sealed record UnbindCore : CoreCommand
{
    public static UnbindCore Instance { get; } = new();
}

/// <param name="Refused">EBUSY it is held, or hangs; null where the core has let it go.</param>
/// <param name="IsHeld">It is held, and can be let go when it is not any more.</param>
internal sealed record CoreUnbound(VfioError? Refused, bool IsHeld = false) : INoSerializationVerificationNeeded;

internal sealed record CoreLeft : INoSerializationVerificationNeeded
{
    public static CoreLeft Instance { get; } = new();
}

/// <summary>Asks whether the function is there. Answered with <see cref="CoreWasReset"/>.</summary>
internal sealed record CheckCore : CoreCommand
{
    public static CheckCore Instance { get; } = new();
}

/// <summary>Answered with <see cref="CoreChanged"/>.</summary>
internal sealed record ChangeResetMethods(ImmutableArray<string> Methods) : CoreCommand;

internal sealed record CoreChanged(VfioResult Outcome) : INoSerializationVerificationNeeded;

/// <summary>
/// The link was reset under the device: what config space lost is given back before drivers go on (<see cref="VfioPciCore.RepairLost"/>). Answered
/// with a vote, as a callback is.
/// </summary>
internal sealed record LinkWasReset : RecoveryCallback
{
    public static LinkWasReset Instance { get; } = new();
}

// ---- Core to its device set (§11.3: dev_set lock) ------------------------------------------------------------------------------------

internal enum TurnKind
{
    Open,

    /// <summary>Every member is lent where none is open: the set may be reset (LC-53).</summary>
    Close,

    /// <summary>Every member is lent: nothing else touches it meanwhile.</summary>
    HotReset,
}

internal sealed record JoinSet : INoSerializationVerificationNeeded
{
    public static JoinSet Instance { get; } = new();
}

/// <summary>Asks for the set. Answered with <see cref="TurnGranted"/> or <see cref="TurnRefused"/>; ended with <see cref="EndTurn"/>.</summary>
internal sealed record TakeTurn(long Number, TurnKind Kind) : INoSerializationVerificationNeeded;

/// <param name="Lent">What the other members are, where they were lent.</param>
internal sealed record TurnGranted(long Number, ImmutableArray<LentMember> Lent) : INoSerializationVerificationNeeded;

internal sealed record TurnRefused(long Number, VfioError Error) : INoSerializationVerificationNeeded;

/// <param name="IsOpen">Whether the member is open now.</param>
/// <param name="Hang">A call that has the lent members in hand does not come back: they are out of service until <see cref="SetCameBack"/>.</param>
internal sealed record EndTurn(long Number, bool IsOpen, SetHang? Hang = null) : INoSerializationVerificationNeeded;

/// <summary>A reset of the whole set hangs.</summary>
internal sealed record SetHang(string Call, TimeSpan For, VfioError Standing);

/// <summary>The call of a turn that hung has come back.</summary>
internal sealed record SetCameBack(long Number) : INoSerializationVerificationNeeded;

/// <summary>The set wants a member for another's turn. Answered with <see cref="CoreLent"/> or <see cref="CoreNotLent"/>; <see cref="CoreReturned"/> ends it.</summary>
internal sealed record LendCore(long Turn) : INoSerializationVerificationNeeded;

internal sealed record CoreLent(long Turn, LentMember Member) : INoSerializationVerificationNeeded;

internal sealed record CoreNotLent(long Turn, VfioError Error) : INoSerializationVerificationNeeded;

/// <param name="Hang">What has the core in hand still, and does not come back; <see cref="CoreCameBack"/> ends that.</param>
internal sealed record CoreReturned(long Turn, SetHang? Hang = null) : INoSerializationVerificationNeeded;

internal sealed record CoreCameBack : INoSerializationVerificationNeeded
{
    public static CoreCameBack Instance { get; } = new();
}

/// <param name="Consumer">Who holds it; null where nobody does.</param>
internal sealed record LentMember(PciAddress Address, IActorRef? Consumer, bool ByGroup, int? IommuGroup);

// ---- Core to its IOMMU group, by way of the host (§11.3: group lock) -----------------------------------------------------------------

/// <summary>An open asks for its group (LC-13). Answered with <see cref="GroupAdmitted"/> or <see cref="GroupRefused"/>.</summary>
/// <param name="By">The open group that the device is opened by; null for its cdev.</param>
internal sealed record AdmitToGroup(long Number, int Group, PciAddress Address, GroupSessionId? By) : INoSerializationVerificationNeeded;

internal sealed record GroupAdmitted(long Number) : INoSerializationVerificationNeeded;

internal sealed record GroupRefused(long Number, VfioError Error) : INoSerializationVerificationNeeded;

/// <summary>What was admitted with this number is not open any more.</summary>
internal sealed record LeaveGroup(long Number, int Group, PciAddress Address) : INoSerializationVerificationNeeded;
