using System.Globalization;
using Akka.Actor;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Claims;

/// <summary>
/// Planning: both ends are looked at before anything is written or touched. The answer is an event in the journal, or a refusal with every reason.
/// </summary>
public sealed partial class ClaimActor
{
    /// <summary>Asked in place of a host: where the claim runs, and the fleet, which knows where it may go. No host has such a name.</summary>
    private const string Source = "";

    private const string Fleet = "*";

    /// <summary>Hosts that one plan shows. Those with the most room are asked first; while none of them can, the next is asked.</summary>
    private const int MostLooked = 16;

    /// <summary>What is looked at for a requester: the source, the fleet, then host after host.</summary>
    private sealed record Planning(object Command, IActorRef Requester)
    {
        public string Asked { get; set; } = Source;

        /// <summary>The only host that is asked; null for whichever the fleet names.</summary>
        public string? Only { get; init; }

        /// <summary>Hosts that are still to be asked.</summary>
        public Queue<string> Hosts { get; } = [];

        /// <summary>Why the ones before said no.</summary>
        public Reasons Reasons { get; } = new();

        /// <summary>What hosts said, of a plan that is only looked at.</summary>
        public List<TargetPlanned> Answers { get; } = [];

        /// <summary>What the fabric has measured.</summary>
        public MeasuredRate? Rate { get; set; }

        /// <summary>Hosts that a plan was not looked at on: there are too many of them.</summary>
        public int NotLooked { get; set; }

        public bool IsOnlyLooked => Command is StartMigration { PlanOnly: true };

        public bool IsLookedEnough => IsOnlyLooked && Answers.Count >= MostLooked && Answers.Exists(static answer => answer.Devices.Length > 0);

        /// <summary>Why the fabric plans by itself.</summary>
        public string Cause { get; init; } = "";

        /// <summary>The fabric plans by itself, because of the claim's trouble; nobody waits for an answer.</summary>
        public bool IsOwn => Requester.IsNobody();
    }

    private readonly GivenPlans given = new();

    private sealed record PlanOverdue(string Host);

    private sealed record PlanAgain
    {
        public static PlanAgain Instance { get; } = new();
    }

    /// <summary>To the host that is named; where a plan is, to the host that it leads to.</summary>
    private void StartPlanned(StartMigration start)
    {
        var only = start.TargetHost.Length == 0 ? null : start.TargetHost;
        if (start.Plan is { } id)
        {
            if (given.Find(id) is not { } plan)
            {
                Refuse(RefusalCode.Plan, $"Claim {ClaimId} does not know the plan {id}: it is of another claim, or of before its control node changed. Plan again.", start.Request);
                return;
            }

            if (only is not null && only != plan.Target)
            {
                Refuse(RefusalCode.Plan, $"The plan {id} leads to {plan.Target}, not to {only}; plan again, or leave the host out.", start.Request);
                return;
            }

            only = plan.Target;
        }

        Plan(new Planning(start, Sender) { Only = only, Cause = start.Cause ?? "" });
    }

    private void Plan(Planning plan)
    {
        planning = plan;
        if (plan.Command is not StartMigration)
        {
            AskFleet();
        }
        else if (Away(state.Host) is { } reason)
        {
            RefusePlan($"{reason}.");
        }
        else
        {
            // The source is looked at first: it must be there now, and what the target must fit is known from it alone.
            AskPlanned();
        }
    }

    /// <summary>The source has said what it has.</summary>
    private void OnSourceKnown()
    {
        // What is not open, or broken, does not tell.
        var unable = status!.Phase == AttachmentPhase.Running ? status.Devices.Where(static device => device.Flags is null).ToArray() : [];
        if (unable.Length > 0)
        {
            RefusePlan(string.Join(" ", unable.Select(device =>
                $"{state.Host}/{device.Device} is bound to driver {device.Driver ?? "none"}, which does not migrate; release the claim, and create it where it is to be.")));
        }
        else if (status.Devices.Length > 1 && Array.Find(status.Devices, static device => device.Flags?.HasFlag(MigrationFlags.P2P) == false) is { } lacking)
        {
            RefusePlan(
                $"{state.Host}/{lacking.Device} does not migrate with P2P, which each of several devices of one claim needs: they must leave each other "
                + "alone before any of them stops; give it to a claim of its own.");
        }
        else
        {
            AskFleet();
        }
    }

