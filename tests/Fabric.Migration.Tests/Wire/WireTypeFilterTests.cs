using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

public sealed class WireTypeFilterTests
{
    private readonly WireTypeFilter filter = new(Samples.Contract);

    [Fact]
    public void A_listed_type_is_allowed_by_the_name_the_writer_asks_with() =>
        Assert.True(filter.IsAllowed(typeof(Simple).AssemblyQualifiedName!));

    [Theory]
    [InlineData("Fabric.Migration.Tests.Wire.Simple, Fabric.Migration.Tests")]
    [InlineData("Fabric.Migration.Tests.Wire.Part[], Fabric.Migration.Tests")]
    [InlineData("System.TimeSpan, System.Private.CoreLib,%core%")]
    public void A_listed_type_is_allowed_by_the_short_name_the_reader_asks_with(string name) => Assert.True(filter.IsAllowed(name));

    [Theory]
    [InlineData("Fabric.Migration.Tests.Wire.Stranger, Fabric.Migration.Tests")]
    [InlineData("System.Diagnostics.Process, System.Diagnostics.Process")]
    [InlineData("Fabric.Migration.Tests.Wire.Simple, Elsewhere")]
    public void An_unlisted_type_is_not_allowed(string name) => Assert.False(filter.IsAllowed(name));
}
