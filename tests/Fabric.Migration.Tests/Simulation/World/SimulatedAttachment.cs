using System.Text;
using Akka.Actor;
using Fabric.Migration.Hosts;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>
/// Stands in for <c>AttachmentActor</c>: the same commands in the same phases with the same reports, over a simulated function, and with transfers that
/// take time and break. What the host's fence passes to it, it carries out.
/// </summary>
internal sealed class SimulatedAttachment : UntypedActor, IWithUnboundedStash
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private static readonly TimeSpan TransferPatience = TimeSpan.FromSeconds(8);

    private readonly Simulation run;
    private readonly Life life;
    private readonly SimulatedHost host;
    private readonly string claim;
    private readonly string device;
    private readonly Lease lease;
    private readonly SimulatedFunction function;
    private long generation;
    private AttachmentPhase phase = AttachmentPhase.Opening;
    private bool opened;
    private bool lapsed;
    private bool busy;

    // The transfer that this end takes part in.
    private int migration;
    private int transfers;
    private bool transferring;
    private bool switching;
    private string endpoint = "";
    private (SimulatedHost Host, IActorRef Attachment)? peer;
    private int rounds;
    private SimulatedState saved;
    private IHostReport? told;

    public SimulatedAttachment(Simulation run, Life life, SimulatedHost host, string claim, string device, Lease lease)
    {
        (this.run, this.life, this.host, this.claim, this.device, this.lease) = (run, life, host, claim, device, lease);
        function = host.FunctionAt(device);
    }

    /// <summary>Something that took its time is over.</summary>
    private sealed record Then(Action Do);

    /// <summary>As <see cref="Then"/>, of a transfer that may have been called off meanwhile.</summary>
    private sealed record ThenOf(int Transfer, Action Do);

    private sealed record Knock(SimulatedHost Host, IActorRef Source);

    /// <param name="Hash">As the source counted it, at the end of the stream.</param>
    private sealed record Final(SimulatedState State, long Bytes, string Hash);

    private sealed record FinalTaken(long Bytes);

    private sealed record Broken(string Why);

    /// <summary>It throws: what it holds is lost.</summary>
    public sealed record Throw;

    public sealed class ThrownException : Exception;

    public IStash Stash { get; set; } = null!;

    protected override void OnReceive(object message)
    {
        if (!life.IsAlive)
            return;
        switch (message)
        {
            case Throw:
                if (opened)
                    function.Lose("died");
                throw new ThrownException();
            case ReportStatus or ReportAttachment:
                Tell(new AttachmentStatus(
                    claim, host.Name, generation, [new AttachedDevice(device, "accelerator-vf", "1b36:fab1", 4096, Flags)], phase, WorkloadCounters.None));
                LookAtDevice();
                break;
            case IHostCommand when busy:
                Stash.Stash();
                break;
            case IHostCommand command:
                generation = command.Generation;
                Carry(command);
                break;
            case Then then:
                then.Do();
                break;
            case ThenOf then:
                if (transferring && then.Transfer == transfers && !busy)
                    then.Do();
                break;
            case Knock knock when transferring && phase == AttachmentPhase.Receiving && peer is null:
                peer = (knock.Host, knock.Source);
                break;
            case Final final when transferring && phase == AttachmentPhase.Receiving && run.Options.Fault == SeededFault.TargetTellsTooEarly:
                Loaded(final);
                After(run.Between(0.1, 0.3), () => function.Load(final.State));
                break;
            case Final final when transferring && phase == AttachmentPhase.Receiving:
                InTransfer(run.Between(0.001, 0.05), () => Load(final));
                break;
            case FinalTaken taken when transferring && switching && !busy:
                phase = AttachmentPhase.Stopped;
                transferring = false;
                TellOf(new SourceStopped(claim, host.Name, generation, migration, [new StreamSum(taken.Bytes, saved.Hash)], rounds, 1, 1, 1));
                break;
            case Broken broken when transferring && !busy:
                Break(broken.Why);
                break;
            case Knock or Final or FinalTaken or Broken:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    protected override void PostStop()
    {
        if (!life.IsAlive)
            return;
        EndTransfer();
        if (opened && function.Holder == claim)
            function.Close(lapsed);
    }

    private void Carry(IHostCommand command)
    {
        switch (command, phase)
        {
            case (Attach attach, AttachmentPhase.Opening):
                Open(attach, () =>
                {
                    phase = AttachmentPhase.Running;
                    function.Generation = attach.Generation;
                    function.BeginAnew();
                    Tell(new Attached(claim, host.Name, generation, device));
                });
                break;
            case (Attach, AttachmentPhase.Running):
                Tell(new Attached(claim, host.Name, generation, device));
                break;

            case (PrepareTarget prepare, AttachmentPhase.Opening):
                migration = prepare.Migration;
                Open(prepare, () =>
                {
                    phase = AttachmentPhase.Receiving;
                    BeginTransfer();
                    endpoint = host.OpenDoor(Self);
                    TellOf(new TargetPrepared(claim, host.Name, generation, migration, endpoint, Encoding.ASCII.GetBytes(endpoint)));
                });
                break;
            case (PrepareTarget prepare, _) when prepare.Migration == migration && told is not null:
                Tell(told);
                break;

            case (StartPreCopy start, AttachmentPhase.Running) when start.Migration > migration:
                StartSource(start);
                break;
            case (StartPreCopy start, AttachmentPhase.PreCopy or AttachmentPhase.Stopped) when start.Migration == migration:
                Repeat();
                break;

            case (StopAndCopy stop, AttachmentPhase.PreCopy) when stop.Migration == migration:
                switching = true;
                break;
            case (StopAndCopy stop, AttachmentPhase.Stopped or AttachmentPhase.Loaded) when stop.Migration == migration:
                Repeat();
                break;
            case (StopAndCopy stop, AttachmentPhase.Receiving) when stop.Migration == migration:
                break;

            case (RunTarget target, AttachmentPhase.Loaded) when target.Migration == migration:
                Exclusive(target, 0.001, 0.03, AttachmentPhase.Running, () =>
                {
                    function.Generation = target.Generation;
                    function.Resume();
                    return new TargetRunning(claim, host.Name, target.Generation, target.Migration, 1);
                });
                break;
            case (RunTarget target, AttachmentPhase.Running) when target.Migration == migration:
                Repeat();
                break;

            case (ResumeSource resume, not AttachmentPhase.Opening) when IsLost:
                Refuse(resume, "cannot run any more");
                break;
            case (ResumeSource resume, AttachmentPhase.PreCopy or AttachmentPhase.Stopped) when resume.Migration == migration:
                EndTransfer();
                Exclusive(resume, 0.001, 0.05, AttachmentPhase.Running, () =>
                {
                    function.Resume();
                    return new SourceRunning(claim, host.Name, resume.Generation, resume.Migration);
                });
                break;
            case (ResumeSource resume, AttachmentPhase.Running):
                migration = resume.Migration;
                Tell(new SourceRunning(claim, host.Name, generation, resume.Migration));
                break;

            case (Detach detach, _):
                EndTransfer();
                lapsed |= opened && function.Lapses;
                function.Stop();
                Exclusive(detach, 0.001, 0.1, AttachmentPhase.Stopped, () =>
                {
                    if (opened)
                        function.Close(lapsed);
                    opened = false;
                    run.FreesSomething();
                    return new Detached(claim, host.Name, detach.Generation, device);
                });
                break;
            case (VerifyAttachment verify, AttachmentPhase.Running):
                function.Stop();
                Exclusive(verify, 0.01, 0.5, AttachmentPhase.Running, () =>
                {
                    function.Resume();
                    return new AttachmentVerified(claim, host.Name, verify.Generation, new VerificationResult(function.State.Steps, 1, 1, 0), null);
                });
                break;
            default:
                Refuse(command, $"cannot be carried out in phase {phase}");
                break;
        }
    }

    // ---- Opening ---------------------------------------------------------------------------------------------------------------------

    private void Open(IHostCommand command, Action done)
    {
        busy = true;
        After(run.Between(0.005, 0.3), () =>
        {
            busy = false;
            if (function.Holder is not null || function.Sick is not null || run.Fails())
            {
                Refuse(command, function.Holder is { } holder ? $"{device} is held by {holder}" : $"{device} could not be opened");
                Context.Stop(Self);
                return;
            }

            opened = true;
            function.Generation = command.Generation;
            function.Open(claim, lease);
            done();
            LookAtDevice();
            Stash.UnstashAll();
        });
    }

    // ---- The two ends of a transfer --------------------------------------------------------------------------------------------------

    private void BeginTransfer()
    {
        transfers++;
        (transferring, switching, peer, rounds) = (true, false, null, 0);
    }

    private void StartSource(StartPreCopy start)
    {
        migration = start.Migration;
        told = null;
        phase = AttachmentPhase.PreCopy;
        BeginTransfer();
        var target = run.HostOf(start.Endpoint.Split(':')[0]);
        var (self, transfer) = (Self, transfers);
        run.Network.Stream(life, target, () =>
        {
            if (target.Behind(start.Endpoint) is not { } door)
                return;
            door.Tell(new Knock(host, self));
            self.Tell(new ThenOf(transfer, () => peer = (target, door)));
        });
        InTransfer(TransferPatience, () =>
        {
            if (peer is null)
                Break("nobody opened");
        });
        Round();
    }

    private void Round() => InTransfer(run.Between(0.03, 0.3), () =>
    {
        if (peer is not { } to)
        {
            Round();
            return;
        }

        if (IsLost || !run.Network.Connects(host, to.Host) || run.Fails())
        {
            // A connection that carries nothing breaks after a while.
            InTransfer(TransferPatience, () => Break("the connection broke"));
            return;
        }

        if (switching)
        {
            Finish(to);
            return;
        }

        rounds++;
        TellOf(new PreCopyProgress(claim, host.Name, generation, migration, rounds, rounds * 1000, 100, 1_000_000, RoundEnded: true));
        Round();
    });

    private void Finish((SimulatedHost Host, IActorRef Attachment) to)
    {
        function.Stop();
        var state = saved = function.Save();
        var sent = run.Corrupts() ? state with { Steps = state.Steps ^ 1 } : state;
        run.Network.Stream(life, to.Host, () => to.Attachment.Tell(new Final(sent, 5000, state.Hash)));
        InTransfer(TransferPatience, () => Break("the other end did not say that it has all"));
    }

    private void Load(Final final)
    {
        if (IsLost || run.Fails())
        {
            Break("the device refused its state");
            return;
        }

        if (final.State.Hash != final.Hash && run.Options.Fault != SeededFault.TargetLoadsWhatIsDamaged)
        {
            Break("what arrived is not what was sent");
            return;
        }

        function.Generation = generation;
        function.Load(final.State);
        Loaded(final);
    }

    private void Loaded(Final final)
    {
        phase = AttachmentPhase.Loaded;
        transferring = false;
        TellOf(new TargetLoaded(claim, host.Name, generation, migration, [new StreamSum(final.Bytes, final.State.Hash)], 1));
        if (peer is { } from)
            run.Network.Stream(life, from.Host, () => from.Attachment.Tell(new FinalTaken(final.Bytes)));
    }

    private void Break(string why)
    {
        if (told is not CommandFailed)
            TellOf(new CommandFailed(claim, host.Name, generation, device, phase == AttachmentPhase.PreCopy ? nameof(StartPreCopy) : nameof(PrepareTarget), why, Gone: false));
        Hang();
    }

    private void EndTransfer()
    {
        transferring = false;
        Hang();
    }

    /// <summary>The other end hears of it, if it can.</summary>
    private void Hang()
    {
        if (endpoint.Length > 0)
            host.CloseDoor(endpoint);
        if (peer is { } other)
            run.Network.Stream(life, other.Host, () => other.Attachment.Tell(new Broken("the other end hung up")));
        peer = null;
    }

    private void InTransfer(TimeSpan after, Action what)
    {
        var (self, transfer) = (Self, transfers);
        run.After(after, () => self.Tell(new ThenOf(transfer, what)));
    }

    // ---- What takes a while ----------------------------------------------------------------------------------------------------------

    private void Exclusive(IHostCommand command, double least, double most, AttachmentPhase becomes, Func<IHostReport> work)
    {
        busy = true;
        After(run.Between(least, most), () =>
        {
            busy = false;
            if (run.Fails() || (IsLost && command is not Detach))
            {
                // A device that does not do as it is told; a Detach is tried again.
                phase = AttachmentPhase.Failed;
                if (command is not Detach)
                    function.Lose("died");
                TellOf(new CommandFailed(claim, host.Name, command.Generation, device, command.GetType().Name, "it broke", Gone: false));
            }
            else
            {
                phase = becomes;
                TellOf(work());
                StandIfLost();
            }

            Stash.UnstashAll();
        });
    }

    private void After(TimeSpan takes, Action what)
    {
        var self = Self;
        run.After(takes, () => self.Tell(new Then(what)));
    }

    // ---- The device's health ---------------------------------------------------------------------------------------------------------

    private bool IsLost => function.Sick is { Readable: false };

    private void LookAtDevice()
    {
        if (!opened || function.Sick is not { } sick)
            return;
        StandIfLost();
        Tell(new DeviceSick(claim, host.Name, generation, device, sick.Reason, sick.Readable));
        if (IsLost && phase == AttachmentPhase.PreCopy && !switching && transferring)
            Break(sick.Reason);
    }

    private void StandIfLost()
    {
        if (IsLost && phase == AttachmentPhase.Running)
            phase = AttachmentPhase.Failed;
    }

    // ---- Telling ---------------------------------------------------------------------------------------------------------------------

    private void Refuse(IHostCommand command, string reason) =>
        Tell(new CommandFailed(claim, host.Name, command.Generation, device, command.GetType().Name, reason, Gone: false));

    private void Repeat()
    {
        if (told is not null)
            Tell(told);
    }

    private void TellOf(IHostReport report)
    {
        told = report;
        Tell(report);
    }

    private static void Tell(IHostReport report) => Context.Parent.Tell(report);
}
