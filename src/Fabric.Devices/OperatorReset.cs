using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>One reset that an operator asked for: asks the core, tells the history, answers. Lives for that.</summary>
internal sealed class OperatorReset(ResetByOperator command, IActorRef core, IActorRef supervisor, IActorRef asker) : UntypedActor
{
    public static Props Props(ResetByOperator command, IActorRef core, IActorRef supervisor, IActorRef asker) =>
        Akka.Actor.Props.Create(() => new OperatorReset(command, core, supervisor, asker));

    protected override void PreStart() => core.Tell(new ResetCore(ResetScope.Function, command.Method));

    protected override void OnReceive(object message)
    {
        if (message is not CoreWasReset done)
            return;
        supervisor.Tell(new ResetTried(command.Method ?? "reset", done.Outcome.IsOk, $"asked for by {command.By}", done.Took));
        asker.Tell(done switch
        {
            { Outcome.IsOk: false } => new DeviceFailed(done.Outcome.Error),
            { Answers: false } => new DeviceFailed(Errno.EIO, $"{command.Address} was reset, and its config space reads all ones since."),
            _ => HostDone.Instance,
        });
        Context.Stop(Self);
    }
}
