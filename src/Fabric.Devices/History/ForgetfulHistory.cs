using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;

namespace Fabric.Devices.History;

/// <summary>The history of a host that keeps nothing beyond its own life: the last entries of each device.</summary>
public sealed class ForgetfulHistory : UntypedActor
{
    /// <summary>Entries of one device.</summary>
    public const int Length = 256;

    private readonly Dictionary<PciAddress, ImmutableQueue<DeviceHistoryEntry>> entries = [];
    private readonly Dictionary<PciAddress, int> counts = [];

    public static Props Props() => Akka.Actor.Props.Create(() => new ForgetfulHistory());

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case NoteHistory note:
                Add(note);
                break;
            case KeepStanding keep:
                Sender.Tell(new StandingKept(keep.Address, keep.Standing));
                break;
            case ReadStandings:
                Sender.Tell(new StandingsRead(ImmutableDictionary<PciAddress, DeviceStanding>.Empty));
                break;
            case GetDeviceHistory get:
                Sender.Tell(new DeviceHistoryRead([.. entries.GetValueOrDefault(get.Address, []).Reverse().Take(get.Limit)]));
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Add(NoteHistory note)
    {
        var queue = entries.GetValueOrDefault(note.Address, []).Enqueue(note.Entry);
        var count = counts.GetValueOrDefault(note.Address) + 1;
        if (count > Length)
        {
            queue = queue.Dequeue();
            count = Length;
        }

        (entries[note.Address], counts[note.Address]) = (queue, count);
    }
}
