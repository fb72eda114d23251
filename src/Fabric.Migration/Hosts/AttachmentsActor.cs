using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Hosts;

/// <summary>Where reports go from now on: the gateway of the cluster membership that is alive. Without one they are dropped; claims ask again.</summary>
public sealed record UplinkConnected(IActorRef Gateway);

/// <summary>
/// The claims of one host, <c>/user/attachments</c> beside <c>/user/host</c>: one child each. It is the host's fence (L1): it remembers the
/// highest generation it has heard of for each claim, and refuses what is older or ended.
/// </summary>
public sealed class AttachmentsActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan StatusInterval = TimeSpan.FromMilliseconds(500);

    private readonly AttachmentContext context;
    private readonly Dictionary<string, Fence> fences = [];
    private readonly Dictionary<string, IActorRef> attachments = [];
    private IActorRef uplink = ActorRefs.Nobody;

    public AttachmentsActor(string host, IActorRef devices, IConsumerFactory consumers, DataPlaneListener listener, TimeProvider time) =>
        context = new AttachmentContext(host, devices, consumers, listener, time);

    /// <param name="Ended">This generation was detached: nothing of it may come to life again.</param>
    private readonly record struct Fence(long Generation, bool Ended);

    private sealed record Planned(PlanTarget Plan, DeviceList Devices);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(string host, IActorRef devices, IConsumerFactory consumers, DataPlaneListener listener, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new AttachmentsActor(host, devices, consumers, listener, time));

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(ReportStatus), ReportStatus.Instance, StatusInterval);

    /// <summary>An attachment that throws has lost its hold on its device; the session closes with it, and the claim is told that it is gone.</summary>
    protected override SupervisorStrategy SupervisorStrategy() => Akka.Actor.SupervisorStrategy.StoppingStrategy;

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case UplinkConnected connected:
                uplink = connected.Gateway;
                break;
            case ReportStatus:
                foreach (var attachment in attachments.Values)
                    attachment.Tell(ReportStatus.Instance);
                break;
            case PlanTarget plan:
                context.Devices.Ask<DeviceList>(ListDevices.Instance, TimeSpan.FromSeconds(5))
                    .PipeTo(Self, success: devices => new Planned(plan, devices));
                break;
            case Planned planned:
                uplink.Tell(TargetPlanner.Plan(context.Host, planned.Plan, planned.Devices));
                break;
            case IHostCommand command:
                Route(command);
                break;
            case Detached detached:
                if (attachments.TryGetValue(detached.ClaimId, out var closed) && closed.Equals(Sender))
                    End(detached, closed);
                uplink.Tell(detached);
                break;
            case IHostReport report:
                uplink.Tell(report);
                break;
            case Terminated gone:
                Forget(gone.ActorRef);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Route(IHostCommand command)
    {
        var fence = FenceOf(command.ClaimId);
        var known = attachments.TryGetValue(command.ClaimId, out var attachment);
        if (command.Generation < fence.Generation || (command.Generation == fence.Generation && fence.Ended && command is not Detach))
        {
            Context.GetLogger().Warning(
                "Claim {0}: {1} of generation {2} refused, {3} is the newest here", command.ClaimId, command.GetType().Name, command.Generation, fence.Generation);
            Refuse(command, string.Create(CultureInfo.InvariantCulture, $"{context.Host} has seen generation {fence.Generation} of this claim and refuses {command.Generation}."), gone: false);
            return;
        }

        if (known)
        {
            fences[command.ClaimId] = fence with { Generation = command.Generation };
            attachment!.Tell(command);
            return;
        }

        switch (command)
        {
            case Attach or PrepareTarget:
                fences[command.ClaimId] = new Fence(command.Generation, Ended: false);
                var opened = Context.ActorOf(AttachmentActor.Props(command.ClaimId, context), $"claim-{command.ClaimId}-{command.Generation}");
                Context.Watch(opened);
                attachments[command.ClaimId] = opened;
                opened.Tell(command);
                break;
            case Detach:
                fences[command.ClaimId] = new Fence(command.Generation, Ended: true);
                uplink.Tell(new Detached(command.ClaimId, context.Host, command.Generation));
                break;
            default:
                Refuse(command, $"{context.Host} holds nothing of claim {command.ClaimId}; what it held ended with an earlier life of its daemon, or with a failure.", gone: true);
                break;
        }
    }

    /// <summary>Forgotten at once: a newer generation may come before the old attachment has stopped.</summary>
    private void End(Detached detached, IActorRef closed)
    {
        fences[detached.ClaimId] = new Fence(Math.Max(detached.Generation, FenceOf(detached.ClaimId).Generation), Ended: true);
        attachments.Remove(detached.ClaimId);
        Context.Stop(closed);
    }

    private void Refuse(IHostCommand command, string reason, bool gone) =>
        uplink.Tell(new CommandFailed(command.ClaimId, context.Host, command.Generation, command.GetType().Name, reason, gone));

    private void Forget(IActorRef gone)
    {
        foreach (var (claim, attachment) in attachments)
        {
            if (attachment.Equals(gone))
            {
                attachments.Remove(claim);
                return;
            }
        }
    }

    private Fence FenceOf(string claim) => fences.GetValueOrDefault(claim);
}
