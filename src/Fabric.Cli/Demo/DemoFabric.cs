using System.Globalization;
using Fabric.Cli.Api;
using Fabric.Cli.Output;

namespace Fabric.Cli.Demo;

/// <summary>The demo's daemons as processes of this machine, all in one temporary folder, on ports that the system chooses.</summary>
internal sealed class DemoFabric : IDemoFabric, IAsyncDisposable
{
    private const string AnyPort = "http://127.0.0.1:0";
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RequestLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(30);

    private readonly DemoOptions _options;
    private readonly TimeProvider _time;
    private readonly Dictionary<string, Daemon> _daemons = [];

    private DemoFabric(DemoOptions options, string folder, TimeProvider time)
    {
        _options = options;
        _time = time;
        Folder = folder;
        Controls = DemoNames.Controls(options.Journal);
        Hosts = DemoNames.Hosts;
        foreach (var name in Controls.Concat(Hosts))
            _daemons[name] = new Daemon(name, Path.Combine(folder, name));
    }

    public string Folder { get; }

    public IReadOnlyList<string> Controls { get; }

    public IReadOnlyList<string> Hosts { get; }

    /// <summary>Set when the daemons are to outlive this object.</summary>
    public bool Left { get; set; }

    /// <summary>Set when something went wrong: the logs then stay.</summary>
    public bool KeepsLogs { get; set; }

    public IReadOnlyList<DaemonStatus> Running =>
        [.. _daemons.Values.Where(daemon => daemon is { Process.HasExited: false, Endpoints: not null })
            .Select(daemon => new DaemonStatus(daemon.Name, daemon.Process!.Pid, daemon.Endpoints!.Api))];

    public IReadOnlyList<(string Name, string Path)> Logs =>
        [.. _daemons.Values.Where(daemon => File.Exists(daemon.Log)).Select(daemon => (daemon.Name, daemon.Log))];

    /// <exception cref="CommandFailure">There is no daemon to start, or no place for its data.</exception>
    public static DemoFabric Create(DemoOptions options, TimeProvider time)
    {
        if (OperatingSystem.IsWindows())
            throw new CommandFailure("The demo kills processes as Unix does and does not run on Windows. Run it in WSL.");
        if (!File.Exists(options.Fabricd))
            throw new CommandFailure($"There is no fabricd at {options.Fabricd}. Build it with 'dotnet build', or give --fabricd PATH.");
        try
        {
            return new DemoFabric(options, Directory.CreateTempSubdirectory("fabric-demo-").FullName, time);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            throw new CommandFailure(
                $"No temporary folder can be made in {Path.GetTempPath()}: {refused.Message} Make room there, or set TMPDIR.",
                ExitCode.Failed,
                refused);
        }
    }

