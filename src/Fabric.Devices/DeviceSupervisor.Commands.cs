using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>What operators and the host have a device do: quarantine and the way back, resets, removal.</summary>
internal sealed partial class DeviceSupervisor
{
    private readonly List<Waiter> untilKept = [];

    private void Obey(DeviceCommand command)
    {
        switch (command)
        {
            case FindDevice:
                Sender.Tell(Refusal is { } refused ? new DeviceFailed(refused) : new DeviceFound(front, Status));
                break;
            case InspectDevice:
                Context.ActorOf(Inspection.Props(Status, hung, device.Standing, front, core, Sender));
                break;
            case QuarantineDevice quarantine:
                if (IsQuarantined)
                {
                    Sender.Tell(HostDone.Instance);
                    break;
                }

                untilKept.Add(new Waiter(Sender, quarantine.By));
                Quarantine(quarantine.Reason, quarantine.By, readable: hung is null);
                break;
            case UnquarantineDevice unquarantine:
                Unquarantine(unquarantine);
                break;
            case ResetByOperator or SetResetMethods when Refusal is { } refusal:
                Sender.Tell(new DeviceFailed(refusal));
                break;
            case ResetByOperator reset:
                Context.ActorOf(OperatorReset.Props(reset, core, Self, Sender));
                break;
            case SetResetMethods methods:
                SetMethods(methods);
                break;
            case RemoveDevice remove:
                Remove(remove);
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

    private string WayBack => hung is { } hang
        ? $"Wait until {hang.Call} comes back, or restart the host; then put it back with 'fabric device unquarantine'"
        : "Put it back with 'fabric device unquarantine'";

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
        Publish(Status with { State = DeviceState.Quarantined, Health = DeviceHealth.Unhealthy, Reason = why, WayBack = WayBack, Readable = readable });
    }

    private void FenceFor(string why, bool readable) => front.Tell(new FenceDevice(new VfioError(Errno.EIO, $"{Address} is out of service: {why}. {WayBack}."), OpensOnly: readable));

    private void Refence() => FenceFor(device.Standing.QuarantinedFor!, Status.Readable);

    private void Unquarantine(UnquarantineDevice command)
    {
        if (!IsQuarantined)
            Sender.Tell(new DeviceFailed(Errno.EINVAL, $"{Address} is not in quarantine; it is {Status.State}."));
        else if (hung is { } hang)
            Sender.Tell(new DeviceFailed(Errno.EBUSY, $"{Address} hangs in {hang.Call} still; it can be put back when that has come back."));
        else if (unquarantining is not null)
            Sender.Tell(new DeviceFailed(Errno.EAGAIN, $"{Address} is being put back already, by {unquarantining.By}."));
        else
        {
            unquarantining = new Waiter(Sender, command.By);
            core.Tell(ProbeAnew.Instance);
        }
    }

    private void PutBack(Waiter by)
    {
        unquarantining = null;
        untilKept.Add(by);
        Note("unquarantined", $"by {by.By}");
        Keep(device.Standing with { QuarantinedFor = null, QuarantinedBy = null, Restarts = [], Freezes = [] });
        InService("anew, after a reset");
    }

    /// <summary>Acknowledged when it is written down.</summary>
    private void OnKept(object message)
    {
        if (message is StandingKept kept && kept.Standing != device.Standing)
            return;
        foreach (var waiter in untilKept)
        {
            waiter.Requester.Tell(message is StandingNotKept failed
                ? new DeviceFailed(Errno.EIO, $"It is done, but could not be written down, and is forgotten at the next start unless that works by then: {failed.Why}")
                : HostDone.Instance);
        }

        untilKept.Clear();
    }

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    private void SetMethods(SetResetMethods command)
    {
        var unknown = command.Methods.Except(device.Function.ResetMethods).ToArray();
        if (unknown.Length > 0 || command.Methods.Distinct().Count() != command.Methods.Length)
        {
            Sender.Tell(new DeviceFailed(
                Errno.EINVAL, $"{Address} has the reset methods {string.Join(", ", device.Function.ResetMethods)}; give some of them, each once."));
            return;
        }

        core.Tell(new ChangeResetMethods(command.Methods));
        untilKept.Add(new Waiter(Sender, command.By));
        Note("reset-methods", $"{(command.Methods.IsEmpty ? "none" : string.Join(", ", command.Methods))}, by {command.By}");
        Keep(device.Standing with { ResetMethods = command.Methods });
        Publish(Status with { ResetMethods = command.Methods });
    }

    // ---- Removal (LC-32, LC-33) ------------------------------------------------------------------------------------------------------

    private void Remove(RemoveDevice command)
    {
        if (removal is null)
        {
            Note("removing", $"asked for by {command.By}");
            BeginRemoval(pulled: false);
        }

        if (command.ForceAfter is { } after && removal!.Force is null)
            removal = removal with { Force = Context.System.Scheduler.ScheduleTellOnceCancelable(after, Self, new ForceDue(), Self) };
    }

    private void BeginRemoval(bool pulled)
    {
        removal = new Removal(pulled, removal?.Force);
        front.Tell(new FenceDevice(new VfioError(Errno.ENODEV, $"{Address} is being taken away; it is not opened any more."), OpensOnly: !pulled));
        Publish(Status with { State = DeviceState.Removing });
        if (hung is not null)
            Context.Parent.Tell(new DeviceReleased(Address, pulled));
        else
            core.Tell(LeaveBus.Instance);
    }

    /// <summary>Its holder hears of it by ERR, and loses it.</summary>
    private void OnPulledOut()
    {
        Note("pulled-out", Status.Holder is { } holder ? $"while {holder} held it" : "nobody held it");
        core.Tell(new ErrorDetected(ChannelState.PermanentFailure, new AerRecord(Address, AerSeverity.Fatal, 0)));
        BeginRemoval(pulled: true);
        core.Tell(new EndSessions("the device was pulled out"));
    }
}
