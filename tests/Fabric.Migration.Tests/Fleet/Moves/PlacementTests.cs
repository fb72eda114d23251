using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>Where a claim may be, and what is said where it may not.</summary>
public sealed class PlacementTests
{
    private static readonly PlacementNeeds Needs = new("c1", [Fleets.Model], [], null);

    [Fact]
    public void Hosts_with_more_room_come_first_and_equals_by_name() => Assert.Equal(
        ["beta", "alpha", "gamma"],
        Placement.Rank(Fleets.Of(Fleets.Host("gamma", 2), Fleets.Host("alpha", 2), Fleets.Host("beta", 3)), Needs));

    [Fact]
    public void Claims_that_move_at_once_do_not_begin_with_the_same_of_equal_hosts() => Assert.Equal(
        ["beta", "gamma", "alpha"],
        Placement.Rank(Fleets.Of(Fleets.Host("gamma"), Fleets.Host("alpha"), Fleets.Host("beta")), Needs, spread: 4));

    [Fact]
    public void A_drained_host_is_none() => Assert.Equal(
        "Host alpha is drained, as ops asked; undrain it, or choose another.",
        WhyNot(Fleets.Of(Fleets.Host("alpha") with { DrainedBy = "ops" })));

    [Fact]
    public void A_host_that_does_not_answer_is_none() => Assert.Equal(
        "Host alpha does not answer; wait until it does, or choose another.", WhyNot(Fleets.Of(Fleets.Host("alpha") with { Answers = false })));

    [Fact]
    public void A_host_without_a_label_that_the_claim_selects_is_none() => Assert.Equal(
        "Host alpha has not the label zone=b that the claim selects; label it in its settings (node.labels), or choose another.",
        WhyNot(Fleets.Of(Fleets.Host("alpha") with { Labels = ["zone=a", "rack=r7"] }), Needs with { Select = ["rack=r7", "zone=b"] }));

    [Fact]
    public void A_host_that_has_one_of_the_group_is_none() => Assert.Equal(
        "Host alpha has claim c2 of the group db, whose claims keep apart; choose another host.",
        WhyNot(Fleets.Of(Fleets.Host("alpha"), Fleets.Claim("c2", "alpha") with { ApartFrom = "db" }), Needs with { ApartFrom = "db" }));

    [Fact]
    public void A_host_to_which_one_of_the_group_is_on_its_way_is_none() => Assert.NotNull(WhyNot(
        Fleets.Of(Fleets.Host("alpha"), Fleets.Claim("c2", "beta", ClaimPhase.Migrating) with { ApartFrom = "db", MovesTo = "alpha" }),
        Needs with { ApartFrom = "db" }));

    [Fact]
    public void One_of_the_group_that_was_released_is_in_nobodys_way() => Assert.Null(WhyNot(
        Fleets.Of(Fleets.Host("alpha"), Fleets.Claim("c2", "alpha", ClaimPhase.Released) with { ApartFrom = "db" }), Needs with { ApartFrom = "db" }));

    [Fact]
    public void A_claim_is_not_in_its_own_way() => Assert.Null(WhyNot(
        Fleets.Of(Fleets.Host("alpha"), Fleets.Claim("c1", "alpha") with { ApartFrom = "db" }), Needs with { ApartFrom = "db" }));

    [Theory]
    [InlineData("zone=a", true)]
    [InlineData("zone", false)]
    [InlineData("zone=a=b", false)]
    [InlineData("=a", false)]
    [InlineData("zone=a\n", false)]
    public void A_label_is_a_key_and_a_value(string text, bool isOne) => Assert.Equal(isOne, PlacementWords.IsLabel(text));

    private static string? WhyNot(FleetSnapshot fleet, PlacementNeeds? needs = null) => Placement.WhyNot(fleet, needs ?? Needs, "alpha");
}
