using System.Globalization;
using Akka.Actor;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Claims;

/// <summary>
/// What a claim does by itself when its device is taken out of service, or lost, as its policy says: moves away by the ordinary saga while the
/// state can be read; else starts afresh elsewhere, when what it ran on has been closed (L1), or stops. What it does follows from the journal:
/// <see cref="Attend"/> looks at the open trouble whenever something changed.
/// </summary>
public sealed partial class ClaimActor
{
    /// <summary>Who asks for what the fabric does by itself.</summary>
    internal const string Fabric = "fabric";

    /// <summary>Evacuations that are started before a person has to look; starts afresh that find no footing.</summary>
    private const int AttemptLimit = 8;

    /// <summary>A stop of the first evacuation may take this long; of each further one twice as long as of the one before.</summary>
    private const int FirstDowntimeLimitMs = 1000;

    private const int EvacuationTimeoutMs = 600_000;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(1);

    // Not in the journal: what there was of a target.
    private string? noTarget;
    private int fruitless;
    private long notBefore;

    private sealed record PlaceElsewhere
    {
        public static PlaceElsewhere Instance { get; } = new();
    }

    private sealed record TryAgain
    {
        public static TryAgain Instance { get; } = new();
    }

    /// <summary>Made so far for the trouble that is open.</summary>
    private int Attempts => state.Trouble is { IsOpen: true } known ? known.Attempts : 0;

    // ---- Hearing of it ---------------------------------------------------------------------------------------------------------------

    private void OnSick(DeviceSick told)
    {
        if (state.Migration is { Step: MigrationStep.Reserve or MigrationStep.PreCopy or MigrationStep.StopCopy } m
            && told.Generation == state.Generation && m.IsTarget(told.Host, told.Device))
        {
            RollBack($"the target {told.Host}/{told.Device} is out of service: {told.Reason}");
            return;
        }

        // A claim that is being placed hears it again when it runs.
        if (state.Phase is not (ClaimPhase.Running or ClaimPhase.Migrating)
            || !state.Has(told.Host, told.Device) || told.Generation < state.RunnerGeneration)
        {
            return;
        }

        // A device does not get better under a session: once lost, it stays lost. One that fails while the claim comes to it from another that
        // has failed is heard of again when that is over.
        if (state.Trouble is { IsOpen: true } known && (!state.Has(known.Host, known.Device) || known.Readable == told.Readable || !known.Readable))
            return;
        var (kind, next) = (state.OnDeviceFailure, told.Readable) switch
        {
            (DeviceFailurePolicy.Stay, _) => ("claim.device-sick", "the claim stays there, as its policy says"),
            (_, true) => ("claim.evacuating", "its state can be read still: the claim is moved away"),
            (_, false) => ("claim.device-sick", "its state cannot be read any more"),
        };
        Record(
            new DeviceFoundSick { Host = told.Host, Device = told.Device, Reason = told.Reason, Readable = told.Readable, At = Now },
            kind,
            $"{told.Host}/{told.Device} is out of service: {told.Reason}; {next}",
            then: state.Phase == ClaimPhase.Migrating ? Attend : null,
            entersStep: state.Phase != ClaimPhase.Migrating);
    }

    // ---- Acting on it ----------------------------------------------------------------------------------------------------------------

    /// <summary>Does what the open trouble asks for, if it is time.</summary>
    private void Attend()
    {
        if (state.Trouble is not { IsOpen: true } trouble)
        {
            if (noTarget is not null)
                ForgetTargets();
            return;
        }

        switch (state.Phase, state.Migration)
        {
            case (ClaimPhase.Migrating, { Step: MigrationStep.Reserve or MigrationStep.PreCopy } m)
                when !trouble.Readable && m.IsSource(trouble.Host, trouble.Device) && state.OnDeviceFailure != DeviceFailurePolicy.Stay:
                RollBack($"the source {trouble.Host}/{trouble.Device} cannot be read any more: {trouble.Reason}");
                break;
            case (ClaimPhase.Running, _) when state.OnDeviceFailure == DeviceFailurePolicy.Stay:
                break;
            case (ClaimPhase.Running, _) when !trouble.Readable:
                Lose($"{trouble.Host}/{trouble.Device} is out of service: {trouble.Reason}; its state cannot be read any more");
                break;
            case (ClaimPhase.Running, _) when trouble.Held is null && trouble.Attempts < AttemptLimit && IsTime(trouble):
                var evacuation = new StartMigration(
                    ClaimId, "", FirstDowntimeLimitMs << trouble.Attempts, EvacuationTimeoutMs, BandwidthLimit: 0, Fabric);
                var cause = $"{trouble.Host}/{trouble.Device} is out of service: {trouble.Reason}";
                Plan(new Planning(evacuation, ActorRefs.Nobody) { Cause = cause });
                break;
            case (ClaimPhase.Restarting, _) when state.RunnerIsClosed && IsTime(trouble):
                Plan(new Planning(PlaceElsewhere.Instance, ActorRefs.Nobody));
                break;
        }
    }

