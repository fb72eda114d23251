using System.Globalization;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Wire;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Migration.Fleet;

/// <summary>
/// Carries out what operators ask of a host's devices: each is one message to the host actor and one answer, within a deadline. By way of the
/// host's gateway; in the host's own process also where there is no fabric, for a sick device does not wait for the control plane.
/// </summary>
/// <param name="devices">The host actor.</param>
/// <param name="serving">Has the sockets on which devices are served; it takes and answers <see cref="IServingOperation"/>s.</param>
/// <param name="time">What deadlines are measured with.</param>
public sealed partial class DeviceOperations(string host, IActorRef devices, IActorRef serving, TimeProvider time)
{
    /// <summary>What the host's actors answer from what they know.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);

    /// <summary>What may take resets, probes and recoveries: longer than the deadline of one call to hardware.</summary>
    private static readonly TimeSpan Work = TimeSpan.FromSeconds(100);

    /// <summary>How long a removal is waited for before it is said who holds it up; as for the removal of VFs.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>A force that comes no later is waited for.</summary>
    private static readonly TimeSpan LongestForce = TimeSpan.FromSeconds(60);

    /// <summary>Gives real functions to vfio-pci and back; it takes and answers <see cref="IBindingOperation"/>s.</summary>
    public IActorRef Binding { get; init; } = ActorRefs.Nobody;

    /// <summary>Never fails: what went wrong is an <see cref="OperationRefused"/>.</summary>
    public Task<IWireMessage> RunAsync(IHostOperation operation)
    {
        ArgumentNullException.ThrowIfNull(operation);
        return operation switch
        {
            IDeviceOperation device => RunAsync(device),
            IMdevOperation mdev => RunAsync(mdev),
            IDriverOperation drivers => RunAsync(drivers),
            IServingOperation sockets => RunAsync(sockets),
            IBindingOperation bind => RunAsync(bind),
            _ => Task.FromResult<IWireMessage>(Unknown(operation)),
        };
    }

    private async Task<IWireMessage> RunAsync(IDeviceOperation operation)
    {
        if (!PciAddress.TryParse(operation.Device, out var address))
            return Wrong(operation, PciAddress.Malformed(operation.Device));
        return await (operation switch
        {
            ReadHistory read => AskAsync(operation, new GetDeviceHistory(address, read.Limit), Soon),
            InspectFunction => AskAsync(operation, new InspectDevice(address), Soon),
            ResetFunction reset => AskAsync(operation, new ResetByOperator(address, reset.Method, reset.By), Work),
            ChooseResetMethods choose => AskAsync(operation, new SetResetMethods(address, [.. choose.Methods], choose.By), Soon),
            TakeOutOfService take => AskAsync(operation, new QuarantineDevice(address, take.Reason, take.By), Soon),
            PutIntoService put => AskAsync(operation, new UnquarantineDevice(address, put.By), Work),
            ChooseDriver choose => AskAsync(operation, new OverrideDriver(address, choose.Driver, choose.By), Work),
            MakeVirtualFunctions make => AskAsync(operation, new ConfigureSriov(address, make.Count, make.By), Work),
            TakeAway take => TakeAwayAsync(take, address),
            InjectError error => FaultWords.SeverityOf(error.Severity) is { } severity
                ? AskAsync(operation, new InjectAer(address, severity), Work)
                : Task.FromResult<IWireMessage>(Wrong(error, $"'{error.Severity}' is not a severity; there are correctable, non-fatal and fatal.")),
            HangFunction hang => FaultWords.PointOf(hang.Point) is { } point
                ? AskAsync(operation, new InjectHang(address, point), Soon)
                : Task.FromResult<IWireMessage>(Wrong(hang, $"'{hang.Point}' is nothing that hangs; there are config, region, reset and sriov.")),
            ReleaseFunction => AskAsync(operation, new ReleaseHang(address), Soon),
            PullOutFunction => AskAsync(operation, new InjectRemoval(address), Soon),
            PutBackFunction => AskAsync(operation, new InjectReturn(address), Soon),
            FlapLink flap => AskAsync(operation, new InjectFlap(address, flap.Times, TimeSpan.FromMilliseconds(flap.EachMs)), Soon),
            _ => Task.FromResult<IWireMessage>(Unknown(operation)),
        });
    }

    private async Task<IWireMessage> RunAsync(IServingOperation operation) =>
        await AskAsync<IWireMessage>(serving, operation, Work)
            ?? Refuse(operation.Subject, Errno.ETIMEDOUT, $"{host}/{operation.Subject}: no answer in time. What was asked may go on; look at the sockets.");

    private async Task<IWireMessage> RunAsync(IBindingOperation operation) =>
        await AskAsync<IWireMessage>(Binding, operation, Work) ?? Refuse(
            operation.Device, Errno.ETIMEDOUT,
            $"{host}/{operation.Device}: the kernel has not answered in time. What was asked goes on; see its log, and 'fabric device show {host}/{operation.Device}'.");

    private OperationRefused Unknown(IHostOperation operation) =>
        Refuse(operation.Subject, Errno.EINVAL, $"{host} knows no {operation.GetType().Name}; its version is another.");

