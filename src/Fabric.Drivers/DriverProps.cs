using Akka.Actor;
using Fabric.Devices.Drivers;

namespace Fabric.Drivers;

/// <summary>How a driver is made that is given what was found at probe, which its restarts find again.</summary>
internal static class DriverProps
{
    public static Props Of<T>(Func<T> make)
        where T : VariantDriver => Props.CreateBy(new Producer<T>(make));

    private sealed class Producer<T>(Func<T> make) : IIndirectActorProducer
        where T : VariantDriver
    {
        public Type ActorType => typeof(T);

        public ActorBase Produce() => make();

        public void Release(ActorBase actor)
        {
        }
    }
}
