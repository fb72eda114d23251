using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class BandwidthTests
{
    private TokenBucket _pace = new(BandwidthLimit.None, TimeProvider.System);

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Two_hundred_frames_leave_each_at_its_millisecond()
    {
        const int frame = 65_536;
        const long rate = 10_000_000;
        var clock = new TouchedClock();
        await using var target = await OpenAsync(clock, rate);
        var elapsed = TimeSpan.Zero;
        await WriteAsync(target.Writer, frame);

        for (var i = 1; i < 200; i++)
        {
            var due = TimeSpan.FromMilliseconds(Math.Ceiling(i * frame * 1000.0 / rate));
            clock.ForgetTimers();
            var writing = WriteAsync(target.Writer, frame);
            // What the peer has acknowledged meanwhile may hold the frame up for a moment.
            var wait = await clock.NextTimerAsync();
            Assert.Equal(due, elapsed + wait);
            clock.Advance(wait);
            await writing;
            elapsed = due;
            await target.Peer.ReadExactlyAsync(frame);
            await target.Peer.SendAsync(RawPeer.Frame(RawPeer.Consumed, (ulong)(i * (20 + frame)), []));
        }
    }

    [Fact]
    public async Task Time_without_frames_is_saved_for_fifty_milliseconds_only()
    {
        var clock = new TouchedClock();
        await using var target = await OpenAsync(clock, 1_000_000);
        clock.Advance(TimeSpan.FromHours(1));
        await WriteAsync(target.Writer, 100_000);

        clock.ForgetTimers();
        var writing = WriteAsync(target.Writer, 1);

        Assert.Equal(TimeSpan.FromMilliseconds(50), await clock.NextTimerAsync());
        _pace.Limit = BandwidthLimit.None;
        await writing;
    }

    [Fact]
    public async Task Lifting_the_limit_frees_a_frame_that_waits()
    {
        await using var target = await OpenAsync(new FakeTimeProvider(), 1000);
        await WriteAsync(target.Writer, 1000);
        var writing = WriteAsync(target.Writer, 1000);
        Assert.False(writing.IsCompleted);

        _pace.Limit = BandwidthLimit.None;

        await writing;
    }

    [Fact]
    public async Task A_higher_limit_shortens_the_wait()
    {
        var clock = new FakeTimeProvider();
        await using var target = await OpenAsync(clock, 1000);
        await WriteAsync(target.Writer, 10_000);
        _pace.Limit = new BandwidthLimit(10_000);
        var writing = WriteAsync(target.Writer, 1);

        clock.Advance(TimeSpan.FromSeconds(1));

        await writing;
    }

    [Fact]
    public async Task What_was_paid_for_leaves_before_the_wait()
    {
        await using var target = await OpenAsync(new FakeTimeProvider(), 1000);
        await target.Writer.WriteDeviceStateAsync(new byte[1000], Ct);
        var waiting = target.Writer.WriteDeviceStateAsync(new byte[1], Ct).AsTask();

        Assert.Equal(1000, (await target.Peer.ReadFrameAsync()).Payload.Length);

        _pace.Limit = BandwidthLimit.None;
        await waiting;
    }

    [Fact]
    public async Task A_source_that_waits_for_its_bandwidth_keeps_its_target_from_giving_up()
    {
        const byte keepAlive = 7;
        var clock = new FakeTimeProvider();
        await using var target = await OpenAsync(clock, 1000);
        await WriteAsync(target.Writer, 100_000);
        await target.Peer.ReadFrameAsync();
        var waiting = WriteAsync(target.Writer, 1);

        clock.Advance(TimeSpan.FromSeconds(2.5));

        Assert.Equal(keepAlive, (await target.Peer.ReadFrameAsync()).Type);
        _pace.Limit = BandwidthLimit.None;
        await waiting;
    }

    [Fact]
    public async Task A_target_that_dies_ends_a_wait_for_bandwidth()
    {
        await using var target = await OpenAsync(new FakeTimeProvider(), 1000);
        await WriteAsync(target.Writer, 100_000);
        var waiting = WriteAsync(target.Writer, 1);

        target.Peer.Reset();

        await Assert.ThrowsAsync<DataPlaneException>(() => waiting);
    }

    [Fact]
    public async Task A_wait_for_bandwidth_can_be_cancelled_and_leaves_the_stream_whole()
    {
        await using var target = await OpenAsync(new FakeTimeProvider(), 1000);
        await WriteAsync(target.Writer, 1000);
        using var cancel = new CancellationTokenSource();
        var waiting = target.Writer.WriteDeviceStateAsync(new byte[1], cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);

        _pace.Limit = BandwidthLimit.None;

        await WriteAsync(target.Writer, 1);
    }

    [Fact]
    public async Task Writers_of_one_pace_wait_for_each_other()
    {
        var clock = new TouchedClock();
        await using var target = await OpenAsync(clock, 1000);
        await using var other = await RawTarget.OpenAsync(options: new DataPlaneOptions { Time = clock, Pace = _pace });
        await WriteAsync(target.Writer, 1000);

        var writing = WriteAsync(other.Writer, 1);

        Assert.Equal(TimeSpan.FromSeconds(1), clock.LastTimer);
        _pace.Limit = BandwidthLimit.None;
        await writing;
    }

    [Fact]
    public void A_negative_limit_is_none_at_all() => Assert.Throws<ArgumentOutOfRangeException>(() => new BandwidthLimit(-1));

    private Task<RawTarget> OpenAsync(TimeProvider clock, long bytesPerSecond)
    {
        _pace = new TokenBucket(new BandwidthLimit(bytesPerSecond), clock);
        return RawTarget.OpenAsync(options: new DataPlaneOptions { Time = clock, Pace = _pace });
    }

    private static async Task WriteAsync(MigrationWriter writer, int bytes)
    {
        await writer.WriteDeviceStateAsync(new byte[bytes], Ct);
        await writer.FlushAsync(Ct);
    }
}
