using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Claims;

/// <summary>
/// Random walks: sick reports, deaths of the claim's actor, commands that fail or are lost, migrations and cancels, in any order. A function that
/// was started counts as running until its host has closed or stopped it, sick or not: so a claim that starts elsewhere too early is found out.
/// What happens is drawn from the printed seed; when the claim gets to it is the scheduler's.
/// </summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimTroubleWalkTests(ClaimLab lab)
{
    private const string Sibling = "fab0:01:00.2";
    private const int Length = 100;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static TheoryData<int, DeviceFailurePolicy> Walks
    {
        get
        {
            var walks = new TheoryData<int, DeviceFailurePolicy>();
            foreach (var seed in Enumerable.Range(1, 8))
            {
                walks.Add(seed * 104_729, DeviceFailurePolicy.Evacuate);
                walks.Add(seed * 7919, DeviceFailurePolicy.Restart);
            }

            return walks;
        }
    }

    [Theory]
    [MemberData(nameof(Walks))]
    public async Task Whatever_fails_a_claim_runs_at_one_place_at_most_and_comes_to_rest_L1_L3(int seed, DeviceFailurePolicy policy)
    {
        var claim = await lab.NewClaim().Run(policy);
        var hosts = new SickHosts(claim, seed);
        claim.Instead = hosts.Receive;
        var random = new Random(seed);
        var lives = 1;
        for (var i = 0; i < Length; i++)
        {
            if ((await claim.View()).Phase == ClaimPhase.Failed)
                break;
            switch (random.Next(12))
            {
                case 0:
                    claim.Tell(ClaimUnderTest.Kill);
                    await claim.Until($"life {++lives}");
                    break;
                case 1:
                    claim.Tell(claim.ToBeta with { TargetHost = random.Next(2) == 0 ? "alpha" : "beta" });
                    break;
                case 2:
                    claim.Tell(new CancelMigration(claim.Id, random.Next(1, 5), "ops"));
                    break;
                case 3:
                case 4:
                    hosts.Break(readable: random.Next(policy == DeviceFailurePolicy.Restart ? 2 : 20) > 0);
                    hosts.Report();
                    break;
                case 5:
                    hosts.Mend();
                    break;
                default:
                    hosts.Report();
                    break;
            }

            await Goes(claim, random.Next(12));
            Assert.True(claim.MostRunning <= 1, $"seed {seed}:\n{string.Join('\n', claim.Log)}");
        }

        // Every device is well, nothing is lost on the way any more: it comes to rest.
        hosts.Mend();
        hosts.Calm = true;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(Patience);
        ClaimView view;
        do
        {
            patience.Token.ThrowIfCancellationRequested();
            view = await claim.View();
        }
        while (view.Phase is not (ClaimPhase.Running or ClaimPhase.Failed));

        Assert.True(claim.MostRunning <= 1, $"seed {seed}:\n{string.Join('\n', claim.Log)}");
        if (view.Phase == ClaimPhase.Running)
            Assert.True(claim.Running is [var at] && at == ClaimUnderTest.At(view.Host!, view.Device!), $"seed {seed}: shown on {view.Host}, runs on {string.Join(", ", claim.Running)}:\n{string.Join('\n', claim.Log)}");
        else
            Assert.NotEqual(DeviceFailurePolicy.Restart, policy);
    }

    /// <summary>Lets so many things happen, if they do.</summary>
    private static async Task Goes(ClaimUnderTest claim, int entries)
    {
        var goal = claim.Log.Length + entries;
        for (var asked = 0; asked < 200 && claim.Log.Length < goal; asked++)
            await claim.View();
    }

    /// <summary>Hosts whose devices break, and that lose or fail one command in seven, and every other order to close, by the seed.</summary>
    private sealed class SickHosts(ClaimUnderTest claim, int seed)
    {
        private readonly Lock gate = new();
        private readonly Dictionary<string, bool> sick = [];
        private readonly Dictionary<string, long> heard = [];
        private int commands;

        public bool Calm { get; set; }

        /// <summary>What the claim runs on breaks.</summary>
        public void Break(bool readable)
        {
            // Read before the lock: a command comes here under the claim's own.
            var running = claim.Running;
            lock (gate)
            {
                foreach (var at in running)
                    sick[at] = readable && sick.GetValueOrDefault(at, true);
            }
        }

        public void Mend()
        {
            lock (gate)
                sick.Clear();
        }

        public void Report()
        {
            (string At, bool Readable, long Generation)[] now;
            lock (gate)
                now = [.. sick.Select(entry => (entry.Key, entry.Value, heard.GetValueOrDefault(entry.Key.Split('/')[0], 1)))];
            foreach (var (at, readable, generation) in now)
            {
                if (claim.Running.Contains(at))
                    claim.Tell(claim.Sick(at.Split('/')[0], readable, generation, at.Contains('/', StringComparison.Ordinal) ? Sibling : ClaimUnderTest.Device));
            }
        }

        public IHostReport[]? Receive(string host, IHostCommand command)
        {
            lock (gate)
            {
                var fate = Calm ? 6 : new Random(unchecked((seed * 31) + ++commands)).Next(14);
                if (command is PlanTarget)
                    return fate < 1 ? [] : [Plan(host, command)];
                heard[host] = Math.Max(heard.GetValueOrDefault(host), command.Generation);
                if (command.Generation < heard[host])
                    return [claim.Failure(host, command)];
                if (fate < 2)
                    return command is ReportAttachment or Detach || fate == 0 ? [] : [claim.Failure(host, command)];
                if (command is Detach && !Calm && fate % 2 == 0)
                    return [];
                // The end of a stream comes from a source that has stopped: before it nothing is loaded.
                if (command is StopAndCopy stop && claim.Running is { Length: > 0 } running && !running.Contains(ClaimUnderTest.At(host, stop.Device)))
                    return [];
                var lost = sick.TryGetValue(ClaimUnderTest.At(host, ((IAttachmentCommand)command).Device), out var readable) && !readable;
                return lost && command is (StartPreCopy or ResumeSource or Attach) ? [claim.Failure(host, command)] : null;
            }
        }

        /// <summary>As a host plans: what is held or sick is not handed out.</summary>
        private TargetPlanned Plan(string host, IHostCommand command)
        {
            var free = ((string[])[ClaimUnderTest.Device, Sibling]).FirstOrDefault(device =>
                !claim.Running.Contains(ClaimUnderTest.At(host, device)) && !sick.ContainsKey(ClaimUnderTest.At(host, device)));
            return new TargetPlanned(claim.Id, host, command.Generation, free is null ? [] : [free], free is null ? [$"{host} is full."] : []);
        }
    }
}
