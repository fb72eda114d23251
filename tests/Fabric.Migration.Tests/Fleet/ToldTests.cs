using Fabric.Migration.Fleet;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>Portions put together.</summary>
public sealed class ToldTests
{
    private static readonly Guid Life = Guid.NewGuid();
    private readonly Told<string> told = new(string.Concat);

    [Fact]
    public void What_has_come_in_part_is_not_shown()
    {
        Take("whole", version: 1);
        Take("new ", version: 2, portion: 0, portions: 2);

        Assert.Equal("whole", told.Whole);
    }

    [Fact]
    public void Portions_are_put_together_in_their_order_whichever_comes_first()
    {
        Take("versions", version: 1, portion: 1, portions: 2);
        Take("two ", version: 1, portion: 0, portions: 2);

        Assert.Equal("two versions", told.Whole);
    }

    [Fact]
    public void A_portion_that_comes_twice_does_not_stand_for_another()
    {
        Take("a", version: 1, portion: 0, portions: 2);
        Take("a", version: 1, portion: 0, portions: 2);

        Assert.Null(told.Whole);
    }

    [Fact]
    public void Portions_of_two_versions_are_never_mixed()
    {
        Take("old ", version: 1, portion: 0, portions: 2);
        Take("new ", version: 2, portion: 0, portions: 2);
        Take("one", version: 1, portion: 1, portions: 2);
        Assert.Null(told.Whole);

        Take("one", version: 2, portion: 1, portions: 2);
        Assert.Equal("new one", told.Whole);
    }

    [Fact]
    public void An_older_version_does_not_come_back()
    {
        Take("new", version: 2);
        Take("old", version: 1);

        Assert.Equal("new", told.Whole);
    }

    [Fact]
    public void A_new_life_counts_anew()
    {
        Take("before", version: 9);
        Take("after", version: 1, life: Guid.NewGuid());

        Assert.Equal("after", told.Whole);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(-1, 1)]
    [InlineData(1, 1)]
    [InlineData(0, int.MaxValue)]
    public void A_portion_that_cannot_be_is_thrown_away(int portion, int portions)
    {
        Take("whole", version: 1);
        Take("what", version: 2, portion, portions);

        Assert.Equal("whole", told.Whole);
    }

    private void Take(string part, long version, int portion = 0, int portions = 1, Guid? life = null) =>
        told.Take(new Telling(life ?? Life, version, portion, portions, part.Length), part);
}
