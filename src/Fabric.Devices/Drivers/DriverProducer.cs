using Akka.Actor;

namespace Fabric.Devices.Drivers;

/// <summary>
/// Makes the driver of a device, at each restart. Where it cannot be made at all, what lets everything through stands in for it behind a fence,
/// so that who talks to the device gets an answer.
/// </summary>
internal sealed class DriverProducer(SupervisedDevice device, DriverRegistration driver, DriverContext context) : IIndirectActorProducer
{
    /// <summary>Made once: a restarted driver is given what its forerunner had.</summary>
    private Props? made;

    public Type ActorType => typeof(VariantDriver);

    public ActorBase Produce() => device.IsDriverBroken
        ? new PassthroughDriver(context)
        : (made ??= driver.Create(context)).NewActor();

    public void Release(ActorBase actor)
    {
    }
}
