using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices;

/// <summary>Collects the live state of one device from its supervisor, driver and core, as far as they answer in time. Lives for one question.</summary>
internal sealed class Inspection : UntypedActor
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly InspectNode supervisor;
    private readonly IActorRef driver;
    private readonly IActorRef core;
    private readonly IActorRef asker;
    private InspectNode? ofDriver;
    private InspectNode? ofCore;

    public Inspection(InspectNode supervisor, IActorRef driver, IActorRef core, IActorRef asker) =>
        (this.supervisor, this.driver, this.core, this.asker) = (supervisor, driver, core, asker);

    public static Props Props(DeviceStatus status, HardwareHung? hung, DeviceStanding standing, IActorRef driver, IActorRef core, IActorRef asker)
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
        return Akka.Actor.Props.Create(() => new Inspection(supervisor, driver, core, asker));
    }

    protected override void PreStart()
    {
        driver.Tell(InspectPart.Instance);
        core.Tell(InspectPart.Instance);
        Context.SetReceiveTimeout(Patience);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case PartInspected part when Sender.Equals(driver):
                ofDriver = part.State;
                break;
            case PartInspected part when Sender.Equals(core):
                ofCore = part.State;
                break;
            case ReceiveTimeout:
                ofDriver ??= InspectNode.Leaf("driver", "does not answer");
                ofCore ??= InspectNode.Leaf("core", "does not answer");
                break;
        }

        if (ofDriver is null || ofCore is null)
            return;
        asker.Tell(new DeviceInspected(InspectNode.Tree("device", supervisor, ofDriver, ofCore)));
        Context.Stop(Self);
    }
}
