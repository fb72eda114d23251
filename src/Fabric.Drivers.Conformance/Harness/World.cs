using Akka.Actor;
using Akka.Configuration;
using Akka.TestKit;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>One actor system in virtual time, with the hosts that a check needs.</summary>
internal sealed class World : IAsyncDisposable
{
    private static readonly Config Config = ConfigurationFactory.ParseString(
        """
        akka.scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit"
        akka.loglevel = OFF
        akka.stdout-loglevel = OFF
        akka.log-dead-letters = off
        akka.log-dead-letters-during-shutdown = off
        """);

    private readonly List<IDisposable> hardware = [];
    private long answers;
    private long asked;

    public ActorSystem System { get; } = ActorSystem.Create("conformance", Config);

    public FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    public ReplyRef NewAsker() => new((ExtendedActorSystem)System, Interlocked.Increment(ref asked), () => Interlocked.Increment(ref answers));

    /// <summary>Time goes on: the actors' timers and the clock.</summary>
    public void Advance(TimeSpan time)
    {
        Time.Advance(time);
        ((TestScheduler)System.Scheduler).Advance(time);
    }

    /// <summary>Disposed of with the world.</summary>
    public void Own(IDisposable device) => hardware.Add(device);

    public async ValueTask DisposeAsync()
    {
        await System.Terminate().ConfigureAwait(false);
        hardware.ForEach(static device => device.Dispose());
    }
}
