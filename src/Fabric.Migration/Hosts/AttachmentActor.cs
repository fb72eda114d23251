using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Tracing;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>What an attachment needs of its host.</summary>
/// <param name="Runs">Who is told what runs; null for nobody.</param>
internal sealed record AttachmentContext(
    string Host, IActorRef Devices, IConsumerFactory Consumers, DataPlaneListener Listener, TimeProvider Time, IRunLog? Runs);

/// <summary>Ask for an <see cref="AttachmentStatus"/>, which goes to the parent.</summary>
internal sealed record ReportStatus
{
    public static ReportStatus Instance { get; } = new();
}

/// <summary>
/// What one host holds of one claim: its open devices, their consumer, and one end of a migration. Carries out the claim's commands, each once
/// however often it comes, and reports to its parent. When it dies the devices' sessions close with it.
/// </summary>
internal sealed partial class AttachmentActor : UntypedActor, IWithUnboundedStash
{
    private readonly string claimId;
    private readonly Lease lease;
    private readonly ImmutableArray<string> addresses;
    private readonly AttachmentContext host;
    private readonly CancellationTokenSource life = new();
    private long generation;
    private AttachmentPhase phase = AttachmentPhase.Opening;

    /// <summary>In the claim's order; empty until they are open, and when they are closed.</summary>
    private ImmutableArray<HeldDevice> devices = [];
    private IConsumer? consumer;
    private bool busy;
    private bool closed;

    // The migration that this end takes part in, and what it has told of it.
    private int migration;
    private SourceRun? source;
    private CancellationTokenSource? transfer;
    private Task transferEnded = Task.CompletedTask;
    private IHostReport? told;

    /// <param name="addresses">The functions, in the claim's order.</param>
    public AttachmentActor(string claimId, ImmutableArray<string> addresses, Lease lease, AttachmentContext host)
    {
        (this.claimId, this.addresses, this.lease, this.host) = (claimId, addresses, lease, host);
        health = [.. addresses.Select(static address => new DeviceHealthSeen(address))];
    }

    private sealed record Opened(ImmutableArray<HeldDevice> Devices, IConsumer Consumer, IHostCommand Command);

    private sealed record OpenRefused(string Reason, IHostCommand Command);

    private sealed record TransferBroken(int Migration, string Command, Exception Cause);

    private sealed record SourceEnded(int Migration, SourceDone Done);

    private sealed record TargetEnded(int Migration, TargetDone Done);

    private sealed record Progressed(int Migration, PreCopyState State);

    private sealed record Finished(IHostReport Report, AttachmentPhase Phase);

    public IStash Stash { get; set; } = null!;

    /// <summary>The first function names the attachment.</summary>
    private string Device => addresses[0];

