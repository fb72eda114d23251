using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>What operators and the host have a device do: quarantine and the way back, resets, removal.</summary>
internal sealed partial class DeviceSupervisor
{
    private void Obey(DeviceCommand command)
    {
        switch (command)
        {
            case FindDevice:
                Sender.Tell(Refusal is { } refused ? new DeviceFailed(refused) : new DeviceFound(Front, Status));
                break;
            case InspectDevice:
                Context.ActorOf(Inspection.Props(Status, Hung, device.Standing, Chain, core, Sender));
                break;
            case QuarantineDevice quarantine:
                if (IsQuarantined)
                {
                    quarantine.AnswerAlready(Sender, $"{Address} is in quarantine");
                    break;
                }

                if (quarantine.IsPlanned(Sender, $"{Address} would be handed to nobody any more, and a claim on it leave it as its policy says", Status.Concerned))
                    break;
                WaitUntilKept(new Waiter(Sender, quarantine.By));
                Quarantine(quarantine.Reason, quarantine.By, readable: Hung is null);
                break;
            case UnquarantineDevice unquarantine:
                Unquarantine(unquarantine);
                break;
            case ResetByOperator or SetResetMethods when Refusal is { } refusal:
                Sender.Tell(new DeviceFailed(refusal));
                break;
            case ResetByOperator { PlanOnly: true } reset:
                PlanReset(reset);
                break;
            case ResetByOperator reset:
                Context.ActorOf(OperatorReset.Props(reset, core, Self, Sender, host.Options.SlowCallDeadline * 2));
                break;
            case SetResetMethods methods:
                SetMethods(methods);
                break;
            case PlanVirtualFunctions plan:
                core.Tell(new PlanNumVfs(plan.Count, Status.VirtualFunctions, plan.Held), Sender);
                break;
            case RemoveDevice remove:
                Remove(remove);
                break;
            case OverrideDriver set:
                Override(set);
                break;
            default:
                Unhandled(command);
                break;
        }
    }

    private VfioError? Refusal => Status.State switch
    {
        DeviceState.Quarantined => OutOfService,
        DeviceState.Removing => new VfioError(Errno.ENODEV, $"{Address} is being taken away; ask the host for its devices."),
        DeviceState.Inventory => new VfioError(Errno.ENODEV, $"{Address} is not handed out: {Status.Reason}"),
        _ => null,
    };

    // ---- Quarantine ------------------------------------------------------------------------------------------------------------------

    private VfioError OutOfService => new(Errno.EIO, $"{Address} is out of service: {device.Standing.QuarantinedFor}. {WayBack}.");

    private string WayBack => Hung is { } hang
        ? $"Wait until {hang.Call} comes back, or restart the host; then put it back with 'fabric device unquarantine'"
        : "Put it back with 'fabric device unquarantine'";

    /// <summary>Who takes devices out of service that fail.</summary>
    private const string OwnName = "fabric";

    /// <param name="readable">Whether it works well enough for its holder to be moved away; else its sessions end now.</param>
    private void Quarantine(string why, string by, bool readable)
    {
        // Before the standing: when that is acknowledged, what happened is written down too.
        Note("quarantined", $"{why} (by {by})");
        Keep(device.Standing with { QuarantinedFor = why, QuarantinedBy = by });
        if (climbing is { } ladder)
            Context.Stop(ladder);
        climbing = null;
        FenceFor(why, readable);
        if (!readable)
            core.Tell(new EndSessions(why));
        Publish(Status with
        {
            State = DeviceState.Quarantined,
            Health = DeviceHealth.Unhealthy,
            Reason = why,
            WayBack = WayBack,
            Readable = readable,
            OnPurpose = by != OwnName,
        });
    }

    /// <summary>One in quarantine whose holder could be moved away has got worse: that is over, too.</summary>
    private void NotReadable(string why)
    {
        if (!IsQuarantined || !Status.Readable)
            return;
        Publish(Status with { Readable = false, Reason = $"{device.Standing.QuarantinedFor}; then {why}", WayBack = WayBack });
        Refence();
        Note("unreadable", why);
        core.Tell(new EndSessions(why));
    }

