using Akka.Actor;
using Akka.Event;
using System.Globalization;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Claims;

/// <summary>
/// The saga: plan, reserve, pre-copy, stop-copy, COMMIT, run, release; anything that fails before the commit is rolled back to a running
/// source. Each step is one journaled state, the commands that <see cref="Drive"/> sends in it, and the reports that end it.
/// </summary>
public sealed partial class ClaimActor
{
    private static readonly TimeSpan ReserveDeadline = TimeSpan.FromSeconds(20);

    /// <summary>A transfer that makes no round for this long is given up.</summary>
    private static readonly TimeSpan ProgressDeadline = TimeSpan.FromSeconds(20);

    /// <summary>A claim that was taken up anew may be there before the members of its fabric are: a host that is missing is not lost yet.</summary>
    private static readonly TimeSpan MembersDeadline = TimeSpan.FromSeconds(20);

    /// <summary>A claim that was taken up anew waits so long for <see cref="AnswersPromptly"/>, and no longer.</summary>
    private static readonly TimeSpan SettlingLimit = TimeSpan.FromSeconds(2);

    /// <summary>Of the downtime limit, this much may pass until both ends have answered.</summary>
    private const double PromptShare = 0.25;

    /// <summary>Of the downtime limit, this much is planned with: the rest is for what the prediction does not see.</summary>
    private const double PlannedShare = 0.5;

    /// <summary>What a stop costs beside moving bytes: commands, quiescing, loading, the journal.</summary>
    private static readonly TimeSpan SwitchoverCost = TimeSpan.FromMilliseconds(20);

    // Of the present step; a claim that was taken up anew gets its reports again.
    private bool stepRecovered;
    private long stepSince;
    private PreCopyProgress? progress;
    private long? dirtyRate;
    private Convergence convergence = Convergence.Unknown;
    private bool convergenceMissed;
    private long progressAt;
    private SourceStopped? stopped;
    private long endsAskedAt;
    private readonly HashSet<string> endsToAnswer = [];
    private TargetLoaded? loaded;
    private string? sourceLost;
    private long stopSentAt;
    private long commitSince;

    // ---- Starting and cancelling -----------------------------------------------------------------------------------------------------

    private void Start(StartMigration start)
    {
        var request = start.Request;
        if (request is not null)
        {
            // It comes again until its answer is heard: one that was carried out is not repeated, one that is looked at is answered then.
            if (state.Migrations.Exists(known => known.Request == request))
            {
                Sender.Tell(new ClaimAccepted(View()));
                return;
            }

            if (planning?.Command is StartMigration { Request: { } looked } && looked == request)
                return;
        }

        switch (state.Phase)
        {
            case ClaimPhase.None:
                Refuse(RefusalCode.NotFound, $"There is no claim {ClaimId}; list the claims.", request);
                PassivateIfOver();
                return;
            case ClaimPhase.Migrating:
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is migrating already ({ClaimId}.{state.Migration!.Number}, to {state.Migration.ToHost}); wait for its end, or cancel it.", request);
                return;
            case not ClaimPhase.Running:
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is {Word(state.Phase)}; only a running claim migrates.", request);
                return;
        }

        if (start.From is { } from && from != state.Host)
        {
            Refuse(RefusalCode.Conflict, $"Claim {ClaimId} runs on {state.Host} and not on {from} any more.", request);
            return;
        }

        // What somebody asks for goes before what the fabric would do by itself.
        if (planning is { IsOwn: true })
            EndPlanning();
        if (planning is not null)
            Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is being planned by another request; look at it in a moment.", request);
        else if (start.TargetHost == state.Host)
            Refuse(RefusalCode.Plan, $"Claim {ClaimId} runs on {state.Host} already; name another host.", request);
        else
            StartPlanned(start);
    }

