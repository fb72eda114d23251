using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Migration.DataPlane;
using Fabric.Pci;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>What an attachment needs of its host.</summary>
internal sealed record AttachmentContext(
    string Host, IActorRef Devices, IConsumerFactory Consumers, DataPlaneListener Listener, TimeProvider Time);

/// <summary>Ask for an <see cref="AttachmentStatus"/>, which goes to the parent.</summary>
internal sealed record ReportStatus
{
    public static ReportStatus Instance { get; } = new();
}

/// <summary>
/// What one host holds of one claim: an open device, its consumer, and one end of a migration. Carries out the claim's commands, each once
/// however often it comes, and reports to its parent. When it dies the device's session closes with it.
/// </summary>
internal sealed class AttachmentActor : UntypedActor, IWithUnboundedStash
{
    private readonly string claimId;
    private readonly AttachmentContext host;
    private readonly CancellationTokenSource life = new();
    private long generation;
    private string deviceAddress = "";
    private string? driver;
    private string? ids;
    private long stateBytes;
    private AttachmentPhase phase = AttachmentPhase.Opening;
    private DeviceClient? device;
    private IConsumer? consumer;
    private bool busy;

    // The migration that this end takes part in, and what it has told of it.
    private int migration;
    private SourceRun? source;
    private CancellationTokenSource? transfer;
    private Task transferEnded = Task.CompletedTask;
    private IHostReport? told;

    public AttachmentActor(string claimId, AttachmentContext host) => (this.claimId, this.host) = (claimId, host);

    private sealed record Opened(DeviceStatus Status, DeviceClient Device, IConsumer Consumer, IMigrationStream? Stream, IHostCommand Command);

    private sealed record OpenRefused(string Reason, IHostCommand Command);

    private sealed record TransferBroken(int Migration, string Command, Exception Cause);

    private sealed record SourceEnded(int Migration, SourceDone Done);

    private sealed record TargetEnded(int Migration, TargetDone Done);

    private sealed record Progressed(int Migration, PreCopyState State);

    private sealed record Finished(IHostReport Report, AttachmentPhase Phase);

    public IStash Stash { get; set; } = null!;

