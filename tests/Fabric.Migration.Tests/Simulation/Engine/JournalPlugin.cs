using Akka.Actor;
using Akka.Persistence;

namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>The journal and snapshot store of a run, as persistent actors ask for them.</summary>
internal interface ISimulatedJournal
{
    void Write(WriteMessages write);

    void Replay(ReplayMessages replay);

    void Save(SaveSnapshot save, IActorRef sender);

    void Load(LoadSnapshot load, IActorRef sender);
}

/// <summary>Hands what persistent actors ask of their journal to that of the run on stage.</summary>
internal sealed class JournalPlugin : UntypedActor
{
    private readonly Stage stage = Context.System.Settings.Setup.Get<Stage>().Value;

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case WriteMessages write:
                stage.Journal?.Write(write);
                break;
            case ReplayMessages replay:
                stage.Journal?.Replay(replay);
                break;
            default:
                Unhandled(message);
                break;
        }
    }
}

/// <summary>As <see cref="JournalPlugin"/>, for snapshots.</summary>
internal sealed class SnapshotPlugin : UntypedActor
{
    private readonly Stage stage = Context.System.Settings.Setup.Get<Stage>().Value;

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case LoadSnapshot load:
                stage.Journal?.Load(load, Sender);
                break;
            case SaveSnapshot save:
                stage.Journal?.Save(save, Sender);
                break;
            default:
                Unhandled(message);
                break;
        }
    }
}
