using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>Which driver each function gets: asked in their order, explained, and chosen anew when drivers or overrides change.</summary>
public sealed partial class HostActor
{
    /// <summary>Functions that are looked at by a driver, in its probe.</summary>
    private readonly Dictionary<PciAddress, Choosing> choosing = [];

    /// <summary>Functions that nobody may have: their driver_override names a driver that is not there, or that refused them.</summary>
    private readonly Dictionary<PciAddress, IPciFunction> unbound = [];

    /// <summary>Drivers that could not be made for a function; not tried again until drivers or overrides change.</summary>
    private readonly Dictionary<PciAddress, ImmutableList<DriverPassedOver>> unmade = [];

    private readonly List<Rebinding> rebindings = [];
    private DriverCatalog catalog;
    private long lastProbe;

    /// <summary>A function that no driver has taken yet.</summary>
    private sealed class Choosing(IPciFunction function, DriverCatalog catalog, DriverRanking ranking, ImmutableList<DriverPassedOver> refused)
    {
        public IPciFunction Function { get; } = function;

        /// <summary>The drivers that there were when it began.</summary>
        public DriverCatalog Catalog { get; } = catalog;

        public DriverRanking Ranking { get; } = ranking;

        public ImmutableList<DriverPassedOver> Refused { get; set; } = refused;

        /// <summary>Of the probe that is under way.</summary>
        public long Number { get; set; }
    }

    private sealed record UnboundRemoved(PciAddress Address, VfioResult Outcome);

    private sealed record ProbeAnswered(PciAddress Address, long Number, DriverRegistration Driver, VfioResult Outcome);

    /// <summary>Functions that are bound anew, and what is done when all of them are.</summary>
    /// <param name="Refused">Told of one that cannot be; returns whether the others are waited for all the same.</param>
    private sealed record Rebinding(HashSet<PciAddress> Waiting, Action Done, Func<VfioError, bool> Refused);

    // ---- Choosing --------------------------------------------------------------------------------------------------------------------

    private void Choose(IPciFunction function)
    {
        var address = function.Address;
        var ranking = Rank(function, standings.GetValueOrDefault(address, DeviceStanding.None));
        var begun = new Choosing(function, catalog, ranking, unmade.GetValueOrDefault(address, []));
        choosing[address] = begun;
        GoOn(begun);
    }

    private DriverRanking Rank(IPciFunction function, DeviceStanding standing) =>
        catalog.Rank(function.Ids, standing.DriverOverride, function.WantedDriver);

    /// <summary>Asks the best that has not refused; one that has nothing to ask is taken.</summary>
    private void GoOn(Choosing current)
    {
        while (true)
        {
            var best = current.Ranking.Best(current.Refused);
            if (best is null)
            {
                Decide(current, null);
                return;
            }

            if (catalog.Problem(best.Driver) is { } problem)
            {
                current.Refused = current.Refused.Add(new DriverPassedOver(best.Driver.Name, problem, Refused: true));
                continue;
            }

            if (best.Driver.Stack.All(static driver => driver.Probe is null))
                Decide(current, best);
            else
                Ask(current, best.Driver);
            return;
        }
    }

    /// <summary>On a thread of its own: it may ask hardware, and it may be somebody else's code.</summary>
    private void Ask(Choosing current, DriverRegistration driver)
    {
        var (self, address, number) = (Self, current.Function.Address, ++lastProbe);
        current.Number = number;
        var given = new DriverContext(address, current.Function.Ids, ActorRefs.Nobody) { Time = options.Time, Platform = current.Function.Platform };
        var late = VfioResult.Fail(Errno.ETIMEDOUT, $"It has not answered within {options.Devices.CallDeadline.TotalSeconds:0.#} s.");
        Timers.StartSingleTimer(number, new ProbeAnswered(address, number, driver, late), options.Devices.CallDeadline);
        context.Threads.Run(() => self.Tell(new ProbeAnswered(address, number, driver, ProbeAll(driver, given))));
    }

