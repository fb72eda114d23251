using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;

namespace Fabric.Devices.Recovery;

/// <summary>A device that takes part in a recovery.</summary>
/// <param name="Methods">Its reset methods, in the order in which they are tried.</param>
internal sealed record RecoveryMember(PciAddress Address, IActorRef Supervisor, ImmutableArray<string> Methods);

/// <summary>
/// Drives the PCI core's recovery from one error (contract §4.3): broadcasts to every device in scope, collects the votes in parallel with a
/// deadline, merges them in bus-walk order. Lives for one error.
/// </summary>
internal sealed class RecoveryActor : UntypedActor, IWithTimers
{
    private readonly AerRecord record;
    private readonly ImmutableArray<RecoveryMember> scope;
    private readonly IPciBus bus;
    private readonly HostContext host;
    private readonly long started;
    private readonly List<string> steps = [];
    private RecoveryMachine machine;
    private RecoveryVote?[] votes;
    private RecoveryVote?[] withoutHandler = [];
    private int round;
    private bool isRepairing;

    public RecoveryActor(AerRecord record, ImmutableArray<RecoveryMember> scope, IPciBus bus, HostContext host)
    {
        (this.record, this.scope, this.bus, this.host) = (record, scope, bus, host);
        started = host.Time.GetTimestamp();
        machine = RecoveryMachine.Start(record.Severity == AerSeverity.Fatal ? ChannelState.Frozen : ChannelState.Normal);
        votes = new RecoveryVote?[scope.Length];
    }

    /// <param name="Handled">A consumer of the device votes as well; its vote is still to come.</param>
    private sealed record Voted(int Round, int Member, RecoveryVote Vote, bool Handled);

    private sealed record VotingClosed(int Round);

    private sealed record LinkReset(VfioResult Outcome);

    private sealed record LinkResetTooLate;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(AerRecord record, ImmutableArray<RecoveryMember> scope, IPciBus bus, HostContext host) =>
        Akka.Actor.Props.Create(() => new RecoveryActor(record, scope, bus, host));

