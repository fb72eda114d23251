using System.Collections.Immutable;
using Akka.Actor;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>
/// Makes each driver of a plugin once, without a function, in an actor system of its own and on threads of its own: a constructor that throws
/// is found out before a device has it, and one that never returns takes nothing with it but that thread.
/// </summary>
internal sealed class PluginTrial : UntypedActor
{
    /// <summary>A thread for one actor, from Akka's own configuration.</summary>
    private const string Dispatcher = "akka.io.pinned-dispatcher";

    /// <summary>Of the system that it is given.</summary>
    public const string Hocon = """
        akka {
          loglevel = OFF
          stdout-loglevel = OFF
          log-dead-letters = off
          coordinated-shutdown.run-by-clr-shutdown-hook = off
        }
        """;

    private readonly Action<string?> tried;
    private ImmutableArray<PluginDriver> drivers;
    private readonly Dictionary<IActorRef, string> names = [];
    private int waiting;

    private PluginTrial(ImmutableArray<PluginDriver> drivers, Action<string?> tried)
    {
        (this.drivers, this.tried) = (drivers, tried);
        waiting = drivers.Length;
    }

    /// <param name="tried">Told once, on a thread of the trial, what is wrong with one of them, or null; never where a constructor hangs.</param>
    public static Props Props(ImmutableArray<PluginDriver> drivers, Action<string?> tried) => Akka.Actor.Props.CreateBy(new Producer(drivers, tried));

    protected override void PreStart()
    {
        foreach (var (driver, registration) in drivers)
        {
            var id = registration.Ids.FirstOrDefault();
            var context = new DriverContext(default, new Pci.PciIds(id.Vendor ?? 0, id.Device ?? 0), Self);
            var made = Context.ActorOf(driver.Create(context).WithDispatcher(Dispatcher));
            names[made] = registration.Name;
            made.Tell(new Identify(registration.Name));
        }
    }

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(cause =>
    {
        var made = cause is ActorInitializationException { InnerException: { } inner } ? inner.GetBaseException() : cause.GetBaseException();
        End($"The constructor of {names[Sender]} failed: {(made is DriverNotMadeException told ? told.Message : DriverClass.Words(made))}");
        return Directive.Stop;
    });

    protected override void OnReceive(object message)
    {
        // What drivers tell the core that they take it for is of no interest.
        if (message is ActorIdentity { Subject: not null } && --waiting == 0)
            End(null);
    }

    private void End(string? why)
    {
        if (drivers.IsEmpty)
            return;
        foreach (var (driver, _) in drivers)
        {
            if (driver.Type is { } type)
                Plugin.ForgetIn(Context.System, type);
        }

        drivers = [];
        tried(why);
        _ = Context.System.Terminate();
    }

    private sealed class Producer(ImmutableArray<PluginDriver> drivers, Action<string?> tried) : IIndirectActorProducer
    {
        public Type ActorType => typeof(PluginTrial);

        public ActorBase Produce() => new PluginTrial(drivers, tried);

        public void Release(ActorBase actor)
        {
        }
    }
}
