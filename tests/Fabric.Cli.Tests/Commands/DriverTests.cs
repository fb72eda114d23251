using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary><c>fabric driver …</c></summary>
public sealed class DriverTests
{
    private static readonly DriverResource Accelerator = new("host-a", "accelerator", null, null, "loaded", null, ["1b36:fab1"], "accelerator-vf", 0, null, 4);

    private static readonly DriverResource Acme =
        new("host-a", "acme-accel", "acme", "1.0.0.0", "loaded", null, ["1d0f:efa1", "vfio_pci:1d0f:*"], null, 10, "accelerator", 2);

    private static readonly DriverResource Broken =
        new("host-a", null, "broken", null, "refused", "It is not a .NET assembly: Unknown file format.", [], null, 0, null, 0);

    [Fact]
    public async Task A_list_shows_each_driver_of_each_host_that_answers_and_why_a_plugin_is_refused()
    {
        await using var server = new FakeServer()
            .On("GET /api/v1/hosts", Sample.List(Sample.Host(), Sample.Host("host-b"), Sample.Host("host-c") with { State = "down" }))
            .On("GET /api/v1/hosts/host-a/drivers", Sample.List(Accelerator, Acme, Broken))
            .On("GET /api/v1/hosts/host-b/drivers", Sample.List(Accelerator with { Host = "host-b" }));

        var result = await Cli.AtAsync(server, "driver", "list");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(
            [
                "HOST DRIVER FROM STATE MATCHES MODEL PRIORITY IN FRONT OF DEVICES REASON",
                "host-a accelerator the box loaded 1b36:fab1 accelerator-vf 0 - 4 -",
                "host-a acme-accel plugin acme 1.0.0.0 loaded 1d0f:efa1 vfio_pci:1d0f:* - 10 accelerator 2 -",
                "host-a - plugin broken refused - - 0 - 0 It is not a .NET assembly: Unknown file format.",
                "host-b accelerator the box loaded 1b36:fab1 accelerator-vf 0 - 4 -",
            ],
            result.Lines.Where(static line => line.Length > 0).Select(static line => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries))));
    }

    [Fact]
    public async Task As_JSON_the_lists_of_all_hosts_are_one()
    {
        await using var server = new FakeServer()
            .On("GET /api/v1/hosts", Sample.List(Sample.Host(), Sample.Host("host-b")))
            .On("GET /api/v1/hosts/host-a/drivers", Sample.List(Accelerator, Acme))
            .On("GET /api/v1/hosts/host-b/drivers", Sample.List(Accelerator with { Host = "host-b" }));

        var result = await Cli.AtAsync(server, "driver", "list", "-o", "json");

        using var document = JsonDocument.Parse(result.Out);
        Assert.Equal(
            ["host-a/accelerator", "host-a/acme-accel", "host-b/accelerator"],
            document.RootElement.GetProperty("items").EnumerateArray()
                .Select(static item => $"{item.GetProperty("host").GetString()}/{item.GetProperty("name").GetString()}"));
    }

    [Theory]
    [InlineData("driver load", """POST /api/v1/hosts/host-a/drivers/load {}""")]
    [InlineData("driver load acme", """POST /api/v1/hosts/host-a/drivers/load {"plugin":"acme"}""")]
    public async Task Loading_is_one_request_to_the_only_host_and_shows_what_there_is_then(string commandLine, string request)
    {
        await using var server = new FakeServer()
            .On("GET /api/v1/hosts", Sample.List(Sample.Host()))
            .On("POST /api/v1/hosts/host-a/drivers/load", Sample.List(Acme));

        var result = await Cli.AtAsync(server, commandLine.Split(' '));

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(["GET /api/v1/hosts", request], server.Requests);
        Assert.Contains("acme-accel", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unloading_is_one_request_to_the_host_that_is_named()
    {
        await using var server = new FakeServer()
            .On("POST /api/v1/hosts/host-b/drivers/acme-accel/unload", new OperationResource("host-b/acme-accel", "done"));

        var result = await Cli.AtAsync(server, "driver", "unload", "acme-accel", "--host", "host-b");

        Assert.Equal((0, "device   host-b/acme-accel\noutcome  done\n"), (result.ExitCode, result.Out));
    }

    [Fact]
    public async Task With_several_hosts_the_one_has_to_be_named()
    {
        await using var server = new FakeServer().On("GET /api/v1/hosts", Sample.List(Sample.Host(), Sample.Host("host-b")));

        var result = await Cli.AtAsync(server, "driver", "unload", "acme-accel");

        Assert.Equal((2, "There are 2 hosts (host-a, host-b); say which with --host.\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task A_driver_in_use_says_by_whom_and_ends_with_1()
    {
        const string Sentence = "0000:3b:00.2 has driver acme-accel and is held by claim db-1; release it first.";
        await using var server = new FakeServer()
            .On("POST /api/v1/hosts/host-a/drivers/acme-accel/unload", Sample.Problem(409, ProblemCode.Conflict, Sentence));

        var result = await Cli.AtAsync(server, "driver", "unload", "acme-accel", "--host", "host-a");

        Assert.Equal((1, Sentence + "\n"), (result.ExitCode, result.Error));
    }
}
