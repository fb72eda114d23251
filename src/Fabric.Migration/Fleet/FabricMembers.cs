using Akka.Actor;
using Akka.Cluster;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Fleet;

/// <summary>
/// The nodes of the fabric as the cluster knows them. A node's name and journal travel as roles of its membership, so that who is who is
/// known as soon as, and no longer than, it is a member.
/// </summary>
public sealed class FabricMembers(ActorSystem system) : IFabricMembers
{
    public const string ControlRole = "control";
    public const string HostRole = "host";
    private const string NamePrefix = "name:";
    private const string JournalPrefix = "journal:";

    private readonly Cluster cluster = Cluster.Get(system);

    /// <summary>Name of this node.</summary>
    public string Self => NameOf(cluster.SelfMember);

    /// <summary>The roles by which a node joins.</summary>
    public static string[] RolesOf(string name, IEnumerable<string> roles, string? journal) =>
        [.. roles, NamePrefix + name, .. journal is null ? Array.Empty<string>() : [JournalPrefix + journal]];

    public static string NameOf(Member member) =>
        member?.Roles.FirstOrDefault(role => role.StartsWith(NamePrefix, StringComparison.Ordinal))?[NamePrefix.Length..] ?? "unnamed";

    /// <summary>What a control node's journal is on, such as <c>sqlite</c>.</summary>
    public static string? JournalOf(Member member) =>
        member?.Roles.FirstOrDefault(role => role.StartsWith(JournalPrefix, StringComparison.Ordinal))?[JournalPrefix.Length..];

    /// <summary>Members that take part: up, or leaving.</summary>
    public IEnumerable<Member> Present => cluster.State.Members.Where(member => member.Status is MemberStatus.Up or MemberStatus.WeaklyUp or MemberStatus.Leaving);

    public IEnumerable<Member> Hosts => Present.Where(member => member.HasRole(HostRole));

    public IEnumerable<Member> Controls => Present.Where(member => member.HasRole(ControlRole));

    /// <summary>A control node is a member, or joins.</summary>
    public bool HasControl => cluster.State.Members.Any(static member => member.HasRole(ControlRole)
        && member.Status is MemberStatus.Joining or MemberStatus.WeaklyUp or MemberStatus.Up or MemberStatus.Leaving);

    /// <summary>More than half of the control nodes answer, this one among them: the side of a partition that goes on.</summary>
    public bool SeesMostControls => Controls.Count(IsReachable) * 2 > Controls.Count();

    public bool IsReachable(Member member) => !cluster.State.Unreachable.Contains(member);

    /// <summary>A host by its name: the life of it that is there most, should an earlier one not be removed yet.</summary>
    public Member? Host(string name) => Hosts.Where(member => NameOf(member) == name).OrderByDescending(PresenceOf).FirstOrDefault();

    /// <summary>A life of a host that is not up yet, as this node sees it.</summary>
    public bool IsJoining(string host) => cluster.State.Members.Any(member =>
        member.Status == MemberStatus.Joining && member.HasRole(HostRole) && NameOf(member) == host);

    /// <summary>Another node that answers and has this node's name.</summary>
    public Member? Namesake => Present.FirstOrDefault(member =>
        NameOf(member) == Self && !member.UniqueAddress.Equals(cluster.SelfMember.UniqueAddress) && IsReachable(member));

    public IEnumerable<string> AnsweringHosts => Hosts.Where(IsReachable).Select(NameOf).Distinct();

    public HostPresence PresenceOf(string host) => Host(host) is { } member ? PresenceOf(member) : HostPresence.Absent;

    private HostPresence PresenceOf(Member member) => !IsReachable(member) ? HostPresence.Unreachable
        : member.Status == MemberStatus.Leaving ? HostPresence.Leaving
        : HostPresence.Up;

    public void TellHost(string host, object message)
    {
        if (Host(host) is { } member)
            At(member, HostGateway.Name).Tell(message);
    }

    public void TellControls(object message)
    {
        foreach (var control in Controls)
            At(control, FleetActor.Name).Tell(message);
    }

    public void AskFleet(RankHosts question, IActorRef asker) => system.ActorSelection("/user/" + FleetActor.Name).Tell(question, asker);

    public ActorSelection At(Member member, string name)
    {
        ArgumentNullException.ThrowIfNull(member);
        return system.ActorSelection(new RootActorPath(member.Address) / "user" / name);
    }
}