    /// <summary>Which hosts the claim may be on at all: labels, drains and groups are the fabric's, and not a host's, to know.</summary>
    private void AskFleet()
    {
        StopAsking();
        planning!.Asked = Fleet;
        AskPlanned();
    }

    private void OnRanked(HostsRanked ranked)
    {
        if (ranked.Held is { } held)
        {
            RefusePlan(held);
            return;
        }

        planning!.Rate = ranked.Rate;
        planning.Reasons.Add(ranked.Reasons, ranked.More);
        foreach (var host in ranked.Hosts)
            planning.Hosts.Enqueue(host);
        PlanNext();
    }

    private RankHosts Ranking()
    {
        var needs = planning!.Command is CreateClaim create
            ? new PlacementNeeds(ClaimId, [.. create.Devices.Select(static ask => ask.Model)], [.. create.Select], create.ApartFrom)
            : new PlacementNeeds(ClaimId, [.. state.Devices.Select(static device => device.Model)], state.Select, state.ApartFrom);
        return new RankHosts(needs, planning.Only, planning.Command is CreateClaim ? null : state.Host, planning.IsOwn, planning.IsOwn ? Spread : 0)
        {
            Leaves = planning is { IsOwn: true, Command: StartMigration } ? new AskEvacuation(ClaimId, state.Host, state.NextMigration - 1) : null,
        };
    }

    private void PlanNext()
    {
        StopAsking();
        if (planning!.IsLookedEnough)
        {
            planning.NotLooked = planning.Hosts.Count;
            planning.Hosts.Clear();
        }

        if (!planning.Hosts.TryDequeue(out var name))
        {
            if (planning.IsOnlyLooked)
            {
                AnswerPlan();
                return;
            }

            RefusePlan(planning.Reasons.Any ? planning.Reasons.ToString() : "No host of the fabric is up; start one, and look at its daemon's log if it is.");
            return;
        }

        planning.Asked = name;
        switch (members.PresenceOf(name))
        {
            case HostPresence.Absent:
                planning.Reasons.Add($"There is no host {name} in the fabric; list the hosts.");
                PlanNext();
                break;
            case HostPresence.Unreachable:
                planning.Reasons.Add($"Host {name} does not answer; wait until it does, or choose another.");
                PlanNext();
                break;
            case HostPresence.Leaving:
                planning.Reasons.Add($"Host {name} is leaving the fabric; wait until it is back, or choose another.");
                PlanNext();
                break;
            default:
                AskPlanned();
                break;
        }
    }

    /// <summary>Asks the host that is next, and again: one that has just joined is a member a moment before it hears.</summary>
    private void AskPlanned()
    {
        Timers.StartSingleTimer(nameof(PlanOverdue), new PlanOverdue(planning!.Asked), PlanDeadline);
        Timers.StartPeriodicTimer(nameof(PlanAgain), PlanAgain.Instance, ResendInterval);
        SendPlan();
    }

    private void SendPlan()
    {
        if (planning!.Asked == Source)
            Send(state.Host, new ReportAttachment(ClaimId, state.Generation, state.Device));
        else if (planning.Asked == Fleet)
            members.AskFleet(Ranking(), Self);
        else
            Send(planning.Asked, new PlanTarget(ClaimId, state.Generation, Needs(planning.Command)));
    }

    /// <summary>A function for each device; one that is to take over a state must fit it.</summary>
    private DeviceNeed[] Needs(object command) => command switch
    {
        CreateClaim create => [.. create.Devices.Select(static ask => new DeviceNeed(ask.Model, ask.Device))],
        PlaceElsewhere => [.. state.Devices.Select(static device => new DeviceNeed(device.Model, Device: null))],
        _ => [.. state.Devices.Zip(
            status!.Devices, static (device, now) => new DeviceNeed(device.Model, Device: null, now.StateBytes, now.Driver, now.Ids, now.Shown?.StateFormat))],
    };

