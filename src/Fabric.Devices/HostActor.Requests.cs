using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Mdev;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>What is asked of a host, by consumers and by operators.</summary>
public sealed partial class HostActor
{
    /// <summary>Who waits for a device to be gone.</summary>
    private readonly Dictionary<PciAddress, List<IActorRef>> removals = [];

    /// <summary>Changes of the number of VFs that are under way, by PF.</summary>
    private readonly Dictionary<PciAddress, (IActorRef Operation, string By)> sriov = [];

    private void Obey(HostRequest request)
    {
        switch (request)
        {
            case ListDevices:
                Sender.Tell(new DeviceList([.. statuses.Values]));
                break;
            case ShowFunctions shown:
                Show(shown.Functions);
                break;
            case GetDeviceHistory history when statuses.ContainsKey(history.Address) || standings.ContainsKey(history.Address):
                context.History.Forward(history);
                break;
            case InjectFault inject:
                Inject(inject);
                break;
            case OverrideDriver set:
                Override(set);
                break;
            case ListDrivers:
                Sender.Tell(DescribeDrivers());
                break;
            case LoadDrivers load:
                Load(load);
                break;
            case UnloadDriver unload:
                Unload(unload);
                break;
            case ConfigureSriov configure:
                Configure(configure);
                break;
            case MdevRequest mediated when mdevs is not null:
                mdevs.Forward(mediated);
                break;
            case MdevRequest mediated:
                Sender.Tell(MdevActor.AnswerWithoutParents(mediated));
                break;
            case DeviceCommand command when supervised.TryGetValue(command.Address, out var device):
                if (command is RemoveDevice { PlanOnly: false })
                    Waiting(command.Address).Add(Sender);
                device.Supervisor.Forward(command);
                break;
            case RemoveDevice remove when unbound.ContainsKey(remove.Address):
                RemoveUnbound(remove);
                break;
            case DeviceCommand command when unprobed.TryGetValue(command.Address, out var asked):
                (unprobed[command.Address] = asked ?? []).Add((command, Sender));
                break;
            case DeviceCommand command:
                Sender.Tell(Unknown(command.Address));
                break;
            default:
                Unhandled(request);
                break;
        }
    }

    private List<IActorRef> Waiting(PciAddress address) => removals.TryGetValue(address, out var waiting) ? waiting : removals[address] = [];

    /// <summary>One that is handed out, or was and is on its way, is not theirs to show.</summary>
    private void Show(ImmutableArray<DeviceStatus> functions)
    {
        var now = functions.Where(function => listed.Contains(function.Address) || !statuses.ContainsKey(function.Address)).ToDictionary(static function => function.Address);
        foreach (var gone in listed.Where(address => !now.ContainsKey(address) && !supervised.ContainsKey(address)))
        {
            statuses.Remove(gone);
            Context.System.EventStream.Publish(new DeviceGone(gone, "it is not on this machine's bus any more"));
        }

        foreach (var function in now.Values.Where(function => !supervised.ContainsKey(function.Address) && !IsShown(function)))
        {
            statuses[function.Address] = function;
            Context.System.EventStream.Publish(new DeviceStatusChanged(function));
        }

        listed = [.. now.Keys.Where(address => !supervised.ContainsKey(address))];
    }

    private bool IsShown(DeviceStatus function) =>
        statuses.TryGetValue(function.Address, out var shown) && shown.ResetMethods.SequenceEqual(function.ResetMethods)
            && shown with { ResetMethods = function.ResetMethods } == function;

    private DeviceFailed Unknown(PciAddress address) => statuses.ContainsKey(address)
        ? new DeviceFailed(Errno.ENODEV, $"{address} is shown by this host, and not handed out; bind it to vfio-pci first.")
        : new DeviceFailed(Errno.ENODEV, $"This host has no device {address} to hand out; list its devices.");

    // ---- SR-IOV (contract §5) --------------------------------------------------------------------------------------------------------

