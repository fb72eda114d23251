using System.Net;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class AdmissionTests
{
    private const string NotExpected = "The target refused: No stream of this migration with this token is expected here.";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_listener_is_on_loopback_unless_told_otherwise()
    {
        await using var listener = NewListener();

        Assert.True(IPAddress.IsLoopback(listener.EndPoint.Address));
    }

    [Fact]
    public async Task A_wrong_token_is_refused()
    {
        await using var listener = NewListener();
        await using var expected = listener.Expect("m-1", DataPlaneToken.New());

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, DataPlaneToken.New(), null, Ct));

        Assert.Equal(NotExpected, e.Message);
    }

    [Fact]
    public async Task An_unknown_id_is_refused_with_the_same_sentence()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-2", 0, token, null, Ct));

        Assert.Equal(NotExpected, e.Message);
    }

    [Fact]
    public async Task A_token_is_good_once()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        await using var first = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct));

        Assert.Equal(NotExpected, e.Message);
    }

    [Fact]
    public async Task Every_stream_of_a_migration_has_a_reader_of_its_own()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token, streams: 2);
        await using var second = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 1, token, null, Ct);
        await using var first = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);
        await second.WriteDeviceStateAsync(new byte[] { 2 }, Ct);
        await second.FlushAsync(Ct);

        await using var reader = await expected.AcceptAsync(1, Ct);

        Assert.Equal([2], Assert.IsType<MigrationFrame.DeviceState>(await reader.ReadAsync(Ct)).Data.ToArray());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(int.MaxValue)]
    public async Task A_stream_that_the_migration_does_not_have_is_refused_with_the_same_sentence(int stream)
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token, streams: 2);

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", stream, token, null, Ct));

        Assert.Equal(NotExpected, e.Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(InboundMigration.MaxStreams + 1)]
    public async Task A_migration_has_streams_within_bounds(int streams)
    {
        await using var listener = NewListener();

        Assert.Throws<ArgumentOutOfRangeException>(() => listener.Expect("m-1", DataPlaneToken.New(), streams));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public async Task A_stream_that_was_not_expected_cannot_be_accepted(int stream)
    {
        await using var listener = NewListener();
        await using var expected = listener.Expect("m-1", DataPlaneToken.New());

        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => expected.AcceptAsync(stream, Ct));
    }

    [Fact]
    public async Task A_stream_is_accepted_once()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);
        await using var reader = await expected.AcceptAsync(0, Ct);

        await Assert.ThrowsAsync<InvalidOperationException>(() => expected.AcceptAsync(0, Ct));
    }

    [Fact]
    public async Task Cancelling_the_wait_for_one_stream_leaves_the_others()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token, streams: 2);
        using var cancel = new CancellationTokenSource();
        var accepting = expected.AcceptAsync(0, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accepting);

        await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 1, token, null, Ct);
    }

    [Fact]
    public async Task A_stranger_with_a_wrong_token_does_not_spoil_the_expectation()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, DataPlaneToken.New(), null, Ct));

        await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);
        await using var reader = await expected.AcceptAsync(0, Ct);

        Assert.Equal("m-1", reader.MigrationId);
    }

    [Fact]
    public async Task A_hello_is_what_the_format_says()
    {
        var token = DataPlaneToken.New();
        await using var target = await RawTarget.OpenAsync(token);

        Assert.Equal(RawPeer.Hello("m-1", token), target.Hello);
    }

    [Theory]
    [InlineData("GET / HT", 2, 3, "This port speaks Fabric's data plane and the peer does not.")]
    [InlineData("FABRICDP", 1, 3, "The peer speaks version 1 of the data plane; this host speaks 2.")]
    [InlineData("FABRICDP", 2, 257, "A migration id has 1 to 256 bytes, not 257.")]
    [InlineData("FABRICDP", 2, 0, "A migration id has 1 to 256 bytes, not 0.")]
    public async Task A_hello_that_cannot_be_is_refused_with_the_reason(string magic, int version, int idLength, string reason)
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        using var peer = await RawPeer.ConnectAsync(listener.EndPoint);

        await peer.SendAsync(RawPeer.Hello("m-1", token, magic, (ushort)version, (ushort)idLength));

        Assert.Equal(reason, await peer.ReadRefusalAsync());
    }

    [Fact]
    public async Task A_refused_connection_is_closed()
    {
        await using var listener = NewListener();
        using var peer = await RawPeer.ConnectAsync(listener.EndPoint);
        await peer.SendAsync(RawPeer.Hello("m-1", DataPlaneToken.New()));
        await peer.ReadRefusalAsync();

        Assert.True(await peer.ReadsEndAsync());
    }

    [Fact]
    public async Task A_silent_stranger_is_refused_at_its_deadline()
    {
        await using var listener = NewListener(new DataPlaneOptions { HelloTimeout = TimeSpan.FromMilliseconds(50) });
        using var peer = await RawPeer.ConnectAsync(listener.EndPoint);

        Assert.Equal("No complete hello came within 0.05 seconds.", await peer.ReadRefusalAsync());
    }

    [Fact]
    public async Task A_stranger_who_stops_in_the_middle_of_its_hello_is_refused_at_its_deadline()
    {
        await using var listener = NewListener(new DataPlaneOptions { HelloTimeout = TimeSpan.FromMilliseconds(50) });
        using var peer = await RawPeer.ConnectAsync(listener.EndPoint);

        await peer.SendAsync(RawPeer.Hello("m-1", DataPlaneToken.New())[..45]);

        Assert.Equal("No complete hello came within 0.05 seconds.", await peer.ReadRefusalAsync());
    }

    [Fact]
    public async Task Strangers_are_bounded_and_the_next_one_waits_for_a_place()
    {
        var log = new LogCapture();
        var options = new DataPlaneOptions { MaxUnauthenticated = 2, Time = new FakeTimeProvider() };
        await using var listener = new DataPlaneListener(log, options);
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        using var first = await RawPeer.ConnectAsync(listener.EndPoint);
        using var second = await RawPeer.ConnectAsync(listener.EndPoint);
        await log.NextAsync("2 connections", Ct);
        var third = MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);

        Assert.False(third.IsCompleted);
        first.Dispose();
        await (await third).DisposeAsync();
    }

    [Fact]
    public async Task A_stranger_who_leaves_gives_its_place_back_and_is_logged()
    {
        var log = new LogCapture();
        await using var listener = new DataPlaneListener(log);
        var peer = await RawPeer.ConnectAsync(listener.EndPoint);
        peer.Reset();

        Assert.Contains("failed", await log.NextAsync("Greeting", Ct));
    }

    [Fact]
    public async Task A_refusal_is_logged_with_its_reason()
    {
        var log = new LogCapture();
        await using var listener = new DataPlaneListener(log);
        using var peer = await RawPeer.ConnectAsync(listener.EndPoint);
        await peer.SendAsync(RawPeer.Hello("m-1", DataPlaneToken.New()));

        Assert.EndsWith("No stream of this migration with this token is expected here.", await log.NextAsync("Refused", Ct));
    }

    [Fact]
    public async Task An_expectation_that_was_withdrawn_admits_nobody()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await listener.Expect("m-1", token).DisposeAsync();

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct));

        Assert.Equal(NotExpected, e.Message);
    }

    [Fact]
    public async Task Cancelling_the_wait_withdraws_the_expectation()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        using var cancel = new CancellationTokenSource();
        var accepting = expected.AcceptAsync(0, cancel.Token);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accepting);
        await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct));
    }

    [Fact]
    public async Task Withdrawing_closes_a_connection_that_was_never_taken()
    {
        await using var listener = NewListener();
        var token = DataPlaneToken.New();
        var expected = listener.Expect("m-1", token);
        await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);

        await expected.DisposeAsync();

        Assert.NotEmpty(await writer.Lost);
    }

    [Fact]
    public async Task Waiting_for_a_source_that_never_comes_ends()
    {
        var clock = new FakeTimeProvider();
        await using var listener = NewListener(new DataPlaneOptions { Time = clock });
        await using var expected = listener.Expect("m-1", DataPlaneToken.New());
        var accepting = expected.AcceptAsync(0, Ct);

        clock.Advance(TimeSpan.FromSeconds(30));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => accepting);
        Assert.Equal("No source connected for stream 0 of migration m-1 within 30 seconds.", e.Message);
    }

    [Fact]
    public async Task A_migration_is_expected_once_at_a_time()
    {
        await using var listener = NewListener();
        await using var expected = listener.Expect("m-1", DataPlaneToken.New());

        Assert.Throws<InvalidOperationException>(() => listener.Expect("m-1", DataPlaneToken.New()));
    }

    [Fact]
    public async Task A_migration_can_be_expected_anew_after_it_was_withdrawn()
    {
        await using var listener = NewListener();
        var old = listener.Expect("m-1", DataPlaneToken.New());
        await old.DisposeAsync();
        var token = DataPlaneToken.New();
        await using var anew = listener.Expect("m-1", token);
        await old.DisposeAsync();

        await using var writer = await MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, token, null, Ct);
    }

    [Fact]
    public async Task Closing_the_listener_ends_every_wait()
    {
        var listener = NewListener();
        await using var expected = listener.Expect("m-1", DataPlaneToken.New());
        var accepting = expected.AcceptAsync(0, Ct);

        await listener.DisposeAsync();

        await Assert.ThrowsAsync<DataPlaneException>(() => accepting);
    }

    [Fact]
    public async Task A_source_that_finds_nobody_listening_says_so()
    {
        var listener = NewListener();
        await listener.DisposeAsync();

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(listener.EndPoint, "m-1", 0, DataPlaneToken.New(), null, Ct));

        Assert.Equal($"No connection to {listener.EndPoint}: Connection refused.", e.Message);
    }

    [Fact]
    public void A_token_does_not_print_its_secret()
    {
        var token = DataPlaneToken.New();

        Assert.Equal("DataPlaneToken", token.ToString());
    }

    [Fact]
    public void A_token_of_another_length_is_none()
    {
        Assert.Throws<ArgumentException>(() => DataPlaneToken.FromBytes(new byte[31]));
    }

    private static DataPlaneListener NewListener(DataPlaneOptions? options = null) => new(NullLogger.Instance, options);
}
