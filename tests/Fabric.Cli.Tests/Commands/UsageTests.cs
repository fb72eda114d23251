namespace Fabric.Cli.Tests.Commands;

public sealed class UsageTests
{
    [Theory]
    [InlineData("")]
    [InlineData("host")]
    [InlineData("hots list")]
    [InlineData("host list --bogus")]
    [InlineData("host list -o xml")]
    [InlineData("host list --server nowhere")]
    [InlineData("host list --server ftp://127.0.0.1")]
    [InlineData("device show host-a")]
    [InlineData("device show host-a/3b:00")]
    [InlineData("device history host-a/0000:3b:00.2 --limit 0")]
    [InlineData("device history host-a/0000:3b:00.2 --limit many")]
    [InlineData("device inspect 0000:3b:00.2")]
    [InlineData("device reset")]
    [InlineData("device reset-methods host-a/0000:3b:00.2")]
    [InlineData("device reset-methods host-a/0000:3b:00.2 flr --none")]
    [InlineData("device remove host-a/0000:3b:00.2 --force-after -1")]
    [InlineData("sriov set host-a/0000:3b:00.0")]
    [InlineData("sriov set host-a/0000:3b:00.0 all")]
    [InlineData("sriov set host-a/0000:3b:00.0 65536")]
    [InlineData("mdev list")]
    [InlineData("mdev define host-a mtty")]
    [InlineData("mdev define host-a mtty mtty-1 --uuid 7")]
    [InlineData("mdev start host-a")]
    [InlineData("mdev start host-a/fabd:35:14.0")]
    [InlineData("mdev stop 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")]
    [InlineData("mdev stop host-a/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 --force-after -1")]
    [InlineData("inject aer host-a/0000:3b:00.2")]
    [InlineData("inject aer host-a/0000:3b:00.2 --severity mild")]
    [InlineData("inject hang host-a/0000:3b:00.2 --at middle")]
    [InlineData("inject hang host-a/0000:3b:00.2 --at reset --release")]
    [InlineData("inject flap host-a/0000:3b:00.2 --times 0")]
    [InlineData("inject fire host-a/0000:3b:00.2")]
    [InlineData("claim create")]
    [InlineData("claim create db-1 --memory-mib many")]
    [InlineData("claim create db-1 --memory-mib 0")]
    [InlineData("claim create db-1 --device 0000:3b:00.2")]
    [InlineData("claim create db-1 --device mlx5@3b --host host-a")]
    [InlineData("claim create db-1 --device mlx5 --device mlx5@0000:3b:00.2")]
    [InlineData("migrate db-1 --to host-b --on-no-convergence pray")]
    [InlineData("claim create db-1 --on-device-failure pray")]
    [InlineData("claim create db-1 --on-host-loss pray")]
    [InlineData("migrate db-1")]
    [InlineData("migrate db-1 --to host-b --bandwidth-mib -1")]
    [InlineData("demo --state-size huge")]
    public async Task Misuse_ends_with_2_and_says_why_on_standard_error_alone(string commandLine)
    {
        var result = await Cli.RunAsync(commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries));

        Assert.Equal(2, result.ExitCode);
        Assert.Empty(result.Out);
        Assert.Contains("--help'.", result.Error);
    }

    [Fact]
    public async Task A_bad_value_is_named_with_what_to_write_instead()
    {
        var result = await Cli.RunAsync("device", "show", "host-a/3b");

        Assert.Equal(
            "'host-a/3b' is no device: write HOST/ADDRESS, such as host-a/0000:3b:00.2.\nSee 'fabric device show --help'.\n", result.Error);
    }

    [Theory]
    [InlineData("many", "--downtime-ms is 'many'; write a whole number from 1 to 2147483647.")]
    [InlineData("99999999999", "--downtime-ms is '99999999999'; write a whole number from 1 to 2147483647.")]
    [InlineData("0", "--downtime-ms is 0; the least is 1.")]
    public async Task A_count_that_is_none_is_named_with_what_to_write(string value, string sentence)
    {
        var result = await Cli.RunAsync("migrate", "db-1", "--to", "host-b", "--downtime-ms", value);

        Assert.Equal($"{sentence}\nSee 'fabric migrate --help'.\n", result.Error);
    }

    [Fact]
    public async Task A_noun_alone_names_its_verbs()
    {
        var result = await Cli.RunAsync("device");

        Assert.StartsWith(
            "'fabric device' needs a command: list, show, history, inspect, reset, reset-methods, quarantine, unquarantine, override, remove, bind, unbind.",
            result.Error);
    }

    [Fact]
    public async Task A_server_that_is_no_address_is_blamed_on_the_variable_it_came_from()
    {
        var result = await Cli.RunAsync(new Dictionary<string, string> { ["FABRIC_SERVER"] = "here" }, new Asked(), "host", "list");

        Assert.Equal(2, result.ExitCode);
        Assert.StartsWith("FABRIC_SERVER is 'here'", result.Error);
    }

    [Theory]
    [InlineData("pci_0000_3b_00_2")]
    [InlineData("0000:3B:00.2")]
    public async Task Other_spellings_of_an_address_are_taken(string address)
    {
        await using var server = new FakeServer().On("GET /api/v1/devices/host-a/0000:3b:00.2", Sample.Device());

        var result = await Cli.AtAsync(server, "device", "show", $"host-a/{address}");

        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task Help_is_no_error()
    {
        var result = await Cli.RunAsync("migrate", "--help");

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("--downtime-ms", result.Out);
    }

    private sealed class Asked : ITermination
    {
        public CancellationToken Token => TestContext.Current.CancellationToken;

        public int ExitCode => -1;
    }
}
