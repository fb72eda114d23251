using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary><c>fabric device …</c> and <c>fabric sriov …</c>: what is sent, what is printed, what the shell is told.</summary>
public sealed class DeviceTests
{
    private const string Device = "host-a/0000:3b:00.2";
    private const string Path = $"/api/v1/devices/{Device}";

    /// <summary>A command line, and the request that it makes.</summary>
    public static TheoryData<string, string> Commands => new()
    {
        { $"device reset {Device}", $$"""POST {{Path}}/reset {}""" },
        { $"device reset {Device} --method flr", $$"""POST {{Path}}/reset {"method":"flr"}""" },
        { $"device reset-methods {Device} bus flr", $$"""PUT {{Path}}/reset-methods {"methods":["bus","flr"]}""" },
        { $"device reset-methods {Device} --none", $$"""PUT {{Path}}/reset-methods {"methods":[]}""" },
        { $"device quarantine {Device}", $$"""POST {{Path}}/quarantine {}""" },
        { $"device quarantine {Device} --reason smells", $$"""POST {{Path}}/quarantine {"reason":"smells"}""" },
        { $"device unquarantine {Device}", $"POST {Path}/unquarantine" },
        { $"device override {Device} acme-accel", $$"""PUT {{Path}}/driver-override {"driver":"acme-accel"}""" },
        { $"device override {Device} --clear", $"DELETE {Path}/driver-override" },
        { $"device bind {Device}", $$"""PUT {{Path}}/binding {"force":false,"group":false}""" },
        { $"device bind {Device} --force --group", $$"""PUT {{Path}}/binding {"force":true,"group":true}""" },
        { $"device unbind {Device}", $"DELETE {Path}/binding" },
        { $"device unbind {Device} --group", $"DELETE {Path}/binding?group=true" },
        { $"device remove {Device}", $$"""POST {{Path}}/remove {}""" },
        { $"device remove {Device} --force-after 0", $$"""POST {{Path}}/remove {"force_after_s":0}""" },
    };

    [Theory, MemberData(nameof(Commands))]
    public async Task A_command_is_one_request_and_says_what_came_of_it(string commandLine, string request)
    {
        await using var server = new FakeServer().On(string.Join(' ', request.Split(' ')[..2]), new OperationResource(Device, "done"));

        var result = await Cli.AtAsync(server, commandLine.Split(' '));

        Assert.Equal((0, "", $"device   {Device}\noutcome  done\n"), (result.ExitCode, result.Error, result.Out));
        Assert.Equal(request, Assert.Single(server.Requests));
    }

