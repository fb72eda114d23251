using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;

namespace Fabric.Devices.Recovery;

/// <summary>A device that takes part in a recovery.</summary>
internal sealed record RecoveryMember(PciAddress Address, IActorRef Supervisor);

/// <summary>
/// Drives the PCI core's recovery from one error (contract §4.3): broadcasts to every device in scope, collects the votes in parallel with a
/// deadline, merges them in bus-walk order. Lives for one error.
/// </summary>
internal sealed class RecoveryActor : UntypedActor, IWithTimers
{
    /// <summary>A driver that has not voted by then counts as having no handler.</summary>
    internal static readonly TimeSpan VoteDeadline = TimeSpan.FromSeconds(5);

    private readonly AerRecord record;
    private readonly ImmutableArray<RecoveryMember> scope;
    private readonly IPciBus bus;
    private readonly TimeProvider time;
    private readonly long started;
    private readonly List<string> steps = [];
    private RecoveryMachine machine;
    private RecoveryVote?[] votes;
    private int round;

    public RecoveryActor(AerRecord record, ImmutableArray<RecoveryMember> scope, IPciBus bus, TimeProvider time)
    {
        (this.record, this.scope, this.bus, this.time) = (record, scope, bus, time);
        started = time.GetTimestamp();
        machine = RecoveryMachine.Start(record.Severity == AerSeverity.Fatal ? ChannelState.Frozen : ChannelState.Normal);
        votes = new RecoveryVote?[scope.Length];
    }

    private sealed record Voted(int Round, int Member, RecoveryVote Vote);

    private sealed record VotingClosed(int Round);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(AerRecord record, ImmutableArray<RecoveryMember> scope, IPciBus bus, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new RecoveryActor(record, scope, bus, time));

    protected override void PreStart()
    {
        foreach (var member in scope)
            member.Supervisor.Tell(new RecoveryStarted(record.Severity));
        Perform();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Voted voted when voted.Round == round && votes[voted.Member] is null:
                votes[voted.Member] = voted.Vote;
                if (votes.All(vote => vote is not null))
                    CloseVoting();
                break;
            case Voted:
                break;
            case VotingClosed closed when closed.Round == round:
                CloseVoting();
                break;
            case VotingClosed:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Perform()
    {
        switch (machine.Next)
        {
            case RecoveryEffect.ErrorDetected detected:
                Broadcast(new ErrorDetected(detected.State));
                break;
            case RecoveryEffect.MmioEnabled:
                Broadcast(new MmioEnabled());
                break;
            case RecoveryEffect.SlotReset:
                Broadcast(new SlotReset());
                break;
            case RecoveryEffect.Resume:
                Broadcast(new ResumeOperation());
                break;
            case RecoveryEffect.PermanentFailure:
                Broadcast(new ErrorDetected(ChannelState.PermanentFailure));
                break;
            case RecoveryEffect.ResetLink:
                var reset = bus.ResetLink(record.Source);
                steps.Add($"link reset above {record.Source}: {(reset.IsOk ? "done" : reset.Error.ToString())}");
                machine = machine.Step(new RecoveryInput.LinkReset(reset.IsOk ? RecoveryVote.Recovered : RecoveryVote.Disconnect));
                Perform();
                break;
            case RecoveryEffect.Finished finished:
                Finish(finished.Outcome == RecoveryOutcome.Recovered);
                break;
        }
    }

    private void Broadcast(RecoveryCallback callback)
    {
        round++;
        votes = new RecoveryVote?[scope.Length];
        Timers.StartSingleTimer(nameof(VotingClosed), new VotingClosed(round), VoteDeadline);
        for (var member = 0; member < scope.Length; member++)
        {
            var ballot = Context.ActorOf(Akka.Actor.Props.Create<Ballot>(Self, round, member));
            scope[member].Supervisor.Tell(callback, ballot);
        }
    }

    private void CloseVoting()
    {
        Timers.Cancel(nameof(VotingClosed));
        var name = machine.Next switch
        {
            RecoveryEffect.ErrorDetected detected => $"error_detected({Word(detected.State)})",
            RecoveryEffect.MmioEnabled => "mmio_enabled",
            RecoveryEffect.SlotReset => "slot_reset",
            RecoveryEffect.Resume => "resume",
            _ => "error_detected(perm_failure)",
        };
        var cast = votes.Select(vote => vote ?? RecoveryVote.NoAerDriver).ToImmutableArray();
        steps.Add($"{name}: {string.Join(", ", scope.Zip(cast, (member, vote) => $"{member.Address} {Word(vote)}"))}");
        foreach (var ballot in Context.GetChildren())
            Context.Stop(ballot);
        machine = machine.Step(new RecoveryInput.Votes(cast));
        Perform();
    }

    private void Finish(bool recovered)
    {
        foreach (var member in scope)
            member.Supervisor.Tell(new RecoveryEnded(recovered));
        Context.Parent.Tell(new RecoveryReport(record.Source, record.Severity, recovered, time.GetElapsedTime(started), [.. steps]));
        Context.Stop(Self);
    }

    private static string Word(ChannelState state) => state switch
    {
        ChannelState.Normal => "normal",
        ChannelState.Frozen => "frozen",
        _ => "perm_failure",
    };

    private static string Word(RecoveryVote vote) => vote switch
    {
        RecoveryVote.None => "NONE",
        RecoveryVote.CanRecover => "CAN_RECOVER",
        RecoveryVote.NeedReset => "NEED_RESET",
        RecoveryVote.Disconnect => "DISCONNECT",
        RecoveryVote.Recovered => "RECOVERED",
        _ => "NO_AER_DRIVER",
    };

    /// <summary>Stands as the sender of one callback, so that a vote is told from another round's or another member's.</summary>
    private sealed class Ballot(IActorRef recovery, int round, int member) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            if (message is DeviceReply reply)
                recovery.Tell(new Voted(round, member, reply is RecoveryVoted voted ? voted.Vote : RecoveryVote.NoAerDriver));
        }
    }
}