    protected override void PreStart()
    {
        // An error of a port is one of all below it (EEH counts the freezes of a whole PE): it spends the budget of each.
        foreach (var member in scope)
            member.Supervisor.Tell(new RecoveryStarted(record, IsOfPort || member.Address == record.Source));
        Perform();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Voted { Handled: true } voted when voted.Round == round:
                withoutHandler[voted.Member] = voted.Vote;
                break;
            case Voted voted when voted.Round == round && votes[voted.Member] is null:
                votes[voted.Member] = Combined(withoutHandler[voted.Member], voted.Vote);
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
            case LinkReset reset when machine.Next is RecoveryEffect.ResetLink:
                OnLinkReset(reset.Outcome);
                break;
            case LinkResetTooLate when machine.Next is RecoveryEffect.ResetLink:
                OnLinkReset(VfioResult.Fail(Errno.ETIMEDOUT, "The link reset has not come back in time; its bus hangs."));
                break;
            case LinkReset or LinkResetTooLate:
                break;
            case LadderEnded ended:
                OnLadderEnded(ended);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>The source is no device of this host: a port or bridge.</summary>
    private bool IsOfPort => scope.All(member => member.Address != record.Source);

    private void Perform()
    {
        switch (machine.Next)
        {
            case RecoveryEffect.ErrorDetected detected:
                Broadcast(new ErrorDetected(detected.State, record));
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
                Broadcast(new ErrorDetected(ChannelState.PermanentFailure, record));
                break;
            case RecoveryEffect.ResetLink:
                ResetTheLink();
                break;
            case RecoveryEffect.Finished { Outcome: RecoveryOutcome.Recovered }:
                Finish([.. scope.Select(static member => member.Address)]);
                break;
            case RecoveryEffect.Finished:
                Climb();
                break;
        }
    }

    /// <summary>On a thread of its own: a link that does not come up must not stop the host.</summary>
    private void ResetTheLink()
    {
        var (self, source) = (Self, record.Source);
        Timers.StartSingleTimer(nameof(LinkResetTooLate), new LinkResetTooLate(), host.Options.SlowCallDeadline);
        host.Threads.Run(() =>
        {
            VfioResult outcome;
            try
            {
                outcome = bus.ResetLink(source);
            }
            catch (Exception cause)
            {
                outcome = VfioResult.Fail(Errno.EIO, $"The bus failed: {cause.Message}");
            }

            self.Tell(new LinkReset(outcome));
        });
    }

    private void OnLinkReset(VfioResult reset)
    {
        Timers.Cancel(nameof(LinkResetTooLate));
        steps.Add($"link reset above {record.Source}: {(reset.IsOk ? "done" : reset.Error.ToString())}");
        if (reset.IsOk)
        {
            isRepairing = true;
            Broadcast(LinkWasReset.Instance);
            return;
        }

        machine = machine.Step(new RecoveryInput.LinkReset(RecoveryVote.Disconnect));
        Perform();
    }

    /// <summary>Beyond the kernel: what is not recovered climbs the reset ladder (ER-32).</summary>
    private void Climb()
    {
        steps.Add("not recovered: climbing the reset ladder");
        Context.ActorOf(ResetLadder.Props(scope, record.Source, $"a {record.Severity} error that was not recovered", host.Options));
    }

    private void OnLadderEnded(LadderEnded ended)
    {
        steps.Add(ended.Recovered.IsEmpty ? "the ladder brought nothing back" : $"the ladder brought back {string.Join(", ", ended.Recovered.Order())}");
        Finish(ended.Recovered);
    }

    /// <summary>The device's own vote and its consumer's. Where the device has none, the consumer's counts (ER-2).</summary>
    private static RecoveryVote Combined(RecoveryVote? own, RecoveryVote vote) =>
        own is null or RecoveryVote.None ? vote : VoteMerge.Merge(own.Value, vote);

    private void Broadcast(RecoveryCallback callback)
    {
        round++;
        votes = new RecoveryVote?[scope.Length];
        withoutHandler = new RecoveryVote?[scope.Length];
        Timers.StartSingleTimer(nameof(VotingClosed), new VotingClosed(round), host.Options.VoteDeadline);
        for (var member = 0; member < scope.Length; member++)
        {
            var ballot = Context.ActorOf(Akka.Actor.Props.Create<Ballot>(Self, round, member, callback));
            scope[member].Supervisor.Tell(callback, ballot);
        }
    }

    private void CloseVoting()
    {
        Timers.Cancel(nameof(VotingClosed));
        // A vote that comes from now on belongs to nothing, also while the link is reset.
        round++;
        if (isRepairing)
        {
            isRepairing = false;
            StopBallots();
            machine = machine.Step(new RecoveryInput.LinkReset(RecoveryVote.Recovered));
            Perform();
            return;
        }

        var name = machine.Next switch
        {
            RecoveryEffect.ErrorDetected detected => $"error_detected({Word(detected.State)})",
            RecoveryEffect.MmioEnabled => "mmio_enabled",
            RecoveryEffect.SlotReset => "slot_reset",
            RecoveryEffect.Resume => "resume",
            _ => "error_detected(perm_failure)",
        };
        var cast = votes.Select((vote, member) => vote ?? withoutHandler[member] ?? RecoveryVote.NoAerDriver).ToImmutableArray();
        steps.Add($"{name}: {string.Join(", ", scope.Zip(cast, (member, vote) => $"{member.Address} {Word(vote)}"))}");
        StopBallots();
        machine = machine.Step(new RecoveryInput.Votes(cast));
        Perform();
    }

    private static void StopBallots()
    {
        foreach (var ballot in Context.GetChildren())
            Context.Stop(ballot);
    }

    private void Finish(ImmutableHashSet<PciAddress> recovered)
    {
        foreach (var member in scope)
            member.Supervisor.Tell(new RecoveryEnded(recovered.Contains(member.Address)));
        Context.Parent.Tell(new RecoveryReport(
            record.Source, record.Severity, IsOfPort ? scope.All(member => recovered.Contains(member.Address)) : recovered.Contains(record.Source), host.Time.GetElapsedTime(started), [.. steps]));
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
    private sealed class Ballot(IActorRef recovery, int round, int member, RecoveryCallback callback) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case RecoveryVoted { Handler: { } handler } own:
                    recovery.Tell(new Voted(round, member, own.Vote, Handled: true));
                    handler.Tell(callback);
                    break;
                case RecoveryVoted voted:
                    recovery.Tell(new Voted(round, member, voted.Vote, Handled: false));
                    break;
                case DeviceReply:
                    recovery.Tell(new Voted(round, member, RecoveryVote.NoAerDriver, Handled: false));
                    break;
            }
        }
    }
}
