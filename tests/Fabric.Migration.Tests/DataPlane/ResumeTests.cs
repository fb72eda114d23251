using System.IO.Hashing;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>Connections that break, and streams that go on.</summary>
public sealed class ResumeTests
{
    private const int HelloSize = 59;
    private const int HeaderSize = 20;
    private const int AcceptedSize = HeaderSize + 4;

    /// <summary>Payload lengths of a small stream that has a round in its middle; see <see cref="SendAsync"/>.</summary>
    private static readonly int[] Lengths = [1, 300, 0, 70_000, 4096, 17];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    /// <summary>Every place between two frames of the small stream, and one within each frame's header and payload.</summary>
    public static TheoryData<long> PlacesInTheStream
    {
        get
        {
            var places = new TheoryData<long>();
            long at = HelloSize;
            foreach (var payload in Lengths[..3].Append(0).Concat(Lengths[3..]).Append(16))
            {
                places.Add(at);
                places.Add(at + 7);
                if (payload > 1)
                    places.Add(at + HeaderSize + (payload / 2));
                at += HeaderSize + payload;
            }

            return places;
        }
    }

    /// <summary>Every place between two replies, and one within each: accepted, consumed and round acknowledged, consumed and finished.</summary>
    public static TheoryData<long> PlacesInTheReplies => [24, 34, 44, 54, 64, 74, 84, 94, 104, 114];

