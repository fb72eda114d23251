using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Tests.Simulation.Engine;
using Fabric.Migration.Tests.Simulation.World;

namespace Fabric.Migration.Tests.Simulation;

/// <summary>A death, or a standstill, of each participant at each event of each path: before its write is kept, and right after, before anybody hears.</summary>
public sealed class CrashTests
{
    private static readonly Dictionary<string, Action<ClaimPath.Walk>> Deaths = new()
    {
        ["claim node killed"] = static walk => Keeper(walk, static (faults, node) => faults.KillControl(node, TimeSpan.FromSeconds(3))),
        ["claim node stands still"] = static walk => Keeper(walk, static (faults, node) => faults.StopControl(node, TimeSpan.FromSeconds(20))),
        ["source killed"] = static walk => walk.Faults.KillHost(walk.Run.Hosts[0], TimeSpan.FromSeconds(4)),
        ["source stands still"] = static walk => walk.Faults.StopHost(walk.Run.Hosts[0], TimeSpan.FromSeconds(25)),
        ["target killed"] = static walk => walk.Faults.KillHost(walk.Run.Hosts[1], TimeSpan.FromSeconds(4)),
        ["target stands still"] = static walk => walk.Faults.StopHost(walk.Run.Hosts[1], TimeSpan.FromSeconds(25)),
        ["source and target killed"] = static walk =>
        {
            walk.Faults.KillHost(walk.Run.Hosts[0], TimeSpan.FromSeconds(4));
            walk.Faults.KillHost(walk.Run.Hosts[1], TimeSpan.FromSeconds(6));
        },
        ["claim node, source and target killed"] = static walk =>
        {
            Keeper(walk, static (faults, node) => faults.KillControl(node, TimeSpan.FromSeconds(3)));
            walk.Faults.KillHost(walk.Run.Hosts[0], TimeSpan.FromSeconds(4));
            walk.Faults.KillHost(walk.Run.Hosts[1], TimeSpan.FromSeconds(6));
        },
        ["claim node cut off"] = static walk => Keeper(walk, static (faults, node) => faults.CutOff([node.Index], TimeSpan.FromSeconds(20))),
        ["source cut off"] = static walk => walk.Faults.CutOff([walk.Run.Hosts[0].Index], TimeSpan.FromSeconds(20)),
        ["target cut off"] = static walk => walk.Faults.CutOff([walk.Run.Hosts[1].Index], TimeSpan.FromSeconds(20)),
        ["journal unreachable"] = static walk => walk.Faults.TroubleJournal(JournalTrouble.Unreachable, TimeSpan.FromSeconds(15)),
        ["journal full"] = static walk => walk.Faults.TroubleJournal(JournalTrouble.Full, TimeSpan.FromSeconds(5)),
        ["journal slow"] = static walk => walk.Faults.TroubleJournal(JournalTrouble.Slow, TimeSpan.FromSeconds(15)),
        ["journal rejects"] = static walk => walk.Faults.TroubleJournal(JournalTrouble.Rejects, TimeSpan.FromSeconds(3)),
        ["journal answers lost"] = static walk => walk.Faults.TroubleJournal(JournalTrouble.AnswersLost, TimeSpan.FromSeconds(5)),
        ["claim taken up twice"] = static walk => walk.Faults.SecondIncarnation(TimeSpan.FromSeconds(5)),
    };

    public static TheoryData<string> Paths => [.. ClaimPath.All.Select(static path => path.Name)];

    [Theory]
    [MemberData(nameof(Paths))]
    public void Whoever_dies_at_whichever_event_the_laws_hold(string name)
    {
        var path = ClaimPath.All.First(path => path.Name == name);
        using var theatre = new Theatre();
        var whole = new ClaimPath.Walk(theatre, path, seed: 1);
        Assert.Empty(whole.Play());
        var runs = 0;
        for (var number = 1; number <= whole.Events.Count; number++)
        {
            // A lease that is renewed time and again is looked at once.
            if (number > 1 && whole.Events[number - 1] == whole.Events[number - 2])
                continue;
            foreach (var (death, strike) in Deaths)
            {
                foreach (var kept in (bool[])[false, true])
                {
                    var walk = new ClaimPath.Walk(theatre, path, seed: 1);
                    walk.At(number, kept, strike);
                    var found = walk.Play();
                    runs++;
                    Assert.True(found.Count == 0, $"{name}, {death} {(kept ? "after" : "before")} event {number}, {whole.Events[number - 1]}:\n{string.Join('\n', found)}");
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {runs} runs over {whole.Events.Count} events: {string.Join(", ", whole.Events)}");
    }

    /// <summary>No event marks this moment: the one whole copy is the target's, and only the source knows that it has stopped.</summary>
    [Theory]
    [InlineData("commit", "source killed")]
    [InlineData("commit", "source stands still")]
    [InlineData("commit", "source cut off")]
    [InlineData("leased-commit", "source killed")]
    [InlineData("leased-commit", "source stands still")]
    [InlineData("leased-commit", "source cut off")]
    public void A_source_that_is_lost_once_its_target_has_everything_leaves_the_claim_to_it(string name, string death)
    {
        using var theatre = new Theatre();
        var walk = new ClaimPath.Walk(theatre, ClaimPath.All.First(path => path.Name == name), seed: 1);
        walk.WhenLoaded(() => Deaths[death](walk));

        Assert.Empty(walk.Play());
        Assert.Equal((RestKind.Runs, "host-b"), (walk.Run.Records[^1].Rest, walk.Run.Records[^1].Host));
        Assert.Single(walk.Run.Records, static record => record.What == RunEvent.Afresh);
    }

    [Fact]
    public void A_target_that_takes_on_what_was_damaged_is_found_out_when_its_source_is_lost()
    {
        using var theatre = new Theatre();
        var walk = new ClaimPath.Walk(theatre, ClaimPath.Rollback, seed: 1, SeededFault.TargetLoadsWhatIsDamaged);
        walk.WhenLoaded(() => Deaths["source killed"](walk));

        Assert.Contains(walk.Play(), static found => found.Law == "L2");
    }

    private static void Keeper(ClaimPath.Walk walk, Action<Faults, SimulatedControl> what)
    {
        if (walk.Keeper is { } keeper)
            what(walk.Faults, keeper);
    }
}
