using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;
using Fabric.Vfio;

namespace Fabric.Migration.Fleet;

/// <summary>How a host appears to the fabric.</summary>
/// <param name="Devices">The host actor, in the host's own actor system.</param>
/// <param name="Attachments">The claims' attachments, in the host's own actor system.</param>
/// <param name="Time">What events are dated with, and deadlines measured.</param>
public sealed record HostGatewayOptions(
    string Host, string Api, string Version, ActorSystem HostSystem, IActorRef Devices, IActorRef Attachments, TimeProvider Time)
{
    /// <summary><c>key=value</c> each.</summary>
    public string[] Labels { get; init; } = [];

    /// <summary>Has the sockets on which devices are served, in the host's own actor system.</summary>
    public IActorRef Serving { get; init; } = ActorRefs.Nobody;

    /// <summary>Gives real functions to vfio-pci and back, in the host's own actor system.</summary>
    public IActorRef Binding { get; init; } = ActorRefs.Nobody;
}

/// <summary>
/// Stands between the cluster and a host's devices, <c>/user/host-gateway</c>: the cluster side can end and be joined anew while devices go on
/// running in an actor system of their own. Passes commands in, reports out to the claims, and the inventory to every control node: the whole when it
/// changed or a control node asks for it, and in between that nothing has.
/// </summary>
public sealed class HostGateway : UntypedActor, IWithTimers
{
    public const string Name = "host-gateway";

    private static readonly TimeSpan InventoryInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ChangeDelay = TimeSpan.FromMilliseconds(100);

    private readonly HostGatewayOptions options;
    private readonly IActorRef claims;
    private readonly DeviceOperations operations;
    private readonly FabricMembers members = new(Context.System);
    private readonly Guid life = Guid.NewGuid();
    private IReadOnlyList<InventoryPortion> told = [];
    private DeviceEntry[]? entries;
    private long version;

    public HostGateway(HostGatewayOptions options, IActorRef claims)
    {
        (this.options, this.claims) = (options, claims);
        operations = new DeviceOperations(options.Host, options.Devices, options.Serving, options.Time) { Binding = options.Binding };
    }

    private sealed record SendInventory
    {
        public static SendInventory Instance { get; } = new();
    }

    private sealed record FaultEnded(IDeviceFault Fault, IActorRef Requester, IWireMessage Answer) : INoSerializationVerificationNeeded;

    public ITimerScheduler Timers { get; set; } = null!;

    /// <param name="claims">The shard region of claims, or its proxy.</param>
    public static Props Props(HostGatewayOptions options, IActorRef claims) => Akka.Actor.Props.Create(() => new HostGateway(options, claims));

    protected override void PreStart()
    {
        options.Attachments.Tell(new UplinkConnected(Self));
        foreach (var told in (Type[])[typeof(DeviceStatusChanged), typeof(DeviceGone), typeof(DeviceNoted), typeof(DriverNoted)])
            options.HostSystem.EventStream.Subscribe(Self, told);
        Timers.StartPeriodicTimer("full", SendInventory.Instance, TimeSpan.Zero, InventoryInterval);
    }

    protected override void PostStop() => options.HostSystem.EventStream.Unsubscribe(Self);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case IHostCommand command:
                options.Attachments.Tell(command);
                break;
            case IHostReport report:
                claims.Tell(report);
                break;
            case DeviceNoted noted:
                Announce(noted);
                break;
            case DriverNoted noted:
                members.TellControls(new FabricEvent(noted.Time, $"driver.{noted.Kind}", $"{options.Host}/{noted.Plugin}", options.Host, noted.Message));
                break;
            case DeviceStatusChanged or DeviceGone:
                if (!Timers.IsTimerActive("change"))
                    Timers.StartSingleTimer("change", SendInventory.Instance, ChangeDelay);
                break;
            case SendInventory:
                options.Devices.Tell(ListDevices.Instance);
                break;
            case DeviceList devices:
                OnDevices([.. devices.Devices.Select(DeviceEntries.Of)]);
                break;
            case TellInventory:
                foreach (var portion in told)
                    Sender.Tell(portion);
                break;
            case IHostOperation operation:
                Run(operation);
                break;
            case FaultEnded ended:
                if (ended.Answer is not (OperationRefused or OperationPlanned))
                    Announce(ended.Fault);
                ended.Requester.Tell(ended.Answer);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>Every control node can tell from either whether it has missed something.</summary>
    private void OnDevices(DeviceEntry[] now)
    {
        if (entries is not null && now.Length == entries.Length && now.Zip(entries).All(static pair => pair.First.IsSame(pair.Second)))
        {
            members.TellControls(new InventoryUnchanged(options.Host, life, version));
            return;
        }

        entries = now;
        told = InventoryPortion.Of(
            new HostInventory(options.Host, options.Api, options.Version, now) { Labels = options.Labels }, life, ++version);
        foreach (var portion in told)
            members.TellControls(portion);
    }

    /// <summary>What is new in a device's history is an event of the fabric.</summary>
    private void Announce(DeviceNoted noted)
    {
        if (noted.Entry.Kind != "probed")
            members.TellControls(new FabricEvent(noted.Entry.Time, $"device.{noted.Entry.Kind}", $"{options.Host}/{noted.Address}", options.Host, noted.Entry.Message));
    }

    private void Run(IHostOperation operation)
    {
        var running = operations.RunAsync(operation);
        if (operation is IDeviceFault fault)
        {
            var requester = Sender;
            running.PipeTo(
                Self,
                success: answer => new FaultEnded(fault, requester, answer),
                failure: cause => new FaultEnded(fault, requester, Failed(cause)));
        }
        else
        {
            running.PipeTo(Sender, failure: Failed);
        }

        OperationRefused Failed(Exception cause) => new(operation.Subject, nameof(Errno.EIO), $"{options.Host}/{operation.Subject}: {cause.Message}");
    }

    /// <summary>What a fault does is in the device's history; who made it is told here.</summary>
    private void Announce(IDeviceFault fault)
    {
        var what = fault switch
        {
            InjectError { Severity: var severity } => $"a {severity} error",
            HangFunction { Point: var point } => $"a hang of {point} calls",
            ReleaseFunction => "the end of a hang",
            PullOutFunction => "being pulled out",
            PutBackFunction => "being put back",
            FlapLink flap => $"a link that flaps {flap.Times} times",
            _ => fault.GetType().Name,
        };
        var id = $"{options.Host}/{fault.Device}";
        var message = $"{what}, asked for by {fault.By}";
        members.TellControls(new FabricEvent(options.Time.GetUtcNow(), "device.fault-injected", id, options.Host, message));
    }
}
