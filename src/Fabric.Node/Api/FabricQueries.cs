using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Cluster;
using Fabric.Devices;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;

namespace Fabric.Node.Api;

/// <summary>The API's way to claims and fleet, from any daemon. Every question has a deadline; what failed is an <see cref="IResult"/>.</summary>
internal sealed class FabricQueries(
    FabricPresence presence, HostOfNode host, FabricSettings settings, ApiAddress api, JournalProbe journal, TimeProvider time)
{
    /// <summary>Claims look at other hosts before they answer.</summary>
    private static readonly TimeSpan ClaimDeadline = TimeSpan.FromSeconds(15);

    /// <summary>Of each page that is read of the fleet.</summary>
    private static readonly TimeSpan FleetDeadline = TimeSpan.FromSeconds(1.5);

    private const int FleetAttempts = 2;

    private static readonly TimeSpan JoinDeadline = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan JoinLook = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan LongDeadline = TimeSpan.FromSeconds(150);

    /// <summary>When a request to a claim that is made now is given up.</summary>
    public DateTimeOffset Deadline => time.GetUtcNow() + ClaimDeadline;

    /// <param name="plans">What would be refused is the answer to a plan, and no problem.</param>
    public async Task<IResult> AskClaimAsync(IClaimMessage message, Func<object, IResult?> map, bool plans = false)
    {
        if (presence.Current is not { Claims: { } claims } membership)
            return NotJoined();

        // A claim that is new needs more than its own actor: sharding would hold it back until it can remember it, and create it later.
        if (message is CreateClaim && await journal.ProblemAsync() is { } problem)
            return Problems.JournalUnavailable($"Claim {message.ClaimId}: the journal could not be written ({problem}); nothing was changed. Free its disk or bring back its server, and ask again.");
        try
        {
            var reply = await AskAsync(membership, claims, message, message is VerifyClaim ? LongDeadline : ClaimDeadline);
            return reply switch
            {
                ClaimRefused { Code: RefusalCode.Plan or RefusalCode.Conflict } no when plans => Plans.Refused(no.Sentence),
                ClaimRefused refused => Problems.From(refused),
                _ => map(reply) ?? Unexpected("The claim", reply),
            };
        }
        catch (AskTimeoutException)
        {
            return await journal.ProblemAsync() is { } cause
                ? Problems.JournalUnavailable($"Claim {message.ClaimId} did not answer, and the journal cannot be written ({cause}). Free its disk or bring back its server, and look at the claim before asking again.")
                : Problems.Timeout($"Claim {message.ClaimId} did not answer in time; its control node may be starting or lost. Nothing is known of what became of the request: look at the claim before asking again.");
        }
        catch (TaskCanceledException)
        {
            return NotJoined();
        }
    }

    /// <summary>Asks the fabric's drains, rebalances and breaker for something.</summary>
    /// <param name="map">Null for an answer that does not belong to the question.</param>
    public async Task<IResult> AskMovesAsync(IMovesCommand command, Func<object, IResult?> map)
    {
        if (presence.Current is not { Moves: { } moves } membership)
            return NotJoined();
        if (command is DrainHost drain)
            await HostAsync(membership, drain.Host);
        try
        {
            var reply = await AskAsync(membership, moves, command, ClaimDeadline);
            return reply switch
            {
                MovesRefused { Code: RefusalCode.Plan or RefusalCode.Conflict } no when command.PlanOnly => Plans.Refused(no.Sentence),
                MovesRefused refused => Problems.From(refused),
                _ => map(reply) ?? Unexpected("The fabric", reply),
            };
        }
        catch (AskTimeoutException)
        {
            return Problems.Timeout("The control nodes did not answer in time; the one that does this may be starting or lost. Nothing is known of what became of the request: look before asking again.");
        }
        catch (TaskCanceledException)
        {
            return NotJoined();
        }
    }

    /// <summary>What the control nodes know of drains, rebalances and the breaker.</summary>
    public Task<IResult> AskMovesViewAsync(Func<MovesView, IResult> map) => AskFleetAsync(FleetQuestion.OnlyMoves, fleet => fleet.Moves is { } moves
        ? map(moves)
        : Problems.NotJoined("The control node has not heard of the fabric's moves yet; ask again in a moment."));

    /// <summary>The fabric as a control node knows it; what this host knows of itself where no control node answers.</summary>
    public async Task<IResult> AskFleetAsync(FleetQuestion question, Func<FleetDescribed, IResult> map)
    {
        if (presence.Current is { Claims: not null } membership && membership.Members.Controls.FirstOrDefault(membership.Members.IsReachable) is { } control)
        {
            try
            {
                var fleet = new FleetReader(membership.Members.At(control, FleetActor.Name), FleetDeadline, FleetAttempts);
                return map(await fleet.ReadAsync(question));
            }
            catch (Exception lost) when (lost is AskTimeoutException or TaskCanceledException)
            {
                // It died a moment ago, and the cluster has not noticed yet: as if it were not there.
            }
        }

        return host.System is null
            ? Problems.NotJoined("No control node of the fabric answers; start one. Devices go on meanwhile.")
            : map(await DescribeSelfAsync(host.System));
    }

    private async Task<FleetDescribed> DescribeSelfAsync(HostSystem self)
    {
        var devices = await self.Devices.Ask<DeviceList>(ListDevices.Instance, ClaimDeadline);
        var inventory = new HostInventory(
            settings.Node.Name, await api.WhenListening, ClusterNode.Version, [.. devices.Devices.Select(DeviceEntries.Of)]);
        return new FleetDescribed([new FleetHost(settings.Node.Name, "up", presence.Current?.Address is { } at ? $"{at.Host}:{at.Port}" : "", inventory)], []);
    }

    /// <summary>
    /// Has a host do something. In the host's own process it is done also where there is no fabric: a sick device does not wait.
    /// </summary>
    /// <param name="map">Null for an answer that does not belong to the question.</param>
    public async Task<IResult> AskHostAsync(string hostName, IHostOperation operation, Func<object, IResult?> map)
    {
        if (presence.Current is not { Claims: not null } membership)
        {
            return host.System is { } self && hostName == settings.Node.Name
                ? Shown(await new DeviceOperations(hostName, self.Devices, self.Serving, time) { Binding = self.Binding }.RunAsync(operation))
                : NotJoined();
        }

        if (await HostAsync(membership, hostName) is not { } member)
            return Problems.NotFound($"There is no host {hostName} in the fabric; list the hosts.");
        if (!membership.Members.IsReachable(member))
            return Problems.Timeout($"{hostName} does not answer at the moment; look at its daemon.");
        try
        {
            return Shown(await AskAsync(membership, membership.Members.At(member, HostGateway.Name), operation, LongDeadline));
        }
        catch (AskTimeoutException)
        {
            return Problems.Timeout($"{hostName} did not answer in time; look at its daemon.");
        }
        catch (TaskCanceledException)
        {
            return NotJoined();
        }

        IResult Shown(object reply) => reply switch
        {
            OperationPlanned planned => Plans.Answer(possible: true, planned.Would, [], planned.Affects),
            OperationRefused refused when operation.PlanOnly && Plans.IsAnAnswer(refused) => Plans.Refused(refused.Sentence),
            OperationRefused refused => Problems.From(refused),
            _ => map(reply) ?? Unexpected(hostName, reply),
        };
    }

    /// <summary>A host that is up where it runs may be joining here for a moment still.</summary>
    private async Task<Member?> HostAsync(Membership membership, string name)
    {
        var began = time.GetTimestamp();
        while (membership.Members.Host(name) is null && membership.Members.IsJoining(name) && time.GetElapsedTime(began) < JoinDeadline)
            await Task.Delay(JoinLook, time);
        return membership.Members.Host(name);
    }

    /// <summary>The events that a control node tells, as they come, until the caller goes or the control node does.</summary>
    public static async IAsyncEnumerable<NumberedEvent> FollowAsync(
        Membership membership, Member control, long afterId, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var channel = Channel.CreateBounded<NumberedEvent>(new BoundedChannelOptions(1000) { FullMode = BoundedChannelFullMode.DropOldest });
        var fleet = membership.Members.At(control, FleetActor.Name);
        var follower = membership.System.ActorOf(Props.Create(() => new Follower(fleet, afterId, channel.Writer)));
        try
        {
            await foreach (var happened in channel.Reader.ReadAllAsync(cancellation))
                yield return happened;
        }
        finally
        {
            membership.System.Stop(follower);
        }
    }

    /// <summary>Who asked in a membership that ends is answered by nobody any more, and does not wait for the deadline.</summary>
    /// <exception cref="AskTimeoutException">The deadline is over, or the membership.</exception>
    private static async Task<object> AskAsync(Membership membership, ICanTell target, object message, TimeSpan deadline)
    {
        var asked = target.Ask<object>(message, deadline);
        return await Task.WhenAny(asked, membership.Ended) == asked ? await asked : throw new AskTimeoutException("This daemon left its fabric meanwhile.");
    }

    private static IResult NotJoined() => Problems.NotJoined("This daemon is not part of a fabric at the moment; wait for it to join, or look at its log.");

    private static IResult Unexpected(string who, object reply) =>
        Problems.Of(StatusCodes.Status500InternalServerError, "Unexpected answer", "internal", $"{who} answered with {reply.GetType().Name}.");

    private sealed class Follower(ActorSelection fleet, long afterId, ChannelWriter<NumberedEvent> events) : UntypedActor
    {
        protected override void PreStart() => fleet.Tell(new FollowEvents(afterId), Self);

        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case NumberedEvent numbered:
                    // A control node that dies tells nothing more: the stream ends, and whoever follows asks again.
                    Context.Watch(Sender);
                    events.TryWrite(numbered);
                    break;
                case Terminated:
                    Context.Stop(Self);
                    break;
                default:
                    Unhandled(message);
                    break;
            }
        }

        protected override void PostStop() => events.TryComplete();
    }
}
