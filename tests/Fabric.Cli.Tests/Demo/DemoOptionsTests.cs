using System.Text.Json;
using Fabric.Cli.Demo;

namespace Fabric.Cli.Tests.Demo;

public sealed class DemoOptionsTests
{
    [Theory]
    [InlineData("64MiB", 64L << 20, "64MiB")]
    [InlineData("1G", 1L << 30, "1GiB")]
    [InlineData("1536 kib", 1536 << 10, "1536KiB")]
    [InlineData("256KiB", 256L << 10, "256KiB")]
    [InlineData("32GiB", 32L << 30, "32GiB")]
    public void A_size_is_read_and_written_in_binary_units(string text, long bytes, string written)
    {
        Assert.True(ByteSize.TryParse(text, out var size));
        Assert.Equal((bytes, written), (size.Bytes, size.ToString()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("64")]
    [InlineData("-1MiB")]
    [InlineData("1KiB")]
    [InlineData("0MiB")]
    [InlineData("300KiB")]
    [InlineData("33GiB")]
    [InlineData("999999999GiB")]
    [InlineData("64MB/s")]
    public void What_is_no_size_or_out_of_bounds_is_refused(string text) => Assert.False(ByteSize.TryParse(text, out _));

    [Theory]
    [InlineData(4, 8)]
    [InlineData(64, 16)]
    [InlineData(1024, 256)]
    public void A_pre_copy_to_be_killed_is_slowed_to_some_four_seconds(int mebibytes, int rate) =>
        Assert.Equal(rate, new DemoOptions(new ByteSize((long)mebibytes << 20), null, null, 300, "", false).ThrottleMibPerSecond);

    [Fact]
    public void Claims_of_two_demos_on_one_postgresql_have_different_names() =>
        Assert.NotEqual(
            new DemoOptions(new ByteSize(1 << 20), "Host=x", null, 300, "", false).Claim,
            new DemoOptions(new ByteSize(1 << 20), "Host=x", null, 300, "", false).Claim);

    [Fact]
    public void A_daemon_is_configured_as_it_reads_it()
    {
        var json = JsonElement.Parse(new DaemonConfiguration(
            "host-a", "host", "/tmp/x/data", ["127.0.0.1:4001"], 0, "http://127.0.0.1:0", "", "64MiB").ToJson());

        Assert.Equal("host-a", json.GetProperty("node").GetProperty("name").GetString());
        Assert.Equal("host", json.GetProperty("node").GetProperty("roles")[0].GetString());
        Assert.Equal("/tmp/x/data", json.GetProperty("node").GetProperty("dataDirectory").GetString());
        Assert.Equal("127.0.0.1:4001", json.GetProperty("cluster").GetProperty("seeds")[0].GetString());
        Assert.Equal(0, json.GetProperty("cluster").GetProperty("port").GetInt32());
        Assert.Equal("http://127.0.0.1:0", json.GetProperty("api").GetProperty("url").GetString());
        Assert.Equal(0, json.GetProperty("dataPlane").GetProperty("port").GetInt32());
        Assert.Equal("", json.GetProperty("journal").GetProperty("connection").GetString());
        Assert.Equal("64MiB", json.GetProperty("hardware").GetProperty("emulated").GetProperty("stateSize").GetString());
        Assert.True(json.GetProperty("hardware").GetProperty("linux").GetProperty("enabled").GetBoolean());
    }
}
