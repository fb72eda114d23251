using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Recovery;
using Fabric.Pci;

namespace Fabric.Devices;

/// <summary>Errors: folded, told of at most so often, and recovered from one after the other where they share functions.</summary>
public sealed partial class HostActor
{
    /// <summary>As many as the kernel's AER queue holds.</summary>
    private const int MaxWaitingErrors = 128;

    /// <summary>The recoveries that run, and the functions that take part in each.</summary>
    private readonly Dictionary<IActorRef, Running> recoveries = [];

    private readonly List<AerRecord> waitingErrors = [];

    /// <summary>Devices whose errors were told of within the interval; theirs gather until it is over.</summary>
    private readonly HashSet<PciAddress> quiet = [];

    /// <summary>Who waits for what comes of an error that was injected.</summary>
    private readonly Dictionary<PciAddress, List<IActorRef>> injectors = [];

    private sealed record ErrorsDue(PciAddress Source);

    private sealed record Running(AerRecord Record, ImmutableArray<RecoveryMember> Scope)
    {
        public PciAddress Source => Record.Source;

        public bool IsReported { get; set; }
    }

    /// <summary>
    /// An uncorrectable error is recovered from at once, unless that device's recovery is under way already; everything else waits until the
    /// device may be told of again.
    /// </summary>
    private void OnErrors(PciAddress source)
    {
        if (!quiet.Contains(source) || (fold.HasUncorrectable(source) && !IsOutOfService(source) && !IsRecovering(source)))
            TakeErrors(source);
    }

    private void OnErrorsDue(ErrorsDue due)
    {
        quiet.Remove(due.Source);
        TakeErrors(due.Source);
    }

    private void TakeErrors(PciAddress source)
    {
        if (fold.Take(source) is not { } errors)
            return;
        if (quiet.Add(source))
            Timers.StartSingleTimer(source, new ErrorsDue(source), options.Devices.ErrorInterval);
        if (supervised.TryGetValue(source, out var device))
        {
            device.Supervisor.Tell(new ErrorsReported(errors.Worst, errors.Correctable, errors.Uncorrectable));
        }
        else if (ScopeOf(source).IsEmpty)
        {
            Context.GetLogger().Warning("An error was reported for {0}, which is not a device of this host", source);
            return;
        }

        Recover(errors.Worst);
    }

    private void Recover(AerRecord record)
    {
        if (record.Severity == AerSeverity.Correctable)
            Report(record, null, "corrected by hardware: counted, nothing to recover");
        else if (IsOutOfService(record.Source))
            Report(record, false, "out of service: counted, not recovered");
        else if (waitingErrors.FindIndex(waiting => waiting.Source == record.Source) is >= 0 and var same)
            waitingErrors[same] = record.Severity >= waitingErrors[same].Severity ? record : waitingErrors[same];
        else if (waitingErrors.Count == MaxWaitingErrors)
            Report(record, false, $"dropped: {MaxWaitingErrors} others wait for recovery already");
        else
        {
            waitingErrors.Add(record);
            RecoverWaiting();
        }
    }

    /// <summary>The next errors can be recovered from; one that the same device reported meanwhile does not wait until it may be told of.</summary>
    private void OnRecoveryOver(PciAddress source)
    {
        RecoverWaiting();
        OnErrors(source);
    }

    private void Report(AerRecord record, bool? recovered, string step) =>
        AnswerInjectors(new RecoveryReport(record.Source, record.Severity, recovered, TimeSpan.Zero, [step]));

    private bool IsRecovering(PciAddress source) =>
        waitingErrors.Exists(waiting => waiting.Source == source) || recoveries.Values.Any(running => running.Source == source);

    private bool IsOutOfService(PciAddress source) =>
        statuses.TryGetValue(source, out var status) && status.State is DeviceState.Quarantined or DeviceState.Removing;

    /// <summary>Starts the recoveries that can: those of which no function takes part in another one. Errors under one port go one after the other.</summary>
    private void RecoverWaiting()
    {
        foreach (var record in waitingErrors.ToArray())
        {
            if (IsOutOfService(record.Source))
            {
                waitingErrors.Remove(record);
                Report(record, false, "out of service since: counted, not recovered");
                continue;
            }

            var scope = ScopeOf(record.Source);
            if (recoveries.Values.Any(running => running.Scope.Any(member => scope.Any(other => other.Address == member.Address))))
                continue;
            waitingErrors.Remove(record);
            recoveries[Context.Watch(Context.ActorOf(RecoveryActor.Props(record, scope, options.Bus, context)))] = new Running(record, scope);
        }
    }

    /// <summary>The devices of this host that take part in the recovery from an error, in bus-walk order; where the bus fails, the one itself.</summary>
    private ImmutableArray<RecoveryMember> ScopeOf(PciAddress source) =>
    [
        .. AskBus<IReadOnlyList<PciAddress>>(bus => bus.RecoveryScope(source), [source])
            .Where(supervised.ContainsKey)
            .Select(address => new RecoveryMember(address, supervised[address].Supervisor, statuses[address].ResetMethods)),
    ];

    private void OnReported(RecoveryReport report)
    {
        if (recoveries.TryGetValue(Sender, out var running))
            running.IsReported = true;
        AnswerInjectors(report);
    }

    /// <summary>It failed itself: nobody knows how far it had come, so its devices have not recovered.</summary>
    private void OnRecoveryLost(Running lost)
    {
        foreach (var member in lost.Scope)
            member.Supervisor.Tell(new RecoveryEnded(Recovered: false));
        Report(lost.Record, false, "the recovery itself failed");
    }

    private void AnswerInjectors(RecoveryReport report)
    {
        if (!injectors.Remove(report.Source, out var waiting))
            return;
        foreach (var injector in waiting)
            injector.Tell(report);
    }
}