    private async Task<IWireMessage> AskAsync(IDeviceOperation operation, HostRequest request, TimeSpan deadline) =>
        await AskAsync<object>(request with { PlanOnly = operation.PlanOnly }, deadline) is { } reply
            ? Answer(operation, reply)
            : Refuse(
                operation.Device, Errno.ETIMEDOUT,
                $"{host}/{operation.Device} has not answered in time. What was asked of it may go on; "
                + $"look at it with 'fabric device show {host}/{operation.Device}'.");

    private Task<T?> AskAsync<T>(HostRequest request, TimeSpan deadline)
        where T : class => AskAsync<T>(devices, request, deadline);

    /// <summary>Null where the deadline passes first.</summary>
    private async Task<T?> AskAsync<T>(IActorRef actor, object request, TimeSpan deadline)
        where T : class
    {
        using var passed = new CancellationTokenSource(deadline, time);
        try
        {
            return await actor.Ask<T>(request, passed.Token);
        }
        catch (OperationCanceledException) when (passed.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>A removal goes on for as long as its holder takes; who asked is told of that.</summary>
    private async Task<IWireMessage> TakeAwayAsync(TakeAway take, PciAddress address)
    {
        var force = take.ForceAfterMs is { } after ? TimeSpan.FromMilliseconds(after) : (TimeSpan?)null;
        if (await AskAsync<object>(new RemoveDevice(address, take.By, force) { PlanOnly = take.PlanOnly }, PatienceWith(force)) is { } reply)
            return Answer(take, reply);
        if (await AskAsync<DeviceList>(ListDevices.Instance, Soon) is not { } known)
            return Refuse(take.Device, Errno.ETIMEDOUT, $"{host} has not answered in time; look at its daemon.");
        return known.Devices.FirstOrDefault(device => device.Address == address) is { } still
            ? Awaited(take.Device, still, force)
            : new OperationDone(take.Device);
    }

    private static TimeSpan PatienceWith(TimeSpan? force) => force <= LongestForce ? force.Value + Patience : Patience;

    private HolderAwaited Awaited(string device, DeviceStatus still, TimeSpan? force)
    {
        var name = $"{host}/{still.Address}";
        var waits = still.Holder is { } holder
            ? $"{name} is held by {holder}, who is asked for release{(still.Reason is { } reason ? $" ({reason})" : "")}"
            : $"{name} is not gone yet; it is {DeviceEntries.Word(still.State)}{(still.Reason is { } why ? $": {why}" : "")}";
        var end = force is { } after
            ? string.Create(CultureInfo.InvariantCulture, $"it ends when it is released, or by force {after.TotalSeconds:0.###} s after it began")
            : "it ends when it is released";
        return new HolderAwaited(device, still.Holder, $"{waits}. The removal goes on; {end}.");
    }

    /// <summary>As many as one message takes.</summary>
    private static DeviceHistoryLine[] Newest(DeviceHistoryRead history)
    {
        DeviceHistoryLine[] lines = [.. history.Entries.Select(static entry => new DeviceHistoryLine(entry.Time, entry.Kind, entry.Message))];
        return [.. Portions.Fitting(lines).Shown.Reverse()];
    }

    private IWireMessage Answer(IDeviceOperation operation, object reply) => reply switch
    {
        HostDone => new OperationDone(operation.Device),
        CommandPlanned planned => Planned(operation, planned),
        DeviceHistoryRead history => new HistoryRead(operation.Device, Newest(history)),
        DeviceInspected inspected => new FunctionInspected(operation.Device, [.. Flatten(inspected.State, 0)]),
        SriovConfigured configured => new VirtualFunctionsMade(
            operation.Device, [.. configured.VirtualFunctions.Select(static function => function.ToString())]),
        RecoveryReport report when operation is InjectError error => new ErrorInjected(
            operation.Device, error.Severity, Outcome(report), report.Took.TotalMilliseconds, [.. report.Steps]),
        DeviceFailed failed => new OperationRefused(operation.Device, failed.Error.Errno.ToString(), failed.Error.Sentence),
        _ => Refuse(operation.Device, Errno.EIO, $"{host} answered with a {reply.GetType().Name}, which does not belong to the question."),
    };

    private static OperationPlanned Planned(IHostOperation operation, CommandPlanned planned) =>
        new(operation.Subject, planned.Would, Portions.Fitting(planned.Affects).Shown);

    private static OperationRefused Wrong(IDeviceOperation operation, string sentence) => Refuse(operation.Device, Errno.EINVAL, sentence);

    private static OperationRefused Refuse(string device, Errno errno, string sentence) => new OperationRefused(device, errno.ToString(), sentence);

    /// <summary>A message cannot hold itself, so a tree goes as its lines.</summary>
    private static IEnumerable<InspectLine> Flatten(InspectNode node, int depth) =>
        node.Children.SelectMany(child => Flatten(child, depth + 1)).Prepend(new InspectLine(depth, node.Name, node.Value));

    private static string Outcome(RecoveryReport report) => report.Recovered switch
    {
        null => "logged",
        true => "recovered",
        false => "failed",
    };
}
