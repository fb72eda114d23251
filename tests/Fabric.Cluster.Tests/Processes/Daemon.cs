using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>One <c>fabricd</c>, which ends when the test does, however that ends.</summary>
internal sealed class Daemon : IAsyncDisposable
{
    private readonly RunningProcess process;
    private FabricHttp? http;

    private Daemon(DaemonSettings settings, RunningProcess process) => (Settings, this.process) = (settings, process);

    public DaemonSettings Settings { get; }

    public string Name => Settings.Name;

    /// <summary>Where it listens, once <see cref="ListeningAsync"/> has ended.</summary>
    public EndpointsDocument Endpoints { get; private set; } = null!;

    public FabricHttp Http => http ?? throw new InvalidOperationException($"{Name} has not said where it listens.");

    public string Tail => process.Tail;

    /// <summary>All that it has said.</summary>
    public string Log => process.Out + process.Error;

    private string EndpointsFile => Path.Combine(Settings.DataDirectory, "endpoints.json");

    public static Daemon Start(DaemonSettings settings)
    {
        Directory.CreateDirectory(settings.DataDirectory);
        var file = settings.DataDirectory.TrimEnd('/') + ".json";
        File.WriteAllText(file, settings.ToJson());
        return new Daemon(settings, settings.Namespace is { } space ? RunFileIn(space, file) : RunFile(file));
    }

    /// <summary>A daemon on a file of settings that may well be wrong.</summary>
    public static RunningProcess RunFile(string file, params string[] more) =>
        RunningProcess.Start(Executables.Fabricd, ["--config", file, "--exit-on-stdin-close", .. more]);

    /// <summary>`ip` becomes the daemon: what is killed or paused is the daemon itself.</summary>
    private static RunningProcess RunFileIn(string space, string file) =>
        RunningProcess.Start("ip", ["netns", "exec", space, Executables.Fabricd, "--config", file, "--exit-on-stdin-close"]);

    public async Task ListeningAsync()
    {
        await Poll.UntilAsync(
            $"{Name} to say where it listens",
            () => Task.FromResult(File.Exists(EndpointsFile) && SaysSo() || process.HasExited),
            done => done,
            _ => process.Tail);
        Assert.False(process.HasExited, $"{Name} ended:\n{process.Tail}");
    }

    public async Task ReadyAsync()
    {
        await ListeningAsync();
        await Poll.UntilAsync(
            $"{Name} to be ready",
            () =>
            {
                Assert.False(process.HasExited, $"{Name} ended:\n{process.Tail}");
                return Http.GetAsync("health/ready");
            },
            reply => reply.Status == 200,
            reply => $"{reply}\n{process.Tail}");
    }

    /// <summary>Waits until it has ended by itself.</summary>
    public Task<Ending> EndAsync() => process.EndAsync();

    public Task KillAsync() => process.KillAsync();

    public Task<Ending> TerminateAsync() => process.TerminateAsync();

    public void Pause() => process.Pause();

    public void Continue() => process.Continue();

    public bool IsUp => !process.HasExited;

    public async ValueTask DisposeAsync()
    {
        await process.DisposeAsync();
        http?.Dispose();
    }

    /// <summary>A predecessor in the same folder that was killed left its addresses there.</summary>
    private bool SaysSo()
    {
        var endpoints = JsonSerializer.Deserialize<EndpointsDocument>(File.ReadAllText(EndpointsFile), ApiJson.Options)!;
        if (endpoints.Pid != process.Pid)
            return false;
        Endpoints = endpoints;
        http ??= new FabricHttp(endpoints.Api);
        return true;
    }
}
