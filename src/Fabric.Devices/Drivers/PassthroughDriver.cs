using Akka.Actor;

namespace Fabric.Devices.Drivers;

/// <summary>No driver: everything falls through, and the core alone is what the holder sees.</summary>
public sealed class PassthroughDriver(DriverContext context) : VariantDriver(context)
{
    public static Props Props(DriverContext context) => Akka.Actor.Props.CreateBy(new Producer(context));

    /// <summary>For hosts of very many devices: made once for each, and kept for its restarts.</summary>
    private sealed class Producer(DriverContext context) : IIndirectActorProducer
    {
        public Type ActorType => typeof(PassthroughDriver);

        public ActorBase Produce() => new PassthroughDriver(context);

        public void Release(ActorBase actor)
        {
        }
    }
}
