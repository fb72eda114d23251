using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Drivers;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>What a host is made of.</summary>
/// <param name="Inventory">Functions that are shown and not handed out.</param>
/// <param name="StateBytesOf">Bytes of device state of a claimable function; null where it has none.</param>
public sealed record HostOptions(
    IPciBus Bus, DriverCatalog Drivers, ImmutableArray<DeviceStatus> Inventory, Func<IPciFunction, long?> StateBytesOf, TimeProvider Time);

/// <summary>
/// One per node, <c>/user/host</c>: probes the functions of its machine, one supervisor each, knows their addresses, and takes the errors that
/// the bus reports to recovery. It is local and knows of no cluster: devices run whether or not anybody coordinates them.
/// </summary>
public sealed class HostActor : UntypedActor
{
    /// <summary>As many as the kernel's AER queue holds.</summary>
    private const int MaxWaitingErrors = 128;

    private readonly HostOptions options;
    private readonly SortedDictionary<PciAddress, DeviceStatus> statuses = [];
    private readonly Dictionary<PciAddress, IActorRef> supervisors = [];
    private readonly Dictionary<PciAddress, Queue<IActorRef>> injectors = [];

    /// <summary>The recoveries that run, and the functions that take part in each.</summary>
    private readonly Dictionary<IActorRef, ImmutableArray<RecoveryMember>> recoveries = [];

    private readonly List<AerRecord> waitingErrors = [];

    public HostActor(HostOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        this.options = options;
        foreach (var status in options.Inventory)
            statuses[status.Address] = status;
    }

    public static Props Props(HostOptions options) => Akka.Actor.Props.Create(() => new HostActor(options));

    protected override void PreStart()
    {
        foreach (var function in options.Bus.Functions)
        {
            var driver = options.Drivers.For(function.Ids);
            var status = Describe(function, driver);
            statuses[function.Address] = status;
            supervisors[function.Address] = Context.ActorOf(
                DeviceSupervisor.Props(function, driver, status, options.Time), $"device-{function.Address}");
        }

        var self = Self;
        options.Bus.ReportTo(happened => self.Tell(happened));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ListDevices:
                Sender.Tell(new DeviceList([.. statuses.Values]));
                break;
            case FindDevice find when supervisors.TryGetValue(find.Address, out var supervisor):
                supervisor.Forward(find);
                break;
            case FindDevice find:
                Sender.Tell(new DeviceFailed(new VfioError(Errno.ENODEV, $"This host has no device {find.Address} to hand out; list its devices.")));
                break;
            case DeviceStatusChanged changed:
                statuses[changed.Status.Address] = changed.Status;
                Context.System.EventStream.Publish(changed);
                break;
            case InjectAer inject:
                Inject(inject);
                break;
            case AerReported reported:
                Recover(reported.Record);
                break;
            case RecoveryReport report:
                AnswerInjector(report);
                break;
            case Terminated gone when recoveries.Remove(gone.ActorRef):
                RecoverWaiting();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private DeviceStatus Describe(IPciFunction function, DriverRegistration? driver) => new(
        function.Address,
        function.Ids,
        driver?.Model,
        Physical: false,
        driver?.Name,
        DeviceState.Closed,
        DeviceHealth.Healthy,
        driver is null ? null : MigrationState.Running,
        Holder: null,
        options.StateBytesOf(function),
        IommuGroup: null,
        PhysicalFunction: function.PhysicalFunction,
        [.. function.ResetMethods],
        History: []);

    private void Inject(InjectAer inject)
    {
        if (options.Bus is not IFaultInjection faults)
        {
            Sender.Tell(new DeviceFailed(new VfioError(Errno.EOPNOTSUPP, "Errors can be injected into emulated functions only.")));
            return;
        }

        // The report comes back by way of the bus, as a real error would: remember who waits for it.
        injectors.TryAdd(inject.Address, new Queue<IActorRef>());
        injectors[inject.Address].Enqueue(Sender);
        var injected = faults.InjectAer(inject.Address, inject.Severity);
        if (injected.IsOk)
            return;
        injectors.Remove(inject.Address);
        Sender.Tell(new DeviceFailed(injected.Error));
    }

    private void Recover(AerRecord record)
    {
        if (!supervisors.TryGetValue(record.Source, out var source))
        {
            Context.GetLogger().Warning("An error was reported for {0}, which is not a device of this host", record.Source);
            return;
        }

        source.Tell(new ErrorReported(record.Severity, record.Status));
        if (record.Severity == AerSeverity.Correctable)
        {
            Self.Tell(new RecoveryReport(record.Source, record.Severity, Recovered: null, TimeSpan.Zero, ["corrected by hardware: counted, nothing to recover"]));
            return;
        }

        if (waitingErrors.Count == MaxWaitingErrors)
        {
            Context.GetLogger().Error("An error of {0} is dropped: {1} others wait for recovery already", record.Source, MaxWaitingErrors);
            Self.Tell(new RecoveryReport(record.Source, record.Severity, Recovered: false, TimeSpan.Zero, ["dropped: too many errors wait for recovery"]));
            return;
        }

        waitingErrors.Add(record);
        RecoverWaiting();
    }

    /// <summary>Starts the recoveries that can: those of which no function takes part in another one. Errors under one port go one after the other.</summary>
    private void RecoverWaiting()
    {
        foreach (var record in waitingErrors.ToArray())
        {
            var scope = options.Bus.RecoveryScope(record.Source)
                .Where(supervisors.ContainsKey)
                .Select(address => new RecoveryMember(address, supervisors[address]))
                .ToImmutableArray();
            if (recoveries.Values.Any(running => running.Intersect(scope).Any()))
                continue;
            waitingErrors.Remove(record);
            recoveries[Context.Watch(Context.ActorOf(RecoveryActor.Props(record, scope, options.Bus, options.Time)))] = scope;
        }
    }

    private void AnswerInjector(RecoveryReport report)
    {
        if (injectors.TryGetValue(report.Source, out var waiting) && waiting.TryDequeue(out var injector))
        {
            injector.Tell(report);
            if (waiting.Count == 0)
                injectors.Remove(report.Source);
        }
    }
}
