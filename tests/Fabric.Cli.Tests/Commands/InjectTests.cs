using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Commands;

/// <summary><c>fabric inject …</c></summary>
public sealed class InjectTests
{
    private const string Device = "host-a/0000:3b:00.2";
    private const string Route = $"POST /api/v1/devices/{Device}/faults";

    /// <summary>A command line, and the body of the request that it makes.</summary>
    public static TheoryData<string, string> Faults => new()
    {
        { "hang", """{"kind":"hang","point":"reset"}""" },
        { "hang --at config", """{"kind":"hang","point":"config"}""" },
        { "hang --at region", """{"kind":"hang","point":"region"}""" },
        { "hang --at sriov", """{"kind":"hang","point":"sriov"}""" },
        { "hang --release", """{"kind":"release"}""" },
        { "remove", """{"kind":"remove"}""" },
        { "remove --undo", """{"kind":"return"}""" },
        { "flap", """{"kind":"flap"}""" },
        { "flap --times 3 --each-ms 20", """{"kind":"flap","times":3,"each_ms":20}""" },
    };

    [Theory, MemberData(nameof(Faults))]
    public async Task A_fault_is_one_request(string fault, string body)
    {
        await using var server = new FakeServer().On(Route, new FaultResource(Device, "that"));

        var result = await Cli.AtAsync(server, ["inject", .. fault.Split(' '), Device]);

        Assert.Equal((0, "", $"device   {Device}\nfault    that\noutcome  done\n"), (result.ExitCode, result.Error, result.Out));
        Assert.Equal($"{Route} {body}", Assert.Single(server.Requests));
    }

    [Theory]
    [InlineData("recovered", 0)]
    [InlineData("logged", 0)]
    [InlineData("failed", 1)]
    public async Task An_error_fails_where_the_device_does_not_recover(string outcome, int exitCode)
    {
        await using var server = new FakeServer().On(
            Route, new FaultResource(Device, "aer", new RecoveryResource(Device, "fatal", outcome, 12, ["error_detected(frozen)"])));

        var result = await Cli.AtAsync(server, "inject", "aer", Device, "--severity", "fatal");

        Assert.Equal(exitCode, result.ExitCode);
        Assert.Contains("  error_detected(frozen)", result.Lines);
        Assert.EndsWith("""{"kind":"aer","severity":"fatal"}""", Assert.Single(server.Requests), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_real_function_is_refused_with_the_daemons_sentence()
    {
        const string Sentence = "0000:3b:00.2 is a real function; faults can be injected into emulated ones only.";
        await using var server = new FakeServer().On(Route, Sample.Problem(422, ProblemCode.DeviceRefused, Sentence) with { Errno = "EOPNOTSUPP" });

        var result = await Cli.AtAsync(server, "inject", "hang", Device);

        Assert.Equal((1, Sentence + "\n", ""), (result.ExitCode, result.Error, result.Out));
    }
}
