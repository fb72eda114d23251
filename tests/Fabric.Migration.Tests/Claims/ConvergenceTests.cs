using Fabric.Migration.Claims;

namespace Fabric.Migration.Tests.Claims;

public sealed class ConvergenceTests
{
    [Fact]
    public void Five_fruitless_rounds_over_five_seconds_are_no_convergence()
    {
        Assert.True(After(secondsEach: 1, 100, 100, 100, 100, 100, 100).IsMissing);
    }

    [Fact]
    public void Four_fruitless_rounds_are_not_enough()
    {
        Assert.False(After(secondsEach: 9, 100, 100, 100, 100, 100).IsMissing);
    }

    [Fact]
    public void A_workload_that_changes_much_for_a_moment_is_given_five_seconds()
    {
        Assert.False(After(secondsEach: 0.9, 100, 100, 100, 100, 100, 100).IsMissing);
    }

    [Fact]
    public void A_round_that_makes_it_a_tenth_shorter_begins_anew()
    {
        Assert.Equal((false, 0, 90), Shown(After(secondsEach: 2, 100, 100, 100, 100, 100, 90)));
    }

    [Fact]
    public void A_round_that_makes_it_less_than_a_tenth_shorter_is_fruitless()
    {
        Assert.Equal((true, 5, 100), Shown(After(secondsEach: 2, 100, 100, 100, 100, 100, 91)));
    }

    [Fact]
    public void Getting_worse_and_back_again_is_fruitless()
    {
        Assert.True(After(secondsEach: 2, 100, 500, 100, 500, 100, 500).IsMissing);
    }

    [Fact]
    public void One_round_that_is_told_of_many_times_is_one()
    {
        var told = Enumerable.Repeat(2, 20).Aggregate(
            After(secondsEach: 2, 100), static (now, round) => now.After(round, 100, TimeSpan.FromMinutes(1)));

        Assert.Equal((false, 1, 100), Shown(told));
    }

    private static Convergence After(double secondsEach, params double[] predictions) => predictions.Index().Aggregate(
        Convergence.Unknown, (now, next) => now.After(next.Index + 1, next.Item, TimeSpan.FromSeconds(next.Index * secondsEach)));

    private static (bool IsMissing, int Fruitless, double ShortestMs) Shown(Convergence now) => (now.IsMissing, now.Fruitless, now.ShortestMs);
}