    public static Props Props(string claimId, AttachmentContext host) => Akka.Actor.Props.Create(() => new AttachmentActor(claimId, host));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ReportStatus or ReportAttachment:
                Tell(new AttachmentStatus(
                    claimId, host.Host, generation, deviceAddress, driver, ids, stateBytes, phase, consumer?.Counters ?? WorkloadCounters.None));
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
                    progressed.State.BytesPerSecond, progressed.State.RoundEnded));
                break;
            case SourceEnded ended when Transferring(ended.Migration):
                phase = AttachmentPhase.Stopped;
                TellOf(new SourceStopped(
                    claimId, host.Host, generation, migration, ended.Done.Bytes, ended.Done.Checksum, ended.Done.Rounds,
                    ended.Done.Drain.TotalMilliseconds, ended.Done.Quiesce.TotalMilliseconds, ended.Done.Copy.TotalMilliseconds));
                break;
            case TargetEnded ended when Transferring(ended.Migration):
                phase = AttachmentPhase.Loaded;
                TellOf(new TargetLoaded(
                    claimId, host.Host, generation, migration, ended.Done.Bytes, ended.Done.Checksum, ended.Done.Load.TotalMilliseconds));
                break;
            case TransferBroken broken when Transferring(broken.Migration):
                TellOf(new CommandFailed(claimId, host.Host, generation, broken.Command, broken.Cause.Message, Gone: false));
                break;
            case Progressed or SourceEnded or TargetEnded or TransferBroken:
                // Of a transfer that was called off meanwhile.
                break;
            case Finished finished:
                busy = false;
                phase = finished.Phase;
                // What was closed is not closed again.
                if (finished.Report is Detached)
                    device = null;
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
                Begin(attach.Device, OpenFreshAsync(attach), command);
                break;
            case (Attach, AttachmentPhase.Running):
                Tell(new Attached(claimId, host.Host, generation, deviceAddress));
                break;

            case (PrepareTarget prepare, AttachmentPhase.Opening):
                migration = prepare.Migration;
                Begin(prepare.Device, OpenTargetAsync(prepare), command);
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
                Exclusive(run, RunTargetAsync(run, device!, consumer!, host));
                break;
            case (RunTarget run, AttachmentPhase.Running) when run.Migration == migration:
                Repeat();
                break;

            case (ResumeSource resume, AttachmentPhase.PreCopy or AttachmentPhase.Stopped) when resume.Migration == migration:
                Exclusive(resume, ResumeSourceAsync(resume, StopTransferAsync(), device!, consumer!, host.Host));
                break;
            case (ResumeSource resume, AttachmentPhase.Running):
                // It never heard of this migration, or has resumed from it: either way it runs, and will not begin it any more.
                migration = resume.Migration;
                Tell(new SourceRunning(claimId, host.Host, generation, resume.Migration));
                break;

            case (Detach detach, _):
                Exclusive(detach, DetachAsync(detach, StopTransferAsync(), device, consumer, host.Host));
                break;
            case (VerifyAttachment verify, AttachmentPhase.Running):
                Exclusive(verify, VerifyAsync(verify, device!, consumer!, host.Host));
                break;
            default:
                Refuse(command, $"{command.GetType().Name} cannot be carried out on {host.Host} while the claim's device there is in phase {phase}.");
                break;
        }
    }

    // ---- Opening ---------------------------------------------------------------------------------------------------------------------

    private void Begin(string address, Task<Opened> opening, IHostCommand command)
    {
        deviceAddress = address;
        busy = true;
        opening.PipeTo(Self, failure: cause => new OpenRefused(cause.Message, command));
    }

    private async Task<Opened> OpenFreshAsync(Attach attach)
    {
        var (status, client, created) = await OpenAsync(attach.Device, attach.MemoryBytes, attach.StepsPerSecond, Self);
        try
        {
            ThrowUnless(await created.StartAsync(client), "The consumer could not start");
            return new Opened(status, client, created, null, attach);
        }
        catch
        {
            created.Dispose();
            throw;
        }
    }

    private async Task<Opened> OpenTargetAsync(PrepareTarget prepare)
    {
        var (status, client, created) = await OpenAsync(prepare.Device, prepare.MemoryBytes, prepare.StepsPerSecond, Self);
        try
        {
            var stream = ValueOf(await client.SetMigrationStateAsync(MigrationState.Resuming), "The target could not enter RESUMING").Stream;
            return new Opened(status, client, created, stream, prepare);
        }
        catch
        {
            created.Dispose();
            throw;
        }
    }

    private async Task<(DeviceStatus Status, DeviceClient Device, IConsumer Consumer)> OpenAsync(string address, long memoryBytes, int stepsPerSecond, IActorRef self)
    {
        var found = await host.Devices.Ask<object>(new FindDevice(PciAddress.Parse(address)), TimeSpan.FromSeconds(10)) switch
        {
            DeviceFound of => of,
            DeviceFailed failed => throw new MigrationBrokenException(failed.Error.Sentence),
            var other => throw new MigrationBrokenException($"The host answered FindDevice with {other.GetType().Name}."),
        };
        var opened = ValueOf(await DeviceClient.OpenAsync(found.Front, $"claim {claimId}", self), $"{host.Host}/{address} could not be opened");
        var created = host.Consumers.Create(claimId, memoryBytes, stepsPerSecond);
        try
        {
            ThrowUnless(await opened.MapDmaAsync(created.MemoryIova, created.Memory), "The consumer's memory could not be mapped");
            return (found.Status, opened, created);
        }
        catch
        {
            created.Dispose();
            throw;
        }
    }

    private void Use(Opened opened)
    {
        busy = false;
        (device, consumer) = (opened.Device, opened.Consumer);
        (driver, ids, stateBytes) = (opened.Status.Driver, opened.Status.Ids.ToString(), opened.Status.StateBytes ?? 0);
        switch (opened.Command)
        {
            case PrepareTarget prepare:
                phase = AttachmentPhase.Receiving;
                StartTarget(prepare, opened.Stream!);
                break;
            default:
                phase = AttachmentPhase.Running;
                Tell(new Attached(claimId, host.Host, generation, deviceAddress));
                break;
        }

        Stash.UnstashAll();
    }

    // ---- The two ends of a transfer --------------------------------------------------------------------------------------------------

    private string MigrationId => $"{claimId}.{migration}";

    private void StartTarget(PrepareTarget prepare, IMigrationStream stream)
    {
        var token = DataPlaneToken.New();
        var inbound = host.Listener.Expect(MigrationId, token);
        var run = new TargetRun(device!, consumer!, stream, inbound, host.Time);
        var number = prepare.Migration;
        StartTransfer(
            run.RunAsync,
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
        source = new SourceRun(device!, consumer!, MigrationId, start, state => self.Tell(new Progressed(number, state)), host.Time);
        StartTransfer(
            source.RunAsync,
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
                new CommandFailed(claimId, host.Host, command.Generation, command.GetType().Name, cause.Message, Gone: false),
                AttachmentPhase.Failed);
        });
    }

    private static async Task<Finished> RunTargetAsync(RunTarget run, DeviceClient device, IConsumer consumer, AttachmentContext host)
    {
        var started = host.Time.GetTimestamp();
        ThrowUnless(await consumer.RestoreConfigAsync(device), "The target's config space could not be restored");
        ValueOf(await device.SetMigrationStateAsync(MigrationState.Running), "The target could not enter RUNNING");
        consumer.Resume();
        var took = host.Time.GetElapsedTime(started).TotalMilliseconds;
        return new Finished(new TargetRunning(run.ClaimId, host.Host, run.Generation, run.Migration, took), AttachmentPhase.Running);
    }

    private static async Task<Finished> ResumeSourceAsync(ResumeSource resume, Task stopped, DeviceClient device, IConsumer consumer, string host)
    {
        await stopped;
        ValueOf(await device.SetMigrationStateAsync(MigrationState.Running), "The source could not enter RUNNING again");
        consumer.Resume();
        ThrowUnless(await device.StopDmaLoggingAsync(), "The source could not stop its DMA log");
        return new Finished(new SourceRunning(resume.ClaimId, host, resume.Generation, resume.Migration), AttachmentPhase.Running);
    }

    private static async Task<Finished> DetachAsync(Detach detach, Task stopped, DeviceClient? device, IConsumer? consumer, string host)
    {
        await stopped;
        consumer?.Pause();
        if (device is not null)
            ThrowUnless(await device.CloseAsync(), "The device could not be closed");
        return new Finished(new Detached(detach.ClaimId, host, detach.Generation), AttachmentPhase.Stopped);
    }

    private static async Task<Finished> VerifyAsync(VerifyAttachment verify, DeviceClient device, IConsumer consumer, string host)
    {
        consumer.Pause();
        ValueOf(await device.SetMigrationStateAsync(MigrationState.Stop), "The device could not stop to be verified");
        var verified = await consumer.VerifyAsync(device);
        ValueOf(await device.SetMigrationStateAsync(MigrationState.Running), "The device could not run again after it was verified");
        consumer.Resume();
        var (result, failure) = verified.IsOk ? (verified.Value, null) : (new VerificationResult(0, 0, 0, 0), verified.Error.ToString());
        return new Finished(new AttachmentVerified(verify.ClaimId, host, verify.Generation, result, failure), AttachmentPhase.Running);
    }

    // ---- Telling ---------------------------------------------------------------------------------------------------------------------

    private void Refuse(IHostCommand command, string reason) =>
        Tell(new CommandFailed(claimId, host.Host, command.Generation, command.GetType().Name, reason, Gone: false));

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
