using Akka.Actor;

namespace Fabric.Devices.History;

/// <summary>The history of a host that keeps nothing beyond its own life: the last entries of each device, and no standing.</summary>
public sealed class ForgetfulHistory : UntypedActor
{
    private readonly HistoryLog log = new();

    public static Props Props() => Akka.Actor.Props.Create(() => new ForgetfulHistory());

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case NoteHistory note:
                log.Note(note.Address, note.Entry);
                break;
            case KeepStanding keep:
                log.Keep(keep.Address, keep.Standing);
                Sender.Tell(new StandingKept(keep.Address, keep.Standing));
                break;
            case ReadStandings:
                Sender.Tell(new StandingsRead(log.Standings));
                break;
            case GetDeviceHistory get:
                Sender.Tell(log.Answer(get));
                break;
            default:
                Unhandled(message);
                break;
        }
    }
}
