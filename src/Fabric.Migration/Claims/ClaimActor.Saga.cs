using Akka.Actor;
using Akka.Event;
using System.Globalization;
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

    /// <summary>Of the downtime limit, this much is planned with: the rest is for what the prediction does not see.</summary>
    private const double PlannedShare = 0.5;

    /// <summary>What a stop costs beside moving bytes: commands, quiescing, loading, the journal.</summary>
    private static readonly TimeSpan SwitchoverCost = TimeSpan.FromMilliseconds(20);

    // Of the present step; a claim that was taken up anew gets its reports again.
    private bool stepRecovered;
    private long stepSince;
    private PreCopyProgress? progress;
    private long progressAt;
    private SourceStopped? stopped;
    private TargetLoaded? loaded;
    private long stopSentAt;
    private long commitSince;

    // ---- Starting and cancelling -----------------------------------------------------------------------------------------------------

    private void Start(StartMigration start)
    {
        switch (state.Phase)
        {
            case ClaimPhase.None:
                RefuseUnknown();
                PassivateIfOver();
                return;
            case ClaimPhase.Migrating:
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is migrating already ({ClaimId}.{state.Migration!.Number}, to {state.Migration.ToHost}); wait for its end, or cancel it.");
                return;
            case not ClaimPhase.Running:
                Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is {Word(state.Phase)}; only a running claim migrates.");
                return;
        }

        if (planning is not null)
            Refuse(RefusalCode.Conflict, $"Claim {ClaimId} is being planned by another request; look at it in a moment.");
        else if (start.TargetHost == state.Host)
            Refuse(RefusalCode.Plan, $"Claim {ClaimId} runs on {state.Host} already; name another host.");
        else
            Plan(new Planning(start, Sender, new Queue<string>([start.TargetHost]), []));
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
        switch (state.Migration?.Step)
        {
            case MigrationStep.Reserve:
                (progress, stopped, loaded, stopSentAt, commitSince) = (null, null, null, 0, 0);
                break;
            case MigrationStep.PreCopy:
                progressAt = stepSince;
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
    }

    /// <summary>Sends what the present step needs. Everything here may be sent twice.</summary>
    private void Drive()
    {
        var generation = state.Generation;
        switch (state.Phase, state.Migration)
        {
            case (ClaimPhase.Placing, _):
                Send(state.Host, new Attach(ClaimId, generation, state.Device, state.MemoryBytes, state.StepsPerSecond));
                break;
            case (ClaimPhase.Running, _) when time.GetElapsedTime(heardAt) > StatusDeadline:
                Send(state.Host, new ReportAttachment(ClaimId, generation));
                break;
            case (ClaimPhase.Releasing, _):
                Send(state.Host, new Detach(ClaimId, generation));
                if (members.Host(state.Host) is null)
                    Record(new ClaimReleased { At = Now }, "claim.released", $"{state.Host} is gone, and its device with it");
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Reserve } m):
                Send(m.ToHost, new PrepareTarget(ClaimId, generation, m.Number, m.ToDevice, state.MemoryBytes, state.StepsPerSecond));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.PreCopy } m):
                Send(m.FromHost, new StartPreCopy(ClaimId, generation, m.Number, m.Endpoint!, m.Token.ToByteArray(), m.BandwidthLimit));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.StopCopy } m):
                if (stopped is null)
                    Send(m.FromHost, new StopAndCopy(ClaimId, generation, m.Number));
                if (loaded is null)
                    Send(m.ToHost, new StopAndCopy(ClaimId, generation, m.Number));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Run } m):
                Send(m.ToHost, new RunTarget(ClaimId, generation, m.Number));
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Release } m):
                Send(m.FromHost, new Detach(ClaimId, generation));
                if (members.Host(m.FromHost) is null)
                    EndRelease(m, $"{m.FromHost} is gone, and its device with it");
                break;
            case (ClaimPhase.Migrating, { Step: MigrationStep.Rollback } m):
                Send(m.FromHost, new ResumeSource(ClaimId, generation, m.Number));
                Send(m.ToHost, new Detach(ClaimId, generation));
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
            RollBack($"{m.ToHost} did not open {m.ToDevice} within {ReserveDeadline.TotalSeconds} s");
        else if (m.Step == MigrationStep.PreCopy && time.GetElapsedTime(progressAt) > ProgressDeadline + RoundAtLimit(m))
            RollBack($"the pre-copy made no progress for {(ProgressDeadline + RoundAtLimit(m)).TotalSeconds:0} s");
        else if (m.Step == MigrationStep.PreCopy && members.Host(m.ToHost) is null && !(stepRecovered && inStep < MembersDeadline))
            RollBack($"the target host {m.ToHost} was lost");
        else if (m.Step == MigrationStep.StopCopy && commitSince == 0 && inStep >= StopLimit(m))
            RollBack($"the stop took longer than its limit of {m.DowntimeLimitMs} ms");
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

    private static double PredictedDowntime(PreCopyProgress told) =>
        SwitchoverCost.TotalMilliseconds + (told.RemainingBytes * 1000.0 / told.BytesPerSecond);

    /// <summary>A first round carries everything, and under a bandwidth limit nothing is heard before its end.</summary>
    private TimeSpan RoundAtLimit(ClaimMigration m) =>
        m.BandwidthLimit == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(2.0 * ((status?.StateBytes ?? 0) + state.MemoryBytes) / m.BandwidthLimit);

    /// <summary>A claim that was taken up anew in the stop cannot undo the time that passed: it gives both ends a moment to answer.</summary>
    private TimeSpan StopLimit(ClaimMigration m) => stepRecovered ? TimeSpan.FromSeconds(2) : TimeSpan.FromMilliseconds(m.DowntimeLimitMs);

    // ---- Reports ---------------------------------------------------------------------------------------------------------------------

    private void OnReport(IHostReport report)
    {
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

        // A report of an older generation is about something that is over.
        if (report.Generation != state.Generation)
            return;
        switch (report, state.Phase, state.Migration)
        {
            case (Attached attached, ClaimPhase.Placing, _) when attached.Host == state.Host:
                Record(new ClaimStarted { Generation = state.Generation, At = Now }, "claim.running", $"on {state.Host}/{state.Device}");
                break;
            case (CommandFailed failed, ClaimPhase.Placing, _) when failed.Host == state.Host:
                Fail(failed.Reason);
                break;
            case (CommandFailed { Gone: true } failed, ClaimPhase.Running, _) when failed.Host == state.Host:
                Fail($"{failed.Reason} The state of the device died with it.");
                break;
            case (Detached detached, ClaimPhase.Releasing, _) when detached.Host == state.Host:
                Record(new ClaimReleased { At = Now }, "claim.released", $"{state.Host}/{state.Device} is free");
                break;
            case (CommandFailed failed, ClaimPhase.Releasing, _) when failed.Host == state.Host:
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
                    $"{m.ToHost}/{m.ToDevice} is open to receive");
                break;
            case (PreCopyProgress told, MigrationStep.PreCopy) when told.Migration == m.Number:
                OnProgress(told, m);
                break;
            case (SourceStopped told, MigrationStep.StopCopy) when told.Migration == m.Number:
                stopped = told;
                CommitWhenBothAgree(m);
                break;
            case (TargetLoaded told, MigrationStep.StopCopy) when told.Migration == m.Number:
                loaded = told;
                CommitWhenBothAgree(m);
                break;
            case (TargetRunning running, MigrationStep.Run) when running.Migration == m.Number:
                OnTargetRunning(running, m);
                break;
            case (Detached detached, MigrationStep.Release) when detached.Host == m.FromHost:
                EndRelease(m, $"{m.FromHost}/{m.FromDevice} is free");
                break;
            case (SourceRunning running, MigrationStep.Rollback) when running.Migration == m.Number:
                var undone = new MigrationRolledBack { DowntimeMs = Downtime(m), Bytes = progress?.Bytes ?? 0, Rounds = progress?.Rounds ?? 0, At = Now };
                undone.Phases.AddRange(PhasesOfRollback(m));
                Record(
                    undone,
                    "migration.rolled-back",
                    $"runs on {m.FromHost}/{m.FromDevice} as before: {m.Reason}");
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
            case MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy:
                RollBack(failed.Command switch
                {
                    nameof(StartPreCopy) => $"{failed.Host} could not send to {m.ToHost}: {failed.Reason}",
                    nameof(PrepareTarget) => $"{failed.Host} could not receive from {m.FromHost}: {failed.Reason}",
                    _ => $"{failed.Host}: {failed.Reason}",
                });
                break;
            case MigrationStep.Run when failed.Host == m.ToHost && failed.Command == nameof(RunTarget):
                Fail($"After the commit {m.ToHost} could not run the claim: {failed.Reason}");
                break;
            case MigrationStep.Release when failed.Host == m.FromHost:
                EndRelease(m, failed.Reason);
                break;
            case MigrationStep.Rollback when failed.Host == m.FromHost && failed.Command == nameof(ResumeSource):
                Fail($"Migration {ClaimId}.{m.Number} could not be rolled back: {failed.Reason}");
                break;
        }
    }

    private void OnProgress(PreCopyProgress told, ClaimMigration m)
    {
        progress = told;
        progressAt = time.GetTimestamp();
        Publish();
        if (!told.RoundEnded || told.Rounds < 2 || told.BytesPerSecond <= 0)
            return;
        var predicted = PredictedDowntime(told);
        if (predicted > m.DowntimeLimitMs * PlannedShare)
            return;
        Record(
            new SwitchoverStarted
            {
                Rounds = told.Rounds,
                Bytes = told.Bytes,
                RemainingBytes = told.RemainingBytes,
                BytesPerSecond = told.BytesPerSecond,
                At = Now,
            },
            "migration.switchover",
            string.Create(CultureInfo.InvariantCulture, $"after {told.Rounds} rounds and {told.Bytes} bytes; {told.RemainingBytes} bytes are left, {predicted:0} ms of downtime predicted, {m.DowntimeLimitMs} allowed"));
    }

    /// <summary>L2: the commit needs both ends to have counted the same bytes to the same checksum.</summary>
    private void CommitWhenBothAgree(ClaimMigration m)
    {
        if (stopped is null || loaded is null || commitSince != 0)
            return;
        if (stopped.Bytes != loaded.Bytes || stopped.Checksum != loaded.Checksum)
        {
            RollBack($"what {m.ToHost} received ({loaded.Bytes} bytes, {loaded.Checksum}) is not what {m.FromHost} sent ({stopped.Bytes} bytes, {stopped.Checksum})");
            return;
        }

        commitSince = time.GetTimestamp();
        var committed = new MigrationCommitted { Bytes = loaded.Bytes, Checksum = loaded.Checksum, At = Now };
        // By the journal's clock: whoever began the migration may have died meanwhile.
        committed.Phases.Add(PhaseOf("reserve", m.ReservedAt - m.StartedAt, downtime: false));
        committed.Phases.Add(PhaseOf("pre-copy", m.StoppedAt - m.ReservedAt, downtime: false));
        committed.Phases.Add(PhaseOf("drain", stopped.DrainMs, downtime: false));
        committed.Phases.Add(PhaseOf("quiesce", stopped.QuiesceMs));
        committed.Phases.Add(PhaseOf("final copy", Math.Max(0, stopped.CopyMs - loaded.LoadMs)));
        committed.Phases.Add(PhaseOf("load", loaded.LoadMs));
        Record(
            committed,
            "migration.committed",
            string.Create(CultureInfo.InvariantCulture, $"{m.ToHost}/{m.ToDevice} has all {loaded.Bytes} bytes, checksum {loaded.Checksum}"));
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
            string.Create(CultureInfo.InvariantCulture, $"runs on {m.ToHost}/{m.ToDevice} after {started.DowntimeMs:0.0} ms of downtime"));
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
        if (planning is not null)
            RefusePlan(reason);
        Record(new ClaimFailed { Reason = reason, At = Now }, "claim.failed", reason);
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

    /// <summary>Hears from its host, and takes from every other what it should not have (such as a target that was cut off during a rollback).</summary>
    private void OnStatus(AttachmentStatus told)
    {
        var belongs = state.Phase is ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating or ClaimPhase.Releasing &&
            (told.Host == state.Host || told.Host == state.Migration?.FromHost || told.Host == state.Migration?.ToHost);
        if (!belongs)
        {
            log.Info("Claim {0}: {1} holds {2} of generation {3}, which is not the claim's any more; released", ClaimId, told.Host, told.Device, told.Generation);
            Send(told.Host, new Detach(ClaimId, Math.Max(told.Generation, state.Generation)));
            PassivateIfOver();
            return;
        }

        if (told.Host != state.Host)
            return;
        heardAt = time.GetTimestamp();
        status = told;
        if (planning is { Command: StartMigration } && planning.Asked.Length == 0)
            PlanNext();
        if (state.Phase == ClaimPhase.Running)
            Publish();
    }
}