    /// <summary>Nothing is being planned, and the pause after what failed last is over; else it is tried when it is.</summary>
    private bool IsTime(DeviceTrouble trouble)
    {
        if (planning is not null)
            return false;
        var evacuation = state.Phase == ClaimPhase.Running ? state.Migrations.FindLast(static m => m.Cause is not null) : null;
        var last = evacuation is { } failed && failed.StartedAt >= trouble.Since
            ? failed.EndedAt + (long)Pause(trouble.Attempts).TotalMilliseconds
            : 0;
        var left = Math.Max(last, notBefore) - Now;
        if (left <= 0)
            return true;
        if (!Timers.IsTimerActive(nameof(TryAgain)))
            Timers.StartSingleTimer(nameof(TryAgain), TryAgain.Instance, TimeSpan.FromMilliseconds(left));
        return false;
    }

    /// <summary>Twice as long each time, to a minute.</summary>
    private static TimeSpan Pause(int failures) => TimeSpan.FromTicks(Math.Min(LongestPause.Ticks, FirstPause.Ticks << Math.Clamp(failures - 1, 0, 6)));

    /// <summary>A number of the claim's own, the same in every life.</summary>
    private int Spread => ClaimId.Aggregate(17, static (sum, letter) => ((sum * 31) + letter) & 0xffff);

    private void NoTarget(string why)
    {
        if (noTarget is null)
            Context.System.EventStream.Subscribe(Self, typeof(FleetChanged));
        fruitless++;
        noTarget = why;
        notBefore = Now + (long)Pause(fruitless).TotalMilliseconds;
        Publish();
    }

    private void ForgetTargets()
    {
        Context.System.EventStream.Unsubscribe(Self, typeof(FleetChanged));
        (noTarget, fruitless, notBefore) = (null, 0, 0);
    }

    /// <summary>Something is free that was not. Claims that wait for it ask for it one after another.</summary>
    private void OnFleetChanged()
    {
        notBefore = Math.Min(notBefore, Now + (Spread % 1000));
        Timers.Cancel(nameof(TryAgain));
        Attend();
    }

    /// <summary>What the device had of the claim is lost: started afresh where the policy says so, else stopped.</summary>
    private void Lose(string reason, bool withHost = false)
    {
        if (state.OnDeviceFailure != DeviceFailurePolicy.Restart && !(withHost && IsLeased))
        {
            Fail(reason);
            return;
        }

        EndPlanningBecause(reason);
        Restart(reason, Attempts);
    }

    /// <summary>A generation of its own, and nothing is opened before what there is of the claim has been closed.</summary>
    /// <param name="closed">What there is of it has been closed by the end of its lease.</param>
    private void Restart(string reason, int attempt, bool closed = false) => Record(
        new RestartStarted
        {
            Generation = state.Generation + 1,
            FromHost = state.Host,
            FromDevice = state.Device,
            Reason = reason,
            Attempt = attempt,
            Closed = closed,
            At = Now,
        },
        "claim.restarting",
        closed
            ? $"{reason}; the claim is started afresh elsewhere, as its policy says"
            : $"{reason}; the claim is started afresh elsewhere, as its policy says, when {state.Host} has closed {Shown(state.Addresses)}");