    private void OnPlanned(TargetPlanned planned)
    {
        if (planning!.IsOnlyLooked)
        {
            if (planning.Answers.Count < MostLooked || planned.Devices.Length > 0)
                planning.Answers.Add(planned);
            else
                planning.Reasons.Add(planned.Reasons);
            PlanNext();
            return;
        }

        if (planned.Devices.Length == 0)
        {
            planning.Reasons.Add(planned.Reasons);
            PlanNext();
            return;
        }

        if (planning.Command is StartMigration { Plan: { } id } && given.Find(id) is { } before && PlanOf(planned) is var now && now.Id != id)
        {
            RefusePlan($"The plan {id} does not hold any more: {before.ChangedIn(now)}. Plan again.");
            return;
        }

        var (command, requester, cause) = (planning.Command, planning.Requester, planning.Cause);
        if (planning.IsOwn)
            ForgetTargets();
        EndPlanning();
        writingFor = requester;
        switch (command)
        {
            case CreateClaim { PlanOnly: true }:
                requester.Tell(new ClaimPlanned($"claim {ClaimId} would run on {planned.Host}/{Shown(planned.Devices)}"));
                PassivateIfOver();
                break;
            case CreateClaim create:
                var devices = create.Devices.Zip(planned.Devices, static (ask, address) => new DeviceRecord { Model = ask.Model, Device = address });
                Record(
                    new ClaimCreated
                    {
                        ClaimId = ClaimId,
                        Model = create.Devices[0].Model,
                        Host = planned.Host,
                        Device = planned.Devices[0],
                        Devices = { devices },
                        Generation = 1,
                        MemoryBytes = create.MemoryBytes,
                        StepsPerSecond = create.StepsPerSecond,
                        RequestedBy = create.RequestedBy,
                        OnDeviceFailure = (int)create.OnDeviceFailure,
                        OnHostLoss = (int)create.OnHostLoss,
                        LeaseMs = create.OnHostLoss == HostLossPolicy.Restart ? create.LeaseMs : 0,
                        Select = { create.Select },
                        ApartFrom = create.ApartFrom ?? "",
                        HostLife = planned.Life,
                        At = Now,
                    },
                    "claim.created",
                    $"{Shown(create.Devices.Select(static ask => ask.Model))} on {planned.Host}/{Shown(planned.Devices)}, asked for by {create.RequestedBy}",
                    () => requester.Tell(new ClaimAccepted(View())));
                break;
            case StartMigration start when state.Phase == ClaimPhase.Running:
                var started = new MigrationStarted
                {
                    Number = state.NextMigration,
                    FromHost = state.Host,
                    FromDevice = state.Device,
                    FromDevices = { state.Addresses },
                    ToHost = planned.Host,
                    ToDevice = planned.Devices[0],
                    ToDevices = { planned.Devices },
                    Generation = state.Generation + 1,
                    DowntimeLimitMs = start.DowntimeLimitMs,
                    TimeoutMs = start.TimeoutMs,
                    BandwidthLimit = start.BandwidthLimit,
                    OnNoConvergence = (int)start.OnNoConvergence,
                    RequestedBy = start.RequestedBy,
                    Cause = cause,
                    Request = start.Request ?? "",
                    At = Now,
                };
                started.Traceparent = trace.Begin(started, start.Traceparent);
                Record(
                    started,
                    "migration.started",
                    $"{state.Host}/{Shown(state.Addresses)} to {planned.Host}/{Shown(planned.Devices)}, asked for by {start.RequestedBy}{(cause.Length > 0 ? $": {cause}" : "")}",
                    () => requester.Tell(new ClaimAccepted(View())));
                break;
            case PlaceElsewhere when state.Phase == ClaimPhase.Restarting:
                Record(
                    new PlacedAfresh
                    {
                        Host = planned.Host,
                        Device = planned.Devices[0],
                        Devices = { planned.Devices },
                        Generation = state.Generation + 1,
                        HostLife = planned.Life,
                        At = Now,
                    },
                    "claim.placed",
                    $"{state.Host}/{Shown(state.Addresses)} is closed; starts afresh on {planned.Host}/{Shown(planned.Devices)}",
                    // What was counted was of before.
                    () => status = null);
                break;
            default:
                requester.Tell(new ClaimRefused(RefusalCode.Conflict, $"Claim {ClaimId} changed while it was planned, it is {Word(state.Phase)} now; look at it and ask again.")
                {
                    Request = (command as StartMigration)?.Request,
                });
                break;
        }
    }

