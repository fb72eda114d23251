using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>
/// An actor system that one thread drives: every mailbox of every actor waits for the turn that it is given here, timers are virtual, the
/// journal is that of the run on stage. One is used for many runs, one after another.
/// </summary>
internal sealed class Theatre : IDisposable
{
    public const int Nodes = 8;
    private const string NodeDispatcher = "simulation.node-";

    private readonly TurnQueues queues = new(NodeDispatcher);
    private readonly Stage stage = new();

    public Theatre()
    {
        var executor = $"{typeof(TurnExecutor).FullName}, {typeof(TurnExecutor).Assembly.GetName().Name}";
        var dispatcher = $$"""
            {
              type = Dispatcher
              executor = "{{executor}}"
              throughput = 1
            }
            """;
        var config = ConfigurationFactory.ParseString($$"""
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              loggers = []
              log-dead-letters = off
              actor.default-dispatcher {{dispatcher}}
              actor.internal-dispatcher {{dispatcher}}
              scheduler.implementation = "{{typeof(VirtualScheduler).FullName}}, {{typeof(VirtualScheduler).Assembly.GetName().Name}}"
              coordinated-shutdown.run-by-actor-system-terminate = off
              coordinated-shutdown.run-by-clr-shutdown-hook = off
              persistence.journal.plugin = "simulation.journal"
              persistence.snapshot-store.plugin = "simulation.snapshots"
            }
            simulation.journal {
              class = "{{typeof(JournalPlugin).FullName}}, {{typeof(JournalPlugin).Assembly.GetName().Name}}"
              plugin-dispatcher = "akka.actor.default-dispatcher"
            }
            simulation.snapshots {
              class = "{{typeof(SnapshotPlugin).FullName}}, {{typeof(SnapshotPlugin).Assembly.GetName().Name}}"
              plugin-dispatcher = "akka.actor.default-dispatcher"
            }

            """ + string.Join('\n', Enumerable.Range(0, Nodes).Select(node => $"{NodeDispatcher}{node} {dispatcher}")) + "\n" + ClaimJournalSerializer.Hocon);
        System = ActorSystem.Create("simulation", ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config), queues, stage));
        Clock = ((VirtualScheduler)System.Scheduler).Clock;
        Settle(new Random(0));
    }

    public ActorSystem System { get; }

    public VirtualClock Clock { get; }

    public static string DispatcherOf(int node) => $"{NodeDispatcher}{node}";

    public TurnQueue QueueOf(int node) => queues[DispatcherOf(node)];

    /// <summary>Begins a run: its journal is the one that persistent actors find.</summary>
    public void Enter(ISimulatedJournal journal)
    {
        Clock.Reset();
        stage.Journal = journal;
    }

    /// <summary>Gives turns and lets time pass until it is that late.</summary>
    public void RunUntil(TimeSpan end, Random random)
    {
        do
        {
            while (queues.TakeAny(random))
            {
            }
        }
        while (Clock.Advance(end));
    }

    /// <summary>Gives turns until nobody has anything to do at this moment.</summary>
    public void Settle(Random random)
    {
        while (queues.TakeAny(random))
        {
        }
    }

    /// <summary>The system is left as it is: nothing of it runs by itself, and its end would want threads.</summary>
    public void Dispose() => Clock.Reset();
}

/// <summary>What the plugins of a <see cref="Theatre"/> find of the run on stage.</summary>
internal sealed class Stage : Setup
{
    public ISimulatedJournal? Journal { get; set; }
}
