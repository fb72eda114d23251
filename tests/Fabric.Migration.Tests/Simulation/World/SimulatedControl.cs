using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Tests.Simulation.Engine;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>A control node: has incarnations of claims, as its shards would, and its own view of which hosts are there.</summary>
internal sealed class SimulatedControl(Simulation run, int index, string name, NodeTime time) : SimulatedNode(run, index, name, time)
{
    /// <summary>After which a shard takes an entity up anew that has ended.</summary>
    private static readonly TimeSpan RestartBackoff = TimeSpan.FromSeconds(2);

    private readonly Dictionary<string, IActorRef> incarnations = [];
    private readonly HashSet<string> claims = [];
    private readonly HashSet<string> idle = [];
    private readonly Dictionary<string, Sight> sights = [];
    private int count;

    public bool Has(string claim) => claims.Contains(claim);

    /// <summary>Gives it to the claim; one that was idle is taken up for it.</summary>
    public void Tell(string claim, object message)
    {
        if (incarnations.TryGetValue(claim, out var incarnation))
            incarnation.Tell(message, ActorRefs.NoSender);
        else if (idle.Remove(claim) && Has(claim))
            Incarnate(claim, message);
    }

    /// <summary>Takes up a claim.</summary>
    public void TakeUp(string claim)
    {
        if (IsAlive && claims.Add(claim))
            Incarnate(claim);
    }

    /// <summary>Gives it up: what was sent to it is not done.</summary>
    public void GiveUp(string claim)
    {
        claims.Remove(claim);
        idle.Remove(claim);
        if (incarnations.Remove(claim, out var ended))
            Life?.Root.Tell(new Do(context => context.Stop(ended)));
    }

    public override void Populate(Life life, IActorContext context)
    {
    }

    public override void OnPassivated(IActorRef idle)
    {
        foreach (var (claim, incarnation) in incarnations)
        {
            if (!incarnation.Equals(idle))
                continue;
            incarnations.Remove(claim);
            this.idle.Add(claim);
            return;
        }
    }

    public override void OnEnded(IActorRef ended)
    {
        foreach (var (claim, incarnation) in incarnations)
        {
            if (!incarnation.Equals(ended))
                continue;
            incarnations.Remove(claim);
            if (!Has(claim))
                return;
            // Sooner, if something is sent to it.
            idle.Add(claim);
            var life = Life;
            Run.After(RestartBackoff, () =>
            {
                if (Life == life && idle.Remove(claim) && Has(claim))
                    Incarnate(claim);
            });
            return;
        }
    }

    /// <summary>Looks again at which hosts it hears.</summary>
    public void Look()
    {
        foreach (var host in Run.Hosts)
        {
            if (!sights.TryGetValue(host.Name, out var sight))
                sights[host.Name] = sight = new Sight(Run);
            sight.Hears(host.Goes && Run.Network.Connects(this, host));
        }
    }

    protected override void OnKilled()
    {
        incarnations.Clear();
        claims.Clear();
        idle.Clear();
        sights.Clear();
    }

    private void Incarnate(string claim, object? first = null)
    {
        Run.Trace(Name, () => $"takes up {claim}");
        var life = Life!;
        life.Root.Tell(new Do(context =>
        {
            if (!Has(claim) || incarnations.ContainsKey(claim))
                return;
            var members = new Members(this, life);
            var actor = context.ActorOf(ClaimActor.Props(claim, members, Time).WithDispatcher(Dispatcher), $"{claim}-{++count}");
            context.Watch(actor);
            incarnations[claim] = actor;
            if (first is not null)
                actor.Tell(first, ActorRefs.NoSender);
        }));
    }

    private HostPresence PresenceOf(string host) => sights.TryGetValue(host, out var sight) ? sight.Presence : HostPresence.Absent;

    /// <summary>How a failure detector and a downing rule see one host: unreachable after seconds, out after more, back a while after it is heard again.</summary>
    private sealed class Sight(Simulation run)
    {
        private bool hears = true;
        private TimeSpan since = TimeSpan.MinValue / 2;
        private TimeSpan unreachableAfter;
        private TimeSpan absentAfter;
        private TimeSpan upAfter;
        private bool wasAbsent;

        public HostPresence Presence => (hears, run.Now - since) switch
        {
            (false, var gone) when gone < unreachableAfter => HostPresence.Up,
            (false, var gone) when gone < absentAfter => HostPresence.Unreachable,
            (false, _) => HostPresence.Absent,
            (true, var back) when back >= upAfter => HostPresence.Up,
            _ => wasAbsent ? HostPresence.Absent : HostPresence.Unreachable,
        };

        public void Hears(bool now)
        {
            if (now == hears)
                return;
            var before = Presence;
            (hears, since) = (now, run.Now);
            unreachableAfter = before == HostPresence.Up ? run.Between(3, 6) : TimeSpan.Zero;
            absentAfter = before == HostPresence.Absent ? TimeSpan.Zero : unreachableAfter + run.Between(5, 15);
            wasAbsent = before == HostPresence.Absent;
            upAfter = before switch
            {
                HostPresence.Up => TimeSpan.Zero,
                HostPresence.Unreachable => run.Between(0, 1),
                _ => run.Between(2, 6),
            };
            if (now)
                run.After(upAfter, run.PublishFleetChanged);
        }
    }

    private sealed class Members(SimulatedControl node, Life life) : IFabricMembers
    {
        public string Self => node.Name;

        public IEnumerable<string> AnsweringHosts => node.Run.Hosts.Select(static host => host.Name).Where(host => PresenceOf(host) == HostPresence.Up);

        public HostPresence PresenceOf(string host) => node.PresenceOf(host);

        public void TellHost(string host, object message)
        {
            if (PresenceOf(host) == HostPresence.Absent)
                return;
            var to = node.Run.HostOf(host);
            node.Run.Network.Send(life, to, message.ToString!, () => to.Attachments.Tell(message));
        }

        public void TellControls(object message)
        {
            if (message is FabricEvent happened)
                node.Run.Trace(node.Name, () => $"{happened.Kind}: {happened.Message}");
        }
    }
}
