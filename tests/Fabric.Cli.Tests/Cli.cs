namespace Fabric.Cli.Tests;

/// <summary>Runs the command line in this process, as a shell would see it.</summary>
internal static class Cli
{
    public static Task<CliResult> RunAsync(params string[] args) => RunAsync(new Dictionary<string, string>(), new NotAsked(), args);

    public static Task<CliResult> AtAsync(FakeServer server, params string[] args) => RunAsync([.. args, "--server", server.Url]);

    public static async Task<CliResult> RunAsync(
        IReadOnlyDictionary<string, string> variables, ITermination termination, params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var environment = new CliEnvironment(
            output, error, TimeProvider.System, name => variables.GetValueOrDefault(name), "ópš@desk", AppContext.BaseDirectory);
        var exitCode = await CommandLine.RunAsync(args, environment, termination);
        return new CliResult(exitCode, output.ToString(), error.ToString());
    }

    private sealed class NotAsked : ITermination
    {
        public CancellationToken Token => TestContext.Current.CancellationToken;

        public int ExitCode => -1;
    }
}
