using System.Buffers.Binary;
using System.IO.Hashing;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class MalformedStreamTests
{
    private const int HelloSize = 59;
    private const int HeaderSize = 20;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_stream_composed_by_hand_from_the_format_is_read()
    {
        await using var source = await RawSource.OpenAsync();
        var hash = new XxHash128();
        hash.Append(RawPeer.Block(RawPeer.Memory, 4096, [1, 2]));
        await source.Peer.SendAsync(RawPeer.Frame(RawPeer.Memory, 4096, [1, 2]));
        await source.Peer.SendAsync(RawPeer.EndFrame(2, hash.GetCurrentHashAsUInt128()));

        await source.Reader.ReadAsync(Ct);

        Assert.Equal(new MigrationFrame.End(2, hash.GetCurrentHashAsUInt128()), await source.Reader.ReadAsync(Ct));
    }

    [Fact]
    public async Task A_frame_over_the_limit_is_refused_before_its_payload_comes()
    {
        var header = RawPeer.Frame(RawPeer.Memory, 0, [], announcedLength: (1 << 20) + 1);

        Assert.Contains("announced a frame of 1048577 bytes", await WhyRefusedAsync(header));
    }

    [Fact]
    public async Task A_frame_with_reserved_bytes_set_is_refused() =>
        Assert.Contains("reserved bytes", await WhyRefusedAsync(RawPeer.Frame(RawPeer.Memory, 0, [1], reserved: 1)));

    [Theory]
    [InlineData(0)]
    [InlineData(99)]
    [InlineData(RawPeer.Finished)]
    public async Task A_frame_that_is_not_a_sources_is_refused(byte type) =>
        Assert.Contains($"type {type}, which is not a source's", await WhyRefusedAsync(RawPeer.Frame(type, 0, [])));

    [Fact]
    public async Task Memory_past_the_last_offset_is_refused() =>
        Assert.Contains("malformed Memory", await WhyRefusedAsync(RawPeer.Frame(RawPeer.Memory, ulong.MaxValue, [1])));

    [Fact]
    public async Task A_round_end_with_a_payload_is_refused() =>
        Assert.Contains("malformed RoundEnd", await WhyRefusedAsync(RawPeer.Frame(RawPeer.RoundEnd, 0, [1])));

    [Fact]
    public async Task An_end_with_another_count_is_refused() =>
        Assert.Contains("but 0 bytes", await WhyRefusedAsync(RawPeer.EndFrame(1, new XxHash128().GetCurrentHashAsUInt128())));

    [Fact]
    public async Task An_end_with_another_hash_is_refused() =>
        Assert.Contains("but 0 bytes", await WhyRefusedAsync(RawPeer.EndFrame(0, 1)));

    [Theory]
    [InlineData(0, "type")]
    [InlineData(9, "offset")]
    [InlineData(16, "check")]
    [InlineData(HeaderSize, "first byte")]
    [InlineData(HeaderSize + 70_000, "byte in the middle")]
    [InlineData(HeaderSize + 99_999, "last byte")]
    public async Task A_bit_that_flips_on_the_way_is_caught_by_its_frame(int at, string what)
    {
        var flip = new MeddlingProxy.Meddling(MeddlingProxy.Fault.Flip, HelloSize + at);
        await using var link = await Link.OpenAsync(through: target => new MeddlingProxy(target, flip));
        await link.Writer.WriteMemoryAsync(0, new byte[100_000], Ct);
        await link.Writer.FlushAsync(Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Reader.ReadAsync(Ct));

        Assert.True(e.Message.StartsWith("A frame of 100000 bytes arrived damaged.", StringComparison.Ordinal), $"{what}: {e.Message}");
    }

    [Fact]
    public async Task The_source_of_a_damaged_frame_is_told()
    {
        await using var link = await Link.OpenAsync(
            through: target => new MeddlingProxy(target, new MeddlingProxy.Meddling(MeddlingProxy.Fault.Flip, HelloSize + HeaderSize)));
        await link.Writer.WriteMemoryAsync(0, new byte[10], Ct);
        var ending = link.Writer.EndRoundAsync(0, Ct).AsTask();
        await Assert.ThrowsAsync<DataPlaneException>(async () => await link.Reader.ReadAsync(Ct));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => ending);

        Assert.Equal("The target refused: A frame of 10 bytes arrived damaged.", e.Message);
    }

    [Fact]
    public async Task A_reply_nobody_asked_for_ends_the_stream()
    {
        await using var target = await RawTarget.OpenAsync();

        await target.Peer.SendAsync(RawPeer.Frame(RawPeer.Finished, 0, new byte[16]));

        Assert.Contains("nobody asked for", await target.Writer.Lost);
    }

    [Fact]
    public async Task State_that_comes_from_the_target_ends_the_stream_and_is_not_hashed()
    {
        await using var target = await RawTarget.OpenAsync();
        var before = target.Writer.Hash;

        await target.Peer.SendAsync(RawPeer.Frame(RawPeer.DeviceState, 0, [1]));

        Assert.Equal("The target sent a frame of type 1, which is not a reply.", await target.Writer.Lost);
        Assert.Equal(before, target.Writer.Hash);
    }

    [Fact]
    public async Task A_target_that_counts_otherwise_fails_the_finish()
    {
        await using var target = await RawTarget.OpenAsync();
        await target.Writer.WriteDeviceStateAsync(new byte[3], Ct);
        var finishing = target.Writer.FinishAsync(Ct).AsTask();
        var payload = new byte[16];
        BinaryPrimitives.WriteUInt128LittleEndian(payload, target.Writer.Hash);

        await target.Peer.SendAsync(RawPeer.Frame(RawPeer.Finished, 2, payload));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => finishing);
        Assert.StartsWith("The target has 2 bytes", e.Message);
    }

    private static async Task<string> WhyRefusedAsync(byte[] frame)
    {
        await using var source = await RawSource.OpenAsync();
        await source.Peer.SendAsync(frame);
        var e = await Assert.ThrowsAsync<DataPlaneException>(async () => await source.Reader.ReadAsync(Ct));
        var told = await source.Peer.ReadRefusalAsync();
        Assert.StartsWith(told, e.Message);
        return told;
    }

    /// <summary>A reader whose source is played by the test, byte by byte.</summary>
    private sealed class RawSource(DataPlaneListener listener, RawPeer peer, MigrationReader reader) : IAsyncDisposable
    {
        public RawPeer Peer => peer;

        public MigrationReader Reader => reader;

        public static async Task<RawSource> OpenAsync()
        {
            var listener = new DataPlaneListener(NullLogger.Instance);
            var token = DataPlaneToken.New();
            await using var expected = listener.Expect("m-1", token);
            var peer = await RawPeer.ConnectAsync(listener.EndPoint);
            await peer.SendAsync(RawPeer.Hello("m-1", token));
            Assert.Equal(RawPeer.Accepted, (await peer.ReadFrameAsync()).Type);
            return new RawSource(listener, peer, await expected.AcceptAsync(0, Ct));
        }

        public async ValueTask DisposeAsync()
        {
            peer.Dispose();
            await reader.DisposeAsync();
            await listener.DisposeAsync();
        }
    }
}
