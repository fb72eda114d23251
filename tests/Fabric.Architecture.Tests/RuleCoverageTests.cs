namespace Fabric.Architecture.Tests;

public sealed class RuleCoverageTests
{
    private static readonly HashSet<string> Cited = [.. Repository.Tests.SelectMany(source => RuleCoverage.CitedBy(source.Text))];

    /// <summary>What fails here lists the rules that want a test, or a reason in exceptions.tsv.</summary>
    [Fact]
    public void Every_rule_of_the_contract_is_proven_by_a_test_or_excepted_with_a_reason() =>
        Assert.Equal("", string.Join(' ', RuleCoverage.Unproven(Cited)));

    [Fact]
    public void No_rule_is_excepted_that_a_test_proves() => Assert.Equal([], RuleCoverage.Stale(Cited));

    [Fact]
    public void Every_exception_has_its_reason() => Assert.All(RuleCoverage.Exceptions, exception => Assert.True(exception.Value.Length > 20, exception.Key));

    [Fact]
    public void A_test_cites_rules_that_there_are() => Assert.Equal([], Cited.Except(RuleCoverage.Rules).Order());

    [Fact]
    public void A_name_cites_each_of_its_rules() =>
        Assert.Equal(["IO-10", "CF-2", "VD-MLX-3"], RuleCoverage.CitedBy($"    public async Task It_works{"_IO_10_CF_2_VD_MLX_3"}()"));

    [Fact]
    public void A_call_cites_nothing() => Assert.Empty(RuleCoverage.CitedBy("        It_works_IO_10();"));

    [Fact]
    public void A_rule_without_a_test_is_seen() => Assert.Contains("LC-20", RuleCoverage.Unproven(new HashSet<string>()));
}
