using Fabric.Migration.Claims;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>
/// What an operator asks for and what goes wrong in a run, drawn from its seed: at times of their own, or a moment after some event was journaled. At
/// the end everything is mended.
/// </summary>
internal sealed class Adversary
{
    private static readonly TimeSpan Trouble = TimeSpan.FromSeconds(45);

    private readonly Simulation run;
    private readonly Faults faults;
    private readonly List<(int Event, Action What)> atEvents = [];
    private int events;
    private bool over;

    public Adversary(Simulation run, IReadOnlyList<CreateClaim> claims)
    {
        this.run = run;
        Claims = claims;
        faults = new Faults(run, [.. claims.Select(static claim => claim.ClaimId)]);
        run.Journal.OnKept += (_, _) =>
        {
            events++;
            foreach (var (_, what) in atEvents.Where(due => due.Event == events).ToArray())
                run.After(run.Chance(0.3) ? TimeSpan.Zero : run.Between(0, 0.4), what);
        };
        foreach (var claim in claims)
        {
            run.Create(claim);
        }

        Operate();
        for (var left = run.Below(7); left > 0; left--)
            Sometime(Pick());
    }

    public IReadOnlyList<CreateClaim> Claims { get; }

    /// <summary>Lets it all happen, then mends everything.</summary>
    public void Play()
    {
        run.RunUntil(Trouble);
        over = true;
        faults.Mend();
    }

    // ---- Operators -------------------------------------------------------------------------------------------------------------------

    private void Operate()
    {
        foreach (var claim in Claims)
        {
            var id = claim.ClaimId;
            for (var left = 1 + run.Below(4); left > 0; left--)
            {
                var downtime = run.OneOf([100, 1000, 20_000]);
                var target = run.OneOf(run.Hosts).Name;
                Sometime(() => run.Request(new StartMigration(id, target, downtime, 60_000, 0, "ops")));
            }

            if (run.Chance(0.3))
                Sometime(() => run.Request(new CancelMigration(id, Math.Max(1, run.Journal.StateOf(id).NextMigration - 1), "ops")));
            if (run.Chance(0.15))
                Sometime(() => run.Request(new ReleaseClaim(id, "ops")));
            if (run.Chance(0.1))
                Sometime(() => run.Request(new VerifyClaim(id)));
        }
    }

    private void Sometime(Action what)
    {
        if (run.Chance(0.5))
            atEvents.Add((1 + run.Below(16), InTime));
        else
            run.After(run.Between(0.5, 40), InTime);

        void InTime()
        {
            if (!over)
                what();
        }
    }

    // ---- Faults ----------------------------------------------------------------------------------------------------------------------

    private Action Pick()
    {
        var host = run.OneOf(run.Hosts);
        var control = run.OneOf(run.Controls);
        var lasts = run.Chance(0.5) ? run.Between(0.1, 3) : run.Between(3, 30);
        switch (run.Below(14))
        {
            case 0 or 1:
                return () => faults.KillHost(host, lasts);
            case 2:
                return () => faults.StopHost(host, lasts);
            case 3 or 4:
                return () => faults.KillControl(control, lasts);
            case 5:
                return () => faults.StopControl(control, lasts);
            case 6:
                var island = run.Nodes.Where(_ => run.Chance(0.4)).Select(static node => node.Index).ToArray();
                return () => faults.CutOff(island, lasts);
            case 7:
                var (loss, doubling, lateness) = (run.Below(3) * 0.2, run.Below(3) * 0.3, run.Below(3) * 1.0);
                return () => faults.Weather(loss, doubling, lateness, lasts);
            case 8:
                var trouble = (JournalTrouble)(1 + run.Below(5));
                return () => faults.TroubleJournal(trouble, lasts);
            case 9 or 10:
                var readable = run.Chance(0.6);
                var function = run.Below(host.Functions.Count);
                return () => faults.Sicken(host, host.Functions[function], readable, lasts);
            case 11:
                return () => faults.SecondIncarnation(lasts);
            case 12:
                return () => faults.ThrowAttachment(host);
            default:
                return () => faults.DevicesFail(lasts);
        }
    }
}