    [Theory]
    [InlineData("")]
    [InlineData(" acme-accel --clear")]
    public async Task An_override_is_a_driver_or_none(string rest)
    {
        await using var server = new FakeServer();

        var result = await Cli.AtAsync(server, $"device override {Device}{rest}".Split(' '));

        Assert.Equal(2, result.ExitCode);
        Assert.StartsWith("Name the driver, or give --clear.", result.Error, StringComparison.Ordinal);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public async Task A_device_shows_its_driver_why_it_has_it_and_who_was_passed_over()
    {
        await using var server = new FakeServer().On($"GET {Path}", Sample.Device() with
        {
            DriverOverride = "accelerator", DriverReason = "driver_override names accelerator",
            DriversPassedOver = [new PassedOverResource("acme-accel", "driver_override names accelerator")],
        });

        var result = await Cli.AtAsync(server, "device", "show", Device);

        Assert.Contains("chosen because     driver_override names accelerator", result.Lines);
        Assert.Contains("driver override    accelerator", result.Lines);
        Assert.Contains("acme-accel  driver_override names accelerator", result.Lines);
    }

    [Fact]
    public async Task Who_asks_is_said_in_letters_that_a_header_takes()
    {
        await using var server = new FakeServer().On($"POST {Path}/unquarantine", new OperationResource(Device, "done"));

        await Cli.AtAsync(server, "device", "unquarantine", Device);

        Assert.Equal("_p_@desk", Assert.Single(server.Requesters));
    }

    [Fact]
    public async Task A_removal_that_waits_says_for_whom_and_ends_with_4()
    {
        const string Sentence = "host-a/0000:3b:00.2 is held by claim db-1. The removal goes on; it ends when it is released.";
        await using var server = new FakeServer().On($"POST {Path}/remove", new OperationResource(Device, "waiting", "claim db-1", Sentence), 202);

        var result = await Cli.AtAsync(server, "device", "remove", Device);

        Assert.Equal((4, Sentence + "\n"), (result.ExitCode, result.Error));
        Assert.Contains("holder   claim db-1", result.Lines);
    }

    [Theory]
    [InlineData(422, ProblemCode.DeviceRefused, 1)]
    [InlineData(502, ProblemCode.DeviceFailed, 1)]
    [InlineData(409, ProblemCode.Conflict, 1)]
    [InlineData(504, ProblemCode.Timeout, 4)]
    public async Task What_the_device_refuses_is_told_in_its_sentence(int status, string code, int exitCode)
    {
        await using var server = new FakeServer().On(
            $"POST {Path}/reset", Sample.Problem(status, code, "It hangs still; wait.") with { Errno = "EBUSY" });

        var result = await Cli.AtAsync(server, "device", "reset", Device);

        Assert.Equal((exitCode, "It hangs still; wait.\n", ""), (result.ExitCode, result.Error, result.Out));
    }

    [Fact]
    public async Task A_history_is_a_table_newest_last()
    {
        await using var server = new FakeServer().On($"GET {Path}/history?limit=2", Sample.List(
            new DeviceEventResource(Sample.Noon, "opened", "by claim db-1"),
            new DeviceEventResource(Sample.Noon.AddSeconds(1), "quarantined", "it smells (by ops)")));

        var result = await Cli.AtAsync(server, "device", "history", Device, "--limit", "2");

        Assert.StartsWith("TIME", result.Lines[0], StringComparison.Ordinal);
        Assert.EndsWith("opened       by claim db-1", result.Lines[1], StringComparison.Ordinal);
        Assert.EndsWith("quarantined  it smells (by ops)", result.Lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_to_which_nothing_has_happened_says_so()
    {
        await using var server = new FakeServer().On($"GET {Path}/history", Sample.List<DeviceEventResource>());

        Assert.Equal("Nothing has happened to it.\n", (await Cli.AtAsync(server, "device", "history", Device)).Out);
    }

    [Fact]
    public async Task What_is_inspected_is_printed_as_a_tree()
    {
        await using var server = new FakeServer().On($"GET {Path}/inspect", Tree);

        var result = await Cli.AtAsync(server, "device", "inspect", Device);

        Assert.Equal("device\n  supervisor\n    state: Open\n  driver: none\n", result.Out);
    }

    [Fact]
    public async Task What_is_inspected_is_nested_in_JSON()
    {
        await using var server = new FakeServer().On($"GET {Path}/inspect", Tree);

        var result = await Cli.AtAsync(server, "device", "inspect", Device, "-o", "json");

        using var document = JsonDocument.Parse(result.Out);
        Assert.Equal("Open", document.RootElement.GetProperty("children")[0].GetProperty("children")[0].GetProperty("value").GetString());
    }

    [Theory]
    [InlineData(2, "0000:3b:00.3, 0000:3b:00.4")]
    [InlineData(0, "none")]
    public async Task VFs_that_were_made_are_named(int count, string named)
    {
        await using var server = new FakeServer().On(
            $"PUT {Path}/sriov", new SriovResource(Device, [.. ((string[])["0000:3b:00.3", "0000:3b:00.4"]).Take(count)]));

        var result = await Cli.AtAsync(server, "sriov", "set", Device, $"{count}");

        Assert.Equal((0, $"virtual functions  {named}"), (result.ExitCode, result.Lines[^1]));
        Assert.Equal($$"""PUT {{Path}}/sriov {"count":{{count}}}""", Assert.Single(server.Requests));
    }

    private static InspectResource Tree => new(
        "device", null,
        [new InspectResource("supervisor", null, [new InspectResource("state", "Open", [])]), new InspectResource("driver", "none", [])]);
}
