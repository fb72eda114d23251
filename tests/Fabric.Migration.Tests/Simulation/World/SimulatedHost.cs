using Akka.Actor;
using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>A host: the real fence, <see cref="AttachmentsActor"/>, over simulated functions, which a new life of it finds reset.</summary>
internal sealed class SimulatedHost : SimulatedNode
{
    public const string Model = "accelerator";

    private static readonly PciIds Ids = new(0x1b36, 0xfab1);

    private readonly Dictionary<string, IActorRef> doors = [];
    private int tokens;

    public SimulatedHost(Simulation run, int index, string name, int functions, NodeTime time)
        : base(run, index, name, time) => Functions =
        [.. Enumerable.Range(1, functions).Select(function => new SimulatedFunction(run, name, time, PciAddress.Parse($"fab{index}:01:00.{function}")))];

    public IReadOnlyList<SimulatedFunction> Functions { get; }

    /// <summary>The fence; nobody while the host does not live.</summary>
    public IActorRef Attachments { get; private set; } = ActorRefs.Nobody;

    public SimulatedFunction FunctionAt(string address) => Functions.First(function => function.Address.ToString() == address);

    public override void Populate(Life life, IActorContext context)
    {
        var uplink = context.ActorOf(Props.Create(() => new Uplink(Run, life)).WithDispatcher(Dispatcher), "uplink");
        var devices = context.ActorOf(Props.Create(() => new DevicesDouble(this)).WithDispatcher(Dispatcher), "devices");
        AttachmentsActor.AttachmentProps attachment = (claim, functions, lease) =>
            Props.Create(() => new SimulatedAttachment(Run, life, this, claim, functions[0], lease)).WithDispatcher(Dispatcher);
        var fence = Run.Options.Fault switch
        {
            SeededFault.FenceIgnoresGenerations => Props.Create(() => new FencelessAttachments(Name, devices, attachment)),
            SeededFault.HostIgnoresItsLease => AttachmentsActor.Props(Name, devices, attachment, new StoppedTime()),
            _ => AttachmentsActor.Props(Name, devices, attachment, Time),
        };
        Attachments = context.ActorOf(fence.WithDispatcher(Dispatcher), "attachments");
        Attachments.Tell(new UplinkConnected(uplink));
    }

    /// <summary>Opens a door for one transfer; its token is also the port.</summary>
    public string OpenDoor(IActorRef target)
    {
        var endpoint = $"{Name}:{++tokens}";
        doors[endpoint] = target;
        return endpoint;
    }

    public void CloseDoor(string endpoint) => doors.Remove(endpoint);

    /// <summary>What holds one of its functions throws, if there is any.</summary>
    public void ThrowOne()
    {
        if (IsAlive)
            Run.Theatre.System.ActorSelection(Attachments.Path / "*").Tell(new SimulatedAttachment.Throw(), ActorRefs.NoSender);
    }

    public IActorRef? Behind(string endpoint) => doors.GetValueOrDefault(endpoint);

    protected override void OnKilled()
    {
        Attachments = ActorRefs.Nobody;
        doors.Clear();
        foreach (var function in Functions)
            function.Die();
    }

    protected override void OnStopped()
    {
        foreach (var function in Functions)
            function.StandStill();
    }

    protected override void OnContinued()
    {
        foreach (var function in Functions)
            function.GoOn();
    }

    private DeviceList List() => new([.. Functions.Select(function => new DeviceStatus(
        function.Address, Ids, Model, Physical: false, "accelerator-vf", StateOf(function), DeviceHealth.Healthy, null, function.Holder, 4096, null, null, ["flr"]))]);

    private static DeviceState StateOf(SimulatedFunction function) => function switch
    {
        { Sick: not null } => DeviceState.Quarantined,
        { Holder: not null } => DeviceState.Open,
        _ => DeviceState.Closed,
    };

    private sealed class StoppedTime : TimeProvider
    {
        public override long GetTimestamp() => 1;
    }

    private sealed class Uplink(Simulation run, Life life) : UntypedActor
    {
        protected override void OnReceive(object message) => run.Report(life, (IHostReport)message);
    }

    private sealed class DevicesDouble(SimulatedHost host) : UntypedActor
    {
        protected override void OnReceive(object message) => Sender.Tell(host.List());
    }
}