    private void Configure(ConfigureSriov command)
    {
        if (!supervised.TryGetValue(command.Address, out var physical))
        {
            Sender.Tell(Unknown(command.Address));
            return;
        }

        if (sriov.TryGetValue(command.Address, out var running))
        {
            Sender.Tell(new DeviceFailed(
                Errno.EAGAIN, $"The number of VFs of {command.Address} is being changed already, by {running.By}; try again."));
            return;
        }

        var functions = supervised.Values
            .Where(device => device.Function.PhysicalFunction == command.Address)
            .ToDictionary(device => device.Function.Address, device => device.Supervisor);
        if (command.PlanOnly)
        {
            var concerned = functions.Keys.Order().SelectMany(address => statuses[address].Concerned);
            physical.Supervisor.Forward(new PlanVirtualFunctions(command.Address, command.Count, [.. concerned.Select(static held => $"{held} and is asked to release")]));
            return;
        }

        var operation = Context.ActorOf(SriovOperation.Props(command, physical.Supervisor, functions, [.. functions.Keys.Select(address => statuses[address])], options.Bus, Sender));
        sriov[command.Address] = (Context.Watch(operation), command.By);
    }

    /// <summary>Its PF takes it off the bus, with all others of its VFs.</summary>
    private bool IsRemovedBySriov(IPciFunction function) => function.PhysicalFunction is { } physical && sriov.ContainsKey(physical);

    // ---- Faults ----------------------------------------------------------------------------------------------------------------------

    private void Inject(InjectFault inject)
    {
        if (statuses.TryGetValue(inject.Address, out var known) && known.Physical)
        {
            Sender.Tell(new DeviceFailed(Errno.EOPNOTSUPP, $"{inject.Address} is a real function; faults can be injected into emulated ones only."));
            return;
        }

        if (options.Bus is not IFaultInjection faults)
        {
            Sender.Tell(new DeviceFailed(Errno.EOPNOTSUPP, "Faults can be injected into emulated functions only."));
            return;
        }

        if (inject is { PlanOnly: true } and not (InjectReturn or InjectAer) && !statuses.ContainsKey(inject.Address))
        {
            Sender.Tell(Unknown(inject.Address));
            return;
        }

        if (inject.IsPlanned(Sender, $"a fault would be made in {inject.Address}, or ended", statuses.GetValueOrDefault(inject.Address)?.Concerned ?? []))
            return;
        // The report of an error comes back by way of the bus, as a real one would: remember who waits for it, before it can come.
        if (inject is InjectAer aer)
        {
            injectors.TryAdd(aer.Address, []);
            injectors[aer.Address].Add(Sender);
        }

        var injected = AskBus(_ => inject switch
        {
            InjectAer error => faults.InjectAer(error.Address, error.Severity),
            InjectHang hang => faults.Hang(hang.Address, hang.Point),
            ReleaseHang release => faults.Release(release.Address),
            InjectRemoval removal => faults.PullOut(removal.Address),
            InjectReturn back => faults.PutBack(back.Address),
            InjectFlap flap => faults.Flap(flap.Address, flap.Times, flap.Each),
            _ => VfioResult.Fail(Errno.EINVAL, "There is no such fault."),
        }, VfioResult.Fail(Errno.EIO, "The bus failed at it."));
        // Others may wait at the same device for what they injected.
        if (!injected.IsOk && inject is InjectAer && injectors.TryGetValue(inject.Address, out var waiting) && waiting.Remove(Sender) && waiting.Count == 0)
            injectors.Remove(inject.Address);
        if (!injected.IsOk)
            Sender.Tell(new DeviceFailed(injected.Error));
        else if (inject is not InjectAer)
            Sender.Tell(HostDone.Instance);
    }
}

/// <summary>Told to a PF's supervisor by the host: a change of VFs that is only planned.</summary>
/// <param name="Held">VFs that are held, and by whom.</param>
internal sealed record PlanVirtualFunctions(PciAddress Address, int Count, ImmutableArray<string> Held) : DeviceCommand(Address);
