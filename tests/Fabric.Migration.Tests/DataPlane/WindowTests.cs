using Fabric.Migration.DataPlane;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class WindowTests
{
    private const int Capacity = 1000;

    /// <summary>Every byte of the stream tells its position, so what is given to be sent can be checked against where it has to be.</summary>
    [Fact]
    public void What_is_not_acknowledged_is_never_overwritten_whatever_order_things_come_in()
    {
        var seed = Environment.GetEnvironmentVariable("FABRIC_SEED") is { } given ? int.Parse(given) : Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"FABRIC_SEED={seed}");
        var random = new Random(seed);
        using var window = new Window(Capacity);
        var (acknowledged, sent, end) = (0L, 0L, 0L);
        for (var step = 0; step < 200_000; step++)
        {
            switch (random.Next(8))
            {
                case < 3 when window.TryReserve(random.Next(1, 300), out var room):
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
            Assert.InRange(end - acknowledged, 0, Capacity);
        }

        Assert.True(end > 100 * Capacity, $"Only {end} bytes went through.");
    }

    [Fact]
    public void A_frame_finds_room_as_soon_as_a_third_of_the_window_is_left_to_acknowledge()
    {
        using var window = new Window(Capacity);
        var acknowledged = 0L;
        for (var end = 0L; end < 100 * Capacity;)
        {
            Assert.True(window.TryReserve(Capacity / 3, out _));
            window.Append(Capacity / 3);
            end += Capacity / 3;
            window.Sent(window.Next().Length);
            window.Sent(window.Next().Length);
            acknowledged = Math.Max(acknowledged, end - (Capacity / 3));
            Assert.True(window.Acknowledge(acknowledged));
        }
    }

    [Theory]
    [InlineData(9)]
    [InlineData(31)]
    public void A_position_that_is_not_kept_or_was_not_sent_is_none_to_go_on_at(long position)
    {
        using var window = new Window(Capacity);
        window.TryReserve(30, out _);
        window.Append(30);
        window.Sent(30);
        window.Acknowledge(10);

        Assert.False(window.Acknowledge(position));
        Assert.False(window.Rewind(position));
    }

    private static byte Mark(long position) => (byte)(position * 31 % 251);
}