    private void AnswerPlan()
    {
        var (looked, start) = (planning!, (StartMigration)planning!.Command);
        EndPlanning();
        var plan = looked.Answers.Find(static answer => answer.Devices.Length > 0) is { } best ? PlanOf(best) : null;
        if (plan is not null)
            given.Keep(plan);
        string[] notLooked = looked.NotLooked == 0 ? [] : [$"{looked.NotLooked} more hosts were not asked; name one to have it looked at."];
        var stateBytes = status!.Devices.Sum(static device => device.StateBytes);
        // What a stop has to carry is the claim's own; how fast it goes, any migration can tell.
        var own = state.Migrations.FindLast(static migration => migration.RateAtStop > 0);
        var measured = own is null ? looked.Rate : new MeasuredRate($"{ClaimId}.{own.Number}", own.RateAtStop, default);
        var paced = start.BandwidthLimit > 0 ? Math.Min(start.BandwidthLimit, measured?.BytesPerSecond ?? 0) : measured?.BytesPerSecond;
        looked.Requester.Tell(new MigrationPlanned(
            ClaimId,
            plan?.Id,
            state.Host,
            [.. state.Addresses],
            [
                .. looked.Answers.OrderBy(static answer => answer.Devices.Length == 0).Select(static answer =>
                    new TargetAnswer(answer.Host, answer.Devices, answer.Reasons) { Shown = answer.Shown }),
            ],
            [.. looked.Reasons.Lines, .. notLooked],
            stateBytes,
            state.MemoryBytes,
            measured?.BytesPerSecond ?? 0,
            own?.LeftAtStop ?? 0,
            measured?.Migration,
            paced is > 0 and var rate ? PredictedDowntime(stateBytes + state.MemoryBytes, rate) : null,
            own is null ? null : PredictedDowntime(own.LeftAtStop, own.RateAtStop),
            start.DowntimeLimitMs)
        {
            Source = [.. status.Devices.Select(static device => device.Shown).OfType<PlannedDevice>()],
        });
    }

    /// <summary>What a migration to where a host has said yes stands on.</summary>
    private MigrationPlan PlanOf(TargetPlanned answer) => new(
        [
            ("claim", ClaimId),
            ("generation", state.Generation.ToString(CultureInfo.InvariantCulture)),
            ("source", $"{state.Host}/{Shown(state.Addresses)}"),
            ("source's drivers", Shown(status!.Devices.Select(static device => device.Driver ?? "none"))),
            ("source's state format", Shown(status.Devices.Select(static device => device.Shown?.StateFormat ?? "any"))),
            ("device state", $"{status.Devices.Sum(static device => device.StateBytes)} bytes"),
            ("memory", $"{state.MemoryBytes} bytes"),
            ("target", answer.Devices.Length == 0 ? "none" : $"{answer.Host}/{Shown(answer.Devices)}"),
            ("target's daemon", string.Create(CultureInfo.InvariantCulture, $"in life {answer.Life}")),
        ],
        answer.Host);

    private void OnPlanOverdue(string host)
    {
        if (host == Fleet)
        {
            RefusePlan($"The fabric did not say within {PlanDeadline.TotalSeconds} s where the claim may be; look at the control nodes.");
            return;
        }

        if (host == Source)
        {
            RefusePlan($"Host {state.Host}, where claim {ClaimId} runs, was not heard of within {PlanDeadline.TotalSeconds} s; look at its daemon.");
            return;
        }

        planning!.Reasons.Add($"{host} did not say within {PlanDeadline.TotalSeconds} s whether it could; look at its daemon.");
        PlanNext();
    }

    private void RefusePlan(string why)
    {
        var refused = planning!;
        EndPlanning();
        if (refused.IsOwn)
            NoTarget(why);
        else
            refused.Requester.Tell(new ClaimRefused(RefusalCode.Plan, why) { Request = (refused.Command as StartMigration)?.Request });
        PassivateIfOver();
    }

    private void EndPlanning()
    {
        StopAsking();
        planning = null;
    }

    private void StopAsking()
    {
        Timers.Cancel(nameof(PlanOverdue));
        Timers.Cancel(nameof(PlanAgain));
    }
}
