using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>
/// The devices that a slot or bus reset touches together (LC-50): one of them at a time opens, closes or hot-resets (INV-7). For a hot reset,
/// and for a close that leaves none open, the others are lent: nothing else touches them meanwhile. Each member is a mailbox of its own.
/// </summary>
internal sealed class DeviceSetActor(DeviceOptions options) : UntypedActor
{
    private readonly Dictionary<IActorRef, bool> members = [];
    private readonly LinkedList<Turn> waiting = [];
    private readonly HashSet<IActorRef> asked = [];
    private readonly List<(IActorRef Core, LentMember Member)> lent = [];

    /// <summary>Whom a call that hangs has in hand, by the turn that it was made in.</summary>
    private readonly Dictionary<(IActorRef Core, long Number), IActorRef[]> hanging = [];
    private Turn? current;
    private long serial;
    private ICancelable? deadline;

    private sealed record Turn(IActorRef Core, long Number, TurnKind Kind);

    private sealed record LendingTooLate(long Serial);

    public static Props Props(DeviceOptions options) => Akka.Actor.Props.Create(() => new DeviceSetActor(options));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case JoinSet:
                members[Sender] = false;
                Context.Watch(Sender);
                break;
            case TakeTurn take:
                waiting.AddLast(new Turn(Sender, take.Number, take.Kind));
                Next();
                break;
            case EndTurn end when current is { } turn && turn.Core.Equals(Sender) && turn.Number == end.Number:
                members[Sender] = end.IsOpen;
                if (end.Hang is not null)
                    hanging[(Sender, end.Number)] = [.. lent.Select(static entry => entry.Core)];
                End(end.Hang);
                break;
            case SetCameBack back when hanging.Remove((Sender, back.Number), out var held):
                foreach (var core in held)
                    core.Tell(CoreCameBack.Instance);
                break;
            case SetCameBack:
                break;
            case EndTurn:
                // It gave back what came too late for it.
                break;
            case CoreLent given when given.Turn == serial && asked.Remove(Sender):
                lent.Add((Sender, given.Member));
                GrantWhenAllAreLent();
                break;
            case CoreLent late:
                Sender.Tell(new CoreReturned(late.Turn));
                break;
            case CoreNotLent refused when refused.Turn == serial && asked.Contains(Sender):
                NotLent(refused.Error);
                break;
            case CoreNotLent:
                break;
            case LendingTooLate late when late.Serial == serial && asked.Count > 0:
                NotLent(new VfioError(Errno.EBUSY, "A device of the set is busy and was not lent in time; try again."));
                break;
            case LendingTooLate:
                break;
            case Terminated gone:
                Leave(gone.ActorRef);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Next()
    {
        if (current is not null || waiting.First is not { } next)
            return;
        waiting.RemoveFirst();
        current = next.Value;
        serial++;
        var others = members.Keys.Where(member => !member.Equals(current.Core)).ToArray();
        if (current.Kind == TurnKind.Open || (current.Kind == TurnKind.Close && others.Any(member => members[member])))
        {
            current.Core.Tell(new TurnGranted(current.Number, default));
            return;
        }

        foreach (var member in others)
        {
            asked.Add(member);
            member.Tell(new LendCore(serial));
        }

        deadline = Context.System.Scheduler.ScheduleTellOnceCancelable(options.TurnDeadline / 2, Self, new LendingTooLate(serial), Self);
        GrantWhenAllAreLent();
    }

    private void GrantWhenAllAreLent()
    {
        if (asked.Count > 0 || current is not { } turn)
            return;
        deadline?.Cancel();
        turn.Core.Tell(new TurnGranted(turn.Number, [.. lent.Select(static entry => entry.Member)]));
    }

    /// <summary>A close goes on without the set's reset; a hot reset does not.</summary>
    private void NotLent(VfioError why)
    {
        var turn = current!;
        GiveBack();
        if (turn.Kind == TurnKind.Close)
        {
            turn.Core.Tell(new TurnGranted(turn.Number, default));
            return;
        }

        turn.Core.Tell(new TurnRefused(turn.Number, why));
        current = null;
        Next();
    }

    private void End(SetHang? hang = null)
    {
        GiveBack(hang);
        current = null;
        Next();
    }

    private void GiveBack(SetHang? hang = null)
    {
        deadline?.Cancel();
        asked.Clear();
        foreach (var (core, _) in lent)
            core.Tell(new CoreReturned(serial, hang));
        lent.Clear();
    }

    private void Leave(IActorRef gone)
    {
        members.Remove(gone);
        // Nobody would end a turn that it got.
        foreach (var turn in waiting.Where(turn => turn.Core.Equals(gone)).ToArray())
            waiting.Remove(turn);
        lent.RemoveAll(entry => entry.Core.Equals(gone));
        if (current?.Core.Equals(gone) == true)
            End();
        else if (asked.Remove(gone))
            GrantWhenAllAreLent();
    }

    protected override void PostStop() => deadline?.Cancel();
}
