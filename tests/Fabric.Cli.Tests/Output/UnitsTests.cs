using Fabric.Cli.Output;

namespace Fabric.Cli.Tests.Output;

public sealed class UnitsTests
{
    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(1536, "1.5 KiB")]
    [InlineData(64 << 20, "64 MiB")]
    [InlineData(1L << 30, "1 GiB")]
    public void Bytes_are_in_the_largest_unit_below_them(long bytes, string text) => Assert.Equal(text, Units.Bytes(bytes));

    [Theory]
    [InlineData(0.25, "0.25 ms")]
    [InlineData(41.24, "41.2 ms")]
    [InlineData(300, "300 ms")]
    [InlineData(4200, "4.20 s")]
    [InlineData(12_340, "12.3 s")]
    public void Times_have_three_digits_that_matter(double milliseconds, string text) => Assert.Equal(text, Units.Time(milliseconds));
}
