using Fabric.Cli.Api;
using Fabric.Cli.Commands;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>What every act of the demo works with.</summary>
internal sealed class Stage(IDemoFabric fabric, DemoOptions options, Screen screen, TimeProvider time, DemoRecord record)
{
    /// <summary>A migration is watched this closely, so that a kill hits the phase it is meant for.</summary>
    private static readonly TimeSpan Close = TimeSpan.FromMilliseconds(25);

    private static readonly TimeSpan SightLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan MigrationLimit = TimeSpan.FromSeconds(120);

    public IDemoFabric Fabric { get; } = fabric;

    public DemoOptions Options { get; } = options;

    public Screen Screen { get; } = screen;

    public TimeProvider Time { get; } = time;

    public DemoRecord Record { get; } = record;

    /// <summary>The control node that is asked; another one after its death where there are several.</summary>
    public string Control { get; set; } = fabric.Controls[0];

    public FabricApi Api => Fabric.Api(Control);

    public Task<T> UntilAsync<T>(
        Func<CancellationToken, Task<T>> ask, Func<T, bool> done, string what, TimeSpan limit, CancellationToken cancellation,
        Action<T>? seen = null) =>
        new Patience(Time, Close, limit).UntilAsync(
            token =>
            {
                // A daemon that dies of itself is the better explanation of everything that is then waited for in vain.
                Fabric.ThrowIfOneDied();
                return ask(token);
            },
            done,
            what,
            cancellation,
            seen);

    public async Task<ClaimResource> ClaimAsync(CancellationToken cancellation) =>
        (await Api.ClaimAsync(Options.Claim, cancellation)).Value;

    /// <summary>The claim with its workload, which it may be unable to tell for a moment, as while it changes hosts.</summary>
    public Task<ClaimResource> WorkingAsync(CancellationToken cancellation) => UntilAsync(
        ClaimAsync,
        claim => claim.Workload is not null,
        $"Claim {Options.Claim} says nothing of its workload",
        SightLimit,
        cancellation);

    /// <summary>Waits for the claim to run and to tell of its workload; a claim that has failed ends the demo.</summary>
    public Task<ClaimResource> RunningAsync(TimeSpan limit, CancellationToken cancellation) => UntilAsync(
        ClaimAsync,
        claim => claim.Phase switch
        {
            "running" => claim.Workload is not null,
            "failed" or "released" => throw new CommandFailure(
                $"Claim {claim.Id} is {claim.Phase}: {claim.Message ?? "no reason was given"}."),
            _ => false,
        },
        $"Claim {Options.Claim} is not running",
        limit,
        cancellation);

    public async Task<MigrationResource> MigrateAsync(string to, int? bandwidth, CancellationToken cancellation) => (await Api.MigrateAsync(
        Options.Claim,
        new StartMigrationRequest(to, Options.DowntimeMs, (int)MigrationLimit.TotalSeconds, bandwidth),
        cancellation)).Value;

    public Task<MigrationResource> EndOfAsync(IBoard board, string migration, TimeSpan limit, CancellationToken cancellation) =>
        WatchAsync(board, migration, seen => seen.Outcome is not null, "has not ended", limit, cancellation);

    /// <summary>Waits until the pre-copy has carried a good part, but not all.</summary>
    public async Task<MigrationResource> MiddleOfAsync(IBoard board, string migration, CancellationToken cancellation)
    {
        var enough = Options.StateSize.Bytes * 3 / 10;
        var reached = await WatchAsync(
            board,
            migration,
            seen => seen.Outcome is not null || seen.Phase is not ("reserve" or "pre-copy") || seen.Bytes > enough,
            "has not reached the middle of its pre-copy",
            MigrationLimit,
            cancellation);
        return reached is { Outcome: null, Phase: "pre-copy" }
            ? reached
            : throw new CommandFailure(
                $"Migration {migration} was in {reached.Outcome ?? reached.Phase} before anything could be killed in its pre-copy"
                + $"{(reached.Reason is { } reason ? $" ({reason.TrimEnd('.')})" : "")}. Give a larger --state-size.");
    }

    public bool Check(string name, bool ok, string detail)
    {
        Record.Add(new DemoCheck(name, ok, detail));
        ReportView.Show(Screen, new DemoCheck(name, ok, detail));
        return ok;
    }

    /// <summary>A check without which the acts that follow make no sense.</summary>
    public void Require(string name, bool ok, string detail)
    {
        if (!Check(name, ok, detail))
            throw new CommandFailure($"The demo stops here: {name} — {detail}.");
    }

    private Task<MigrationResource> WatchAsync(
        IBoard board, string migration, Func<MigrationResource, bool> done, string what, TimeSpan limit, CancellationToken cancellation) =>
        UntilAsync(
            async token => (await Api.MigrationAsync(migration, token)).Value,
            done,
            $"Migration {migration} {what}",
            limit,
            cancellation,
            seen => MigrationProgress.Set(board, seen));
}