    public async Task StartAsync(IBoard board, CancellationToken cancellation)
    {
        var founder = _daemons[Controls[0]];
        var others = _daemons.Values.Where(daemon => daemon != founder).ToList();
        foreach (var other in others)
            board.Set(other.Name, null, "waits for the first control node");
        Launch(founder, []);
        board.Set(founder.Name, null, "starting", $"process {founder.Process!.Pid}");
        // The others need the founder's port, not its readiness.
        await ListeningAsync(founder, cancellation);
        foreach (var other in others)
            Launch(other, [founder.Endpoints!.Cluster]);

        using var abort = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var all = _daemons.Values.Select(daemon => BringUpAsync(daemon, board, abort.Token)).ToList();
        try
        {
            await foreach (var first in Task.WhenEach(all))
                await first;
        }
        finally
        {
            // One that failed leaves the rest waiting for nothing.
            await abort.CancelAsync();
            await Task.WhenAll(all).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public FabricApi Api(string daemon) =>
        _daemons[daemon].Api ?? throw new InvalidOperationException($"{daemon} has not said where it listens.");

    public int Pid(string daemon) =>
        _daemons[daemon].Process?.Pid ?? throw new InvalidOperationException($"{daemon} has not been started.");

    public Task KillAsync(string daemon)
    {
        var killed = _daemons[daemon];
        killed.IsKilled = true;
        return killed.Process!.KillAsync();
    }

    public void Restart(string daemon, bool inPlace)
    {
        var killed = _daemons[daemon];
        var before = killed.Endpoints!;
        var alive = _daemons.Values
            .Where(other => other is { IsKilled: false, Endpoints: not null })
            .Select(other => other.Endpoints!.Cluster);
        killed.Process!.Dispose();
        killed.Forget();
        if (inPlace)
        {
            Launch(killed, [before.Cluster, .. alive], PortOf(before.Cluster), before.Api);
            return;
        }

        killed.Lives++;
        Launch(killed, [.. alive]);
    }

    public async Task LiveAsync(string daemon, CancellationToken cancellation)
    {
        await ListeningAsync(_daemons[daemon], cancellation);
        await HealthyAsync(_daemons[daemon], "live", cancellation);
    }

    public async Task ReadyAsync(string daemon, CancellationToken cancellation)
    {
        await ListeningAsync(_daemons[daemon], cancellation);
        await HealthyAsync(_daemons[daemon], "ready", cancellation);
    }

    public void ThrowIfOneDied()
    {
        foreach (var daemon in _daemons.Values.Where(daemon => !daemon.IsKilled))
            daemon.Process?.ThrowIfExited();
    }

    public async ValueTask DisposeAsync()
    {
        if (!Left)
            await Task.WhenAll(_daemons.Values.Select(daemon => daemon.Process?.StopAsync(StopLimit) ?? Task.CompletedTask));
        foreach (var daemon in _daemons.Values)
        {
            daemon.Api?.Dispose();
            daemon.Process?.Dispose();
        }

        if (Left)
            return;
        if (!KeepsLogs || Logs.Count == 0)
        {
            Directory.Delete(Folder, recursive: true);
            return;
        }

        foreach (var data in _daemons.Values.SelectMany(daemon => daemon.DataDirectories).Where(Directory.Exists))
            Directory.Delete(data, recursive: true);
    }

    private static int PortOf(string address) => int.Parse(address[(address.LastIndexOf(':') + 1)..], CultureInfo.InvariantCulture);

    private void Launch(Daemon daemon, IReadOnlyList<string> seeds, int clusterPort = 0, string api = AnyPort)
    {
        var isControl = Controls.Contains(daemon.Name);
        var configuration = new DaemonConfiguration(
            daemon.Name,
            isControl ? "control" : "host",
            daemon.DataDirectory,
            seeds,
            clusterPort,
            api.TrimEnd('/'),
            isControl ? _options.Journal ?? "" : "",
            _options.StateSize.ToString());
        Directory.CreateDirectory(daemon.DataDirectory);
        File.WriteAllText(daemon.Configuration, configuration.ToJson());
        daemon.Process = DaemonProcess.Start(
            new DaemonLaunch(daemon.Name, _options.Fabricd, daemon.Configuration, daemon.DataDirectory, daemon.Log, Tied: !_options.Keep),
            _time);
        daemon.StartedAt = _time.GetTimestamp();
        daemon.IsKilled = false;
    }

    private async Task BringUpAsync(Daemon daemon, IBoard board, CancellationToken cancellation)
    {
        board.Set(daemon.Name, null, "starting", $"process {daemon.Process!.Pid}");
        await ListeningAsync(daemon, cancellation);
        board.Set(daemon.Name, null, "joining", daemon.Endpoints!.Api);
        await HealthyAsync(daemon, "ready", cancellation);
        var took = _time.GetElapsedTime(daemon.StartedAt);
        board.Set(daemon.Name, 1, "ready", $"{daemon.Endpoints!.Api}, {Units.Seconds(took.TotalSeconds)}");
    }

    private Task ListeningAsync(Daemon daemon, CancellationToken cancellation) => WithinStartLimitAsync(
        daemon,
        "does not listen",
        async limited =>
        {
            if (daemon.Endpoints is not null)
                return;
            daemon.Endpoints = await daemon.Process!.ListeningAsync(limited);
            daemon.Api = new FabricApi(new Uri(daemon.Endpoints.Api), _time, RequestLimit);
        },
        cancellation);

    private Task HealthyAsync(Daemon daemon, string probe, CancellationToken cancellation) => WithinStartLimitAsync(
        daemon,
        $"is not {probe}",
        async limited =>
        {
            while (!await daemon.Api!.IsHealthyAsync(probe, limited))
            {
                daemon.Process!.ThrowIfExited();
                await Task.Delay(Look, _time, limited);
            }
        },
        cancellation);

    private async Task WithinStartLimitAsync(
        Daemon daemon, string what, Func<CancellationToken, Task> wait, CancellationToken cancellation)
    {
        using var deadline = new CancellationTokenSource(StartLimit, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellation);
        try
        {
            await wait(either.Token);
        }
        catch (OperationCanceledException late) when (!cancellation.IsCancellationRequested)
        {
            throw new CommandFailure(
                $"{daemon.Name} (process {daemon.Process!.Pid}) {what} after {StartLimit.TotalSeconds:0} s. Its log, {daemon.Log}, ends:\n"
                + LogTail.Of(daemon.Log, 10),
                ExitCode.Failed,
                late);
        }
    }

    /// <summary>One name of the cast, through its lives.</summary>
    private sealed class Daemon(string name, string folder)
    {
        public string Name { get; } = name;

        public string Configuration { get; } = Path.Combine(folder, "fabricd.json");

        public string Log { get; } = Path.Combine(folder, "fabricd.log");

        public int Lives { get; set; } = 1;

        public string DataDirectory => DataOf(Lives);

        public IEnumerable<string> DataDirectories => Enumerable.Range(1, Lives).Select(DataOf);

        public DaemonProcess? Process { get; set; }

        /// <summary>A timestamp of the time provider.</summary>
        public long StartedAt { get; set; }

        public Node.Api.EndpointsDocument? Endpoints { get; set; }

        public FabricApi? Api { get; set; }

        public bool IsKilled { get; set; }

        public void Forget()
        {
            Api?.Dispose();
            Api = null;
            Endpoints = null;
        }

        private string DataOf(int life) => Path.Combine(folder, life == 1 ? "data" : $"data-{life}");
    }
}
