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
    private readonly Dictionary<PciAddress, DeviceStatus> known = [];
    private IActorRef? requester;
    private ImmutableArray<PciAddress> made;

    public SriovOperation(ConfigureSriov command, IActorRef physical, Dictionary<PciAddress, IActorRef> functions, IPciBus bus, IActorRef requester)
    {
        (this.command, this.physical, this.bus, this.requester) = (command, physical, bus, requester);
        toGo = command.Count == 0 ? functions : [];
    }

    private sealed record PatienceOver;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(
        ConfigureSriov command, IActorRef physical, Dictionary<PciAddress, IActorRef> functions, IPciBus bus, IActorRef requester) =>
        Akka.Actor.Props.Create(() => new SriovOperation(command, physical, functions, bus, requester));

    protected override void PreStart()
    {
        Timers.StartSingleTimer(nameof(PatienceOver), new PatienceOver(), Patience);
        foreach (var (address, supervisor) in toGo)
            supervisor.Tell(new RemoveDevice(address, $"{command.By}, who removes the VFs of {command.Address}"));
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
            case DeviceGone gone when toGo.Remove(gone.Address):
                Write();
                break;
            case DeviceGone:
                break;
            case VfsConfigured configured:
                OnConfigured(configured.Outcome);
                break;
            case PatienceOver when toGo.Count > 0:
                Answer(new DeviceFailed(Errno.EBUSY, $"{string.Join("; ", toGo.Keys.Order().Select(Held))}. Their holders are asked for release; the removal goes on and ends when they are released."));
                break;
            case PatienceOver:
                break;
            case ConfigureSriov:
                Sender.Tell(new DeviceFailed(Errno.EAGAIN, $"The number of VFs of {command.Address} is being changed already, by {command.By}; try again."));
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
            physical.Tell(new ConfigureVfs(command.Count));
    }

    private void OnConfigured(VfioResult<SriovChange> outcome)
    {
        if (!outcome.IsOk)
        {
            End(new DeviceFailed(outcome.Error));
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
        Answer(reply);
        Context.Stop(Self);
    }

    private void Answer(object reply)
    {
        requester?.Tell(reply);
        requester = null;
    }
}

/// <summary>Told to a PF's supervisor: how many VFs there are now; null where nothing came of a change.</summary>
internal sealed record VirtualFunctionsChanged(int? Count) : INoSerializationVerificationNeeded;
