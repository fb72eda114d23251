using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Pci;

namespace Fabric.Migration.Fleet;

/// <summary>How a host appears to the fabric.</summary>
/// <param name="Devices">The host actor, in the host's own actor system.</param>
/// <param name="Attachments">The claims' attachments, in the host's own actor system.</param>
public sealed record HostGatewayOptions(string Host, string Api, string Version, ActorSystem HostSystem, IActorRef Devices, IActorRef Attachments);

/// <summary>
/// Stands between the cluster and a host's devices, <c>/user/host-gateway</c>: the cluster side can end and be joined anew while devices go on
/// running in an actor system of their own. Passes commands in, reports out to the claims, and the inventory to every control node.
/// </summary>
public sealed class HostGateway : UntypedActor, IWithTimers
{
    public const string Name = "host-gateway";

    private static readonly TimeSpan FullInventoryInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ChangeDelay = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan InjectionDeadline = TimeSpan.FromSeconds(60);

    private readonly HostGatewayOptions options;
    private readonly IActorRef claims;
    private readonly FabricMembers members = new(Context.System);

    public HostGateway(HostGatewayOptions options, IActorRef claims) => (this.options, this.claims) = (options, claims);

    private sealed record SendInventory
    {
        public static SendInventory Instance { get; } = new();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    /// <param name="claims">The shard region of claims, or its proxy.</param>
    public static Props Props(HostGatewayOptions options, IActorRef claims) => Akka.Actor.Props.Create(() => new HostGateway(options, claims));

    protected override void PreStart()
    {
        options.Attachments.Tell(new UplinkConnected(Self));
        foreach (var told in (Type[])[typeof(DeviceStatusChanged), typeof(DeviceGone), typeof(DeviceNoted)])
            options.HostSystem.EventStream.Subscribe(Self, told);
        Timers.StartPeriodicTimer("full", SendInventory.Instance, TimeSpan.Zero, FullInventoryInterval);
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
            case DeviceStatusChanged or DeviceGone:
                if (!Timers.IsTimerActive("change"))
                    Timers.StartSingleTimer("change", SendInventory.Instance, ChangeDelay);
                break;
            case SendInventory:
                options.Devices.Tell(ListDevices.Instance);
                break;
            case DeviceList devices:
                members.TellControls(new HostInventory(options.Host, options.Api, options.Version, [.. devices.Devices.Select(DeviceEntries.Of)]));
                break;
            case InjectError inject:
                Inject(inject);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>What is new in a device's history is an event of the fabric.</summary>
    private void Announce(DeviceNoted noted)
    {
        if (noted.Entry.Kind != "probed")
            members.TellControls(new FabricEvent(noted.Entry.Time, $"device.{noted.Entry.Kind}", $"{options.Host}/{noted.Address}", options.Host, noted.Entry.Message));
    }

    private void Inject(InjectError inject)
    {
        var requester = Sender;
        if (!PciAddress.TryParse(inject.Device, out var address) || !Enum.TryParse<AerSeverity>(inject.Severity, out var severity))
        {
            requester.Tell(new InjectionFailed($"'{inject.Device}' is not a PCI address, or '{inject.Severity}' is not a severity."));
            return;
        }

        options.Devices.Ask<object>(new InjectAer(address, severity), InjectionDeadline).PipeTo(
            requester,
            success: reply => reply switch
            {
                RecoveryReport report => new ErrorInjected(
                    address.ToString(), inject.Severity, Outcome(report), report.Took.TotalMilliseconds, [.. report.Steps]),
                DeviceFailed failed => new InjectionFailed(failed.Error.Sentence),
                _ => new InjectionFailed($"{options.Host} gave no report of the recovery."),
            },
            failure: cause => new InjectionFailed($"{options.Host}/{address} did not finish its recovery: {cause.Message}"));
    }

    private static string Outcome(RecoveryReport report) => report.Recovered switch
    {
        null => "logged",
        true => "recovered",
        false => "failed",
    };
}
