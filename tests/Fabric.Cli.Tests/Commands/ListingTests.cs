using System.Text.Json;

namespace Fabric.Cli.Tests.Commands;

public sealed class ListingTests
{
    [Fact]
    public async Task Hosts_are_a_table_of_a_line_each()
    {
        await using var server = new FakeServer().On("GET /api/v1/hosts", Sample.List(Sample.Host(), Sample.Host("host-b")));

        var result = await Cli.AtAsync(server, "host", "list");

        Assert.Equal(
            """
            HOST    STATE  ADDRESS         API                    VERSION  DEVICES  CLAIMABLE  FREE
            host-a  up     127.0.0.1:4001  http://127.0.0.1:5001  0.1.0          9          4     3
            host-b  up     127.0.0.1:4001  http://127.0.0.1:5001  0.1.0          9          4     3

            """,
            result.Out);
    }

    [Fact]
    public async Task Json_is_what_the_daemon_sent_members_we_do_not_know_included()
    {
        await using var server = new FakeServer().OnText(
            "GET /api/v1/hosts", 200, "application/json", """{"items":[{"name":"host-é","state":"up","rack":7}]}""");

        var result = await Cli.AtAsync(server, "host", "list", "-o", "json");

        using var document = JsonDocument.Parse(result.Out);
        Assert.Equal(7, document.RootElement.GetProperty("items")[0].GetProperty("rack").GetInt32());
        Assert.Contains("host-é", result.Out);
        Assert.Empty(result.Error);
    }

    [Fact]
    public async Task Real_functions_are_shown_as_read_only()
    {
        await using var server = new FakeServer().On("GET /api/v1/devices", Sample.List(Sample.RealDevice()));

        var result = await Cli.AtAsync(server, "device", "list");

        Assert.Contains("physical (read-only)", result.Lines[1]);
    }

    [Fact]
    public async Task Devices_can_be_those_of_one_host()
    {
        await using var server = new FakeServer().On("GET /api/v1/devices?host=host-b", Sample.List(Sample.Device("host-b")));

        var result = await Cli.AtAsync(server, "device", "list", "--host", "host-b");

        Assert.Contains("host-b/0000:3b:00.2", result.Out);
    }

    [Fact]
    public async Task A_device_is_shown_with_what_it_is()
    {
        await using var server = new FakeServer().On("GET /api/v1/devices/host-a/0000:3b:00.2", Sample.Device());

        var result = await Cli.AtAsync(server, "device", "show", "host-a/0000:3b:00.2");

        Assert.Contains("state size         64 MiB", result.Lines);
        Assert.DoesNotContain("reason", result.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("way back", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sick_device_is_shown_with_the_reason_and_the_way_back()
    {
        await using var server = new FakeServer().On("GET /api/v1/devices/host-a/0000:3b:00.2", Sample.SickDevice());

        var result = await Cli.AtAsync(server, "device", "show", "host-a/0000:3b:00.2");

        Assert.Contains("health             Unhealthy", result.Lines);
        Assert.Contains("reason             it hangs in reset by flr", result.Lines);
        Assert.Contains("way back           Wait until it comes back", result.Lines);
    }

    [Fact]
    public async Task A_sick_device_is_listed_with_the_reason_and_the_way_back()
    {
        await using var server = new FakeServer().On("GET /api/v1/devices", Sample.List(Sample.Device(), Sample.SickDevice()));

        var result = await Cli.AtAsync(server, "device", "list");

        Assert.EndsWith("MIGRATION  CLAIM  REASON                    WAY BACK", result.Lines[0], StringComparison.Ordinal);
        Assert.EndsWith("db-1   -                         -", result.Lines[1], StringComparison.Ordinal);
        Assert.EndsWith("it hangs in reset by flr  Wait until it comes back", result.Lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_list_says_so()
    {
        await using var server = new FakeServer().On("GET /api/v1/claims", Sample.List<Node.Api.ClaimResource>());

        var result = await Cli.AtAsync(server, "claim", "list");

        Assert.Equal("No claims.\n", result.Out);
    }

    [Fact]
    public async Task The_server_may_come_from_the_environment()
    {
        await using var server = new FakeServer().On("GET /api/v1/migrations?claim=db-1", Sample.List(Sample.Migration()));
        using var termination = new Termination();

        var result = await Cli.RunAsync(
            new Dictionary<string, string> { ["FABRIC_SERVER"] = server.Url }, termination, "migration", "list", "--claim", "db-1");

        Assert.Contains("pre-copy", result.Lines[1]);
    }
}
