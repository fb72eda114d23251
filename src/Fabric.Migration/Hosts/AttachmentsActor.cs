using System.Collections.Immutable;
using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts.Runs;
using Fabric.Pci;

namespace Fabric.Migration.Hosts;

/// <summary>Where reports go from now on: the gateway of the cluster membership that is alive. Without one they are dropped; claims ask again.</summary>
public sealed record UplinkConnected(IActorRef Gateway);

/// <summary>
/// The claims of one host, <c>/user/attachments</c> beside <c>/user/host</c>: one child for each set of functions that a claim holds. It is the host's
/// fence (L1): it remembers the highest generation it has heard of for each claim, and refuses what is older; and what has ended at its functions.
/// </summary>
public sealed partial class AttachmentsActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan StatusInterval = TimeSpan.FromMilliseconds(500);

    private readonly string host;
    private readonly IActorRef devices;
    private readonly AttachmentProps attachment;
    private readonly TimeProvider time;

    /// <summary>What was begun in another life of this host is not gone on with in this one.</summary>
    private readonly long life;

    /// <summary>The newest of each claim that waits for the list of devices.</summary>
    private readonly Dictionary<string, PlanTarget> plans = [];
    private readonly Dictionary<string, long> newestOf = [];
    private readonly Dictionary<Place, long> endedAt = [];
    private readonly Dictionary<Place, Attachment> attachments = [];
    private readonly Promises promises;
    private IActorRef uplink = ActorRefs.Nobody;
    private ServedDevices served = ServedDevices.None;

    public AttachmentsActor(string host, IActorRef devices, AttachmentProps attachment, TimeProvider time)
    {
        (this.host, this.devices, this.attachment, this.time) = (host, devices, attachment, time);
        promises = new Promises(time);
        life = time.GetUtcNow().UtcTicks;
    }

    /// <summary>How a child is made that holds the functions of one claim. It carries out commands, and tells its parent its reports.</summary>
    public delegate Props AttachmentProps(string claimId, ImmutableArray<string> devices, Lease lease);

    /// <summary>A claim at functions that the first one names: one host may hold both ends of a migration.</summary>
    private readonly record struct Place(string Claim, string Device);

    private readonly record struct Attachment(IActorRef Actor, ImmutableArray<string> Devices);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(string host, IActorRef devices, IConsumerFactory consumers, DataPlaneListener listener, TimeProvider time, IRunLog? runs = null)
    {
        var context = new AttachmentContext(host, devices, consumers, listener, time, runs);
        return Props(host, devices, (claimId, functions, lease) => AttachmentActor.Props(claimId, functions, lease, context), time);
    }

    public static Props Props(string host, IActorRef devices, AttachmentProps attachment, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new AttachmentsActor(host, devices, attachment, time));

    protected override void PreStart()
    {
        foreach (var told in (Type[])[typeof(DeviceStatusChanged), typeof(DeviceGone)])
            Context.System.EventStream.Subscribe(Self, told);
        Timers.StartPeriodicTimer(nameof(ReportStatus), ReportStatus.Instance, StatusInterval);
    }

    protected override void PostStop() => Context.System.EventStream.Unsubscribe(Self);

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
                foreach (var held in attachments.Values)
                    held.Actor.Tell(ReportStatus.Instance);
                KeepLeases();
                break;
            case ServedDevices told:
                served = told;
                break;
            case PlanTarget plan:
                // A claim that gets no answer asks again.
                plans[plan.ClaimId] = plan;
                devices.Tell(ListDevices.Instance);
                break;
            case DeviceList list:
                foreach (var plan in plans.Values)
                    Answer(plan, list);
                plans.Clear();
                break;
            case LeaseGranted granted:
                OnGranted(granted);
                break;
            case IAttachmentCommand command:
                Route(command);
                break;
            case DeviceStatusChanged changed:
                TellHolders(changed.Status.Address, changed);
                break;
            case DeviceGone gone:
                TellHolders(gone.Address, gone);
                break;
            case Detached detached:
                if (attachments.TryGetValue(new Place(detached.ClaimId, detached.Device), out var closed) && closed.Actor.Equals(Sender))
                    End(detached, closed.Actor);
                uplink.Tell(detached);
                break;
            case TargetLoaded loaded:
                if (PlaceOf(Sender) is { } at)
                    OnLoaded(loaded, at.Device);
                uplink.Tell(loaded);
                break;
            case IHostReport report:
                uplink.Tell(report);
                break;
            case Terminated ended:
                Forget(ended.ActorRef);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Answer(PlanTarget plan, DeviceList list)
    {
        var planned = TargetPlanner.Plan(host, plan, promises.OrderedFor(plan.ClaimId, served.In(list))) with { Life = life };
        promises.Note(planned);
        uplink.Tell(planned);
    }

    private void Route(IAttachmentCommand command)
    {
        var place = new Place(command.ClaimId, command.Device);
        var newest = newestOf.GetValueOrDefault(command.ClaimId);
        if (command.Generation < newest || (command is Attach or PrepareTarget && command.Generation <= endedAt.GetValueOrDefault(place)))
        {
            Context.GetLogger().Warning(
                "Claim {0}: {1} of generation {2} refused, {3} is the newest here", command.ClaimId, command.GetType().Name, command.Generation, newest);
            Refuse(command, string.Create(CultureInfo.InvariantCulture, $"{host} has seen generation {newest} of this claim and refuses {command.Generation}."), gone: false);
            return;
        }

        if (command is Attach attach && attach.Life != 0 && attach.Life != life)
        {
            Refuse(
                command, $"{host} was started anew since {command.Device} was chosen there, and may have run claim {command.ClaimId} before; create it again.", gone: true);
            return;
        }

        if ((command is Attach || attachments.ContainsKey(place)) && MustWait(place, command))
        {
            newestOf[command.ClaimId] = command.Generation;
            return;
        }

        if (attachments.TryGetValue(place, out var held))
        {
            newestOf[command.ClaimId] = command.Generation;
            held.Actor.Tell(command);
            return;
        }

        switch (command)
        {
            case IOpeningCommand opening:
                newestOf[command.ClaimId] = command.Generation;
                ImmutableArray<string> functions = [.. opening.Devices];
                var opened = Context.ActorOf(
                    attachment(command.ClaimId, functions, LeaseFor(place, command)), $"claim-{command.ClaimId}-{command.Generation}");
                Context.Watch(opened);
                attachments[place] = new Attachment(opened, functions);
                opened.Tell(command);
                break;
            case Detach:
                newestOf[command.ClaimId] = command.Generation;
                endedAt[place] = command.Generation;
                leases.Remove(place);
                uplink.Tell(new Detached(command.ClaimId, host, command.Generation, command.Device));
                break;
            default:
                Refuse(command, $"{host} holds nothing of claim {command.ClaimId}; what it held ended with an earlier life of its daemon, or with a failure.", gone: true);
                break;
        }
    }

    /// <summary>Forgotten at once: a newer generation may come before the old attachment has stopped.</summary>
    private void End(Detached detached, IActorRef closed)
    {
        var place = new Place(detached.ClaimId, detached.Device);
        endedAt[place] = detached.Generation;
        attachments.Remove(place);
        leases.Remove(place);
        Context.Stop(closed);
    }

    /// <summary>What happens to a function is told to the attachments that hold it.</summary>
    private void TellHolders(PciAddress address, object message)
    {
        var device = address.ToString();
        foreach (var held in attachments.Values)
        {
            if (held.Devices.Contains(device))
                held.Actor.Tell(message);
        }
    }

    private void Refuse(IAttachmentCommand command, string reason, bool gone) =>
        uplink.Tell(new CommandFailed(command.ClaimId, host, command.Generation, command.Device, command.GetType().Name, reason, gone));

    private void Forget(IActorRef gone)
    {
        if (PlaceOf(gone) is not { } place)
            return;
        attachments.Remove(place);
        leases.Remove(place);
        // What began with it has ended with it: a command that comes late does not begin it once more.
        endedAt[place] = newestOf.GetValueOrDefault(place.Claim);
    }

    private Place? PlaceOf(IActorRef child)
    {
        foreach (var (place, held) in attachments)
        {
            if (held.Actor.Equals(child))
                return place;
        }

        return null;
    }
}