    private static VfioResult ProbeAll(DriverRegistration driver, DriverContext given)
    {
        foreach (var probe in driver.Stack.Select(static part => part.Probe).OfType<Func<DriverContext, VfioResult>>())
        {
            try
            {
                if (probe(given) is { IsOk: false } refused)
                    return refused;
            }
            catch (Exception thrown)
            {
                return VfioResult.Fail(Errno.EIO, $"Its probe failed: {DriverClass.Words(thrown)}");
            }
        }

        return VfioResult.Ok;
    }

    private void OnProbeAnswered(ProbeAnswered answer)
    {
        if (!choosing.TryGetValue(answer.Address, out var current) || current.Number != answer.Number)
            return;
        Timers.Cancel(answer.Number);
        current.Number = 0;
        if (answer.Outcome.IsOk)
        {
            Decide(current, current.Ranking.Best(current.Refused));
        }
        else
        {
            current.Refused = current.Refused.Add(new DriverPassedOver(answer.Driver.Name, answer.Outcome.Error.ToString(), Refused: true));
            GoOn(current);
        }

        ProbeNext();
    }

    private void Decide(Choosing current, DriverCandidate? taken)
    {
        var (function, address) = (current.Function, current.Function.Address);
        choosing.Remove(address);
        if (current.Catalog != catalog)
        {
            // Drivers came or went while one was asked.
            Choose(function);
            return;
        }

        foreach (var refusal in current.Refused)
            Note(address, "driver-refused", $"{refusal.Driver}: {refusal.Reason}");
        var choice = current.Ranking.Explain(taken, current.Refused);
        if (taken is not null || current.Ranking.EndsWithCore)
            Supervise(function, taken?.Driver, choice);
        else
            LeaveUnbound(function, choice);
    }

    private void LeaveUnbound(IPciFunction function, DriverChoice choice)
    {
        var address = function.Address;
        unbound[address] = function;
        var status = Describe(function, null, choice) with
        {
            State = DeviceState.Inventory,
            Reason = choice.Why,
            WayBack = "Load that driver ('fabric driver load'), or name another, or none, with 'fabric device override'",
        };
        statuses[address] = status;
        Note(address, "not-taken", choice.Why);
        Context.System.EventStream.Publish(new DeviceStatusChanged(status));
        TellWhoWaits(status, new DeviceStatusChanged(status));
        AskAgain(address);
        Arrived(address);
        SettleWhenProbed();
    }

    /// <summary>Nobody has it, so that nobody is asked.</summary>
    private void RemoveUnbound(RemoveDevice command)
    {
        if (command.IsPlanned(Sender, $"{command.Address} would leave the bus"))
            return;
        Waiting(command.Address).Add(Sender);
        var (self, bus, address) = (Self, options.Bus, command.Address);
        var late = VfioResult.Fail(Errno.ETIMEDOUT, "The bus hangs in removing it.");
        Timers.StartSingleTimer($"removal of {address}", new UnboundRemoved(address, late), options.Devices.SlowCallDeadline);
        context.Threads.Run(() =>
        {
            VfioResult outcome;
            try
            {
                outcome = bus.Remove(address);
            }
            catch (Exception cause)
            {
                outcome = VfioResult.Fail(Errno.EIO, $"The bus failed: {cause.Message}");
            }

            self.Tell(new UnboundRemoved(address, outcome));
        });
    }

    private void OnUnboundRemoved(UnboundRemoved removed)
    {
        Timers.Cancel($"removal of {removed.Address}");
        if (!unbound.ContainsKey(removed.Address))
            return;
        if (removed.Outcome.IsOk)
        {
            unbound.Remove(removed.Address);
            TellGone(removed.Address, "it was removed");
        }
        else if (removals.Remove(removed.Address, out var waiting))
        {
            foreach (var requester in waiting)
                requester.Tell(new DeviceFailed(removed.Outcome.Error));
        }
    }

    private void Note(PciAddress address, string kind, string message)
    {
        var entry = new DeviceHistoryEntry(options.Time.GetUtcNow(), kind, message);
        context.History.Tell(new NoteHistory(address, entry));
        Context.System.EventStream.Publish(new DeviceNoted(address, entry));
    }

    // ---- Binding anew ----------------------------------------------------------------------------------------------------------------