    /// <summary>A function that could not be attached; one that was chosen for a start afresh is closed, and another is looked for.</summary>
    private void NotPlaced(CommandFailed failed)
    {
        if (state.Trouble is not { IsOpen: true } trouble)
            Fail(failed.Reason);
        else if (trouble.Attempts >= AttemptLimit)
        {
            Fail(
                $"{trouble.Host}/{trouble.Device} is out of service ({trouble.Reason}), and the claim could not be started afresh in {trouble.Attempts} attempts, "
                + $"last: {failed.Reason}");
        }
        else
            Restart($"{failed.Host}/{failed.Device} could not be started: {failed.Reason}", trouble.Attempts + 1);
    }

    private void EndPlanningBecause(string reason)
    {
        if (planning is { IsOwn: true })
            EndPlanning();
        else if (planning is not null)
            RefusePlan(reason);
    }

    // ---- Saying it -------------------------------------------------------------------------------------------------------------------

    private void AnnounceEvacuated(long at)
    {
        if (state.Trouble is { Outcome: "evacuated" } ended && ended.EndedAt == at)
        {
            var downtime = string.Create(CultureInfo.InvariantCulture, $"{ended.DowntimeMs:0.0} ms of downtime");
            Announce(
                "claim.evacuated",
                $"from {ended.Host}/{ended.Device} ({ended.Reason}) to {ended.ToHost}/{ended.ToDevice}, {Took(ended)} after it was heard of, {downtime}");
        }
    }

    private void AnnounceRestarted()
    {
        if (state.Trouble is { Outcome: "restarted-afresh" } ended)
        {
            Announce(
                "claim.restarted-afresh",
                $"on {ended.ToHost}/{ended.ToDevice} as generation {state.Generation}, {Took(ended)} after {ended.Host}/{ended.Device} was lost "
                + $"({ended.Reason}); what it had done is lost");
        }
    }

    private static string Took(DeviceTrouble ended) => string.Create(CultureInfo.InvariantCulture, $"{ended.EndedAt - ended.Since} ms");

    /// <summary>Why the claim is as it is.</summary>
    private string? Says()
    {
        if (state.Message is { } message)
            return message;
        var all = string.Join("; ", ((string?[])[TroubleSays(), Waiting()]).OfType<string>());
        return all.Length == 0 ? null : all;
    }

    private string? TroubleSays()
    {
        if (state.Trouble is not { IsOpen: true } trouble)
            return null;
        var what = $"{trouble.Host}/{trouble.Device} is out of service: {trouble.Reason}";
        var next = state.Phase switch
        {
            ClaimPhase.Running when state.OnDeviceFailure == DeviceFailurePolicy.Stay => trouble.Readable
                ? "the claim stays there, as its policy says; migrate it, or release it"
                : "its state cannot be read any more and the claim stays there, as its policy says; release it",
            ClaimPhase.Running when trouble.Held is { } held => $"its evacuation was {held} and is not tried again; migrate it",
            ClaimPhase.Running when trouble.Attempts >= AttemptLimit =>
                $"{trouble.Attempts} evacuations were tried, last: {state.Migrations[^1].Reason}; migrate it, or release it",
            ClaimPhase.Running or ClaimPhase.Restarting when noTarget is { } none =>
                $"it cannot go yet, and tries again when something changes: {none}",
            ClaimPhase.Restarting when !state.RunnerIsClosed => $"the claim starts afresh elsewhere when {state.Host} has closed {Shown(state.Addresses)}",
            ClaimPhase.Restarting or ClaimPhase.Placing => "the claim starts afresh elsewhere",
            ClaimPhase.Migrating => $"the claim is moved to {state.Migration!.ToHost}/{Shown(state.Migration.ToDevices)}",
            _ => "the claim is moved away",
        };
        return $"{what}; {next}";
    }

    private TroubleView? TroubleView() => state.Trouble is not { } trouble
        ? null
        : new TroubleView(
            trouble.Host,
            trouble.Device,
            trouble.Reason,
            trouble.Readable,
            DateTimeOffset.FromUnixTimeMilliseconds(trouble.Since),
            trouble.Attempts,
            trouble.Outcome,
            trouble.ToHost,
            trouble.ToDevice,
            (trouble.IsOpen ? Now : trouble.EndedAt) - trouble.Since,
            trouble.Outcome == "evacuated" ? trouble.DowntimeMs : null);
}
