using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>A host without a fence, broken on purpose: it carries out every command, however old, and forgets what has ended.</summary>
internal sealed class FencelessAttachments(string host, IActorRef devices, AttachmentsActor.AttachmentProps attachment) : UntypedActor, IWithTimers
{
    private readonly Dictionary<(string Claim, string Device), IActorRef> attachments = [];
    private readonly Dictionary<string, PlanTarget> plans = [];
    private IActorRef uplink = ActorRefs.Nobody;
    private int opened;

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart() =>
        Timers.StartPeriodicTimer(nameof(ReportStatus), ReportStatus.Instance, TimeSpan.FromMilliseconds(500));

    protected override SupervisorStrategy SupervisorStrategy() => Akka.Actor.SupervisorStrategy.StoppingStrategy;

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case UplinkConnected connected:
                uplink = connected.Gateway;
                break;
            case ReportStatus:
                foreach (var held in attachments.Values)
                    held.Tell(message);
                break;
            case PlanTarget plan:
                plans[plan.ClaimId] = plan;
                devices.Tell(ListDevices.Instance);
                break;
            case DeviceList list:
                foreach (var plan in plans.Values)
                    uplink.Tell(TargetPlanner.Plan(host, plan, list));
                plans.Clear();
                break;
            case IAttachmentCommand command:
                Route(command);
                break;
            case Detached detached:
                if (attachments.Remove((detached.ClaimId, detached.Device), out var closed))
                    Context.Stop(closed);
                uplink.Tell(detached);
                break;
            case IHostReport report:
                uplink.Tell(report);
                break;
            case Terminated ended:
                foreach (var (place, held) in attachments.Where(known => known.Value.Equals(ended.ActorRef)).ToArray())
                    attachments.Remove(place);
                break;
        }
    }

    private void Route(IAttachmentCommand command)
    {
        var place = (command.ClaimId, command.Device);
        if (!attachments.TryGetValue(place, out var held) && command is Attach or PrepareTarget)
        {
            held = attachments[place] = Context.ActorOf(attachment(command.ClaimId, [command.Device], Lease.None), $"{command.ClaimId}-{++opened}");
            Context.Watch(held);
        }

        if (held is not null)
            held.Tell(command);
        else if (command is Detach)
            uplink.Tell(new Detached(command.ClaimId, host, command.Generation, command.Device));
        else
            uplink.Tell(new CommandFailed(command.ClaimId, host, command.Generation, command.Device, command.GetType().Name, "nothing is held", Gone: true));
    }
}
