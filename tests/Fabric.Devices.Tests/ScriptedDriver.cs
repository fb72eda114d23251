using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Uapi;

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

    public Action<DriverMessage> Heard { get; set; } = _ => { };

    /// <summary>What it shows of itself.</summary>
    public Func<string>? Show { get; set; }

    public static Props Props(DriverContext context, Action<ScriptedDriver> script) =>
        Akka.Actor.Props.Create(() => new ScriptedDriver(context, script));

    public void Take<T>(Action<T> handle)
        where T : DeviceRequest => On(handle);

    public void Take<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest => On(when, handle);

    public void See<T>(Action<T> look)
        where T : DeviceRequest => Observe(look);

    public void SeeAll(Action<DeviceRequest> look) => ObserveAll(look);

    public void Change<T>(Func<T, DeviceRequest> change)
        where T : DeviceRequest => Rewrite(change);

    public void ChangeReply<TRequest, TReply>(Func<TRequest, TReply, DeviceReply> change)
        where TRequest : DeviceRequest
        where TReply : DeviceReply => RewriteReply(change);

    public void Lack<T>(string sentence)
        where T : DeviceRequest => Hide<T>(sentence);

    public void LackRegion(int index) => HideRegion(index);

    public void Have(IDeviceRegion region) => AddRegion(region);

    public void Have(InfoCapability capability) => AddInfoCapability(capability);

    public void Have(ushort feature, FeatureOperations operations, Func<UseFeature, VfioResult<ReadOnlyMemory<byte>>> use) =>
        AddFeature(feature, operations, use);

    public void Answer(DeviceReply reply) => Reply(reply);

    public void Pass() => Forward();

    public void Ask(DeviceRequest request, Action<DeviceReply> then) => AskCore(request, then);

    public void Wait(TimeSpan delay, Action then) => After(delay, then);

    public static void Tell(DeviceFact fact) => Record(fact);

    protected override void OnFunctionReset(VfioResult outcome) => WasReset(outcome);

    protected override void OnSessionClosed(SessionId session) => Closed(session);

    protected override void OnOwnMessage(DriverMessage message) => Heard(message);

    protected override ImmutableArray<InspectNode> InspectOwn() => Show is null ? [] : [InspectNode.Leaf("shows", Show())];
}
