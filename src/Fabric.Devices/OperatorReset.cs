using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>Told to the supervisor, which tells it back when it has noted it: who asked finds in the history what was answered.</summary>
internal sealed record OperatorResetEnded(ResetTried Tried) : INoSerializationVerificationNeeded;

/// <summary>One reset that an operator asked for: asks the core, tells the history, answers. Lives for that, and no longer than a limit.</summary>
internal sealed class OperatorReset(ResetByOperator command, IActorRef core, IActorRef supervisor, IActorRef asker, TimeSpan limit) : UntypedActor
{
    private bool answered;
    private object? reply;

    public static Props Props(ResetByOperator command, IActorRef core, IActorRef supervisor, IActorRef asker, TimeSpan limit) =>
        Akka.Actor.Props.Create(() => new OperatorReset(command, core, supervisor, asker, limit));

    protected override void PreStart()
    {
        core.Tell(new ResetCore(ResetScope.Function, command.Method));
        Context.SetReceiveTimeout(limit);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case CoreWasReset done:
                reply = done switch
                {
                    { Outcome.IsOk: false } => new DeviceFailed(done.Outcome.Error),
                    { Answers: false } => new DeviceFailed(Errno.EIO, $"{command.Address} was reset, and its config space reads all ones since."),
                    _ => HostDone.Instance,
                };
                supervisor.Tell(new OperatorResetEnded(
                    new ResetTried(command.Method ?? "reset", done.Outcome.IsOk, $"asked for by {command.By}", done.Took)));
                break;
            case OperatorResetEnded when reply is not null:
                Answer(reply);
                break;
            case ReceiveTimeout:
                Answer(new DeviceFailed(Errno.ETIMEDOUT, $"The reset of {command.Address} has not ended within {limit.TotalSeconds:0} s; inspect the device."));
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Answer(object outcome)
    {
        answered = true;
        asker.Tell(outcome);
        Context.Stop(Self);
    }

    /// <summary>Its supervisor failed, or the device is gone.</summary>
    protected override void PostStop()
    {
        if (!answered)
            asker.Tell(reply ?? new DeviceFailed(Errno.EIO, $"{command.Address} failed or left before its reset had ended; ask for its state."));
    }
}