    public static Props Props(string claimId, ImmutableArray<string> addresses, Lease lease, AttachmentContext host) =>
        Akka.Actor.Props.Create(() => new AttachmentActor(claimId, addresses, lease, host));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ReportStatus or ReportAttachment:
                Tell(new AttachmentStatus(claimId, host.Host, generation, Describe(), phase, consumer?.Counters ?? WorkloadCounters.None));
                LookAtDevices();
                TellSickness();
                break;
            case DeviceStatusChanged or DeviceGone or SessionLooked:
                OnDevice(message);
                break;
            case IAttachmentCommand next when closed:
                // Of whatever begins here next: its parent has heard by then that this has ended.
                Context.Parent.Tell(next);
                break;
            case IHostCommand when busy:
                Stash.Stash();
                break;
            case IHostCommand command:
                generation = command.Generation;
                Carry(command);
                break;
            case Opened opened:
                Use(opened);
                break;
            case OpenRefused refused:
                Refuse(refused.Command, refused.Reason);
                Context.Stop(Self);
                break;
            case Progressed progressed when Transferring(progressed.Migration):
                TellOf(new PreCopyProgress(
                    claimId, host.Host, generation, migration, progressed.State.Rounds, progressed.State.Bytes, progressed.State.Remaining,
                    progressed.State.BytesPerSecond, progressed.State.RoundEnded, progressed.State.DirtyBytesPerSecond,
                    [.. progressed.State.Starting]));
                break;
            case SourceEnded ended when Transferring(ended.Migration):
                phase = AttachmentPhase.Stopped;
                TellOf(new SourceStopped(
                    claimId, host.Host, generation, migration, [.. ended.Done.Streams], ended.Done.Rounds,
                    ended.Done.Drain.TotalMilliseconds, ended.Done.Quiesce.TotalMilliseconds, ended.Done.Copy.TotalMilliseconds));
                break;
            case TargetEnded ended when Transferring(ended.Migration):
                phase = AttachmentPhase.Loaded;
                TellOf(new TargetLoaded(claimId, host.Host, generation, migration, [.. ended.Done.Streams], ended.Done.Load.TotalMilliseconds));
                break;
            case TransferBroken broken when Transferring(broken.Migration):
                TellBroken(broken.Command, broken.Cause.Message);
                break;
            case Progressed or SourceEnded or TargetEnded or TransferBroken:
                // Of a transfer that was called off meanwhile.
                break;
            case Finished finished:
                busy = false;
                phase = finished.Phase;
                closed = finished.Report is Detached;
                if (closed)
                    devices = [];
                StandIfLost();
                TellOf(finished.Report);
                Stash.UnstashAll();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    protected override void PostStop()
    {
        life.Cancel();
        // A transfer may still be in the consumer's memory.
        if (consumer is { } held)
            transferEnded.ContinueWith(_ => held.Dispose(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        base.PostStop();
    }

    private void Carry(IHostCommand command)
    {
        switch (command, phase)
        {
            case (Attach attach, AttachmentPhase.Opening):
                Begin(OpenFreshAsync(attach), command);
                break;
            case (Attach, AttachmentPhase.Running):
                Tell(new Attached(claimId, host.Host, generation, Device));
                break;

            case (PrepareTarget prepare, AttachmentPhase.Opening):
                migration = prepare.Migration;
                Begin(OpenTargetAsync(prepare), command);
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
                source!.Switch();
                break;
            case (StopAndCopy stop, AttachmentPhase.Stopped or AttachmentPhase.Loaded) when stop.Migration == migration:
                Repeat();
                break;
            case (StopAndCopy stop, AttachmentPhase.Receiving) when stop.Migration == migration:
                break;

            case (RunTarget run, AttachmentPhase.Loaded) when run.Migration == migration:
                Exclusive(run, RunTargetAsync(run, devices, consumer!, host));
                break;
            case (RunTarget run, AttachmentPhase.Running) when run.Migration == migration:
                Repeat();
                break;

            case (ResumeSource resume, not AttachmentPhase.Opening) when IsLost:
                Refuse(resume, $"{host.Host}/{sick!.Device} cannot run any more: {sick.Reason}");
                break;
            case (ResumeSource resume, AttachmentPhase.PreCopy or AttachmentPhase.Stopped) when resume.Migration == migration:
                Exclusive(resume, ResumeSourceAsync(resume, StopTransferAsync(), devices, consumer!, host.Host));
                break;
            case (ResumeSource resume, AttachmentPhase.Running):
                // It never heard of this migration, or has resumed from it: either way it runs, and will not begin it any more.
                migration = resume.Migration;
                Tell(new SourceRunning(claimId, host.Host, generation, resume.Migration));
                break;

            case (Detach detach, _):
                var ending = StopTransferAsync();
                // One that is stuck at a device which is gone does no harm, and is waited for before its consumer's memory is freed.
                Exclusive(detach, DetachAsync(detach, IsLost ? Task.CompletedTask : ending, devices, Lost(), consumer, host));
                break;
            case (VerifyAttachment verify, AttachmentPhase.Running):
                Exclusive(verify, VerifyAsync(verify, devices, consumer!, host.Host));
                break;
            default:
                Refuse(command, $"{command.GetType().Name} cannot be carried out on {host.Host} while the claim's devices there are in phase {phase}.");
                break;
        }
    }

    // ---- Opening ---------------------------------------------------------------------------------------------------------------------

    private void Begin(Task<Opened> opening, IHostCommand command)
    {
        busy = true;
        opening.PipeTo(Self, failure: cause => new OpenRefused(cause.Message, command));
    }

    private async Task<Opened> OpenFreshAsync(Attach attach)
    {
        var opened = await OpenAsync(attach, Self);
        try
        {
            ThrowUnless(await opened.Consumer.StartAsync(ClientsOf(opened.Devices)), "The consumer could not start");
            return opened;
        }
        catch
        {
            opened.Consumer.Dispose();
            throw;
        }
    }

    private async Task<Opened> OpenTargetAsync(PrepareTarget prepare)
    {
        var opened = await OpenAsync(prepare, Self);
        try
        {
            DeviceBarriers.Require(opened.Devices);
            var receiving = ImmutableArray.CreateBuilder<HeldDevice>(opened.Devices.Length);
            foreach (var device in opened.Devices)
            {
                var set = ValueOf(await device.Client.SetMigrationStateAsync(MigrationState.Resuming), $"{device.Address} could not enter RESUMING");
                receiving.Add(device with { Inbound = set.Stream });
            }

            return opened with { Devices = receiving.MoveToImmutable() };
        }
        catch
        {
            opened.Consumer.Dispose();
            throw;
        }
    }

    /// <summary>All of the functions or none: where one cannot be opened the attachment ends, and the sessions of the others with it.</summary>
    private async Task<Opened> OpenAsync(IOpeningCommand command, IActorRef self)
    {
        var opened = ImmutableArray.CreateBuilder<HeldDevice>(command.Devices.Length);
        foreach (var address in command.Devices)
            opened.Add(await OpenAsync(address, self));
        var created = Recorded(host.Consumers.Create(
            claimId, [.. opened.Select(static device => device.Status.Model)], command.MemoryBytes, command.StepsPerSecond));
        try
        {
            var reached = lease == Lease.None ? created.Memory : new LeasedMemory(created.Memory, lease);
            foreach (var device in opened)
            {
                ThrowUnless(
                    await device.Client.MapDmaAsync(created.MemoryIova, reached), $"The consumer's memory could not be mapped for {device.Address}");
            }

            return new Opened(opened.MoveToImmutable(), created, command);
        }
        catch
        {
            created.Dispose();
            throw;
        }
    }

    private IConsumer Recorded(IConsumer created) => host.Runs is { } log
        ? new RecordedConsumer(
            created, new RunRecord(0, RunEvent.Afresh, claimId, host.Host, Device), () => Volatile.Read(ref generation), log, host.Time)
        : created;

    private async Task<HeldDevice> OpenAsync(string address, IActorRef self)
    {
        var found = await host.Devices.Ask<object>(new FindDevice(PciAddress.Parse(address)), TimeSpan.FromSeconds(10)) switch
        {
            DeviceFound of => of,
            DeviceFailed failed => throw new MigrationBrokenException(failed.Error.Sentence),
            var other => throw new MigrationBrokenException($"The host answered FindDevice with {other.GetType().Name}."),
        };
        var client = ValueOf(await DeviceClient.OpenAsync(found.Front, HolderOf(claimId), self), $"{host.Host}/{address} could not be opened");
        var flags = await client.GetMigrationFlagsAsync();
        // Of a device that logs nothing at the moment it changes nothing (MG-42), and tells whether it can.
        var logs = await client.StopDmaLoggingAsync();
        return new HeldDevice(address, found.Status, client, flags.IsOk ? flags.Value : null, logs.IsOk);
    }

    private void Use(Opened opened)
    {
        busy = false;
        (devices, consumer) = (opened.Devices, opened.Consumer);
        switch (opened.Command)
        {
            case PrepareTarget prepare:
                phase = AttachmentPhase.Receiving;
                StartTarget(prepare);
                break;
            default:
                phase = AttachmentPhase.Running;
                Tell(new Attached(claimId, host.Host, generation, Device));
                break;
        }

        LookAtDevices();
        StandIfLost();
        Stash.UnstashAll();
    }

    private static ImmutableArray<DeviceClient> ClientsOf(ImmutableArray<HeldDevice> devices) => [.. devices.Select(static device => device.Client)];

    // ---- The two ends of a transfer --------------------------------------------------------------------------------------------------

    private string MigrationId => $"{claimId}.{migration}";

    private void StartTarget(PrepareTarget prepare)
    {
        var token = DataPlaneToken.New();
        var inbound = host.Listener.Expect(MigrationId, token, TargetRun.StreamsOf(devices.Length));
        var run = new TargetRun(devices, consumer!, inbound, host.Time);
        var number = prepare.Migration;
        StartTransfer(
            MigrationTracing.Around(
                "target run", prepare.Traceparent, claimId, number, host.Host, run.RunAsync, static done => done.Streams.Sum(static stream => stream.Bytes)),
            done => new TargetEnded(number, done),
            cause => new TransferBroken(number, nameof(PrepareTarget), cause));
        TellOf(new TargetPrepared(claimId, host.Host, generation, number, host.Listener.EndPoint.ToString(), token.ToBytes()));
    }

    private void StartSource(StartPreCopy start)
    {
        migration = start.Migration;
        told = null;
        phase = AttachmentPhase.PreCopy;
        consumer!.ForgetGaps();
        var self = Self;
        var number = start.Migration;
        source = new SourceRun(
            devices, consumer!, MigrationId, start, host.Listener.Options, state => self.Tell(new Progressed(number, state)), host.Time);
        StartTransfer(
            MigrationTracing.Around(
                "source run", start.Traceparent, claimId, number, host.Host, source.RunAsync, static done => done.Streams.Sum(static stream => stream.Bytes)),
            done => new SourceEnded(number, done),
            cause => new TransferBroken(number, nameof(StartPreCopy), cause));
    }

    private void StartTransfer<T>(Func<CancellationToken, Task<T>> run, Func<T, object> ended, Func<Exception, object> broken)
    {
        transfer = CancellationTokenSource.CreateLinkedTokenSource(life.Token);
        var token = transfer.Token;
        var running = Task.Run(() => run(token), CancellationToken.None);
        transferEnded = running.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        running.PipeTo(Self, success: ended, failure: broken);
    }

    /// <summary>Whether this end is in the middle of that migration, and nothing calls it off at the moment.</summary>
    private bool Transferring(int number) =>
        number == migration && !busy && phase is AttachmentPhase.PreCopy or AttachmentPhase.Receiving;

    /// <summary>Ends the transfer; completes when nothing of it touches device or consumer any more.</summary>
    private Task StopTransferAsync()
    {
        var (stopping, ended) = (transfer, transferEnded);
        (transfer, source) = (null, null);
        return stopping is null ? Task.CompletedTask : StopAsync(stopping, ended);
    }

    private static async Task StopAsync(CancellationTokenSource stopping, Task ended)
    {
        await stopping.CancelAsync();
        await ended;
        stopping.Dispose();
    }

    // ---- Commands that take a while: nothing else is carried out meanwhile -----------------------------------------------------------

    private void Exclusive(IHostCommand command, Task<Finished> work)
    {
        busy = true;
        var log = Context.GetLogger();
        work.PipeTo(Self, failure: cause =>
        {
            log.Error(cause, "Claim {0}: {1} failed", claimId, command.GetType().Name);
            return new Finished(
                new CommandFailed(claimId, host.Host, command.Generation, Device, command.GetType().Name, cause.Message, Gone: false),
                AttachmentPhase.Failed);
        });
    }

    private static async Task<Finished> RunTargetAsync(
        RunTarget run, ImmutableArray<HeldDevice> devices, IConsumer consumer, AttachmentContext host)
    {
        var started = host.Time.GetTimestamp();
        ThrowUnless(await consumer.RestoreConfigAsync(ClientsOf(devices)), "The target's config space could not be restored");
        await DeviceBarriers.RunAsync(devices);
        consumer.Resume();
        var took = host.Time.GetElapsedTime(started).TotalMilliseconds;
        return new Finished(new TargetRunning(run.ClaimId, host.Host, run.Generation, run.Migration, took), AttachmentPhase.Running);
    }

    private static async Task<Finished> ResumeSourceAsync(
        ResumeSource resume, Task stopped, ImmutableArray<HeldDevice> devices, IConsumer consumer, string host)
    {
        await stopped;
        await DeviceBarriers.RunAsync(devices);
        consumer.Resume();
        foreach (var device in devices)
            ThrowUnless(await device.Client.StopDmaLoggingAsync(), $"{device.Address} could not stop its DMA log");
        return new Finished(new SourceRunning(resume.ClaimId, host, resume.Generation, resume.Migration), AttachmentPhase.Running);
    }

    /// <param name="lost">Functions whose sessions have ended.</param>
    private static async Task<Finished> DetachAsync(
        Detach detach, Task stopped, ImmutableArray<HeldDevice> devices, ImmutableArray<string> lost, IConsumer? consumer, AttachmentContext host)
    {
        await stopped;
        consumer?.Pause();
        foreach (var device in devices)
            await CloseAsync(detach.ClaimId, device, lost.Contains(device.Address), host);
        return new Finished(new Detached(detach.ClaimId, host.Host, detach.Generation, detach.Device), AttachmentPhase.Stopped);
    }

    /// <summary>A session that its device has ended cannot be closed, and need not be: who holds the device now, its host says.</summary>
    private static async Task CloseAsync(string claim, HeldDevice device, bool isLost, AttachmentContext host)
    {
        if (!(isLost && await IsClosedAsync(claim, device, host)) && await device.Client.CloseAsync() is { IsOk: false } failed
            && failed.Error.Errno != Errno.ENODEV && !await IsClosedAsync(claim, device, host))
        {
            ThrowUnless(failed, $"{device.Address} could not be closed");
        }
    }

    private static async Task<bool> IsClosedAsync(string claim, HeldDevice held, AttachmentContext host)
    {
        var list = await host.Devices.Ask<DeviceList>(ListDevices.Instance, TimeSpan.FromSeconds(10));
        return !list.Devices.Any(device => device.Address.ToString() == held.Address && device.Holder == HolderOf(claim));
    }

    private static async Task<Finished> VerifyAsync(VerifyAttachment verify, ImmutableArray<HeldDevice> devices, IConsumer consumer, string host)
    {
        consumer.Pause();
        await DeviceBarriers.StopAsync(devices);
        var verified = await consumer.VerifyAsync(ClientsOf(devices));
        await DeviceBarriers.RunAsync(devices);
        consumer.Resume();
        var (result, failure) = verified.IsOk ? (verified.Value, null) : (new VerificationResult(0, 0, 0, 0), verified.Error.ToString());
        return new Finished(new AttachmentVerified(verify.ClaimId, host, verify.Generation, result, failure), AttachmentPhase.Running);
    }

    // ---- Telling ---------------------------------------------------------------------------------------------------------------------

    private AttachedDevice[] Describe() => devices.IsEmpty
        ? [.. addresses.Select(static address => new AttachedDevice(address, Driver: null, Ids: null, StateBytes: 0, Flags: null))]
        : [.. devices.Select(static held => new AttachedDevice(
            held.Address, held.Status.Driver, held.Status.Ids.ToString(), held.Status.StateBytes ?? 0, held.Flags)
        {
            Shown = TargetPlanner.Show(held.Status) with { Flags = held.Flags, LogsDma = held.LogsDma },
        })];

    private void Refuse(IHostCommand command, string reason) =>
        Tell(new CommandFailed(claimId, host.Host, command.Generation, Device, command.GetType().Name, reason, Gone: false));

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

    /// <summary>A transfer breaks once, whether the device is found to be gone first or what was sent to it fails first.</summary>
    private void TellBroken(string command, string reason)
    {
        if (told is not CommandFailed)
            TellOf(new CommandFailed(claimId, host.Host, generation, Device, command, reason, Gone: false));
    }

    private static void Tell(IHostReport report) => Context.Parent.Tell(report);
}
