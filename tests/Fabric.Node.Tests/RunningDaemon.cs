using System.Text.Json;
using Fabric.Node.Api;
using Fabric.Node.Hosting;

namespace Fabric.Node.Tests;

/// <summary>A daemon in this process, on ports of the system's choice, as <c>fabricd</c> would run it.</summary>
internal sealed class RunningDaemon : IAsyncDisposable
{
    private static readonly TimeSpan StartDeadline = TimeSpan.FromMinutes(2);

    private readonly TemporaryFolder folder;
    private readonly CancellationTokenSource end = new();
    private readonly Task<int> running;

    private RunningDaemon(TemporaryFolder folder, string[] settings)
    {
        this.folder = folder;
        running = Daemon.RunAsync(
            null,
            [
                $"--node:dataDirectory={folder.Path}", "--cluster:port=0", "--dataPlane:port=0", "--api:url=http://127.0.0.1:0",
                "--hardware:linux:enabled=false", .. settings,
            ],
            checkOnly: false,
            untilStdinCloses: false,
            end.Token);
    }

    public HttpClient Api { get; private set; } = new();

    /// <summary>Its data.</summary>
    public string Folder => folder.Path;

    public static async Task<RunningDaemon> StartAsync(params string[] settings)
    {
        var folder = new TemporaryFolder();
        using var watcher = new FileSystemWatcher(folder.Path, "endpoints.json") { EnableRaisingEvents = true };
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        watcher.Renamed += (_, _) => written.TrySetResult();
        var daemon = new RunningDaemon(folder, settings);
        var first = await Task.WhenAny(written.Task, daemon.running).WaitAsync(StartDeadline);
        Assert.True(first == written.Task, "The daemon ended before it had started.");
        var endpoints = JsonSerializer.Deserialize<EndpointsDocument>(await File.ReadAllTextAsync(Path.Combine(folder.Path, "endpoints.json")), ApiJson.Options)!;
        daemon.Api = new HttpClient { BaseAddress = new Uri(endpoints.Api) };
        return daemon;
    }

    /// <summary>Until the daemon says that it is ready; it says so to those who ask, and to nobody else.</summary>
    public async Task BecomeReadyAsync()
    {
        using var patience = new CancellationTokenSource(StartDeadline);
        using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!(await Api.GetAsync("/health/ready", patience.Token)).IsSuccessStatusCode)
            await again.WaitForNextTickAsync(patience.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await end.CancelAsync();
        await running;
        Api.Dispose();
        end.Dispose();
        folder.Dispose();
    }
}