    private void FenceFor(string why, bool readable) => Front.Tell(new FenceDevice(new VfioError(Errno.EIO, $"{Address} is out of service: {why}. {WayBack}."), OpensOnly: readable));

    private void Refence() => FenceFor(device.Standing.QuarantinedFor!, Status.Readable);

    private void Unquarantine(UnquarantineDevice command)
    {
        if (!IsQuarantined)
            Sender.Tell(new DeviceFailed(Errno.EINVAL, $"{Address} is not in quarantine; it is {Status.State}."));
        else if (Hung is { } hang)
            Sender.Tell(new DeviceFailed(Errno.EBUSY, $"{Address} hangs in {hang.Call} still; it can be put back when that has come back."));
        else if (device.Unquarantining is { } other)
            Sender.Tell(new DeviceFailed(Errno.EAGAIN, $"{Address} is being put back already, by {other.By}."));
        else if (!command.IsPlanned(Sender, $"{Address} would be reset and probed, and handed out again"))
        {
            device.Unquarantining = new Waiter(Sender, command.By);
            core.Tell(ProbeAnew.Instance);
        }
    }

    private void PutBack(Waiter by)
    {
        device.Unquarantining = null;
        WaitUntilKept(by);
        Note("unquarantined", $"by {by.By}");
        if (device.IsDriverBroken)
        {
            // What stands in for it makes way for another try.
            device.IsDriverBroken = false;
            foreach (var driver in Chain)
                driver.Tell(Kill.Instance);
        }

        Keep(device.Standing with { QuarantinedFor = null, QuarantinedBy = null, Restarts = [], Freezes = [] });
        InService("anew, after a reset");
    }

    /// <summary>Acknowledged when it is written down.</summary>
    private void OnKept(object message)
    {
        if (message is StandingKept kept && kept.Standing != device.Standing)
            return;
        foreach (var waiter in device.UntilKept)
        {
            waiter.Limit?.Cancel();
            waiter.Requester.Tell(message is StandingNotKept failed
                ? new DeviceFailed(Errno.EIO, $"It is done, but could not be written down, and is forgotten at the next start unless that works by then: {failed.Why}")
                : HostDone.Instance);
        }

        device.UntilKept = [];
    }

