using System.IO.Hashing;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class RoundTripTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Device_state_arrives_as_it_was_sent()
    {
        await using var link = await Link.OpenAsync();
        await link.Writer.WriteDeviceStateAsync(new byte[] { 1, 2, 3 }, Ct);
        await link.Writer.FlushAsync(Ct);

        var frame = Assert.IsType<MigrationFrame.DeviceState>(await link.Reader.ReadAsync(Ct));

        Assert.Equal([1, 2, 3], frame.Data.ToArray());
    }

    [Fact]
    public async Task Memory_arrives_with_its_offset()
    {
        await using var link = await Link.OpenAsync();
        await link.Writer.WriteMemoryAsync(ulong.MaxValue - 3, new byte[] { 7, 8, 9 }, Ct);
        await link.Writer.FlushAsync(Ct);

        var frame = Assert.IsType<MigrationFrame.Memory>(await link.Reader.ReadAsync(Ct));

        Assert.Equal(ulong.MaxValue - 3, frame.Offset);
        Assert.Equal([7, 8, 9], frame.Data.ToArray());
    }

    [Fact]
    public async Task Memory_past_the_last_offset_is_refused_before_it_is_sent()
    {
        await using var link = await Link.OpenAsync();

        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(
            async () => await link.Writer.WriteMemoryAsync(ulong.MaxValue - 1, new byte[3], Ct));
    }

    [Fact]
    public async Task The_largest_consumer_state_arrives_whole()
    {
        await using var link = await Link.OpenAsync();
        var state = RandomBytes(1 << 20, seed: 11);
        var writing = link.Writer.WriteConsumerStateAsync(state, Ct).AsTask();
        var reading = link.Reader.ReadAsync(Ct);
        await writing;
        await link.Writer.FlushAsync(Ct);

        var frame = Assert.IsType<MigrationFrame.ConsumerState>(await reading);

        Assert.True(frame.Data.Span.SequenceEqual(state));
    }

    [Fact]
    public async Task Consumer_state_that_would_not_arrive_whole_is_refused()
    {
        await using var link = await Link.OpenAsync();

        await Assert.ThrowsAsync<ArgumentException>(async () => await link.Writer.WriteConsumerStateAsync(new byte[(1 << 20) + 1], Ct));
    }

    [Fact]
    public async Task Empty_consumer_state_arrives_too()
    {
        await using var link = await Link.OpenAsync();
        await link.Writer.WriteConsumerStateAsync(default, Ct);
        await link.Writer.FlushAsync(Ct);

        Assert.Equal(0, Assert.IsType<MigrationFrame.ConsumerState>(await link.Reader.ReadAsync(Ct)).Data.Length);
    }

    [Fact]
    public async Task Sixty_four_mebibytes_in_pieces_of_all_sizes_arrive_byte_for_byte()
    {
        const int seed = 20_26;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await using var link = await Link.OpenAsync();
        var memory = RandomBytes(64 << 20, seed);
        var arrived = new byte[memory.Length];
        var reading = ReadMemoryAsync(link.Reader, arrived);

        var sizes = new Random(seed);
        for (var at = 0; at < memory.Length;)
        {
            // From a byte to several frames, small ones as likely as large ones.
            var length = Math.Min(sizes.Next(1, 1 << sizes.Next(1, 23)), memory.Length - at);
            await link.Writer.WriteMemoryAsync((ulong)at, memory.AsMemory(at, length), Ct);
            at += length;
        }

        await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.True(arrived.AsSpan().SequenceEqual(memory));
    }

    [Fact]
    public async Task Finishing_reports_the_targets_count()
    {
        await using var link = await Link.OpenAsync();
        var reading = ReadMemoryAsync(link.Reader, new byte[5000]);
        await link.Writer.WriteMemoryAsync(0, new byte[5000], Ct);

        var report = await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.Equal(5000, report.Bytes);
    }

    [Fact]
    public async Task Both_ends_compute_the_hash_the_format_defines()
    {
        await using var link = await Link.OpenAsync();
        var reading = ReadMemoryAsync(link.Reader, new byte[16]);
        await link.Writer.WriteDeviceStateAsync(new byte[] { 1, 2, 3 }, Ct);
        await link.Writer.WriteMemoryAsync(9, new byte[] { 4, 5 }, Ct);
        await link.Writer.EndRoundAsync(6, Ct);

        var report = await link.Writer.FinishAsync(Ct);
        await reading;

        var expected = new XxHash128();
        expected.Append(RawPeer.Block(RawPeer.DeviceState, 0, [1, 2, 3]));
        expected.Append(RawPeer.Block(RawPeer.Memory, 9, [4, 5]));
        expected.Append(RawPeer.Block(RawPeer.RoundEnd, 6, []));
        Assert.Equal(
            [expected.GetCurrentHashAsUInt128(), expected.GetCurrentHashAsUInt128()], new[] { report.Hash, link.Writer.Hash });
    }

    [Fact]
    public async Task The_order_of_frames_is_part_of_the_hash()
    {
        await using var one = await Link.OpenAsync();
        await using var other = await Link.OpenAsync();
        await one.Writer.WriteMemoryAsync(0, new byte[] { 1 }, Ct);
        await one.Writer.WriteMemoryAsync(0, new byte[] { 2 }, Ct);
        await other.Writer.WriteMemoryAsync(0, new byte[] { 2 }, Ct);
        await other.Writer.WriteMemoryAsync(0, new byte[] { 1 }, Ct);

        Assert.NotEqual(one.Writer.Hash, other.Writer.Hash);
    }

    [Fact]
    public async Task A_round_ends_only_when_the_target_has_acknowledged_it()
    {
        await using var link = await Link.OpenAsync();
        var ending = link.Writer.EndRoundAsync(3, Ct).AsTask();
        var round = Assert.IsType<MigrationFrame.RoundEnd>(await link.Reader.ReadAsync(Ct));
        Assert.False(ending.IsCompleted);

        await link.Reader.AcknowledgeRoundAsync(round.Round, Ct);

        await ending;
    }

    [Fact]
    public async Task A_round_that_was_not_read_cannot_be_acknowledged()
    {
        await using var link = await Link.OpenAsync();

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await link.Reader.AcknowledgeRoundAsync(0, Ct));
    }

    [Fact]
    public async Task A_target_that_cannot_use_the_state_fails_the_finish_with_its_sentence()
    {
        await using var link = await Link.OpenAsync();
        var finishing = link.Writer.FinishAsync(Ct).AsTask();
        Assert.IsType<MigrationFrame.End>(await link.Reader.ReadAsync(Ct));

        await link.Reader.ReplyFinishedAsync(false, "The firmware did not take its state.", Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => finishing);
        Assert.Equal("The target refused: The firmware did not take its state.", e.Message);
    }

    [Fact]
    public async Task A_target_that_refuses_in_mid_stream_stops_the_source_with_its_sentence()
    {
        await using var link = await Link.OpenAsync();
        var writing = link.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct).AsTask();
        await link.Reader.ReadAsync(Ct);

        await link.Reader.ReplyFinishedAsync(false, "Match data differ.", Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => writing);
        Assert.Equal("The target refused: Match data differ.", e.Message);
    }

    [Fact]
    public async Task A_target_cannot_say_it_has_everything_before_the_end()
    {
        await using var link = await Link.OpenAsync();

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await link.Reader.ReplyFinishedAsync(true, "", Ct));
    }

    [Fact]
    public async Task Nothing_can_be_written_after_the_end()
    {
        await using var link = await Link.OpenAsync();
        var reading = ReadMemoryAsync(link.Reader, []);
        await link.Writer.FinishAsync(Ct);
        await reading;

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await link.Writer.WriteDeviceStateAsync(new byte[1], Ct));
    }

    [Fact]
    public async Task The_reason_of_an_abort_arrives()
    {
        await using var link = await Link.OpenAsync();
        var aborting = link.Writer.AbortAsync("Cancelled by its owner.\u001b", Ct).AsTask();

        var aborted = Assert.IsType<MigrationFrame.Aborted>(await link.Reader.ReadAsync(Ct));

        Assert.Equal("Cancelled by its owner. ", aborted.Reason);
        await aborting;
    }

    [Fact]
    public async Task An_abort_ends_when_the_target_has_read_it()
    {
        await using var link = await Link.OpenAsync();
        var aborting = link.Writer.AbortAsync("Cancelled by its owner.", Ct).AsTask();
        Assert.False(aborting.IsCompleted);

        await link.Reader.ReadAsync(Ct);

        Assert.True(await aborting);
    }

    [Fact]
    public async Task A_stream_in_TLS_arrives_too()
    {
        using var certificate = SelfSigned();
        var options = Secured(certificate);
        await using var link = await Link.OpenAsync(options, options);
        var memory = RandomBytes(3 << 20, seed: 5);
        var arrived = new byte[memory.Length];
        var reading = ReadMemoryAsync(link.Reader, arrived);
        await link.Writer.WriteMemoryAsync(0, memory, Ct);

        await link.Writer.FinishAsync(Ct);
        await reading;

        Assert.True(arrived.AsSpan().SequenceEqual(memory));
    }

    [Fact]
    public async Task A_source_that_does_not_trust_the_targets_certificate_does_not_connect()
    {
        using var certificate = SelfSigned();
        var options = new DataPlaneOptions
        {
            ServerTls = new() { ServerCertificate = certificate },
            ClientTls = new() { TargetHost = "target" },
        };

        await Assert.ThrowsAsync<DataPlaneException>(() => Link.OpenAsync(options, options));
    }

    [Fact]
    public async Task A_source_in_the_clear_is_not_admitted_where_TLS_is_asked_for()
    {
        using var certificate = SelfSigned();
        var options = new DataPlaneOptions { ServerTls = new() { ServerCertificate = certificate } };

        await Assert.ThrowsAsync<DataPlaneException>(() => Link.OpenAsync(readerOptions: options));
    }

    internal static async Task ReadMemoryAsync(MigrationReader reader, byte[] into)
    {
        while (true)
        {
            switch (await reader.ReadAsync(Ct))
            {
                case MigrationFrame.Memory memory:
                    memory.Data.CopyTo(into.AsMemory((int)memory.Offset));
                    break;
                case MigrationFrame.RoundEnd end:
                    await reader.AcknowledgeRoundAsync(end.Round, Ct);
                    break;
                case MigrationFrame.End:
                    await reader.ReplyFinishedAsync(true, "", Ct);
                    return;
            }
        }
    }

    internal static byte[] RandomBytes(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Both ends know each other by this one certificate.</summary>
    internal static DataPlaneOptions Secured(X509Certificate2 certificate) => new()
    {
        ServerTls = new() { ServerCertificate = certificate },
        ClientTls = new()
        {
            TargetHost = "target",
            RemoteCertificateValidationCallback = (_, presented, _, _) =>
                presented is not null && presented.GetCertHashString() == certificate.GetCertHashString(),
        },
    };

    internal static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=target", key, HashAlgorithmName.SHA256);
        var now = DateTimeOffset.UtcNow;
        return request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }
}
