using System.Diagnostics;
using System.Reflection;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>A PostgreSQL for the tests of this assembly alone, started by the first that asks for it; each gets a database of its own.</summary>
public sealed class PrivatePostgres : IAsyncLifetime
{
    private const int NotInstalled = 3;

    private static readonly string Script =
        typeof(PrivatePostgres).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == "PostgresScript").Value!;

    private readonly string folder = Path.Combine(Path.GetTempPath(), $"fabric-test-postgres-{Environment.ProcessId}");
    private readonly SemaphoreSlim gate = new(1);
    private bool started;
    private int databases;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <summary>The connection string of an empty database. A test that cannot have one here is skipped, with the reason.</summary>
    internal async Task<string> NewDatabaseAsync()
    {
        await gate.WaitAsync(TestContext.Current.CancellationToken);
        try
        {
            if (!started)
            {
                var (code, _, error) = await RunAsync("start", folder);
                if (code == NotInstalled)
                    Assert.Skip(error.Trim());
                Assert.True(code == 0, error);
                started = true;
            }

            var made = await RunAsync("database", $"test_{++databases}", folder);
            Assert.True(made.ExitCode == 0, made.Error);
            return made.Out.Trim();
        }
        finally
        {
            gate.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (started)
            await RunAsync("stop", folder);
        gate.Dispose();
    }

    private static async Task<(int ExitCode, string Out, string Error)> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("bash", [Script, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (said, complained) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, await said, await complained);
    }
}
