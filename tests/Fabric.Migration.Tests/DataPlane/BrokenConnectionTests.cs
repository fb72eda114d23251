using System.Net;
using System.Net.Sockets;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class BrokenConnectionTests
{
    private const int HelloSize = 59;
    private const int HeaderSize = 20;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false, "The peer closed the connection. ")]
    [InlineData(true, "The connection was lost while reading: Connection reset by peer. ")]
    public async Task A_stream_torn_in_the_middle_of_a_frame_says_how_much_had_arrived(bool byReset, string how)
    {
        const int inTheSecondPayload = HelloSize + HeaderSize + 300 + HeaderSize + 10;
        var fault = byReset ? MeddlingProxy.Fault.Reset : MeddlingProxy.Fault.Close;
        var meddling = new MeddlingProxy.Meddling(fault, inTheSecondPayload);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, meddling));
        var reading = ReadUntilBrokenAsync(link.Reader);
        await link.Writer.WriteMemoryAsync(0, new byte[300], Ct);
        await link.Writer.WriteMemoryAsync(300, new byte[300], Ct);
        await link.Writer.FlushAsync(Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => reading);

        Assert.Equal($"{how}The stream had not ended; 300 bytes of payload had arrived.", e.Message);
    }

    [Fact]
    public async Task A_stream_torn_between_frames_but_before_its_end_is_broken_too()
    {
        const int afterTheFrame = HelloSize + HeaderSize + 300;
        var close = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Close, afterTheFrame);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, close));
        await link.Writer.WriteMemoryAsync(0, new byte[300], Ct);
        await link.Writer.WriteMemoryAsync(300, new byte[300], Ct);
        await link.Writer.FlushAsync(Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => ReadUntilBrokenAsync(link.Reader));

        Assert.EndsWith("The stream had not ended; 300 bytes of payload had arrived.", e.Message);
    }

    [Fact]
    public async Task A_source_that_leaves_before_the_end_says_so()
    {
        await using var link = await Link.OpenAsync();
        await link.Writer.WriteMemoryAsync(0, new byte[300], Ct);
        await link.Writer.DisposeAsync();
        await link.Reader.ReadAsync(Ct);

        var aborted = Assert.IsType<MigrationFrame.Aborted>(await link.Reader.ReadAsync(Ct));

        Assert.Equal("The source closed the stream before its end.", aborted.Reason);
    }

    [Fact]
    public async Task A_target_that_dies_is_noticed_by_a_source_that_is_not_writing()
    {
        await using var target = await RawTarget.OpenAsync();

        target.Peer.Reset();

        Assert.Contains("Connection reset by peer", await target.Writer.Lost);
    }

    [Fact]
    public async Task A_target_that_dies_fails_a_write_that_waits_for_it()
    {
        await using var target = await RawTarget.OpenAsync();
        var writing = target.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct).AsTask();

        target.Peer.Reset();

        await Assert.ThrowsAsync<DataPlaneException>(() => writing);
    }

    [Fact]
    public async Task The_last_words_of_a_target_explain_a_write_that_its_reset_fails()
    {
        await using var target = await RawTarget.OpenAsync();
        var writing = target.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct).AsTask();

        await target.Peer.SendAsync(RawPeer.Frame(RawPeer.Refused, 0, [(byte)'N', (byte)'o']));
        target.Peer.Reset();

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => writing);
        Assert.Equal("The target refused: No", e.Message);
    }

    [Fact]
    public async Task A_target_that_dies_fails_a_round_that_waits_for_it()
    {
        await using var target = await RawTarget.OpenAsync();
        var ending = target.Writer.EndRoundAsync(0, Ct).AsTask();

        target.Peer.Reset();

        await Assert.ThrowsAsync<DataPlaneException>(() => ending);
    }

    [Fact]
    public async Task A_broken_stream_says_why_at_every_later_call()
    {
        await using var target = await RawTarget.OpenAsync();
        target.Peer.Reset();
        var why = await target.Writer.Lost;

        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await target.Writer.WriteDeviceStateAsync(new byte[1], Ct));

        Assert.Equal(why, e.Message);
    }

    [Fact]
    public async Task A_silent_source_ends_the_read()
    {
        var clock = new FakeTimeProvider();
        await using var link = await Link.OpenAsync(readerOptions: new DataPlaneOptions { Time = clock });
        var reading = link.Reader.ReadAsync(Ct).AsTask();

        clock.Advance(TimeSpan.FromSeconds(12.5));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => reading);
        Assert.StartsWith("The peer made no progress for 10 seconds.", e.Message);
    }

    [Fact]
    public async Task A_silent_target_ends_the_round()
    {
        var clock = new FakeTimeProvider();
        await using var link = await Link.OpenAsync(new DataPlaneOptions { Time = clock });
        var ending = link.Writer.EndRoundAsync(0, Ct).AsTask();
        await link.Reader.ReadAsync(Ct);

        clock.Advance(TimeSpan.FromSeconds(12.5));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => ending);
        Assert.Equal("The peer made no progress for 10 seconds.", e.Message);
    }

    [Fact]
    public async Task A_target_that_accepts_the_connection_but_never_answers_ends_the_greeting()
    {
        using var listening = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listening.Listen();
        var options = new DataPlaneOptions { IoTimeout = TimeSpan.FromMilliseconds(100) };

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listening.LocalEndPoint!, "m-1", 0, DataPlaneToken.New(), options, Ct));

        Assert.Equal("The target did not answer the hello within 0.1 seconds.", e.Message);
    }

    [Fact]
    public async Task A_stream_between_calls_may_be_silent_for_as_long_as_it_likes()
    {
        var clock = new FakeTimeProvider();
        var options = new DataPlaneOptions { Time = clock };
        await using var link = await Link.OpenAsync(options, options);

        clock.Advance(TimeSpan.FromHours(1));

        await link.Writer.WriteDeviceStateAsync(new byte[1], Ct);
        await link.Writer.FlushAsync(Ct);
        Assert.IsType<MigrationFrame.DeviceState>(await link.Reader.ReadAsync(Ct));
    }

    [Fact]
    public async Task A_source_with_nothing_to_send_keeps_the_read_alive()
    {
        var clock = new TouchedClock();
        await using var link = await Link.OpenAsync(readerOptions: new DataPlaneOptions { Time = clock });
        var reading = link.Reader.ReadAsync(Ct).AsTask();
        clock.Advance(TimeSpan.FromSeconds(8));
        clock.Forget();
        await link.Writer.KeepAliveAsync(Ct);
        await clock.TouchedAsync();
        clock.Advance(TimeSpan.FromSeconds(8));

        await link.Writer.WriteDeviceStateAsync(new byte[1], Ct);
        await link.Writer.FlushAsync(Ct);

        Assert.IsType<MigrationFrame.DeviceState>(await reading);
    }

    [Fact]
    public async Task A_target_that_is_busy_keeps_the_round_alive()
    {
        var clock = new TouchedClock();
        await using var link = await Link.OpenAsync(new DataPlaneOptions { Time = clock });
        var ending = link.Writer.EndRoundAsync(0, Ct).AsTask();
        await link.Reader.ReadAsync(Ct);
        clock.Advance(TimeSpan.FromSeconds(8));
        clock.Forget();
        await link.Reader.KeepAliveAsync(Ct);
        await clock.TouchedAsync();
        clock.Advance(TimeSpan.FromSeconds(8));

        await link.Reader.AcknowledgeRoundAsync(0, Ct);

        await ending;
    }

    [Fact]
    public async Task A_target_that_does_not_read_stops_the_source_within_bounded_bytes()
    {
        var options = new DataPlaneOptions { SocketBufferBytes = 64 * 1024, IoTimeout = TimeSpan.FromMilliseconds(200) };
        await using var link = await Link.OpenAsync(options, options);

        await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct));

        Assert.InRange(link.Writer.BytesSent, 0, 2 << 20);
    }

    [Fact]
    public async Task A_source_that_was_held_back_goes_on_when_the_target_reads()
    {
        var options = new DataPlaneOptions { SocketBufferBytes = 64 * 1024 };
        await using var link = await Link.OpenAsync(options, options);
        var arrived = new byte[16 << 20];
        var memory = RoundTripTests.RandomBytes(arrived.Length, seed: 3);
        var writing = link.Writer.WriteMemoryAsync(0, memory, Ct).AsTask();
        Assert.False(writing.IsCompleted);

        var reading = RoundTripTests.ReadMemoryAsync(link.Reader, arrived);
        await writing;
        await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.True(arrived.AsSpan().SequenceEqual(memory));
    }

    [Fact]
    public async Task A_write_can_be_cancelled_and_takes_the_stream_with_it()
    {
        var options = new DataPlaneOptions { SocketBufferBytes = 64 * 1024 };
        await using var link = await Link.OpenAsync(options, options);
        using var cancel = new CancellationTokenSource();
        var writing = link.Writer.WriteMemoryAsync(0, new byte[64 << 20], cancel.Token).AsTask();

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
        Assert.Equal("This side cancelled a write, and the stream with it.", await link.Writer.Lost);
    }

    [Fact]
    public async Task Waiting_for_a_round_can_be_cancelled()
    {
        await using var link = await Link.OpenAsync();
        using var cancel = new CancellationTokenSource();
        var ending = link.Writer.EndRoundAsync(0, cancel.Token).AsTask();

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ending);
    }

    [Fact]
    public async Task Aborting_frees_a_write_that_is_held_back()
    {
        await using var link = await Link.OpenAsync();
        var writing = link.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct).AsTask();

        var told = await link.Writer.AbortAsync("Enough.", Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => writing);
        Assert.Equal("This side aborted: Enough.", e.Message);
        Assert.False(told);
    }

    [Fact]
    public async Task Disposing_frees_a_read_that_waits()
    {
        await using var link = await Link.OpenAsync();
        var reading = link.Reader.ReadAsync(Ct).AsTask();

        await link.Reader.DisposeAsync();

        await Assert.ThrowsAsync<DataPlaneException>(() => reading);
    }

    [Fact]
    public async Task A_second_call_at_the_same_time_is_a_mistake()
    {
        await using var link = await Link.OpenAsync();
        var reading = link.Reader.ReadAsync(Ct).AsTask();

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await link.Reader.ReadAsync(Ct));

        await link.Reader.DisposeAsync();
        await Assert.ThrowsAsync<DataPlaneException>(() => reading);
    }

    private static async Task ReadUntilBrokenAsync(MigrationReader reader)
    {
        while (true)
            await reader.ReadAsync(Ct);
    }
}
