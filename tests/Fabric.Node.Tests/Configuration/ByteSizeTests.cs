using Fabric.Node.Configuration;

namespace Fabric.Node.Tests.Configuration;

public sealed class ByteSizeTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("4096", 4096)]
    [InlineData("7B", 7)]
    [InlineData("3KiB", 3L << 10)]
    [InlineData("64MiB", 64L << 20)]
    [InlineData("64 mib", 64L << 20)]
    [InlineData("8589934591GiB", 8589934591L << 30)]
    public void A_size_reads_as_its_bytes(string text, long bytes)
    {
        Assert.True(ByteSize.TryParse(text, out var read));
        Assert.Equal(bytes, read);
    }

    [Theory]
    [InlineData("")]
    [InlineData("MiB")]
    [InlineData("-1MiB")]
    [InlineData("+1MiB")]
    [InlineData("1.5GiB")]
    [InlineData("1,024")]
    [InlineData("64MB")]
    [InlineData("64 M iB")]
    [InlineData("1MiBMiB")]
    [InlineData("8589934592GiB")]
    [InlineData("9223372036854775808")]
    public void What_is_no_size_or_does_not_fit_is_refused(string text) => Assert.False(ByteSize.TryParse(text, out _));
}
