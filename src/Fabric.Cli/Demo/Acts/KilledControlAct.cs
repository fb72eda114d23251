using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo.Acts;

/// <summary>
/// On to host-c, and the control node that runs the migration is killed in the middle. On SQLite it is started again on its
/// data; on PostgreSQL another one takes over.
/// </summary>
internal static class KilledControlAct
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);
    private const string TakenUp = "claim taken up";
    private const string Done = "migration done";

    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        var before = await stage.WorkingAsync(cancellation);
        var killed = Coordinator(stage, before);
        var successor = stage.Fabric.Controls.FirstOrDefault(control => control != killed);
        stage.Control = successor ?? killed;
        stage.Screen.Heading(successor is null
            ? $"Migration to {DemoNames.HostC}; the control node is killed in mid-migration and started again"
            : $"Migration to {DemoNames.HostC}; {killed}, which runs it, is killed and stays dead");

        var (migration, claim, failover, away) = await stage.Screen.ShowAsync(async board =>
        {
            var started = await stage.MigrateAsync(DemoNames.HostC, stage.Options.ThrottleMibPerSecond, cancellation);
            await stage.MiddleOfAsync(board, started.Id, cancellation);
            var last = await stage.WorkingAsync(cancellation);
            var clock = new FailoverClock(stage.Time);
            var killedAt = stage.Time.GetUtcNow();
            var pid = stage.Fabric.Pid(killed);
            await stage.Fabric.KillAsync(killed);
            board.Set($"kill -9 {killed}", 1, "killed", $"process {pid}");
            await using var device = new DeviceProbe(
                board, stage.Fabric.Api(before.Host!), before.Host!, before.Device!, stage.Time, cancellation);
            if (successor is null)
                await RestartAsync(stage, killed, clock, board, cancellation);
            var takenUp = false;
            var answering = stage.UntilAsync(
                stage.ClaimAsync,
                seen => seen.Workload is { } workload && workload.Steps > last.Workload!.Steps,
                $"Claim {last.Id} tells of no more steps than before {killed} was killed",
                Limit,
                cancellation,
                seen =>
                {
                    if (!takenUp)
                        Reach(clock, board, TakenUp);
                    takenUp = true;
                });
            await Task.WhenAll(
                ReachAsync(clock, board, "workload heard of", answering),
                ReachAsync(clock, board, Done, stage.EndOfAsync(board, started.Id, Limit, cancellation)),
                successor is null
                    ? ReachAsync(clock, board, "cluster joined", stage.Fabric.ReadyAsync(killed, cancellation))
                    : NoticeAsync(stage, killed, killedAt, clock, board, cancellation));
            var ended = (await stage.Api.MigrationAsync(started.Id, cancellation)).Value;
            var running = await stage.RunningAsync(Limit, cancellation);
            return (ended, running, clock.Stop(killed, Done), new Away(last, await answering, device.Answers));
        });

        stage.Record.Add(migration);
        stage.Record.Add(failover);
        ReportView.ShowDowntime(stage.Screen, migration);
        ReportView.Show(stage.Screen, failover);
        stage.Require(
            $"{migration.Id} committed on {DemoNames.HostC} without the process that began it",
            migration.Outcome == "committed" && claim.Host == DemoNames.HostC,
            MigrationChecks.Ending(migration, claim));
        MigrationChecks.Committed(stage, migration);
        stage.Check(
            $"done within {DemoOptions.FailoverLimit.TotalSeconds:0} s of the kill of {killed}",
            failover.Seconds <= DemoOptions.FailoverLimit.TotalSeconds,
            Units.Seconds(failover.Seconds));
        WorkloadChecks.WentOn(stage, $"workload ran on without {killed} until its claim answered again", away.Last, away.First);
        stage.Screen.Line($"{before.Host} answered {away.Answers} times for its device until the migration was done.", Tone.Quiet);
    }

    private static string Coordinator(Stage stage, ClaimResource claim)
    {
        if (stage.Fabric.Controls is [var only])
            return only;
        return claim.Coordinator is { } named && stage.Fabric.Controls.Contains(named)
            ? named
            : throw new CommandFailure(
                $"Claim {claim.Id} names '{claim.Coordinator ?? "nobody"}' as its coordinator, which is none of "
                + $"{string.Join(", ", stage.Fabric.Controls)}: there is no telling which to kill.");
    }

    private static async Task RestartAsync(
        Stage stage, string control, FailoverClock clock, IBoard board, CancellationToken cancellation)
    {
        stage.Fabric.Restart(control, inPlace: true);
        clock.Reach("process started again");
        await ReachAsync(clock, board, "API up", stage.Fabric.LiveAsync(control, cancellation));
    }

    private static async Task NoticeAsync(
        Stage stage, string killed, DateTimeOffset killedAt, FailoverClock clock, IBoard board, CancellationToken cancellation)
    {
        using var limited = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        using var deadline = new CancellationTokenSource(Limit, stage.Time);
        using var end = deadline.Token.Register(limited.Cancel);
        try
        {
            var events = stage.Api.EventsAsync(null, limited.Token).Select(happened => happened.Value);
            await DeathNotice.FollowAsync(events, killed, killedAt, milestone => Reach(clock, board, milestone));
        }
        catch (OperationCanceledException late) when (!cancellation.IsCancellationRequested)
        {
            throw new CommandFailure(
                $"{killed} was not put out of the fabric within {Limit.TotalSeconds:0} s of its kill.", ExitCode.Failed, late);
        }
    }

    private static async Task ReachAsync(FailoverClock clock, IBoard board, string milestone, Task task)
    {
        await task;
        Reach(clock, board, milestone);
    }

    private static void Reach(FailoverClock clock, IBoard board, string milestone) =>
        board.Set(milestone, 1, $"{Units.Seconds(clock.Reach(milestone).TotalSeconds)} after the kill");

    /// <summary>The claim before the kill and at its first answer after it, and how often its host answered for its device.</summary>
    private sealed record Away(ClaimResource Last, ClaimResource First, int Answers);
}
