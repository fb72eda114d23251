using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>
/// Who uses one IOMMU group, and which way (LC-13, INV-4): its devices by their cdevs, or the group, opened once, and its devices by that. The
/// holder of an open group is watched; when it dies the group closes, and is free when the devices opened by it are closed.
/// </summary>
internal sealed class IommuGroupActor(int group) : UntypedActor
{
    /// <summary>Which way a device is open, by its address and the number of its admission: one that is left late is not another's.</summary>
    private readonly Dictionary<(PciAddress Address, long Number), GroupSessionId?> open = [];
    private (GroupSessionId Id, string Holder, IActorRef Consumer)? opened;
    private long last;

    public static Props Props(int group) => Akka.Actor.Props.Create(() => new IommuGroupActor(group));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case OpenGroup asked:
                Sender.Tell(Open(asked));
                break;
            case CloseGroup close:
                Sender.Tell(Close(close));
                break;
            case AdmitToGroup admit:
                Sender.Tell(Admit(admit));
                break;
            case LeaveGroup leave:
                open.Remove((leave.Address, leave.Number));
                break;
            case Terminated gone when opened is { } held && gone.ActorRef.Equals(held.Consumer):
                opened = null;
                break;
            case Terminated:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private DeviceReply Open(OpenGroup asked)
    {
        if (opened is { } held)
            return new DeviceFailed(Errno.EBUSY, $"IOMMU group {group} is open already, by {held.Holder}.");
        if (open.Count > 0)
            return new DeviceFailed(Errno.EBUSY, $"{OpenDevices} of IOMMU group {group} is open; close it there first.");
        var id = new GroupSessionId(group, ++last);
        opened = (id, asked.Holder, asked.Consumer);
        Context.Watch(asked.Consumer);
        return new GroupOpened(id);
    }

    private DeviceReply Close(CloseGroup close)
    {
        if (opened is not { } held || held.Id != close.Session)
            return new DeviceFailed(Errno.ENODEV, "This group session is closed; open the group again.");
        if (open.Count > 0)
            return new DeviceFailed(Errno.EBUSY, $"{OpenDevices} is open by this group; close it first.");
        Context.Unwatch(held.Consumer);
        opened = null;
        return DeviceDone.Instance;
    }

    private string OpenDevices => string.Join(", ", open.Keys.Select(static entry => entry.Address).Distinct());

    private object Admit(AdmitToGroup admit)
    {
        if (Refusal(admit.By) is { } refused)
            return new GroupRefused(admit.Number, refused);
        open[(admit.Address, admit.Number)] = admit.By;
        return new GroupAdmitted(admit.Number);
    }

    private VfioError? Refusal(GroupSessionId? by)
    {
        if (by is { } session)
            return opened?.Id == session ? null : new VfioError(Errno.EINVAL, $"IOMMU group {group} is not open by this session; open the group first.");
        if (opened is { } held)
            return new VfioError(Errno.EBUSY, $"IOMMU group {group} is open, by {held.Holder}: open its devices by the group, or close it.");
        return open.Values.Any(static way => way is not null)
            ? new VfioError(Errno.EBUSY, $"Devices of IOMMU group {group} are open by the group still.")
            : null;
    }
}