    private void OnUnbound(DeviceUnbound let)
    {
        var address = let.Address;
        if (!supervised.TryGetValue(address, out var device) || !device.Supervisor.Equals(Sender))
            return;
        if (let.Unmade is { } failed)
            unmade[address] = unmade.GetValueOrDefault(address, []).Add(failed);
        else
            unmade.Remove(address);
        if (let.For is { } requester)
        {
            var wasWell = device.Device.Standing.QuarantinedFor is null;
            rebindings.Add(new Rebinding([address], () => requester.Tell(OutcomeOf(address, let.Trouble, wasWell)), static _ => true));
        }

        ending[device.Supervisor] = new Ended(address, StaysOnBus: true) { Back = device.Function };
        Context.Stop(device.Supervisor);
        Strike(address, device);
        unprobed.TryAdd(address, null);
        statuses[address] = statuses[address] with { Driver = null, Model = null, Migration = null, Choice = null };
        Context.System.EventStream.Publish(new DeviceStatusChanged(statuses[address]));
    }

    /// <param name="wasWell">It was in service before.</param>
    private object OutcomeOf(PciAddress address, VfioError? trouble, bool wasWell)
    {
        if (trouble is { } unwritten)
            return new DeviceFailed(unwritten);
        if (!statuses.TryGetValue(address, out var status))
            return new DeviceFailed(Errno.ENODEV, $"{address} is gone; the override stays for what comes there next.");
        if (wasWell && status.State == DeviceState.Quarantined)
            return new DeviceFailed(Errno.EIO, $"The override of {address} is set, and it is out of service since: {status.Reason}.");
        return unbound.ContainsKey(address)
            ? new DeviceFailed(Errno.ENODEV, $"The override of {address} is set, but nobody has the function: {status.Reason}.")
            : HostDone.Instance;
    }

    private void OnUnbindRefused(UnbindRefused refused)
    {
        foreach (var waiting in rebindings.Where(rebinding => rebinding.Waiting.Contains(refused.Address)).ToArray())
        {
            waiting.Waiting.Remove(refused.Address);
            if (!waiting.Refused(refused.Error))
                rebindings.Remove(waiting);
            else if (waiting.Waiting.Count == 0)
                End(waiting);
        }
    }

    /// <summary>A function has its driver, has none, or is gone: nobody waits for it any more.</summary>
    private void Arrived(PciAddress address)
    {
        foreach (var waiting in rebindings.ToArray())
        {
            if (waiting.Waiting.Remove(address) && waiting.Waiting.Count == 0)
                End(waiting);
        }
    }

    private void End(Rebinding ended)
    {
        rebindings.Remove(ended);
        ended.Done();
    }

    private void RebindAll(IEnumerable<(PciAddress Address, string Why)> functions, Action done, Func<VfioError, bool> refused)
    {
        var wanted = functions.ToArray();
        var rebinding = new Rebinding([.. wanted.Select(static function => function.Address)], done, refused);
        rebindings.Add(rebinding);
        foreach (var (address, why) in wanted)
        {
            if (supervised.TryGetValue(address, out var device))
                device.Supervisor.Tell(new UnbindDevice(why));
            else if (unbound.Remove(address, out var function) && unprobed.TryAdd(address, null))
                Probe(function);
        }

        if (rebinding.Waiting.Count == 0)
            End(rebinding);
    }

    /// <summary>Those for which another driver than theirs would be chosen now. Of the others the choice is explained anew.</summary>
    /// <param name="askAgain">Drivers that have refused a function are asked once more: what they missed may have come.</param>
    private List<(PciAddress Address, string Why)> Misplaced(bool askAgain)
    {
        var misplaced = new List<(PciAddress, string)>();
        foreach (var (address, device) in supervised)
        {
            var refused = askAgain ? [] : RefusalsOf(address);
            var ranking = Rank(device.Function, device.Device.Standing);
            var best = ranking.Best(refused);
            if (IsSame(best?.Driver, device.Device.Driver) && (best is not null || ranking.EndsWithCore))
                ExplainAnew(address, device, ranking.Explain(best, refused));
            else
                misplaced.Add((address, "other drivers are there"));
        }

        foreach (var (address, function) in unbound)
        {
            if (Rank(function, standings.GetValueOrDefault(address, DeviceStanding.None)) is { Candidates.Length: > 0 })
                misplaced.Add((address, "other drivers are there"));
        }

        return misplaced;
    }

