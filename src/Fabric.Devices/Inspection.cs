using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices;

/// <summary>Collects the live state of one device from its supervisor, driver and core, as far as they answer in time. Lives for one question.</summary>
internal sealed class Inspection : UntypedActor
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly InspectNode supervisor;
    private readonly ImmutableArray<IActorRef> drivers;
    private readonly IActorRef core;
    private readonly IActorRef asker;
    private readonly InspectNode?[] ofDrivers;
    private InspectNode? ofCore;
    private bool answered;

    public Inspection(InspectNode supervisor, ImmutableArray<IActorRef> drivers, IActorRef core, IActorRef asker)
    {
        (this.supervisor, this.drivers, this.core, this.asker) = (supervisor, drivers, core, asker);
        ofDrivers = new InspectNode?[drivers.Length];
    }

    public static Props Props(DeviceStatus status, HardwareHung? hung, DeviceStanding standing, ImmutableArray<IActorRef> drivers, IActorRef core, IActorRef asker)
    {
        var supervisor = InspectNode.Tree(
            "supervisor",
            InspectNode.Leaf("state", status.State.ToString()),
            InspectNode.Leaf("health", status.Health.ToString()),
            InspectNode.Leaf("reason", status.Reason ?? "none"),
            InspectNode.Leaf("way back", status.WayBack ?? "none"),
            InspectNode.Leaf("holder", status.Holder ?? "nobody"),
            InspectNode.Leaf("driver", status.Driver ?? "none (core alone)"),
            InspectNode.Leaf("hangs in", hung?.Call ?? "nothing"),
            InspectNode.Leaf("restarts within the window", standing.Restarts.Length),
            InspectNode.Leaf("freezes within the window", standing.Freezes.Length));
        return Akka.Actor.Props.Create(() => new Inspection(supervisor, drivers, core, asker));
    }

    protected override void PreStart()
    {
        foreach (var driver in drivers)
            driver.Tell(InspectPart.Instance);
        core.Tell(InspectPart.Instance);
        Context.SetReceiveTimeout(Patience);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case PartInspected part when drivers.IndexOf(Sender) is >= 0 and var which:
                ofDrivers[which] = part.State;
                break;
            case PartInspected part when Sender.Equals(core):
                ofCore = part.State;
                break;
            case ReceiveTimeout:
                FillIn("does not answer");
                break;
        }

        if (ofDrivers.Contains(null) || ofCore is null)
            return;
        Answer();
        Context.Stop(Self);
    }

    /// <summary>Its supervisor failed, or the device is gone: what is known by then is told.</summary>
    protected override void PostStop()
    {
        FillIn("is gone");
        if (!answered)
            Answer();
    }

    private void FillIn(string what)
    {
        for (var driver = 0; driver < ofDrivers.Length; driver++)
            ofDrivers[driver] ??= InspectNode.Leaf("driver", what);
        ofCore ??= InspectNode.Leaf("core", what);
    }

    private void Answer()
    {
        answered = true;
        asker.Tell(new DeviceInspected(InspectNode.Tree("device", [supervisor, .. ofDrivers!, ofCore!])));
    }
}