    private void Cancel(CancelMigration cancel)
    {
        if (state.Phase == ClaimPhase.None)
        {
            RefuseUnknown();
            PassivateIfOver();
            return;
        }

        if (state.Migrations.Find(known => known.Number == cancel.Number) is not { } migration)
        {
            Refuse(RefusalCode.NotFound, $"Claim {ClaimId} has no migration {ClaimId}.{cancel.Number}; list its migrations.");
            return;
        }

        switch (migration.Step)
        {
            case MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy when cancel.PlanOnly:
                Sender.Tell(new ClaimPlanned($"migration {ClaimId}.{migration.Number} would be given up, and the claim run on {migration.FromHost} as before"));
                break;
            case MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy:
                var requester = writingFor = Sender;
                RollBack($"cancelled by {cancel.RequestedBy}", cancelled: true, () => requester.Tell(new ClaimAccepted(View())));
                break;
            case MigrationStep.Rollback:
                Sender.Tell(new ClaimAccepted(View()));
                break;
            default:
                Refuse(RefusalCode.Conflict, migration.Outcome is null or "committed"
                    ? $"Migration {ClaimId}.{migration.Number} is committed: it moved the claim to {migration.ToHost}. Migrate it to {migration.FromHost} instead."
                    : $"Migration {ClaimId}.{migration.Number} has ended: {migration.Outcome}.");
                break;
        }
    }

    // ---- Steps -----------------------------------------------------------------------------------------------------------------------

    private void EnterStep()
    {
        stepSince = time.GetTimestamp();
        trace.Follow(state.Migrations.IsEmpty ? null : state.Migrations[^1], state.Generation);
        // A host that is to open it has asked for nothing yet.
        if (state.Phase == ClaimPhase.Placing)
            leasedAt = stepSince;
        switch (state.Migration?.Step)
        {
            case MigrationStep.Reserve:
                (progress, dirtyRate, stopped, loaded, sourceLost, stopSentAt, commitSince) = (null, null, null, null, null, 0, 0);
                break;
            case MigrationStep.PreCopy:
                progressAt = stepSince;
                (convergence, convergenceMissed, endsAskedAt) = (Convergence.Unknown, false, 0);
                break;
            case MigrationStep.StopCopy:
                if (!stepRecovered)
                    stopSentAt = stepSince;
                Timers.StartSingleTimer(nameof(StopLimit), Tick.Instance, StopLimit(state.Migration));
                break;
        }

        if (state.Migration?.Step != MigrationStep.StopCopy)
            Timers.Cancel(nameof(StopLimit));

        if (state.Phase is ClaimPhase.Released)
        {
            Timers.Cancel(nameof(Tick));
            Publish();
            PassivateIfOver();
            return;
        }

        Timers.StartPeriodicTimer(nameof(Tick), Tick.Instance, ResendInterval);
        Publish();
        Drive();
        Attend();
    }

