using Akka.Actor;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Fleet;

/// <summary>Whether a host takes part in the fabric, as one node sees it; another node may see it otherwise.</summary>
public enum HostPresence
{
    /// <summary>It is no member: it has left, or was put out. It may be alive all the same.</summary>
    Absent,

    /// <summary>A member that does not answer at the moment.</summary>
    Unreachable,

    /// <summary>A member on its way out: it hears what it is told until it has gone.</summary>
    Leaving,

    Up,
}

/// <summary>What a claim knows of its fabric, and whom it tells. Nothing that is told is sure to arrive.</summary>
public interface IFabricMembers
{
    /// <summary>Name of this node.</summary>
    string Self { get; }

    /// <summary>Names of the hosts that are <see cref="HostPresence.Up"/>, each once.</summary>
    IEnumerable<string> AnsweringHosts { get; }

    HostPresence PresenceOf(string host);

    /// <summary>Tells the gateway of a host; one that is absent is told nothing.</summary>
    void TellHost(string host, object message);

    /// <summary>Tells every control node's fleet.</summary>
    void TellControls(object message);

    /// <summary>Asks this node's fleet; the answer is told to <paramref name="asker"/>. Where there are no drains, labels or groups, any host that answers will do.</summary>
    void AskFleet(RankHosts question, IActorRef asker) => asker.Tell(HostsRanked.OfEquals(AnsweringHosts, question));
}
