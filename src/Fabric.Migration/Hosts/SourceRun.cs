using System.Collections.Immutable;
using System.Net;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Hosts;

/// <summary>How far a pre-copy is.</summary>
/// <param name="RoundEnded">Between rounds: what remains is what a stop now would still have to carry. Else it is the rest of the round.</param>
/// <param name="DirtyBytesPerSecond">How fast state changed during the round; null within a round, and where a device does not log what it writes.</param>
/// <param name="Starting">Devices whose start-up state the target has not acknowledged whole: they are not to be stopped before (MG-26).</param>
internal sealed record PreCopyState(
    int Rounds, long Bytes, long Remaining, long BytesPerSecond, bool RoundEnded, long? DirtyBytesPerSecond, ImmutableArray<string> Starting);

/// <summary>Consumer and devices stand, and everything is at the other end.</summary>
/// <param name="Streams">Of memory and consumer state first, then of each device.</param>
/// <param name="Drain">From the order to switch to the end of the round that was under way; everything ran.</param>
internal sealed record SourceDone(ImmutableArray<StreamSum> Streams, int Rounds, TimeSpan Drain, TimeSpan Quiesce, TimeSpan Copy);

/// <summary>
/// The source's half of a migration: sends consumer memory and device state in rounds while the devices run, each through a stream of its own and
/// all side by side, until it is told to switch; then stops consumer and devices and sends the rest. It leaves them stopped: who runs is the
/// claim's to say.
/// </summary>
internal sealed class SourceRun(
    ImmutableArray<HeldDevice> held, IConsumer consumer, string migrationId, StartPreCopy order, DataPlaneOptions options,
    Action<PreCopyState> report, TimeProvider time)
{
    /// <summary>A stop is not asked of a device that has nothing to send: rounds come at least this far apart.</summary>
    private static readonly TimeSpan RoundPause = TimeSpan.FromMilliseconds(20);

    private static readonly TimeSpan ReportInterval = TimeSpan.FromMilliseconds(200);

    /// <summary>Rounds of less than this say nothing about the bandwidth.</summary>
    private const long RateSample = 1 << 20;

    private readonly TokenBucket pace = new(new BandwidthLimit(order.BandwidthLimit), time);
    private readonly TaskCompletionSource switching = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock reporting = new();
    private ImmutableArray<MigrationWriter> writers = [];
    private ImmutableArray<SourceDevice> devices = [];
    private SourceMemory memory = null!;
    private long switchedAt;
    private long reportedAt;
    private long loggedAt;
    private long roundStartedAt;
    private long roundStart;
    private long roundEnd;
    private int rounds;
    private long rate;

    /// <summary>It has been told to stop and send the rest.</summary>
    public bool IsSwitching => switching.Task.IsCompleted;

    private long BytesSent => writers.Sum(static writer => writer.BytesSent);

    /// <summary>Bytes per second of the round so far.</summary>
    private long RoundRate => (long)((BytesSent - roundStart) / Math.Max(1e-6, time.GetElapsedTime(roundStartedAt).TotalSeconds));

    /// <summary>Every device tells which pages it wrote.</summary>
    private bool LogsDma => devices.All(static device => device.LogsDma);

    /// <summary>Stop and send the rest, after the round that is under way; that one is let through without a limit from now on.</summary>
    public void Switch()
    {
        // The order may come again while it is carried out; the drain is measured from the first.
        if (switching.Task.IsCompleted)
            return;
        switchedAt = time.GetTimestamp();
        switching.TrySetResult();
        pace.Limit = BandwidthLimit.None;
    }

    public async Task<SourceDone> RunAsync(CancellationToken cancellation)
    {
        var (endPoint, token) = (IPEndPoint.Parse(order.Endpoint), DataPlaneToken.FromBytes(order.Token));
        var paced = options with { Pace = pace };
        try
        {
            for (var stream = 0; stream < TargetRun.StreamsOf(held.Length); stream++)
                writers = writers.Add(await MigrationWriter.ConnectAsync(endPoint, migrationId, stream, token, paced, cancellation));
            memory = new SourceMemory(consumer, writers[0]);
            devices = [.. held.Zip(writers[1..], (device, writer) => new SourceDevice(device, writer, time))];
            return await SendAsync(cancellation);
        }
        finally
        {
            foreach (var writer in writers)
                await writer.DisposeAsync();
        }
    }

    private async Task<SourceDone> SendAsync(CancellationToken cancellation)
    {
        DeviceBarriers.Require(held);
        // The logs run from here on, so a page that changes after it was sent is seen; everything counts as dirty once.
        foreach (var device in devices)
            await device.StartAsync(consumer.MemoryIova, consumer.Memory.Length);
        loggedAt = time.GetTimestamp();
        while (true)
        {
            var starting = await SendRoundAsync(cancellation);
            await Task.WhenAny(switching.Task, Task.Delay(RoundPause, time, cancellation));
            cancellation.ThrowIfCancellationRequested();
            // A start-up set that appeared after the order goes before the stop (MG-26); the claim's limit ends it where it never does.
            if (switching.Task.IsCompleted && starting.IsEmpty && (await StartingAsync()).IsEmpty)
                return await FinishAsync(cancellation);
        }
    }

    /// <summary>Sends what there is, and reports what there is then.</summary>
    /// <returns>Devices that must not be stopped yet.</returns>
    private async Task<ImmutableArray<string>> SendRoundAsync(CancellationToken cancellation)
    {
        var enough = new long[devices.Length];
        foreach (var (index, device) in devices.Index())
            enough[index] = device.IsSaving ? (await device.LookAsync()).Bytes : 0;
        // Without a log memory is sent again when the devices have stopped; sent once before, it says what the connection carries.
        var sendsMemory = LogsDma || rounds == 0;
        (roundStartedAt, roundStart) = (time.GetTimestamp(), BytesSent);
        (reportedAt, roundEnd) = (roundStartedAt, roundStart + (sendsMemory ? memory.DirtyBytes : 0) + enough.Sum());

        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var sending = writers.Length;
        await SideBySideAsync(
            ending => sendsMemory ? memory.SendAsync(ReportWithinRound, ending) : Task.CompletedTask,
            (index, device, ending) => device.SendRoundAsync(enough[index], ReportWithinRound, ending),
            async (writer, ending) =>
            {
                await writer.EndRoundAsync(rounds, ending);
                if (Interlocked.Decrement(ref sending) == 0)
                    all.SetResult();
                await Together.AwaitAsync(all.Task, writer.KeepAliveAsync, time, ending);
                return true;
            },
            cancellation);
        rounds++;
        // A small round does not say how much more the connection would have carried; a pause in the last large one must not count for ever.
        if (BytesSent - roundStart >= RateSample || RoundRate > rate)
            rate = RoundRate;

        foreach (var device in devices)
            await device.ReadLogAsync(memory.Dirty);
        var pending = await Task.WhenAll(devices.Select(static device => device.LookAsync()));
        var starting = Starting(pending);
        var dirty = memory.DirtyBytes + pending.Sum(static one => one.Dirty);
        report(new PreCopyState(
            rounds,
            BytesSent,
            memory.DirtyBytes + pending.Sum(static one => one.Bytes),
            rate,
            RoundEnded: true,
            LogsDma ? (long)(dirty / Math.Max(1e-6, time.GetElapsedTime(loggedAt).TotalSeconds)) : null,
            starting));
        loggedAt = time.GetTimestamp();
        return starting;
    }

    private async Task<ImmutableArray<string>> StartingAsync() => Starting(await Task.WhenAll(devices.Select(static device => device.LookAsync())));

    /// <summary>A round that has ended was acknowledged: what a device has given by then is at the target.</summary>
    private ImmutableArray<string> Starting(DevicePending[] pending) =>
        [.. devices.Zip(pending).Where(static pair => !pair.Second.HasStarted).Select(static pair => pair.First.Held.Address)];

    private async Task<SourceDone> FinishAsync(CancellationToken cancellation)
    {
        var started = time.GetTimestamp();

        // As a VMM does it: first the CPUs, then peer-to-peer on all devices, then all devices themselves (contract §6.7).
        consumer.Pause();
        var stopped = await DeviceBarriers.StopToCopyAsync(held, [.. devices.Select(static device => device.IsSaving)]);
        var quiesced = time.GetTimestamp();

        foreach (var device in devices)
            await device.ReadLogAsync(memory.Dirty);
        var finished = await SideBySideAsync(
            memory.SendRestAsync,
            (index, device, ending) => device.SendRestAsync(stopped[index], ending),
            async (writer, ending) => await writer.FinishAsync(ending),
            cancellation);
        return new SourceDone(
            [.. finished.Select(static stream => new StreamSum(stream.Bytes, $"{stream.Hash:x32}"))],
            rounds,
            time.GetElapsedTime(switchedAt, started),
            time.GetElapsedTime(started, quiesced),
            time.GetElapsedTime(quiesced));
    }

    /// <summary>Every stream sends its part, and ends it.</summary>
    private Task<T[]> SideBySideAsync<T>(
        Func<CancellationToken, Task> ofMemory,
        Func<int, SourceDevice, CancellationToken, Task> ofDevice,
        Func<MigrationWriter, CancellationToken, Task<T>> end,
        CancellationToken cancellation) => Together.RunAsync(
            writers.Select<MigrationWriter, Func<CancellationToken, Task<T>>>((writer, stream) => async ending =>
            {
                await (stream == 0 ? ofMemory(ending) : ofDevice(stream - 1, devices[stream - 1], ending));
                return await end(writer, ending);
            }),
            cancellation);

    /// <summary>A round may take long, and somebody watches.</summary>
    private void ReportWithinRound()
    {
        lock (reporting)
        {
            if (switching.Task.IsCompleted || time.GetElapsedTime(reportedAt) < ReportInterval)
                return;
            reportedAt = time.GetTimestamp();
        }

        var sent = BytesSent;
        report(new PreCopyState(rounds, sent, Math.Max(0, roundEnd - sent), RoundRate, RoundEnded: false, DirtyBytesPerSecond: null, Starting: []));
    }
}
