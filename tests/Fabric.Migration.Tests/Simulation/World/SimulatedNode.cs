using Akka.Actor;
using Akka.Cluster.Sharding;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>
/// A process of the fabric, life after life. It can be killed (what it was doing has no effect any more, what it sent is under way) and it can be
/// stood still (nothing of it goes on, and all that came meanwhile is done when it wakes).
/// </summary>
internal abstract class SimulatedNode(Simulation run, int index, string name, NodeTime time)
{
    private readonly TurnQueue queue = run.Theatre.QueueOf(index);

    public int Index { get; } = index;

    public string Name { get; } = name;

    public NodeTime Time { get; } = time;

    public Life? Life { get; private set; }

    public bool IsAlive => Life is not null;

    public bool StandsStill => queue.StandsStill;

    public bool Goes => IsAlive && !StandsStill;

    protected Simulation Run { get; } = run;

    protected string Dispatcher => Theatre.DispatcherOf(Index);

    public void Begin()
    {
        if (IsAlive)
            return;
        var life = Life = new Life(this);
        Run.Trace(Name, () => "begins");
        life.Root = Run.Theatre.System.ActorOf(Props.Create(() => new Process(life)).WithDispatcher(Dispatcher), Run.NameLife(life));
        Run.ConnectionsChanged();
    }

    public void Kill()
    {
        if (Life is not { } ended)
            return;
        Run.Trace(Name, () => "killed");
        Life = null;
        ended.IsAlive = false;
        queue.StandsStill = false;
        OnKilled();
        Run.Theatre.System.Stop(ended.Root);
        Run.ConnectionsChanged();
    }

    public void Stop()
    {
        if (!Goes)
            return;
        Run.Trace(Name, () => "stands still");
        queue.StandsStill = true;
        OnStopped();
        Run.ConnectionsChanged();
    }

    public void Continue()
    {
        if (!StandsStill)
            return;
        Run.Trace(Name, () => "goes on");
        queue.StandsStill = false;
        OnContinued();
        Run.ConnectionsChanged();
    }

    /// <summary>What runs in a process of this node.</summary>
    public abstract void Populate(Life life, IActorContext context);

    /// <summary>An actor of the process has ended by itself.</summary>
    public virtual void OnEnded(IActorRef ended)
    {
    }

    /// <summary>An actor of the process is not needed at the moment.</summary>
    public virtual void OnPassivated(IActorRef idle)
    {
    }

    protected virtual void OnKilled()
    {
    }

    protected virtual void OnStopped()
    {
    }

    protected virtual void OnContinued()
    {
    }

    /// <summary>Asks the process to run something in its context.</summary>
    protected sealed record Do(Action<IActorContext> What);

    private sealed class Process(Life life) : UntypedActor
    {
        protected override void PreStart() => life.Node.Populate(life, Context);

        protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(cause =>
        {
            life.Node.Run.Break(cause);
            return Directive.Stop;
        });

        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case Do action when life.IsAlive:
                    action.What(Context);
                    break;
                case Terminated ended when life.IsAlive:
                    life.Node.OnEnded(ended.ActorRef);
                    break;
                case Passivate passivate when life.IsAlive:
                    life.Node.OnPassivated(Sender);
                    Sender.Tell(passivate.StopMessage);
                    break;
                case Do or Terminated or Passivate:
                    break;
                default:
                    Unhandled(message);
                    break;
            }
        }
    }
}

/// <summary>One life of a process.</summary>
internal sealed class Life(SimulatedNode node)
{
    public SimulatedNode Node { get; } = node;

    public bool IsAlive { get; set; } = true;

    public IActorRef Root { get; set; } = ActorRefs.Nobody;
}
