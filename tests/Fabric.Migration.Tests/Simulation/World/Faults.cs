namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>What can go wrong in a run, and what a fabric does about it by itself: a node that is lost is replaced, one that is cut off lets go.</summary>
internal sealed class Faults(Simulation run, IReadOnlyList<string> claims)
{
    /// <summary>Everything works again.</summary>
    public void Mend()
    {
        run.Fault("mended");
        run.Network.Heal();
        run.Network.Calm();
        run.Journal.Trouble = JournalTrouble.None;
        (run.DeviceFailures, run.Corruption) = (0, 0);
        foreach (var node in run.Nodes)
        {
            node.Continue();
            node.Begin();
        }

        foreach (var function in run.Hosts.SelectMany(static host => host.Functions))
            Mend(function);
        run.ConnectionsChanged();
        run.PublishFleetChanged();
    }

    public void KillHost(SimulatedHost host, TimeSpan lasts)
    {
        run.Fault($"{host.Name} is killed");
        host.Kill();
        run.After(lasts, host.Begin);
    }

    public void StopHost(SimulatedHost host, TimeSpan lasts)
    {
        run.Fault($"{host.Name} stands still");
        host.Stop();
        run.After(lasts, host.Continue);
    }

    /// <summary>Another node takes its claims up when it was missed for long enough; itself, if it is the first to be back.</summary>
    public void KillControl(SimulatedControl control, TimeSpan lasts)
    {
        run.Fault($"{control.Name} is killed");
        var orphans = claims.Where(control.Has).ToArray();
        control.Kill();
        run.After(lasts, control.Begin);
        run.After(run.Between(6, 18), () => Adopt(orphans));
    }

    /// <summary>One that stands still for long is missed; when it wakes it does for a moment what it had to do, before it finds that it was put out.</summary>
    public void StopControl(SimulatedControl control, TimeSpan lasts)
    {
        run.Fault($"{control.Name} stands still");
        control.Stop();
        var held = claims.Where(control.Has).ToArray();
        var missed = run.Between(8, 18);
        if (missed < lasts && run.Controls.FirstOrDefault(other => other != control && other.Goes) is { } other)
        {
            run.After(missed, () => TakeUp(other, held));
            run.After(lasts + run.Between(0, 2), () =>
            {
                foreach (var claim in held.Where(other.Has))
                    control.GiveUp(claim);
            });
        }

        run.After(lasts, control.Continue);
    }

    public void CutOff(int[] island, TimeSpan lasts)
    {
        run.Fault($"{string.Join(", ", island)} are cut off");
        run.Network.CutOff(island);
        run.ConnectionsChanged();
        // The larger part puts the smaller out, and each claim is taken up in it a moment before, or after, the smaller lets go.
        var kept = run.Controls.Where(control => island.Contains(control.Index)).ToArray();
        if (kept.Length > 0 && kept.Length < run.Controls.Count && lasts > TimeSpan.FromSeconds(8))
        {
            var winner = run.OneOf(run.Controls);
            foreach (var loser in run.Controls.Where(control => control != winner).ToArray())
            {
                var held = claims.Where(loser.Has).ToArray();
                run.After(run.Between(7, 12), () => TakeUp(winner, held));
                run.After(run.Between(6, 14), () => GiveUp(loser, held));
            }
        }

        run.After(lasts, () =>
        {
            run.Network.Heal();
            run.ConnectionsChanged();
        });
    }

    public void Weather(double loss, double doubling, double lateness, TimeSpan lasts)
    {
        run.Fault($"{loss:0.0} are lost, {doubling:0.0} come twice, late by up to {lateness} s");
        (run.Network.Loss, run.Network.Doubling, run.Network.Lateness) = (loss, doubling, lateness);
        run.After(lasts, run.Network.Calm);
    }

    public void TroubleJournal(JournalTrouble trouble, TimeSpan lasts)
    {
        run.Fault($"the journal: {trouble}");
        run.Journal.Trouble = trouble;
        run.After(lasts, () => run.Journal.Trouble = JournalTrouble.None);
    }

    public void ThrowAttachment(SimulatedHost host)
    {
        run.Fault($"what holds a function on {host.Name} throws");
        host.ThrowOne();
    }

    /// <summary>One that is in use, if there is any; else the one chosen.</summary>
    public void Sicken(SimulatedHost host, SimulatedFunction function, bool readable, TimeSpan lasts)
    {
        var used = run.Hosts.SelectMany(static other => other.Functions.Where(static known => known.Holder is not null).Select(known => (Host: other, Function: known))).ToArray();
        if (used.Length > 0)
            (host, function) = run.OneOf(used);
        run.Fault($"{host.Name}/{function.Address} is sick, {(readable ? "readable" : "lost")}");
        // What is lost does not get better.
        readable &= function.Sick is not { Readable: false };
        function.Sick = ("it smells", readable);
        if (!readable && function.Holder is not null)
            function.Lose("died");
        run.After(lasts, () => Mend(function));
    }

    /// <summary>A device gets better only when nobody holds it: in service again, it is reset.</summary>
    private void Mend(SimulatedFunction function)
    {
        if (function.Sick is null)
            return;
        if (function.Holder is not null)
        {
            run.After(TimeSpan.FromSeconds(1), () => Mend(function));
            return;
        }

        function.Sick = null;
        run.FreesSomething();
    }

    /// <summary>
    /// Two nodes think that a claim is theirs, for as long as it lasts. Whichever stays takes it up anew: a shard that was in two places is not
    /// gone on with in either.
    /// </summary>
    public void SecondIncarnation(TimeSpan lasts)
    {
        run.Fault("a claim is taken up twice");
        foreach (var claim in claims)
        {
            var first = run.KeepersOf(claim).ToArray();
            if (run.Controls.FirstOrDefault(control => control.Goes && !first.Contains(control)) is not { } second)
                continue;
            second.TakeUp(claim);
            var stays = run.Chance(0.5) ? second : first.FirstOrDefault() ?? second;
            run.After(lasts, () =>
            {
                foreach (var control in run.KeepersOf(claim).ToArray())
                    control.GiveUp(claim);
                if (stays.IsAlive)
                    stays.TakeUp(claim);
                else
                    Adopt([claim]);
            });
        }
    }

    public void DevicesFail(TimeSpan lasts)
    {
        run.Fault("devices fail");
        (run.DeviceFailures, run.Corruption) = (0.15, 0.3);
        run.After(lasts, () => (run.DeviceFailures, run.Corruption) = (0, 0));
    }

    private static void TakeUp(SimulatedControl control, IEnumerable<string> orphans)
    {
        foreach (var claim in orphans)
            control.TakeUp(claim);
    }

    /// <summary>The last that has a claim keeps it.</summary>
    private void GiveUp(SimulatedControl control, IEnumerable<string> held)
    {
        foreach (var claim in held.Where(claim => run.KeepersOf(claim).Any(other => other != control)))
            control.GiveUp(claim);
    }

    private void Adopt(string[] orphans)
    {
        foreach (var claim in orphans.Where(claim => !run.KeepersOf(claim).Any()))
        {
            if (run.Controls.Where(static control => control.Goes).ToArray() is { Length: > 0 } candidates)
                run.OneOf(candidates).TakeUp(claim);
            else
                run.After(TimeSpan.FromSeconds(1), () => Adopt([claim]));
        }
    }
}
