using Fabric.Pci.Recovery;

namespace Fabric.Pci.Tests.Recovery;

public sealed class VoteMergeTests
{
    private static readonly RecoveryVote[] Votes = Enum.GetValues<RecoveryVote>();

    public static IEnumerable<TheoryDataRow<RecoveryVote, RecoveryVote, RecoveryVote>> KernelRows() => Rows(column: 5);

    public static IEnumerable<TheoryDataRow<RecoveryVote, RecoveryVote, RecoveryVote>> EehRows() => Rows(column: 7);

    [Fact]
    public void The_table_has_all_36_pairs_of_votes() =>
        Assert.Equal(36, KernelRows().Select(row => (row.Data.Item1, row.Data.Item2)).Distinct().Count());

    [Theory]
    [MemberData(nameof(KernelRows))]
    public void Merge_gives_the_kernel_column_of_the_table(RecoveryVote orig, RecoveryVote vote, RecoveryVote expected) =>
        Assert.Equal(expected, VoteMerge.Merge(orig, vote));

    [Theory]
    [MemberData(nameof(EehRows))]
    public void MergeEeh_gives_the_EEH_column_of_the_table(RecoveryVote orig, RecoveryVote vote, RecoveryVote expected) =>
        Assert.Equal(expected, VoteMerge.MergeEeh(orig, vote));

    [Fact]
    public void The_votes_have_the_names_and_numbers_of_the_table() =>
        Assert.All(Contract(), row => Assert.Equal(int.Parse(row[3]), (int)Named(row[0])));

    [Fact]
    public void Merge_depends_on_the_order_of_CanRecover_and_Recovered_ER_20()
    {
        Assert.Equal(RecoveryVote.Recovered, VoteMerge.Merge(RecoveryVote.CanRecover, RecoveryVote.Recovered));
        Assert.Equal(RecoveryVote.CanRecover, VoteMerge.Merge(RecoveryVote.Recovered, RecoveryVote.CanRecover));
    }

    [Fact]
    public void MergeEeh_does_not_depend_on_order_ER_21() =>
        Assert.All(Pairs(), pair => Assert.Equal(VoteMerge.MergeEeh(pair.A, pair.B), VoteMerge.MergeEeh(pair.B, pair.A)));

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(-1)]
    public void A_number_that_is_no_vote_is_refused_on_either_side(int number)
    {
        var bad = (RecoveryVote)number;
        Assert.Throws<ArgumentOutOfRangeException>(() => VoteMerge.Merge(bad, RecoveryVote.None));
        Assert.Throws<ArgumentOutOfRangeException>(() => VoteMerge.Merge(RecoveryVote.None, bad));
        Assert.Throws<ArgumentOutOfRangeException>(() => VoteMerge.MergeEeh(bad, RecoveryVote.None));
        Assert.Throws<ArgumentOutOfRangeException>(() => VoteMerge.MergeEeh(RecoveryVote.None, bad));
    }

    private static IEnumerable<(RecoveryVote A, RecoveryVote B)> Pairs() => from a in Votes from b in Votes select (a, b);

    private static IEnumerable<TheoryDataRow<RecoveryVote, RecoveryVote, RecoveryVote>> Rows(int column) =>
        from row in Contract()
        select new TheoryDataRow<RecoveryVote, RecoveryVote, RecoveryVote>(
            (RecoveryVote)int.Parse(row[3]), (RecoveryVote)int.Parse(row[4]), (RecoveryVote)int.Parse(row[column]));

    private static IEnumerable<string[]> Contract() =>
        File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Contract", "ers-merge.tsv")).Skip(1).Select(line => line.Split('\t'));

    private static RecoveryVote Named(string kernelName) =>
        Enum.Parse<RecoveryVote>(kernelName.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
}
