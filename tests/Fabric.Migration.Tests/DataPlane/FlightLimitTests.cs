using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

public sealed class FlightLimitTests
{
    private const long Most = 64 << 20;
    private const long Step = 512 << 10;
    private const long AtRest = Step * 5 / 4;

    private readonly FakeTimeProvider time = new();

    [Fact]
    public void A_target_that_does_not_say_how_often_it_acknowledges_is_sent_all_that_may_be_kept()
    {
        var limit = Begin(step: 0);

        Assert.False(Deliver(limit, 100 << 20, TimeSpan.FromMilliseconds(10)));
        Assert.Equal(Most, limit.Bytes);
    }

    [Theory]
    [InlineData(0.02, 10e9)]
    [InlineData(0.2, 5e9)]
    [InlineData(10, 1e9)]
    [InlineData(50, 0.1e9)]
    public void A_path_that_could_carry_more_is_filled(double milliseconds, double bandwidth)
    {
        var roundTrip = TimeSpan.FromMilliseconds(milliseconds);
        var limit = Begin(Step);
        var position = 0L;
        for (var look = 0; look < 50; look++)
        {
            // What is under way takes a round trip and the time that the bandwidth needs for it.
            var elapsed = roundTrip + TimeSpan.FromSeconds(limit.Bytes / bandwidth);
            var turns = Math.Max(1, (int)Math.Ceiling(5 / elapsed.TotalMilliseconds));
            var rate = Math.Min(bandwidth, limit.Bytes / roundTrip.TotalSeconds);
            time.Advance(elapsed * turns);
            position += (long)(rate * elapsed.TotalSeconds * turns);
            Assert.True(limit.Acknowledged(position));
            limit.Look(roundTrip);
        }

        Assert.InRange(limit.Bytes, bandwidth * roundTrip.TotalSeconds, AtRest + (2.1 * bandwidth * roundTrip.TotalSeconds));
    }

    [Fact]
    public void Never_more_is_under_way_than_may_be_kept()
    {
        var limit = Begin(Step);

        Assert.True(Deliver(limit, 1L << 40, TimeSpan.FromSeconds(1)));

        Assert.Equal(Most, limit.Bytes);
    }

    [Fact]
    public void A_short_path_has_a_little_under_way_however_fast_it_is()
    {
        var limit = Begin(Step);

        Deliver(limit, 50_000_000, TimeSpan.FromMilliseconds(10), roundTripMs: 0.005);

        Assert.InRange(limit.Bytes, AtRest, AtRest + (64 << 10));
    }

    [Fact]
    public void A_pause_of_the_source_does_not_make_it_forget_its_path_at_once()
    {
        var limit = Begin(Step);
        Deliver(limit, 10_000_000, TimeSpan.FromMilliseconds(10));
        var before = limit.Bytes;

        Deliver(limit, 10_000_001, TimeSpan.FromSeconds(10));

        Assert.InRange(limit.Bytes, AtRest + ((before - AtRest) * 8 / 10), before - 1);
    }

    [Fact]
    public void Another_connection_begins_with_what_it_says_itself()
    {
        var limit = Begin(Step);
        Deliver(limit, 10_000_000, TimeSpan.FromMilliseconds(10));

        limit.Restart(10_000_000, 2 * Step);

        Assert.Equal(2 * AtRest, limit.Bytes);
    }

    private FlightLimit Begin(long step)
    {
        var limit = new FlightLimit(Most, time);
        limit.Restart(0, step);
        return limit;
    }

    private bool Deliver(FlightLimit limit, long position, TimeSpan elapsed, double roundTripMs = 1)
    {
        time.Advance(elapsed);
        if (!limit.Acknowledged(position))
            return false;
        limit.Look(TimeSpan.FromMilliseconds(roundTripMs));
        return true;
    }
}
