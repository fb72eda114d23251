using Fabric.Migration.Fleet.Moves;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>When so much misbehaves that nothing is moved about by itself any more.</summary>
public sealed class BreakerTests
{
    private static readonly BreakerLimits Limits = new(0.5, TimeSpan.FromMinutes(5), Least: 2);
    private static readonly FleetSnapshot Well = Fleets.Of(Fleets.Host("alpha"), Fleets.Host("beta"), Fleets.Host("gamma"));

    [Fact]
    public void More_than_the_share_of_a_models_devices_trips_it() => Assert.Equal(
        "7 of 12 devices of model accelerator-vf began to misbehave within 300 s, more than 50 %",
        Look(new BreakerWatch(), Sick(4, 3, 0), at: 1).Why);

    [Fact]
    public void The_share_itself_does_not() => Assert.Null(Look(new BreakerWatch(), Sick(4, 2, 0), at: 1).Why);

    [Fact]
    public void More_than_the_share_of_the_hosts_trips_it() => Assert.Equal(
        "2 of 3 hosts began to misbehave within 300 s, more than 50 %", Look(new BreakerWatch(), Lost("alpha", "beta"), at: 1).Why);

    [Fact]
    public void Few_never_do_however_small_the_fabric() => Assert.Null(Look(new BreakerWatch(), Fleets.Of(Fleets.Host("alpha", 1).Sick(1)), at: 1).Why);

    [Fact]
    public void A_host_that_was_ended_in_good_order_has_not_misbehaved() => Assert.Null(
        Look(new BreakerWatch(), With(Well, static host => host with { Answers = false, Left = true }), at: 1).Why);

    [Fact]
    public void A_drained_host_that_goes_away_is_meant_to() => Assert.Null(
        Look(new BreakerWatch(), With(Well, static host => host with { Answers = false, DrainedBy = "ops" }), at: 1).Why);

    [Fact]
    public void What_began_before_the_window_does_not_count()
    {
        var (watch, _) = Look(new BreakerWatch(), Sick(4, 2, 0), at: 1);

        Assert.Null(Look(watch, Sick(4, 3, 0), at: 400_000).Why);
    }

    [Fact]
    public void What_was_well_again_counts_still_within_the_window()
    {
        var (watch, _) = Look(new BreakerWatch(), Sick(4, 2, 0), at: 1);
        (watch, _) = Look(watch, Well, at: 1000);

        Assert.NotNull(Look(watch, Sick(0, 0, 1), at: 2000).Why);
    }

    [Fact]
    public void What_a_person_knows_of_does_not_trip_it_again()
    {
        var (watch, _) = Look(new BreakerWatch(), Sick(4, 3, 0), at: 1);
        var reset = new BreakerReset { RequestedBy = "ops", At = 2 };
        reset.Acknowledged.AddRange(watch.Misbehaving);
        watch = BreakerWatch.After(MovesState.Empty.Apply(reset).Breaker);

        Assert.Null(Look(watch, Sick(4, 3, 0), at: 3).Why);
    }

    [Fact]
    public void What_was_well_after_the_reset_counts_anew()
    {
        var (watch, _) = Look(new BreakerWatch(), Sick(4, 3, 0), at: 1);
        var reset = new BreakerReset { RequestedBy = "ops", At = 2 };
        reset.Acknowledged.AddRange(watch.Misbehaving);
        (watch, _) = Look(BreakerWatch.After(MovesState.Empty.Apply(reset).Breaker), Well, at: 3);

        Assert.NotNull(Look(watch, Sick(4, 3, 0), at: 4).Why);
    }

    private static (BreakerWatch Watch, string? Why) Look(BreakerWatch watch, FleetSnapshot fleet, long at)
    {
        var looked = watch.Look(fleet, Limits, at + 1_000_000, out var why);
        return (looked, why);
    }

    private static FleetSnapshot Sick(int alpha, int beta, int gamma) =>
        Fleets.Of(Fleets.Host("alpha").Sick(alpha), Fleets.Host("beta").Sick(beta), Fleets.Host("gamma").Sick(gamma));

    private static FleetSnapshot Lost(params string[] names) => With(Well, host => host with { Answers = !names.Contains(host.Name) });

    private static FleetSnapshot With(FleetSnapshot fleet, Func<HostPlace, HostPlace> change) => fleet with { Hosts = [.. fleet.Hosts.Select(change)] };
}
