using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Recovery;

/// <summary>The ladder's end, told to who sent for it.</summary>
/// <param name="Recovered">Devices that answer again.</param>
internal sealed record LadderEnded(ImmutableHashSet<PciAddress> Recovered) : INoSerializationVerificationNeeded;

/// <summary>
/// The reset ladder (ER-32): each function reset, those of the source first, on every device that does not answer and has it; slot or bus reset of the whole set;
/// the slot's power. A rung that worked is one after which config space reads as that of a function. Contention is tried again with a growing
/// delay. Lives for one climb.
/// </summary>
internal sealed class ResetLadder : UntypedActor, IWithTimers
{
    private readonly ImmutableArray<RecoveryMember> members;
    private readonly PciAddress source;
    private readonly string cause;
    private readonly DeviceOptions options;
    private readonly Queue<Rung> rungs;
    private readonly HashSet<PciAddress> recovered = [];
    private readonly Dictionary<PciAddress, int> tried = [];
    private readonly HashSet<PciAddress> outstanding = [];
    private Rung rung;
    private bool isChecking;
    private bool done;

    public ResetLadder(ImmutableArray<RecoveryMember> members, PciAddress source, string cause, DeviceOptions options)
    {
        (this.members, this.source, this.cause, this.options) = (members, source, cause, options);
        rungs = new Queue<Rung>(
        [
            .. members.OrderBy(member => member.Address == source ? 0 : 1).SelectMany(static member => member.Methods).Distinct().Select(static method => new Rung(ResetScope.Function, method)),
            new Rung(ResetScope.DeviceSet, null),
            new Rung(ResetScope.Power, null),
        ]);
    }

    private readonly record struct Rung(ResetScope Scope, string? Method)
    {
        public override string ToString() => Scope switch
        {
            ResetScope.Function => Method!,
            ResetScope.DeviceSet => "slot or bus reset",
            _ => "power cycle",
        };
    }

    private sealed record TryAgain(RecoveryMember Member, Rung Rung);

    /// <summary>One answer, by whose it is.</summary>
    private sealed record Answered(RecoveryMember Member, Rung Rung, bool Check, CoreWasReset Reply);

    private sealed record RungTooLate(Rung Rung, bool Check);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(
        ImmutableArray<RecoveryMember> members, PciAddress source, string cause, DeviceOptions options) =>
        Akka.Actor.Props.Create(() => new ResetLadder(members, source, cause, options));

    private IEnumerable<RecoveryMember> Pending => members.Where(member => !recovered.Contains(member.Address));

    protected override void PreStart() => Next();

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Answered answered when answered.Rung == rung && answered.Check == isChecking && outstanding.Contains(answered.Member.Address):
                OnAnswer(answered);
                break;
            case TryAgain again when again.Rung == rung && outstanding.Contains(again.Member.Address):
                Ask(again.Member, Reset);
                break;
            case RungTooLate late when late.Rung == rung && late.Check == isChecking:
                outstanding.Clear();
                GoOn();
                break;
            case Answered or TryAgain or RungTooLate:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private CoreCommand Reset => new ResetCore(rung.Scope, rung.Method);

    private void Next()
    {
        if (!Pending.Any() || !rungs.TryDequeue(out rung))
        {
            Context.Parent.Tell(new LadderEnded([.. recovered]));
            Context.Stop(Self);
            return;
        }

        tried.Clear();
        (isChecking, done) = (false, false);
        // What resets the set resets it once, by the device that the error is of, where that is down still.
        var asked = rung.Scope == ResetScope.Function ? Pending.Where(member => member.Methods.Contains(rung.Method!)).ToArray() : [Pending.OrderBy(member => member.Address == source ? 0 : 1).First()];
        Begin(asked, Reset);
    }

    private void Begin(RecoveryMember[] asked, CoreCommand command)
    {
        outstanding.Clear();
        outstanding.UnionWith(asked.Select(static member => member.Address));
        Timers.StartSingleTimer(nameof(RungTooLate), new RungTooLate(rung, isChecking), options.SlowCallDeadline * 2);
        foreach (var member in asked)
            Ask(member, command);
        if (asked.Length == 0)
            GoOn();
    }

    private void Ask(RecoveryMember member, CoreCommand command)
    {
        var (self, of, check) = (Self, rung, isChecking);
        member.Supervisor.Tell(command, Context.ActorOf(Courier.Props(reply => self.Tell(new Answered(member, of, check, reply)))));
    }

    private void OnAnswer(Answered answered)
    {
        var (member, reply) = (answered.Member, answered.Reply);
        if (reply.Outcome.Error.Errno == Errno.EAGAIN && options.LadderRetries.DelayAfter(tried.GetValueOrDefault(member.Address)) is { } delay)
        {
            tried[member.Address] = tried.GetValueOrDefault(member.Address) + 1;
            Timers.StartSingleTimer(member.Address, new TryAgain(member, rung), delay);
            return;
        }

        outstanding.Remove(member.Address);
        var worked = reply.Outcome.IsOk && reply.Answers;
        if (worked)
            recovered.Add(member.Address);
        done |= reply.Outcome.IsOk;
        // A rung that the device does not have was not tried.
        if (!isChecking && reply.Outcome.Error.Errno is not (Errno.ENOTTY or Errno.ENODEV))
            member.Supervisor.Tell(new ResetTried(rung.ToString(), worked, Why(reply), reply.Took));
        if (outstanding.Count == 0)
            GoOn();
    }

    private string Why(CoreWasReset reply) => reply switch
    {
        { Outcome.IsOk: false } => reply.Outcome.Error.Sentence,
        { Answers: false } => "config space reads all ones after it",
        _ => $"since {cause}",
    };

    /// <summary>After a rung for the whole set the others are asked whether they are there again.</summary>
    private void GoOn()
    {
        if (done && !isChecking && rung.Scope != ResetScope.Function && Pending.Any())
        {
            isChecking = true;
            Begin([.. Pending], CheckCore.Instance);
            return;
        }

        Next();
    }

    /// <summary>Stands as the sender of one question.</summary>
    private sealed class Courier(Action<CoreWasReset> deliver) : UntypedActor
    {
        public static Props Props(Action<CoreWasReset> deliver) => Akka.Actor.Props.Create(() => new Courier(deliver));

        protected override void OnReceive(object message)
        {
            if (message is CoreWasReset reply)
                deliver(reply);
            Context.Stop(Self);
        }
    }
}
