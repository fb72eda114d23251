using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>
/// One change of the number of VFs of a PF (contract §5). VFs go first, each released by its holder (SV-11); then the PF makes the change; VFs
/// that appear are waited for until they are probed. A requester who has waited long enough hears who holds it up; the change goes on.
/// </summary>
internal sealed class SriovOperation : UntypedActor, IWithTimers
{
    /// <summary>How long a requester waits for VFs to be released before it is told who holds them.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly ConfigureSriov command;
    private readonly IActorRef physical;
    private readonly Dictionary<PciAddress, IActorRef> toGo;
    private readonly IPciBus bus;
    private readonly Dictionary<PciAddress, DeviceStatus> known;
    private IActorRef? requester;
    private ImmutableArray<PciAddress> made;

    /// <param name="functions">The VFs that there are.</param>
    /// <param name="statuses">Theirs, as they are now.</param>
    public SriovOperation(
        ConfigureSriov command, IActorRef physical, Dictionary<PciAddress, IActorRef> functions, ImmutableArray<DeviceStatus> statuses, IPciBus bus,
        IActorRef requester)
    {
        known = statuses.ToDictionary(static status => status.Address);
        (this.command, this.physical, this.bus, this.requester) = (command, physical, bus, requester);
        toGo = command.Count == 0 ? functions : [];
    }

    private sealed record PatienceOver;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(
        ConfigureSriov command, IActorRef physical, Dictionary<PciAddress, IActorRef> functions, ImmutableArray<DeviceStatus> statuses, IPciBus bus,
        IActorRef requester) =>
        Akka.Actor.Props.Create(() => new SriovOperation(command, physical, functions, statuses, bus, requester));

    protected override void PreStart()
    {
        Timers.StartSingleTimer(nameof(PatienceOver), new PatienceOver(), Patience);
        foreach (var (address, supervisor) in toGo)
            supervisor.Tell(new RemoveDevice(address, $"{command.By}, who removes the VFs of {command.Address}", command.ForceAfter));
        Write();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case DeviceStatusChanged changed:
                known[changed.Status.Address] = changed.Status;
                FinishWhenProbed();
                break;
            case DeviceGone gone when gone.Address == command.Address:
                End(new DeviceFailed(Errno.ENODEV, $"{command.Address} was taken away; ask the host for its devices."));
                break;
            case DeviceGone gone when toGo.Remove(gone.Address):
                Write();
                break;
            // Not where it is an earlier one of this address that has gone only now.
            case DeviceGone gone when !made.IsDefault && bus.Functions.All(function => function.Address != gone.Address):
                made = made.Remove(gone.Address);
                FinishWhenProbed();
                break;
            case DeviceGone:
                break;
            case VirtualFunctionsSet set:
                OnSet(set.Change);
                break;
            case DeviceFailed failed:
                End(failed);
                break;
            case PatienceOver when toGo.Count > 0:
                Answer(new DeviceFailed(Errno.EBUSY, $"{string.Join("; ", toGo.Keys.Order().Select(Held))}. Their holders are asked for release; the removal goes on and ends when they are released."));
                break;
            case PatienceOver:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private string Held(PciAddress address) => $"{address} is held by {known.GetValueOrDefault(address)?.Holder ?? "somebody"}";

    private void Write()
    {
        if (toGo.Count == 0)
            physical.Tell(new SetVirtualFunctions(command.Count));
    }

    private void OnSet(SriovChange change)
    {
        if (!change.IsComplete)
        {
            End(new DeviceFailed(Errno.EBUSY, $"VFs of {command.Address} came or are held still; remove them again."));
            return;
        }

        made = [.. bus.Functions.Where(function => function.PhysicalFunction == command.Address).Select(static function => function.Address)];
        FinishWhenProbed();
    }

    private void FinishWhenProbed()
    {
        if (!made.IsDefault && made.All(address => known.TryGetValue(address, out var status) && status.State != DeviceState.Probing))
            End(new SriovConfigured(command.Address, made));
    }

    private void End(object reply)
    {
        physical.Tell(new VirtualFunctionsChanged(made.IsDefault ? null : made.Length));
        // By way of the host: who is answered may ask for the next change.
        Context.Parent.Tell(new SriovEnded(command.Address, requester, reply));
        requester = null;
        Context.Stop(Self);
    }

    /// <summary>It failed, or its host ends.</summary>
    protected override void PostStop() =>
        Answer(new DeviceFailed(Errno.EIO, $"The change of the VFs of {command.Address} was broken off; list the devices and change them again."));

    private void Answer(object reply)
    {
        requester?.Tell(reply);
        requester = null;
    }
}

/// <summary>Told to a PF's supervisor: how many VFs there are now; null where nothing came of a change.</summary>
internal sealed record VirtualFunctionsChanged(int? Count) : INoSerializationVerificationNeeded;

/// <summary>Told to the host: a change of VFs has ended.</summary>
/// <param name="Requester">Who is answered; null where that was told before who holds it up.</param>
internal sealed record SriovEnded(PciAddress Address, IActorRef? Requester, object Reply) : INoSerializationVerificationNeeded;