    private DriverPassedOver[] RefusalsOf(PciAddress address) =>
        statuses[address].Choice?.PassedOver.Where(static passed => passed.Refused).ToArray() ?? [];

    private static bool IsSame(DriverRegistration? one, DriverRegistration? other) =>
        one?.Name == other?.Name && one?.Plugin == other?.Plugin && (one?.Behind is null) == (other?.Behind is null);

    private void ExplainAnew(PciAddress address, Supervised device, DriverChoice choice)
    {
        if (!choice.IsSameAs(statuses[address].Choice))
            device.Supervisor.Tell(new ExplainDriver(choice));
    }

    /// <summary>Held, it keeps its driver; what would be better is said.</summary>
    private void ExplainHeld(PciAddress address)
    {
        if (!supervised.TryGetValue(address, out var device))
            return;
        var refused = RefusalsOf(address);
        var ranking = Rank(device.Function, device.Device.Standing);
        var taken = ranking.Candidates.FirstOrDefault(candidate => IsSame(candidate.Driver, device.Device.Driver));
        ExplainAnew(address, device, ranking.Explain(taken, refused));
    }

    // ---- Overrides -------------------------------------------------------------------------------------------------------------------

    private void Override(OverrideDriver command)
    {
        var address = command.Address;
        if (command.Driver is { } name && !catalog.IsKnown(name))
        {
            var known = string.Join(", ", catalog.Drivers.Select(static driver => driver.Name).Append(DriverDeclaration.VfioPci.Name).Distinct());
            Sender.Tell(new DeviceFailed(Errno.EINVAL, $"This host has no driver '{name}'; load it, or name one that it has: {known}."));
        }
        else if (sriov.TryGetValue(address, out var change) ||
            (statuses.GetValueOrDefault(address)?.PhysicalFunction is { } physical && sriov.TryGetValue(physical, out change)))
        {
            Sender.Tell(new DeviceFailed(Errno.EAGAIN, $"VFs are being made or removed there, by {change.By}; try again."));
        }
        else if (supervised.TryGetValue(address, out var device))
        {
            device.Supervisor.Forward(command);
        }
        else if (unprobed.TryGetValue(address, out var asked))
        {
            (unprobed[address] = asked ?? []).Add((command, Sender));
        }
        else if (unbound.TryGetValue(address, out var function))
        {
            OverrideUnbound(function, command);
        }
        else
        {
            Sender.Tell(Unknown(address));
        }
    }

    /// <summary>One that nobody has is let go of by nobody: it is written down here, and probed then.</summary>
    private void OverrideUnbound(IPciFunction function, OverrideDriver command)
    {
        var (address, requester) = (function.Address, Sender);
        var standing = standings.GetValueOrDefault(address, DeviceStanding.None);
        if (standing.DriverOverride == command.Driver)
        {
            command.AnswerAlready(requester, $"{address} has that driver_override");
            return;
        }

        if (command.IsPlanned(requester, command.Would(null)))
            return;
        unbound.Remove(address);
        unmade.Remove(address);
        unprobed.TryAdd(address, null);
        standings = standings.SetItem(address, standing with { DriverOverride = command.Driver });
        var why = $"it is bound anew: driver_override, by {command.By}";
        statuses[address] = statuses[address] with { State = DeviceState.Probing, Reason = why, WayBack = null };
        Note(address, "driver-override", $"{command.Driver ?? "cleared"}, by {command.By}");
        writing[address] = (function, requester);
        context.History.Tell(new KeepStanding(address, standings[address]));
    }

    /// <summary>Functions whose override is being written down by the host itself, and who waits for that.</summary>
    private readonly Dictionary<PciAddress, (IPciFunction Function, IActorRef Requester)> writing = [];

    private void OnWritten(PciAddress address, string? whyNot)
    {
        if (!writing.Remove(address, out var written))
            return;
        VfioError? trouble = whyNot is null
            ? null
            : new VfioError(
                Errno.EIO, $"It is done, but could not be written down, and is forgotten at the next start unless that works by then: {whyNot}");
        rebindings.Add(new Rebinding([address], () => written.Requester.Tell(OutcomeOf(address, trouble, wasWell: true)), static _ => true));
        Probe(written.Function);
    }
}
