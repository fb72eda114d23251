using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary><c>fabric mdev …</c>: what is sent, what is printed, what the shell is told.</summary>
public sealed class MdevTests
{
    private const string Uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
    private const string Mdev = $"host-a/{Uuid}";
    private const string Path = "/api/v1/hosts/host-a/mdev";

    private static MdevResource Started { get; } = new(Mdev, "host-a", Uuid, "mtty", "mtty-2", "auto", "started", "host-a/fabd:35:14.0", null);

    /// <summary>A command line, and the request that it makes.</summary>
    public static TheoryData<string, string> Commands => new()
    {
        { "mdev define host-a mtty mtty-2", $$"""POST {{Path}} {"parent":"mtty","type":"mtty-2","start":"manual"}""" },
        {
            $"mdev define host-a mtty mtty-2 --uuid {Uuid} --auto",
            $$"""POST {{Path}} {"parent":"mtty","type":"mtty-2","uuid":"{{Uuid}}","start":"auto"}"""
        },
        { $"mdev start {Mdev}", $"POST {Path}/{Uuid}/start" },
        { $"mdev start host-a/{Uuid.ToUpperInvariant()}", $"POST {Path}/{Uuid}/start" },
    };

    [Theory, MemberData(nameof(Commands))]
    public async Task A_command_is_one_request_and_shows_what_became_of_it(string commandLine, string request)
    {
        await using var server = new FakeServer().On(string.Join(' ', request.Split(' ')[..2]), Started);

        var result = await Cli.AtAsync(server, commandLine.Split(' '));

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal(request, Assert.Single(server.Requests));
        Assert.Equal(
            [$"mdev    {Mdev}", "parent  mtty", "type    mtty-2", "start   auto", "state   started", "device  host-a/fabd:35:14.0"], result.Lines);
    }

    [Theory]
    [InlineData($"mdev stop {Mdev}", $"POST {Path}/{Uuid}/stop", " {}")]
    [InlineData($"mdev stop {Mdev} --force-after 0", $"POST {Path}/{Uuid}/stop", """ {"force_after_s":0}""")]
    [InlineData($"mdev undefine {Mdev}", $"DELETE {Path}/{Uuid}", "")]
    public async Task What_goes_says_that_it_is_done(string commandLine, string route, string body)
    {
        await using var server = new FakeServer().On(route, new OperationResource(Mdev, "done"));

        var result = await Cli.AtAsync(server, commandLine.Split(' '));

        Assert.Equal((0, "", $"device   {Mdev}\noutcome  done\n"), (result.ExitCode, result.Error, result.Out));
        Assert.Equal(route + body, Assert.Single(server.Requests));
    }

    [Fact]
    public async Task A_stop_that_waits_says_for_whom_and_ends_with_4()
    {
        const string Sentence = "host-a/fabd:35:14.0 is held by claim db-1. The removal goes on; it ends when it is released.";
        await using var server = new FakeServer().On($"POST {Path}/{Uuid}/stop", new OperationResource(Mdev, "waiting", "claim db-1", Sentence), 202);

        var result = await Cli.AtAsync(server, "mdev", "stop", Mdev);

        Assert.Equal((4, Sentence + "\n"), (result.ExitCode, result.Error));
        Assert.Contains("holder   claim db-1", result.Lines);
    }

    [Fact]
    public async Task Types_are_a_table_with_what_is_left()
    {
        await using var server = new FakeServer().On($"GET {Path}/types", Sample.List(
            new MdevTypeResource("mtty", "mtty-1", "Single port serial", "one port", 24),
            new MdevTypeResource("mtty", "mtty-2", "Dual port serial", "two ports", 12)));

        var result = await Cli.AtAsync(server, "mdev", "types", "host-a");

        Assert.Equal(
            """
            PARENT  TYPE    AVAILABLE  NAME                DESCRIPTION
            mtty    mtty-1         24  Single port serial  one port
            mtty    mtty-2         12  Dual port serial    two ports

            """,
            result.Out);
    }

    [Fact]
    public async Task A_list_says_what_is_left_alone_too()
    {
        var stopped = Started with { State = "stopped", Device = null, Reason = "it could not be started: ENOSPC: 1 is left." };
        await using var server = new FakeServer().On($"GET {Path}", new MdevListResource(
            [Started, stopped], [new UnusableMdevResource("mdev.d/mtty/README", "its name is no UUID in lowercase")]));

        var result = await Cli.AtAsync(server, "mdev", "list", "host-a");

        Assert.Equal(
            $"""
            MDEV                                         PARENT  TYPE    START  STATE    DEVICE               REASON
            {Mdev}  mtty    mtty-2  auto   started  host-a/fabd:35:14.0  -
            {Mdev}  mtty    mtty-2  auto   stopped  -                    it could not be started: ENOSPC: 1 is left.
            Left alone: mdev.d/mtty/README: its name is no UUID in lowercase

            """,
            result.Out);
    }

    [Theory]
    [InlineData("mdev list host-a", "No mdevs.\n")]
    [InlineData("mdev types host-a", "No mdev parents: nothing can be made of its devices.\n")]
    public async Task Where_there_is_nothing_that_is_said(string commandLine, string said)
    {
        await using var server = new FakeServer()
            .On($"GET {Path}", new MdevListResource([], []))
            .On($"GET {Path}/types", Sample.List<MdevTypeResource>());

        Assert.Equal(said, (await Cli.AtAsync(server, commandLine.Split(' '))).Out);
    }

    [Fact]
    public async Task A_refusal_is_told_in_its_sentence()
    {
        await using var server = new FakeServer().On(
            $"POST {Path}/{Uuid}/start", Sample.Problem(422, ProblemCode.DeviceRefused, "1 port is left.") with { Errno = "ENOSPC" });

        var result = await Cli.AtAsync(server, "mdev", "start", Mdev);

        Assert.Equal((1, "1 port is left.\n", ""), (result.ExitCode, result.Error, result.Out));
    }

    [Fact]
    public async Task Devices_have_a_column_for_UUIDs_where_one_has_one()
    {
        var (plain, mediated) = (Sample.Device(), Sample.Device(address: "fabd:35:14.0") with { MdevUuid = Uuid });
        await using var with = new FakeServer().On("GET /api/v1/devices", Sample.List(plain, mediated));
        await using var without = new FakeServer().On("GET /api/v1/devices", Sample.List(plain));

        Assert.Contains(Uuid, (await Cli.AtAsync(with, "device", "list")).Lines[2], StringComparison.Ordinal);
        Assert.DoesNotContain("MDEV", (await Cli.AtAsync(without, "device", "list")).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_shows_its_UUID()
    {
        await using var server = new FakeServer().On(
            "GET /api/v1/devices/host-a/fabd:35:14.0", Sample.Device(address: "fabd:35:14.0") with { MdevUuid = Uuid });

        Assert.Contains($"mdev UUID          {Uuid}", (await Cli.AtAsync(server, "device", "show", "host-a/fabd:35:14.0")).Lines);
    }
}
