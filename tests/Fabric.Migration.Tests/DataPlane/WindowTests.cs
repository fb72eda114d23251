using System.Runtime.InteropServices;
using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class WindowTests
{
    private const int Limit = 1000;
    private const int Longest = 300;

    /// <summary>Every byte of the stream tells its position, so what is given to be sent can be checked against where it has to be.</summary>
    [Fact]
    public void What_is_not_acknowledged_is_never_overwritten_whatever_order_things_come_in()
    {
        var seed = Environment.GetEnvironmentVariable("FABRIC_SEED") is { } given ? int.Parse(given) : Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"FABRIC_SEED={seed}");
        var random = new Random(seed);
        var window = new Window(Limit);
        var (acknowledged, sent, end) = (0L, 0L, 0L);
        for (var step = 0; step < 200_000; step++)
        {
            switch (random.Next(8))
            {
                case < 3 when window.TryReserve(random.Next(1, Longest), out var room):
                    var length = random.Next(1, room.Length + 1);
                    for (var i = 0; i < length; i++)
                        room.Span[i] = Mark(end + i);
                    window.Append(length);
                    end += length;
                    break;
                case < 6:
                    var bytes = window.Next().Span;
                    for (var i = 0; i < bytes.Length; i++)
                        Assert.True(bytes[i] == Mark(sent + i), $"step {step}, byte {sent + i}, FABRIC_SEED={seed}");
                    window.Sent(bytes.Length);
                    sent += bytes.Length;
                    break;
                case 6:
                    acknowledged += random.NextInt64(sent - acknowledged + 1);
                    Assert.True(window.Acknowledge(acknowledged));
                    break;
                default:
                    acknowledged = sent = acknowledged + random.NextInt64(sent - acknowledged + 1);
                    Assert.True(window.Rewind(sent));
                    break;
            }

            Assert.Equal(end - sent, window.Waiting);
            Assert.InRange(end - acknowledged, 0, Limit + Longest);
        }

        Assert.True(end > 100 * Limit, $"Only {end} bytes went through.");
    }

    [Fact]
    public void Frames_of_every_length_that_fill_its_memory_are_kept_as_they_are()
    {
        var window = new Window(8 << 20);
        var random = new Random(7);
        var (acknowledged, sent, end) = (0L, 0L, 0L);
        while (end < 64 << 20)
        {
            while (window.TryReserve(random.Next(1, 1 << random.Next(1, 21)), out var room))
            {
                for (var i = 0; i < room.Length; i++)
                    room.Span[i] = Mark(end + i);
                window.Append(room.Length);
                end += room.Length;
            }

            for (var bytes = window.Next(); !bytes.IsEmpty; bytes = window.Next())
            {
                for (var i = 0; i < bytes.Length; i++)
                    Assert.Equal(Mark(sent + i), bytes.Span[i]);
                window.Sent(bytes.Length);
                sent += bytes.Length;
            }

            acknowledged += random.NextInt64(sent - acknowledged + 1);
            Assert.True(window.Acknowledge(acknowledged));
        }
    }

    [Fact]
    public void A_frame_finds_room_while_less_than_the_limit_is_kept_whatever_its_length()
    {
        var window = new Window(Limit);
        window.TryReserve(Limit - 1, out _);
        window.Append(Limit - 1);

        Assert.True(window.TryReserve(10 * Limit, out var room));
        Assert.Equal(10 * Limit, room.Length);
        window.Append(1);
        Assert.False(window.TryReserve(1, out _));
    }

    [Fact]
    public void What_was_acknowledged_last_is_used_again_first()
    {
        var window = new Window(100 << 20);
        var used = new HashSet<byte[]>();
        for (var slice = 0; slice < 100; slice++)
        {
            const int length = MigrationWriter.SliceBytes;
            Assert.True(window.TryReserve(length, out var room));
            Assert.True(MemoryMarshal.TryGetArray<byte>(room, out var memory));
            used.Add(memory.Array!);
            window.Append(length);
            window.Sent(length);
            if (slice >= 2)
                Assert.True(window.Acknowledge((slice - 1L) * length));
        }

        Assert.Equal(3, used.Count);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(31)]
    public void A_position_that_is_not_kept_or_was_not_sent_is_none_to_go_on_at(long position)
    {
        var window = new Window(Limit);
        window.TryReserve(30, out _);
        window.Append(30);
        window.Sent(30);
        window.Acknowledge(10);

        Assert.False(window.Acknowledge(position));
        Assert.False(window.Rewind(position));
    }

    private static byte Mark(long position) => (byte)(position * 31 % 251);
}