    [Theory]
    [MemberData(nameof(PlacesInTheStream))]
    public async Task A_connection_that_breaks_anywhere_in_the_stream_loses_and_repeats_nothing(long at)
    {
        var reset = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Reset, at);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, reset), resumes: true);

        await MigrateAsync(link);

        Assert.Equal(2, link.Proxy.Connections);
    }

    [Theory]
    [MemberData(nameof(PlacesInTheReplies))]
    public async Task A_connection_that_breaks_anywhere_in_the_replies_loses_and_repeats_nothing(long at)
    {
        var reset = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Reset, at, OfReplies: true);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, reset), resumes: true);

        await MigrateAsync(link);

        Assert.Equal(2, link.Proxy.Connections);
    }

    [Theory]
    [MemberData(nameof(PlacesInTheReplies))]
    public async Task A_connection_that_ends_in_order_loses_and_repeats_nothing_either(long at)
    {
        var close = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Close, at, OfReplies: true);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, close), resumes: true);

        await MigrateAsync(link);
    }

    [Fact]
    public async Task Many_cuts_at_random_places_of_one_stream_lose_and_repeat_nothing()
    {
        var seed = Environment.GetEnvironmentVariable("FABRIC_SEED") is { } given ? int.Parse(given) : Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"FABRIC_SEED={seed}");
        var random = new Random(seed);
        MeddlingProxy.Meddling Cut()
        {
            var fault = random.Next(2) == 0 ? MeddlingProxy.Fault.Reset : MeddlingProxy.Fault.Close;
            return random.Next(4) == 0
                ? new MeddlingProxy.Meddling(fault, AcceptedSize + random.Next(100), OfReplies: true)
                : new MeddlingProxy.Meddling(fault, HelloSize + random.Next(3 << 20));
        }

        await using var link = await Link.OpenAsync(
            through: target => new MeddlingProxy(target, [.. Enumerable.Range(0, 20).Select(_ => Cut())]), resumes: true);
        var memory = RoundTripTests.RandomBytes(48 << 20, seed);
        var arrived = new byte[memory.Length];
        var reading = StreamThread.RunAsync(() => RoundTripTests.ReadMemoryAsync(link.Reader, arrived));
        var report = await StreamThread.RunAsync(async () =>
        {
            for (var (at, round) = (0, 0); at < memory.Length;)
            {
                var length = Math.Min(random.Next(1, 1 << random.Next(1, 21)), memory.Length - at);
                await link.Writer.WriteMemoryAsync((ulong)at, memory.AsMemory(at, length), Ct);
                at += length;
                if (random.Next(16) == 0)
                    await link.Writer.EndRoundAsync(round++, Ct);
            }

            return await link.Writer.FinishAsync(Ct);
        });
        await reading;

        Assert.True(arrived.AsSpan().SequenceEqual(memory), $"FABRIC_SEED={seed}");
        Assert.Equal(memory.Length, report.Bytes);
        Assert.True(link.Proxy.Connections > 5, $"{link.Proxy.Connections} connections, FABRIC_SEED={seed}");
    }

    [Fact]
    public async Task A_source_that_is_held_back_goes_on_by_a_new_connection()
    {
        var options = new DataPlaneOptions { SocketBufferBytes = 64 * 1024 };
        await using var link = await Link.OpenAsync(options, options, target => new MeddlingProxy(target), resumes: true);
        var memory = RoundTripTests.RandomBytes(32 << 20, seed: 7);
        var arrived = new byte[memory.Length];
        var writing = link.Writer.WriteMemoryAsync(0, memory, Ct).AsTask();
        var first = await link.Reader.ReadAsync(Ct);
        Assert.IsType<MigrationFrame.Memory>(first).Data.CopyTo(arrived);

        link.Proxy.Cut();
        var reading = RoundTripTests.ReadMemoryAsync(link.Reader, arrived);
        await writing;
        await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.True(arrived.AsSpan().SequenceEqual(memory));
    }

    [Fact]
    public async Task A_source_that_waits_for_its_bandwidth_goes_on_by_a_new_connection()
    {
        var pace = new TokenBucket(new BandwidthLimit(1), TimeProvider.System);
        await using var link = await Link.OpenAsync(
            new DataPlaneOptions { Pace = pace }, through: target => new MeddlingProxy(target), resumes: true);
        await link.Writer.WriteDeviceStateAsync(new byte[] { 1 }, Ct);
        var writing = link.Writer.WriteDeviceStateAsync(new byte[] { 2 }, Ct).AsTask();
        await link.Reader.ReadAsync(Ct);

        link.Proxy.Cut();
        pace.Limit = BandwidthLimit.None;
        await writing;
        await link.Writer.FlushAsync(Ct);

        Assert.Equal([2], Assert.IsType<MigrationFrame.DeviceState>(await link.Reader.ReadAsync(Ct)).Data.ToArray());
    }

    [Fact]
    public async Task A_frame_that_was_handed_out_stays_as_it_is_while_its_connection_is_replaced()
    {
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        await link.Writer.WriteDeviceStateAsync(new byte[] { 1, 2, 3 }, Ct);
        await link.Writer.FlushAsync(Ct);
        var frame = Assert.IsType<MigrationFrame.DeviceState>(await link.Reader.ReadAsync(Ct));

        link.Proxy.Cut();
        var ending = link.Writer.EndRoundAsync(0, Ct).AsTask();

        Assert.Equal([1, 2, 3], frame.Data.ToArray());
        await link.Reader.ReadAsync(Ct);
        await link.Reader.AcknowledgeRoundAsync(0, Ct);
        await ending;
    }

    [Fact]
    public async Task A_connection_that_falls_silent_is_replaced_when_it_had_come_somewhere()
    {
        var swallow = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Swallow, HelloSize + HeaderSize + 301);
        var options = new DataPlaneOptions { IoTimeout = TimeSpan.FromMilliseconds(300) };
        await using var link = await Link.OpenAsync(
            options, options with { IoTimeout = TimeSpan.FromSeconds(10) }, target => new MeddlingProxy(target, swallow), resumes: true);
        var reading = RoundTripTests.ReadMemoryAsync(link.Reader, new byte[600]);
        await link.Writer.EndRoundAsync(0, Ct);
        await link.Writer.WriteMemoryAsync(0, new byte[300], Ct);
        await link.Writer.WriteMemoryAsync(300, new byte[300], Ct);

        var report = await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.Equal(600, report.Bytes);
    }

    [Fact]
    public async Task A_partition_that_heals_in_time_costs_only_time()
    {
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        var reading = RoundTripTests.ReadMemoryAsync(link.Reader, new byte[300]);
        link.Proxy.Break();
        await link.Writer.WriteMemoryAsync(0, new byte[300], Ct);
        var finishing = link.Writer.FinishAsync(Ct).AsTask();
        while (link.Proxy.Connections < 3)
            await Task.Delay(5, Ct);

        link.Proxy.Mend();

        Assert.Equal(300, (await finishing).Bytes);
        await reading;
    }

    [Fact]
    public async Task A_source_whose_connection_is_not_back_in_time_says_what_stood_against_it()
    {
        var options = new DataPlaneOptions { ResumeTimeout = TimeSpan.FromMilliseconds(100) };
        await using var link = await Link.OpenAsync(options, null, target => new MeddlingProxy(target), resumes: true);
        link.Proxy.Break();

        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Writer.FinishAsync(Ct));

        Assert.Contains("It could not be taken up again within 0.1 seconds: ", e.Message);
    }

    [Fact]
    public async Task A_target_whose_source_does_not_come_back_in_time_says_so()
    {
        var options = new DataPlaneOptions { ResumeTimeout = TimeSpan.FromMilliseconds(100) };
        await using var link = await Link.OpenAsync(null, options, target => new MeddlingProxy(target), resumes: true);
        link.Proxy.Break();

        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Reader.ReadAsync(Ct));

        Assert.Contains(" The source did not come back within 0.1 seconds.", e.Message);
    }

    [Fact]
    public async Task A_target_that_has_forgotten_the_stream_ends_it_at_once()
    {
        await using var restarted = new DataPlaneListener(NullLogger.Instance);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        link.Proxy.Target = restarted.EndPoint;

        link.Proxy.Cut();

        Assert.EndsWith(
            "It could not be taken up again: The target refused: No stream of this migration with this token is expected here.",
            await link.Writer.Lost);
    }

    [Fact]
    public async Task A_target_that_has_left_the_stream_ends_it_at_once()
    {
        await using var link = await Link.OpenAsync(resumes: true);

        await link.CloseTargetAsync();

        Assert.EndsWith("The target refused: The target has closed the stream.", await link.Writer.Lost);
    }

    [Fact]
    public async Task Cancelling_ends_a_wait_for_a_new_connection()
    {
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        using var cancel = new CancellationTokenSource();
        link.Proxy.Break();
        var finishing = link.Writer.FinishAsync(cancel.Token).AsTask();
        var reading = link.Reader.ReadAsync(cancel.Token).AsTask();

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => finishing);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading);
    }

    [Fact]
    public async Task A_source_hears_the_last_word_of_a_target_that_is_gone_since()
    {
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        var finishing = link.Writer.FinishAsync(Ct).AsTask();
        await link.Reader.ReadAsync(Ct);
        link.Proxy.Break();
        await link.Reader.ReplyFinishedAsync(true, "Loaded.", Ct);
        await link.CloseTargetAsync();

        link.Proxy.Mend();

        Assert.Equal("Loaded.", (await finishing).Sentence);
    }

    [Fact]
    public async Task The_last_word_is_kept_for_as_long_as_a_source_may_come_back()
    {
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        await using var link = await Link.OpenAsync(readerOptions: new DataPlaneOptions { Time = clock }, resumes: true);
        var finishing = link.Writer.FinishAsync(Ct).AsTask();
        await link.Reader.ReadAsync(Ct);
        await link.Reader.ReplyFinishedAsync(true, "", Ct);
        await finishing;
        await link.CloseTargetAsync();

        clock.Advance(TimeSpan.FromSeconds(10));

        using var late = await ComeBackAsync(link, connection: 1, replies: 0);
        Assert.Equal("No stream of this migration with this token is expected here.", await late.ReadRefusalAsync());
    }

    [Fact]
    public async Task A_refusal_is_told_to_a_source_that_comes_back_for_it()
    {
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target), resumes: true);
        link.Proxy.Break();
        await link.Reader.ReplyFinishedAsync(false, "The firmware did not take its state.", Ct);
        await link.CloseTargetAsync();

        link.Proxy.Mend();

        Assert.EndsWith("The target refused: The firmware did not take its state.", await link.Writer.Lost);
    }

    [Fact]
    public async Task A_stranger_without_the_token_does_not_take_a_stream_over()
    {
        await using var link = await Link.OpenAsync(resumes: true);

        using var stranger = await ComeBackAsync(link, connection: 1, replies: 0, DataPlaneToken.New());

        Assert.Equal("No stream of this migration with this token is expected here.", await stranger.ReadRefusalAsync());
        await MigrateAsync(link);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(2)]
    public async Task A_hello_that_is_older_than_the_last_one_does_not_take_a_stream_over(uint connection)
    {
        await using var link = await Link.OpenAsync(resumes: true);
        using var third = await ComeBackAsync(link, connection: 3, replies: 0);
        Assert.Equal(RawPeer.Accepted, (await third.ReadFrameAsync()).Type);

        using var late = await ComeBackAsync(link, connection, replies: 0);

        Assert.Equal("No stream of this migration with this token is expected here.", await late.ReadRefusalAsync());
    }

    [Fact]
    public async Task A_source_that_comes_back_before_its_first_connection_is_gone_has_the_stream_and_learns_what_has_come()
    {
        await using var link = await Link.OpenAsync(resumes: true);
        await link.Writer.WriteDeviceStateAsync(new byte[] { 1, 2, 3 }, Ct);
        await link.Writer.FlushAsync(Ct);
        await link.Reader.ReadAsync(Ct);

        using var again = await ComeBackAsync(link, connection: 7, replies: 0);

        var (type, position, _) = await again.ReadFrameAsync();
        Assert.Equal((RawPeer.Accepted, HeaderSize + 3UL), (type, position));
        await again.SendAsync(RawPeer.Frame(RawPeer.DeviceState, 0, [4]));
        Assert.Equal([4], Assert.IsType<MigrationFrame.DeviceState>(await link.Reader.ReadAsync(Ct)).Data.ToArray());
    }

    [Fact]
    public async Task A_source_that_has_had_replies_which_were_never_given_is_refused()
    {
        await using var link = await Link.OpenAsync(resumes: true);

        using var peer = await ComeBackAsync(link, connection: 1, replies: 1);

        Assert.Equal("The target has given 0 replies, and the source has had 1.", await peer.ReadRefusalAsync());
    }

    [Theory]
    [InlineData(0, "skips a frame")]
    [InlineData(2, "sends a frame twice")]
    public async Task A_source_that_goes_on_at_the_wrong_frame_is_found_out_by_the_hash(int times, string what)
    {
        await using var link = await Link.OpenAsync(resumes: true);
        using var source = await ComeBackAsync(link, connection: 1, replies: 0);
        await source.ReadFrameAsync();
        var hash = new XxHash128();
        hash.Append(RawPeer.Block(RawPeer.Memory, 0, [1]));
        hash.Append(RawPeer.Block(RawPeer.Memory, 1, [2]));
        await source.SendAsync(RawPeer.Frame(RawPeer.Memory, 0, [1]));
        await link.Reader.ReadAsync(Ct);

        using var again = await ComeBackAsync(link, connection: 2, replies: 0);
        await again.ReadFrameAsync();
        for (var i = 0; i < times; i++)
            await again.SendAsync(RawPeer.Frame(RawPeer.Memory, 1, [2]));
        await again.SendAsync(RawPeer.EndFrame(2, hash.GetCurrentHashAsUInt128()));
        for (var i = 0; i < times; i++)
            await link.Reader.ReadAsync(Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Reader.ReadAsync(Ct));
        Assert.True(e.Message.StartsWith("The source sent 2 bytes with hash", StringComparison.Ordinal), $"{what}: {e.Message}");
    }

    [Fact]
    public async Task A_source_that_sends_everything_on_finding_its_place_ends_as_if_nothing_had_been()
    {
        await using var link = await Link.OpenAsync(resumes: true);
        using var source = await ComeBackAsync(link, connection: 1, replies: 0);
        await source.ReadFrameAsync();
        var hash = new XxHash128();
        hash.Append(RawPeer.Block(RawPeer.Memory, 0, [1]));
        await source.SendAsync(RawPeer.Frame(RawPeer.Memory, 0, [1]));
        await link.Reader.ReadAsync(Ct);

        using var again = await ComeBackAsync(link, connection: 2, replies: 0);
        await again.ReadFrameAsync();
        await again.SendAsync(RawPeer.EndFrame(1, hash.GetCurrentHashAsUInt128()));

        Assert.IsType<MigrationFrame.End>(await link.Reader.ReadAsync(Ct));
    }

    [Fact]
    public async Task A_target_that_wants_what_is_no_longer_kept_ends_the_stream()
    {
        var token = DataPlaneToken.New();
        using var listening = RawTarget.Listen();
        var connecting = MigrationWriter.ConnectAsync(listening.LocalEndPoint!, "m-1", 0, token, null, Ct);
        using var first = new RawPeer(await listening.AcceptAsync(Ct));
        await first.ReadExactlyAsync(HelloSize);
        await first.SendAsync(RawPeer.Frame(RawPeer.Accepted, 0, []));
        await using var writer = await connecting;
        await writer.WriteDeviceStateAsync(new byte[300], Ct);
        await writer.FlushAsync(Ct);
        await first.ReadFrameAsync();
        await first.SendAsync(RawPeer.Frame(RawPeer.Consumed, HeaderSize + 300, []));

        first.Dispose();
        using var second = new RawPeer(await listening.AcceptAsync(Ct));
        var hello = await second.ReadExactlyAsync(HelloSize);
        await second.SendAsync(RawPeer.Frame(RawPeer.Accepted, 0, []));

        Assert.Equal(RawPeer.Hello("m-1", token, connection: 1), hello);
        Assert.EndsWith("The target wants the stream from byte 0, which is not kept.", await writer.Lost);
    }

    [Fact]
    public async Task A_target_that_acknowledges_what_it_cannot_have_ends_the_stream()
    {
        await using var target = await RawTarget.OpenAsync();

        await target.Peer.SendAsync(RawPeer.Frame(RawPeer.Consumed, 1, []));

        Assert.Equal("The target acknowledged 1 bytes, which it cannot have.", await target.Writer.Lost);
    }

    [Fact]
    public async Task What_a_source_keeps_is_bounded_by_its_window()
    {
        const int window = 4 << 20;
        const int oneMore = MigrationWriter.SliceBytes;
        await using var target = await RawTarget.OpenAsync(
            options: new DataPlaneOptions { WindowBytes = window, IoTimeout = TimeSpan.FromMilliseconds(500) });
        var reading = target.Peer.DrainAsync();

        // Everything is read and nothing acknowledged, so it is the window that holds the source back.
        await Assert.ThrowsAsync<DataPlaneException>(async () => await target.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct));

        Assert.InRange(target.Writer.BytesSent, window - oneMore, window + oneMore);
        await reading;
    }

    private static async Task<RawPeer> ComeBackAsync(Link link, uint connection, uint replies, DataPlaneToken? token = null)
    {
        var peer = await RawPeer.ConnectAsync(link.Listener.EndPoint);
        await peer.SendAsync(RawPeer.Hello("m-1", token ?? link.Token, connection: connection, replies: replies));
        return peer;
    }

    /// <summary>Sends the small stream, and sees that each frame came once and in its order.</summary>
    private static async Task MigrateAsync(Link link)
    {
        var reading = StreamThread.RunAsync(() => ReadAsync(link.Reader));
        var report = await StreamThread.RunAsync(() => SendAsync(link.Writer));
        var read = await reading;

        Assert.Equal(Expected(), read);
        Assert.Equal(Lengths.Sum(), report.Bytes);
    }

    private static async Task<TransferReport> SendAsync(MigrationWriter writer)
    {
        for (var i = 0; i < Lengths.Length; i++)
        {
            if (i == 3)
                await writer.EndRoundAsync(0, Ct);
            await writer.WriteMemoryAsync((ulong)i, RoundTripTests.RandomBytes(Lengths[i], seed: i), Ct);
        }

        return await writer.FinishAsync(Ct);
    }

    private static string[] Expected()
    {
        var frames = Lengths.Select((length, i) => $"{i}: {Digest(RoundTripTests.RandomBytes(length, seed: i))}").ToList();
        frames.Insert(3, "round 0");
        return [.. frames, "end"];
    }

    private static async Task<string[]> ReadAsync(MigrationReader reader)
    {
        var frames = new List<string>();
        while (true)
        {
            switch (await reader.ReadAsync(Ct))
            {
                case MigrationFrame.Memory memory:
                    frames.Add($"{memory.Offset}: {Digest(memory.Data.Span)}");
                    break;
                case MigrationFrame.RoundEnd end:
                    frames.Add($"round {end.Round}");
                    await reader.AcknowledgeRoundAsync(end.Round, Ct);
                    break;
                case MigrationFrame.End:
                    await reader.ReplyFinishedAsync(true, "", Ct);
                    return [.. frames, "end"];
            }
        }
    }

    private static string Digest(ReadOnlySpan<byte> bytes) => $"{bytes.Length} bytes {XxHash128.HashToUInt128(bytes):x32}";
}