    private void WaitUntilKept(Waiter waiter)
    {
        device.UntilKept = device.UntilKept.Add(waiter);
        waiter.Limit = Context.System.Scheduler.ScheduleTellOnceCancelable(host.Options.SlowCallDeadline, Self, new KeepingTooLate(waiter), Self);
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    /// <summary>As the core will find it: the first method that the function has (IO-51).</summary>
    private void PlanReset(ResetByOperator command)
    {
        ImmutableArray<string> methods = command.Method is { } only ? [only] : Status.ResetMethods;
        var found = methods.Where(device.Function.ResetMethods.Contains).ToArray();
        if (found.Length == 0)
            Sender.Tell(new DeviceFailed(ResetMethod.Missing));
        else
            command.IsPlanned(Sender, $"{Address} would be reset by {string.Join(", else by ", found)}", Status.Concerned);
    }

    private void SetMethods(SetResetMethods command)
    {
        var unknown = command.Methods.Except(device.Function.ResetMethods).ToArray();
        if (unknown.Length > 0 || command.Methods.Distinct().Count() != command.Methods.Length)
        {
            Sender.Tell(new DeviceFailed(
                Errno.EINVAL, $"{Address} has the reset methods {string.Join(", ", device.Function.ResetMethods)}; give some of them, each once."));
            return;
        }

        var methods = command.Methods.IsEmpty ? "nothing" : string.Join(", else by ", command.Methods);
        if (command.IsPlanned(Sender, $"{Address} would be reset by {methods} from then on"))
            return;
        core.Tell(new ChangeResetMethods(command.Methods));
        WaitUntilKept(new Waiter(Sender, command.By));
        Note("reset-methods", $"{(command.Methods.IsEmpty ? "none" : string.Join(", ", command.Methods))}, by {command.By}");
        Keep(device.Standing with { ResetMethods = command.Methods });
        Publish(Status with { ResetMethods = command.Methods });
    }

    // ---- Removal (LC-32, LC-33) ------------------------------------------------------------------------------------------------------

    private void Remove(RemoveDevice command)
    {
        var first = Status.VirtualFunctions > 0 ? $" after its {Status.VirtualFunctions} VFs" : "";
        var then = Status.Holder is null ? "" : ", when its holder has released it";
        if (command.IsPlanned(Sender, $"{Address} would leave the bus{first}{then}{(Leaving is null ? "" : ", as is asked of it already")}", Status.Concerned))
            return;
        if (Leaving is null)
        {
            Note("removing", $"asked for by {command.By}");
            BeginRemoval(pulled: false, command);
        }

        if (command.ForceAfter is { } after && Leaving!.Force is null)
            device.Removal = Leaving with { Force = Context.System.Scheduler.ScheduleTellOnceCancelable(after, Self, new ForceDue(), Self) };
    }

    private void BeginRemoval(bool pulled, RemoveDevice? command = null)
    {
        var vfsFirst = !pulled && Hung is null && Status.VirtualFunctions > 0;
        device.Removal = new Removal(pulled, Leaving?.Force, vfsFirst);
        FenceForRemoval(pulled);
        Publish(Status with { State = DeviceState.Removing, Reason = pulled ? "it was pulled out" : Status.Reason });
        if (Hung is not null)
            Release(pulled);
        else if (vfsFirst)
            RemoveVfs(command);
        else
            core.Tell(LeaveBus.Instance);
    }

    private void FenceForRemoval(bool pulled) =>
        Front.Tell(new FenceDevice(new VfioError(Errno.ENODEV, $"{Address} is being taken away; it is not opened any more."), OpensOnly: !pulled));

    /// <summary>As any change of their number: each is asked for by its own supervisor, and seen to be waited for (SV-11).</summary>
    private void RemoveVfs(RemoveDevice? command) =>
        Context.Parent.Tell(new ConfigureSriov(Address, 0, command?.By ?? "its removal") { ForceAfter = command?.ForceAfter });

    private void OnVirtualFunctions(int? count)
    {
        if (count is { } number)
        {
            Publish(Status with { VirtualFunctions = number });
            Note("sriov", $"{number} VFs");
        }

        if (Leaving is not { AfterVfs: true } leaving)
            return;
        if (count > 0)
        {
            // They were being made when the removal came.
            RemoveVfs(null);
            return;
        }

        // Where nothing came of it the core has its own way (LC-32).
        device.Removal = leaving with { AfterVfs = false };
        core.Tell(LeaveBus.Instance);
    }

    /// <summary>Whatever the core still is to others ends: its address is free. Of a core that hangs or failed this is the only end.</summary>
    private void Release(bool pulled)
    {
        device.Slot.IsGivenUp = true;
        host.Threads.Run(host.Registered.Strike(Address));
        Context.Parent.Tell(new DeviceReleased(Address, pulled));
    }

    /// <summary>Its holder hears of it by ERR, and loses it.</summary>
    private void OnPulledOut()
    {
        Note("pulled-out", Status.Holder is { } holder ? $"while {holder} held it" : "nobody held it");
        if (device.Unquarantining is { } back)
        {
            device.Unquarantining = null;
            back.Requester.Tell(new DeviceFailed(Errno.ENODEV, $"{Address} was pulled out."));
        }

        core.Tell(new ErrorDetected(ChannelState.PermanentFailure, new AerRecord(Address, AerSeverity.Fatal, 0)));
        BeginRemoval(pulled: true);
        core.Tell(new EndSessions("the device was pulled out"));
    }
}