    /// <summary>Sends what the present step needs. Everything here may be sent twice.</summary>
    private void Drive()
    {
        var generation = state.Generation;
        switch (state.Phase, state.Migration)
        {
            case (ClaimPhase.Placing, _):
                Send(
                    state.Host,
                    new Attach(ClaimId, generation, [.. state.Addresses], state.MemoryBytes, state.StepsPerSecond, state.HostLife, state.LeaseMs));
                break;
            case (ClaimPhase.Running, _) when time.GetElapsedTime(heardAt) > StatusDeadline:
                Send(state.Host, new ReportAttachment(ClaimId, generation, state.Device));
                break;
            case (ClaimPhase.Releasing, _):
                Send(state.Host, new Detach(ClaimId, generation, state.Device));
                if (members.PresenceOf(state.Host) == HostPresence.Absent)
                    Record(new ClaimReleased { At = Now }, "claim.released", $"{state.Host} is gone, and its device with it");
                break;
            case (ClaimPhase.Restarting, _) when !state.RunnerIsClosed:
                // Until it is confirmed: a host that is away may run it still (L1).
                Send(state.Host, new Detach(ClaimId, generation, state.Device));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Reserve } m):
                Send(m.ToHost, new PrepareTarget(ClaimId, generation, m.Number, [.. m.ToDevices], state.MemoryBytes, state.StepsPerSecond, state.LeaseMs) { Traceparent = trace.Traceparent });
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.PreCopy } m):
                Send(
                    m.FromHost,
                    new StartPreCopy(ClaimId, generation, m.FromDevice, m.Number, m.Endpoint!, m.Token.ToByteArray(), m.BandwidthLimit) { Traceparent = trace.Traceparent });
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.StopCopy } m):
                if (stopped is null)
                    Send(m.FromHost, new StopAndCopy(ClaimId, generation, m.FromDevice, m.Number));
                if (loaded is null)
                    Send(m.ToHost, new StopAndCopy(ClaimId, generation, m.ToDevice, m.Number));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Run } m):
                Send(m.ToHost, new RunTarget(ClaimId, generation, m.ToDevice, m.Number));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Release } m):
                Send(m.FromHost, new Detach(ClaimId, generation, m.FromDevice));
                if (members.PresenceOf(m.FromHost) == HostPresence.Absent)
                    EndRelease(m, $"{m.FromHost} is gone, and its device with it");
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Rollback } m):
                Send(m.FromHost, new ResumeSource(ClaimId, generation, m.FromDevice, m.Number));
                Send(m.ToHost, new Detach(ClaimId, generation, m.ToDevice));
                break;
        }
    }

    private void CheckDeadlines()
    {
        if (state.Migration is not { Step: MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy } m)
            return;
        var inStep = time.GetElapsedTime(stepSince);
        if (Now - m.StartedAt > m.TimeoutMs)
            RollBack($"it did not end within {m.TimeoutMs / 1000} s{WhyNotYet(m)}");
        else if (m.Step == MigrationStep.Reserve && inStep > ReserveDeadline)
            RollBack($"{m.ToHost} did not open {Shown(m.ToDevices)} within {ReserveDeadline.TotalSeconds} s");
        else if (m.Step == MigrationStep.PreCopy && time.GetElapsedTime(progressAt) > ProgressDeadline + RoundAtLimit(m))
            RollBack($"the pre-copy made no progress for {(ProgressDeadline + RoundAtLimit(m)).TotalSeconds:0} s");
        else if (m.Step == MigrationStep.PreCopy && members.PresenceOf(m.ToHost) == HostPresence.Absent && !(stepRecovered && inStep < MembersDeadline))
            RollBack($"the target host {m.ToHost} was lost");
        else if (m.Step == MigrationStep.StopCopy && commitSince == 0 && inStep >= StopLimit(m))
            EndStop(m);
    }

    /// <summary>Why a pre-copy went on and on.</summary>
    private string WhyNotYet(ClaimMigration m) => m.Step == MigrationStep.PreCopy && progress is { RoundEnded: true, Rounds: >= 2, BytesPerSecond: > 0 } told
        ? string.Create(
            CultureInfo.InvariantCulture,
            $": the workload changes its state so fast that a stop would take some {PredictedDowntime(told):0} ms, and the limit of ")
            + string.Create(
                CultureInfo.InvariantCulture,
                $"{m.DowntimeLimitMs} ms needs a prediction of {m.DowntimeLimitMs * PlannedShare:0.#} ms; allow a longer stop, or more bandwidth")
        : "";

    private static double PredictedDowntime(PreCopyProgress told) => PredictedDowntime(told.RemainingBytes, told.BytesPerSecond);

    private static double PredictedDowntime(long left, long bytesPerSecond) => SwitchoverCost.TotalMilliseconds + (left * 1000.0 / bytesPerSecond);

    /// <summary>A first round carries everything, and under a bandwidth limit nothing is heard before its end.</summary>
    private TimeSpan RoundAtLimit(ClaimMigration m) =>
        m.BandwidthLimit == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(2.0 * ((status?.Devices.Sum(static device => device.StateBytes) ?? 0) + state.MemoryBytes) / m.BandwidthLimit);

    /// <summary>A claim that was taken up anew in the stop cannot undo the time that passed: it gives both ends a moment to answer.</summary>
    private TimeSpan StopLimit(ClaimMigration m) => stepRecovered ? TimeSpan.FromSeconds(2) : TimeSpan.FromMilliseconds(LimitMs(m));

    private static int LimitMs(ClaimMigration m) => m.StopLimitMs > 0 ? m.StopLimitMs : m.DowntimeLimitMs;

    // ---- Reports ---------------------------------------------------------------------------------------------------------------------

    private void OnReport(IHostReport report)
    {
        if (report.Generation > state.Generation && !(state.Phase == ClaimPhase.None && IsFresh))
        {
            StandBack(report);
            return;
        }

        if (report is AttachmentStatus told)
        {
            OnStatus(told);
            return;
        }

        if (report is AttachmentVerified verified)
        {
            OnVerified(verified);
            return;
        }

        if (report is RenewLease asked)
        {
            OnRenew(asked);
            return;
        }

        if (report is DeviceSick sick)
        {
            OnSick(sick);
            return;
        }

        // A report of an older generation is about something that is over.
        if (report.Generation != state.Generation)
            return;
        switch (report, state.Phase, state.Migration)
        {
            case (Attached attached, ClaimPhase.Placing, _) when attached.Host == state.Host:
                Record(new ClaimStarted { Generation = state.Generation, At = Now }, "claim.running", $"on {state.Host}/{Shown(state.Addresses)}", AnnounceRestarted);
                break;
            case (CommandFailed failed, ClaimPhase.Placing, _) when state.Has(failed.Host, failed.Device):
                NotPlaced(failed);
                break;
            case (CommandFailed { Gone: true } failed, ClaimPhase.Running, _) when state.Has(failed.Host, failed.Device):
                Lose($"{failed.Reason} The state of the device died with it.", withHost: true);
                break;
            case (Detached detached, ClaimPhase.Restarting, _) when state.Has(detached.Host, detached.Device) && !state.RunnerIsClosed:
                Record(new RunnerClosed { At = Now }, "claim.closed", $"{state.Host} has closed {Shown(state.Addresses)}");
                break;
            case (CommandFailed { Command: nameof(VerifyAttachment) } failed, ClaimPhase.Running, _) when state.Has(failed.Host, failed.Device) && !failed.Gone:
                EndVerifying(new ClaimRefused(RefusalCode.Conflict, $"Claim {ClaimId} could not be verified: {failed.Reason}"));
                break;
            case (Detached detached, ClaimPhase.Releasing, _) when state.Has(detached.Host, detached.Device):
                Record(new ClaimReleased { At = Now }, "claim.released", $"{state.Host}/{Shown(state.Addresses)} is free");
                break;
            case (CommandFailed failed, ClaimPhase.Releasing, _) when state.Has(failed.Host, failed.Device):
                Record(new ClaimReleased { At = Now }, "claim.released", failed.Reason);
                break;
            case (_, ClaimPhase.Migrating, { } m):
                OnMigrationReport(report, m);
                break;
        }
    }

    private void OnMigrationReport(IHostReport report, ClaimMigration m)
    {
        switch (report, m.Step)
        {
            case (TargetPrepared prepared, MigrationStep.Reserve) when prepared.Migration == m.Number:
                Record(
                    new TargetReserved { Endpoint = prepared.Endpoint, Token = ByteString.CopyFrom(prepared.Token), At = Now },
                    "migration.reserved",
                    $"{m.ToHost}/{Shown(m.ToDevices)} is open to receive");
                break;
            case (PreCopyProgress told, MigrationStep.PreCopy) when told.Migration == m.Number:
                OnProgress(told, m);
                break;
            case (SourceStopped told, MigrationStep.StopCopy) when told.Migration == m.Number:
                stopped = told;
                Compare(m);
                break;
            case (TargetLoaded told, MigrationStep.StopCopy) when told.Migration == m.Number:
                loaded = told;
                Compare(m);
                break;
            case (TargetRunning running, MigrationStep.Run) when running.Migration == m.Number:
                OnTargetRunning(running, m);
                break;
            case (Detached detached, MigrationStep.Release) when (detached.Host, detached.Device) == (m.FromHost, m.FromDevice):
                EndRelease(m, $"{m.FromHost}/{Shown(m.FromDevices)} is free");
                break;
            case (SourceRunning running, MigrationStep.Rollback) when running.Migration == m.Number:
                var undone = new MigrationRolledBack
                {
                    DowntimeMs = Downtime(m),
                    Bytes = progress?.Bytes ?? 0,
                    Rounds = progress?.Rounds ?? 0,
                    DirtyBytesPerSecond = dirtyRate ?? 0,
                    At = Now,
                };
                undone.Phases.AddRange(PhasesOfRollback(m));
                Record(
                    undone,
                    "migration.rolled-back",
                    $"runs on {m.FromHost}/{Shown(m.FromDevices)} as before: {m.Reason}");
                break;
            case (CommandFailed failed, _):
                OnMigrationFailure(failed, m);
                break;
        }
    }

    private void OnMigrationFailure(CommandFailed failed, ClaimMigration m)
    {
        switch (m.Step)
        {
            case MigrationStep.StopCopy when failed.Gone && m.IsSource(failed.Host, failed.Device):
                // The only whole copy may be the target's, which has yet to tell: the limit of the stop ends that.
                sourceLost = $"{failed.Host}: {failed.Reason}";
                Compare(m);
                break;
            case MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy:
                RollBack(failed.Command switch
                {
                    nameof(StartPreCopy) => $"{failed.Host} could not send to {m.ToHost}: {failed.Reason}",
                    nameof(PrepareTarget) => $"{failed.Host} could not receive from {m.FromHost}: {failed.Reason}",
                    _ => $"{failed.Host}: {failed.Reason}",
                });
                break;
            case MigrationStep.Run when failed.Host == m.ToHost && failed.Command == nameof(RunTarget):
                Lose($"After the commit {m.ToHost} could not run the claim: {failed.Reason}", failed.Gone);
                break;
            case MigrationStep.Release when (failed.Host, failed.Device) == (m.FromHost, m.FromDevice):
                EndRelease(m, failed.Reason);
                break;
            case MigrationStep.Rollback when failed.Host == m.FromHost && failed.Command == nameof(ResumeSource):
                Lose($"Migration {ClaimId}.{m.Number} could not be rolled back: {failed.Reason}", failed.Gone);
                break;
        }
    }

    private void OnProgress(PreCopyProgress told, ClaimMigration m)
    {
        progress = told;
        trace.Round(told);
        progressAt = time.GetTimestamp();
        dirtyRate = told.DirtyBytesPerSecond ?? dirtyRate;
        Publish();
        // A device whose start-up state is not at the target yet is not stopped, whatever the figures say (MG-26).
        if (!told.RoundEnded || told.Rounds < 2 || told.BytesPerSecond <= 0 || told.Starting is { Length: > 0 })
            return;
        // Hosts may be away for a moment after a control node was. Who could not be told to run again is not told to stop.
        if (!(IsUp(m.FromHost) && IsUp(m.ToHost)) || !AnswersPromptly(m))
            return;
        var predicted = PredictedDowntime(told);
        if (predicted <= m.DowntimeLimitMs * PlannedShare)
        {
            Switch(told, m, predicted, stopLimitMs: 0);
            return;
        }

        convergence = convergence.After(told.Rounds, predicted, time.GetElapsedTime(stepSince));
        if (convergence.IsMissing)
            OnNoConvergence(told, m, predicted);
        else
            convergenceMissed &= convergence.Fruitless > 0;
    }

    /// <summary>
    /// A control node that takes claims up has much to do at once, and a stop goes through it. One whose claim was taken up in the pre-copy goes on with
    /// that until both ends have answered it in a part of the time that a stop may take.
    /// </summary>
    private bool AnswersPromptly(ClaimMigration m)
    {
        if (!stepRecovered || time.GetElapsedTime(stepSince) >= SettlingLimit || (endsAskedAt != 0 && endsToAnswer.Count == 0))
            return true;
        if (endsAskedAt == 0 || time.GetElapsedTime(endsAskedAt) >= PromptIn(m))
        {
            endsAskedAt = time.GetTimestamp();
            endsToAnswer.UnionWith([m.FromHost, m.ToHost]);
            Send(m.FromHost, new ReportAttachment(ClaimId, state.Generation, m.FromDevice));
            Send(m.ToHost, new ReportAttachment(ClaimId, state.Generation, m.ToDevice));
        }

        return false;
    }

    private static TimeSpan PromptIn(ClaimMigration m) => TimeSpan.FromMilliseconds(m.DowntimeLimitMs * PromptShare);

    private bool IsUp(string host) => members.PresenceOf(host) == HostPresence.Up;

    private void Switch(PreCopyProgress told, ClaimMigration m, double predicted, int stopLimitMs) => Record(
        new SwitchoverStarted
        {
            Rounds = told.Rounds,
            Bytes = told.Bytes,
            RemainingBytes = told.RemainingBytes,
            BytesPerSecond = told.BytesPerSecond,
            DirtyBytesPerSecond = dirtyRate ?? 0,
            StopLimitMs = stopLimitMs,
            At = Now,
        },
        "migration.switchover",
        string.Create(
            CultureInfo.InvariantCulture,
            $"after {told.Rounds} rounds and {told.Bytes} bytes; {told.RemainingBytes} bytes are left, {predicted:0} ms of downtime predicted, ")
            + (stopLimitMs == 0 ? $"{m.DowntimeLimitMs} allowed" : $"{stopLimitMs} allowed since the pre-copy does not converge, in place of {m.DowntimeLimitMs}"));

    private void OnNoConvergence(PreCopyProgress told, ClaimMigration m, double predicted)
    {
        var what = string.Create(
            CultureInfo.InvariantCulture,
            $"after {told.Rounds} rounds a stop would take some {predicted:0} ms, and has not become shorter than {convergence.ShortestMs:0} ms in "
            + $"{convergence.Fruitless} rounds; {m.DowntimeLimitMs} ms are allowed, which needs a prediction of {m.DowntimeLimitMs * PlannedShare:0.#} ms; ")
            + string.Create(
                CultureInfo.InvariantCulture,
                $"{(dirtyRate is { } dirty ? $"{dirty} bytes change" : "an unknown number of bytes changes")} each second, and {told.BytesPerSecond} are sent");
        if (!convergenceMissed)
        {
            convergenceMissed = true;
            Announce("migration.not-converging", $"{ClaimId}.{m.Number}: {what}; " + m.OnNoConvergence switch
            {
                NoConvergence.Stop => "the workload is stopped all the same, as asked",
                NoConvergence.Cancel => "it is called off, as asked",
                _ => $"it goes on until its timeout of {m.TimeoutMs / 1000} s; allow a longer stop, or more bandwidth",
            });
        }

        switch (m.OnNoConvergence)
        {
            case NoConvergence.Stop:
                Switch(told, m, predicted, Math.Max(m.DowntimeLimitMs, (int)Math.Min(int.MaxValue, predicted / PlannedShare)));
                break;
            case NoConvergence.Cancel:
                RollBack($"it does not converge: {what}", cancelled: true);
                break;
        }
    }

    /// <summary>
    /// L2: the commit needs both ends to have counted the same bytes to the same checksum, of each stream. A source that is lost has said so too,
    /// at the end of each stream, and the target has loaded nothing else.
    /// </summary>
    private void Compare(ClaimMigration m)
    {
        if (loaded is null || commitSince != 0)
            return;
        if (stopped is null && sourceLost is not null)
            Commit(m, loaded, $", and the source is lost ({sourceLost})");
        else if (stopped is null)
            return;
        else if (stopped.Streams.SequenceEqual(loaded.Streams))
            Commit(m, loaded, "");
        else
            RollBack($"what {m.ToHost} received ({TransferSum.Of(loaded.Streams)}) is not what {m.FromHost} sent ({TransferSum.Of(stopped.Streams)})");
    }

    /// <summary>
    /// The limit of the stop. A target that has everything goes forward: its streams ended after the source had stopped, which may be why nothing is
    /// heard of that, and a copy that is whole is not given up for one that may be gone.
    /// </summary>
    private void EndStop(ClaimMigration m)
    {
        if (loaded is not null)
            Commit(m, loaded, $"; {m.FromHost} has not told that it stopped");
        else
            RollBack(sourceLost ?? $"the stop took longer than its limit of {LimitMs(m)} ms");
    }

    private void Commit(ClaimMigration m, TargetLoaded whole, string note)
    {
        commitSince = time.GetTimestamp();
        trace.Enter("commit");
        var received = TransferSum.Of(whole.Streams);
        var committed = new MigrationCommitted { Bytes = received.Bytes, Checksum = received.Checksum, At = Now };
        // By the journal's clock: whoever began the migration may have died meanwhile.
        committed.Phases.Add(PhaseOf("reserve", m.ReservedAt - m.StartedAt, downtime: false));
        committed.Phases.Add(PhaseOf("pre-copy", m.StoppedAt - m.ReservedAt, downtime: false));
        if (stopped is not null)
        {
            committed.Phases.Add(PhaseOf("drain", stopped.DrainMs, downtime: false));
            committed.Phases.Add(PhaseOf("quiesce", stopped.QuiesceMs));
            committed.Phases.Add(PhaseOf("final copy", Math.Max(0, stopped.CopyMs - whole.LoadMs)));
        }

        committed.Phases.Add(PhaseOf("load", whole.LoadMs));
        Record(
            committed,
            "migration.committed",
            string.Create(CultureInfo.InvariantCulture, $"{m.ToHost}/{Shown(m.ToDevices)} has all {received.Bytes} bytes, checksum {received.Checksum}{note}"),
            // What answers the target's telling that it has everything is its lease too.
            () => leasedAt = time.GetTimestamp());
    }

    private void OnTargetRunning(TargetRunning running, ClaimMigration m)
    {
        var drain = m.Phases.Where(phase => phase.Name == "drain").Sum(phase => phase.Ms);
        var started = new TargetStarted { DowntimeMs = Math.Max(0, Downtime(m) - drain), At = Now };
        if (stopSentAt != 0 && commitSince != 0)
        {
            var commit = time.GetElapsedTime(commitSince, stepSince).TotalMilliseconds;
            started.Phases.Add(PhaseOf("commit", commit));
            started.Phases.Add(PhaseOf("start", running.StartMs));
            var known = m.Phases.Where(phase => phase.Downtime).Sum(phase => phase.Ms) + commit + running.StartMs;
            started.Phases.Add(PhaseOf("messages", Math.Max(0, started.DowntimeMs - known)));
        }

        Record(
            started,
            "migration.target-running",
            string.Create(CultureInfo.InvariantCulture, $"runs on {m.ToHost}/{Shown(m.ToDevices)} after {started.DowntimeMs:0.0} ms of downtime"),
            () => AnnounceEvacuated(started.At));
    }

    /// <summary>Milliseconds since the source was told to stop. A claim that was taken up anew since has only the journal's clock for it.</summary>
    private double Downtime(ClaimMigration m) => (stopSentAt, m.StoppedAt) switch
    {
        (_, 0) => 0,
        (0, _) => Now - m.StoppedAt,
        _ => time.GetElapsedTime(stopSentAt).TotalMilliseconds,
    };

    private void EndRelease(ClaimMigration m, string note) => Record(
        new SourceReleased { Note = note, At = Now }, "migration.done", $"{m.FromHost} to {m.ToHost}: {note}");

    private void RollBack(string reason, bool cancelled = false, Action? then = null) => Record(
        new RollbackStarted { Reason = reason, Cancelled = cancelled, At = Now }, "migration.rolling-back", reason, then);

    private void Fail(string reason)
    {
        EndPlanningBecause(reason);
        Record(new ClaimFailed { Reason = reason, At = Now }, state.Trouble is { IsOpen: true } ? "claim.stopped" : "claim.failed", reason);
    }

    /// <summary>What there was of a migration that was given up, each from its event to the next. It stood from the stop to its end.</summary>
    private IEnumerable<Phase> PhasesOfRollback(ClaimMigration m)
    {
        yield return PhaseOf("reserve", (m.ReservedAt == 0 ? m.RollbackAt : m.ReservedAt) - m.StartedAt, downtime: false);
        if (m.ReservedAt != 0)
            yield return PhaseOf("pre-copy", (m.StoppedAt == 0 ? m.RollbackAt : m.StoppedAt) - m.ReservedAt, downtime: false);
        if (m.StoppedAt != 0)
            yield return PhaseOf("stop", m.RollbackAt - m.StoppedAt);
        yield return PhaseOf("rollback", Now - m.RollbackAt, downtime: m.StoppedAt != 0);
    }

    private static Phase PhaseOf(string name, double ms, bool downtime = true) => new() { Name = name, Ms = ms, Downtime = downtime };

    // ---- What hosts hold of this claim -----------------------------------------------------------------------------------------------

    /// <summary>
    /// A host was told by another incarnation of this claim what this one does not know: it knows too little to judge what the host holds. It
    /// ends, and whoever has the shard by now takes the claim up from the journal. Only one that has just read there that there is no such claim
    /// believes it.
    /// </summary>
    private void StandBack(IHostReport report)
    {
        log.Warning(
            "Claim {0}: {1} has heard of generation {2} and this incarnation only of {3}; it is taken up again from the journal",
            ClaimId, report.Host, report.Generation, state.Generation);
        Context.Stop(Self);
    }

    /// <summary>Hears from its host, and takes from every other what it should not have (such as a target that was cut off during a rollback).</summary>
    private void OnStatus(AttachmentStatus told)
    {
        var belongs = state.Phase is ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating or ClaimPhase.Releasing &&
            (state.Has(told.Host, told.Device) || (state.Migration is { } m
                && (m.IsSource(told.Host, told.Device) || m.IsTarget(told.Host, told.Device))));
        if (!belongs)
        {
            log.Info("Claim {0}: {1} holds {2} of generation {3}, which is not the claim's any more; released", ClaimId, told.Host, told.Device, told.Generation);
            Send(told.Host, new Detach(ClaimId, Math.Max(told.Generation, state.Generation), told.Device));
            PassivateIfOver();
            return;
        }

        if (state.Migration is { Step: MigrationStep.PreCopy } moving && time.GetElapsedTime(endsAskedAt) < PromptIn(moving))
            endsToAnswer.Remove(told.Host);
        if (!state.Has(told.Host, told.Device))
            return;
        heardAt = time.GetTimestamp();
        status = told;
        if (planning is { Command: StartMigration, Asked: Source })
            OnSourceKnown();
        if (state.Phase == ClaimPhase.Running)
            Publish();
        // Where its host did not say more: a command to the device failed half way, such as a verification that could not let it run again.
        if (told.Phase == AttachmentPhase.Failed)
            OnSick(new DeviceSick(ClaimId, told.Host, told.Generation, told.Device, "what it was told last has failed, and its consumer stands", Readable: false));
    }
}
