using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>A driver that a test writes where it needs it: the kit's own words, made public.</summary>
internal sealed class ScriptedDriver : VariantDriver
{
    public ScriptedDriver(DriverContext context, Action<ScriptedDriver> script)
        : base(context) => script(this);

    public PciAddress At => Address;

    public IActorRef Asker => Requester;

    public Action<SessionId> Closed { get; set; } = _ => { };

    public Action<VfioResult> WasReset { get; set; } = _ => { };

    public static Props Props(DriverContext context, Action<ScriptedDriver> script) =>
        Akka.Actor.Props.Create(() => new ScriptedDriver(context, script));

    public void Take<T>(Action<T> handle)
        where T : DeviceRequest => On(handle);

    public void Take<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest => On(when, handle);

    public void Answer(DeviceReply reply) => Reply(reply);

    public void Ask(DeviceRequest request, Action<DeviceReply> then) => AskCore(request, then);

    public static void Tell(DeviceFact fact) => Record(fact);

    protected override void OnFunctionReset(VfioResult outcome) => WasReset(outcome);

    protected override void OnSessionClosed(SessionId session) => Closed(session);
}
