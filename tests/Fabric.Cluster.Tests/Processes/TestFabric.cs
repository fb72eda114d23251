using Fabric.Node.Api;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>One control node and its hosts, as processes of this machine, in a temporary folder that goes with them.</summary>
internal sealed class TestFabric : IAsyncDisposable
{
    private readonly Dictionary<string, Daemon> daemons = [];
    private readonly string folder = Directory.CreateTempSubdirectory("fabric-test-").FullName;

    /// <summary>The daemons it was started with.</summary>
    private string[] own = [];

    private TestFabric()
    {
    }

    public Daemon Control => daemons["control"];

    public FabricHttp Http => Control.Http;

    public IEnumerable<Daemon> Daemons => daemons.Values;

    public Daemon this[string name] => daemons[name];

    public string RunLogOf(string host) => PathOf(host) + ".runs";

    public string PathOf(string name) => Path.Combine(folder, name);

    /// <param name="controlData">Where the control node keeps its journal, if not in the temporary folder.</param>
    /// <param name="slowCallDeadline">When a reset counts as hung on the hosts, if not by their default.</param>
    /// <param name="journal">Connection string of the PostgreSQL that has the journal; null for SQLite.</param>
    /// <param name="controls">Control nodes: <c>control</c>, <c>control-2</c> and so on.</param>
    /// <param name="tls">The files of a daemon by its name; none for a fabric in the clear.</param>
    /// <param name="change">What is different of each daemon.</param>
    /// <param name="recorded">Each host records what runs on it: <see cref="RunLogOf"/>.</param>
    public static async Task<TestFabric> StartAsync(
        int hosts, string? controlData = null, string? slowCallDeadline = null, string? journal = null, int controls = 1,
        Func<string, TlsFiles>? tls = null, bool recorded = false, Func<DaemonSettings, DaemonSettings>? change = null)
    {
        var fabric = new TestFabric();
        try
        {
            var control = Launched(new DaemonSettings("control", "control", controlData ?? fabric.PathOf("control")) { Journal = journal });
            // The hosts need its port, not its readiness.
            await control.ListeningAsync();
            foreach (var name in Enumerable.Range(2, controls - 1).Select(number => $"control-{number}"))
                Launched(new DaemonSettings(name, "control", fabric.PathOf(name), control.Endpoints.Cluster) { Journal = journal });
            foreach (var name in new[] { "host-a", "host-b", "host-c" }.Take(hosts))
            {
                Launched(new DaemonSettings(name, "host", fabric.PathOf(name), control.Endpoints.Cluster)
                {
                    SlowCallDeadline = slowCallDeadline, RunLog = recorded ? fabric.RunLogOf(name) : "",
                });
            }

            await fabric.ReadyAsync();
            fabric.own = [.. fabric.daemons.Keys];
            return fabric;
        }
        catch
        {
            await fabric.DisposeAsync();
            throw;
        }

        Daemon Launched(DaemonSettings settings) =>
            fabric.Launch((change?.Invoke(settings) ?? settings) with { Tls = tls?.Invoke(settings.Name) });
    }

    /// <summary>Starts one more daemon, or one of a name that has ended.</summary>
    public Daemon Launch(DaemonSettings settings) => daemons[settings.Name] = Daemon.Start(settings);

    /// <summary>Ends what was launched later, starts again what has ended, and gives back whatever is claimed.</summary>
    public async Task MendAsync()
    {
        foreach (var name in daemons.Keys.Except(own).ToArray())
        {
            daemons.Remove(name, out var guest);
            // One that is only killed would be waited for until it is put out.
            if (guest!.IsUp)
                await guest.TerminateAsync();
            await guest.DisposeAsync();
        }

        // A test that failed may have left one standing still.
        foreach (var daemon in daemons.Values.Where(daemon => daemon.IsUp))
            daemon.Continue();
        foreach (var daemon in daemons.Values.Where(daemon => !daemon.IsUp).OrderBy(daemon => daemon.Settings.Role).ToArray())
            await RestartAsync(daemon.Name);
        await Task.WhenAll(daemons.Values.Select(daemon => daemon.ReadyAsync()));
        var claims = (await Http.GetAsync("api/v1/claims")).As<ListResource<ClaimResource>>().Items;
        foreach (var claim in claims)
            await ReleaseAsync(claim.Id);
        await ReadyAsync();
        // What the tests before did to hosts counts for minutes: the next that kills one would trip it.
        await Poll.UntilAsync(
            "the breaker to be reset", () => Http.PostAsync("api/v1/breaker/reset", "{}"), static reply => reply.Status == 200);
    }

    private async Task ReadyAsync()
    {
        await Task.WhenAll(daemons.Values.Select(daemon => daemon.ReadyAsync()));
        foreach (var name in daemons.Values.Where(daemon => daemon.Settings.Role == "host").Select(daemon => daemon.Name))
            await HostAsync(name, host => host is { State: "up", Free: DaemonSettings.VirtualFunctions }, "up with all its functions free");
    }

    /// <summary>A control node that was killed, on its data and its addresses, as a service manager would start it.</summary>
    public async Task<Daemon> RestartAsync(string name)
    {
        var before = daemons[name];
        await before.DisposeAsync();
        var isControl = before.Settings.Role == "control";
        return Launch(before.Settings with
        {
            ClusterPort = isControl ? int.Parse(before.Endpoints.Cluster.Split(':')[1]) : 0,
            Api = isControl ? before.Endpoints.Api.TrimEnd('/') : before.Settings.Api,
            Seeds = isControl ? [before.Endpoints.Cluster, .. daemons.Values.Where(daemon => daemon != before && daemon.IsUp).Select(daemon => daemon.Endpoints.Cluster)] : before.Settings.Seeds,
        });
    }

    /// <summary>Runs <c>fabric</c> against the control node.</summary>
    public Task<Ending> RunAsync(params string[] arguments) => RunAtAsync(Control, arguments);

    public static async Task<Ending> RunAtAsync(Daemon daemon, params string[] arguments)
    {
        await using var process = Command(daemon, arguments);
        return await process.EndAsync();
    }

    /// <summary>A <c>fabric</c> that goes on until it is ended.</summary>
    public static RunningProcess Command(Daemon daemon, params string[] arguments) =>
        RunningProcess.Start(Executables.Fabric, [.. arguments, "--server", daemon.Endpoints.Api]);

    public async Task<ClaimResource> ClaimAsync(string id) => (await Http.GetAsync($"api/v1/claims/{id}")).As<ClaimResource>();

    public async Task<ClaimResource> ClaimAsync(string id, Func<ClaimResource, bool> holds, string what) => (await Poll.UntilAsync(
        $"claim {id} to be {what}",
        () => Http.GetAsync($"api/v1/claims/{id}"),
        reply => reply.Status == 200 && holds(reply.As<ClaimResource>()),
        reply => $"{reply.Body}\n{Control.Tail}")).As<ClaimResource>();

    public async Task<DeviceResource> DeviceAsync(
        string host, string address, Func<DeviceResource, bool> holds, string what) => (await Poll.UntilAsync(
        $"{host}/{address} to be {what}",
        () => Http.GetAsync($"api/v1/devices/{host}/{address}"),
        reply => reply.Status == 200 && holds(reply.As<DeviceResource>()),
        reply => $"{reply.Body}\n{this[host].Tail}")).As<DeviceResource>();

    public async Task<MigrationResource> MigrationAsync(string id, Func<MigrationResource, bool> holds, string what) => (await Poll.UntilAsync(
        $"migration {id} to be {what}",
        () => Http.GetAsync($"api/v1/migrations/{id}"),
        reply => reply.Status == 200 && holds(reply.As<MigrationResource>()),
        reply => $"{reply.Body}\n{Control.Tail}")).As<MigrationResource>();

    /// <summary>As another control node tells it.</summary>
    public static async Task<MigrationResource> MigrationAtAsync(Daemon teller, string id, Func<MigrationResource, bool> holds, string what) => (await Poll.UntilAsync(
        $"migration {id} to be {what}",
        () => teller.Http.GetAsync($"api/v1/migrations/{id}"),
        reply => reply.Status == 200 && holds(reply.As<MigrationResource>()),
        reply => $"{reply.Body}\n{teller.Tail}")).As<MigrationResource>();

    /// <summary>The claim works there, and all of memory and device is as its steps say.</summary>
    public async Task<ClaimResource> RunsOnAsync(string id, string host)
    {
        var steps = (await ClaimAsync(id, claim => claim is { Phase: "running", Workload: not null } && claim.Host == host, $"running on {host}")).Workload!.Steps;
        await ClaimAsync(id, claim => claim.Workload!.Steps > steps, "working");
        var verified = await RunAsync("claim", "verify", id);
        Assert.True(verified.ExitCode == 0, verified.ToString());
        return await ClaimAsync(id);
    }

    public async Task<HostResource> HostAsync(string name, Func<HostResource, bool> holds, string what) => (await Poll.UntilAsync(
        $"{name} to be {what}",
        async () => await Http.GetAsync("api/v1/hosts") is { Status: 200 } hosts
            ? hosts.As<ListResource<HostResource>>().Items.FirstOrDefault(host => host.Name == name)
            : null,
        host => host is not null && holds(host)))!;

    /// <summary>A claim that runs, with a megabyte of consumer memory: enough to be seen moving under a limit.</summary>
    public async Task<ClaimResource> ClaimRunningAsync(string id, string host, int memoryMib = 1)
    {
        var reply = await Http.PostAsync("api/v1/claims", $$"""{"id":"{{id}}","host":"{{host}}","memory_mib":{{memoryMib}},"steps_per_second":2000}""");
        Assert.True(reply.Status == 202, reply.ToString());
        return await ClaimAsync(id, claim => claim is { Phase: "running", Workload.Steps: > 0 }, "running and working");
    }

    /// <summary>A migration that is held in its pre-copy by a limit: the first round alone takes about as many seconds as there are MiB of memory.</summary>
    public async Task<MigrationResource> MigratingSlowlyAsync(string claim, string to, int mibPerSecond = 1, int downtimeMs = 300)
    {
        var reply = await Http.PostAsync(
            $"api/v1/claims/{claim}/migrations", $$"""{"to":"{{to}}","bandwidth_mib_s":{{mibPerSecond}},"downtime_ms":{{downtimeMs}}}""");
        Assert.True(reply.Status == 202, reply.ToString());
        return await MigrationAsync(reply.As<MigrationResource>().Id, migration => migration.Phase == "pre-copy", "in its pre-copy");
    }

    /// <summary>Gives back what a test has claimed, whatever became of it.</summary>
    public async Task ReleaseAsync(string id)
    {
        var claim = await ClaimAsync(id, claim => claim.Phase != "migrating", "at rest");
        if (claim.Phase == "released")
            return;
        // A control node that stood still a moment ago may have the claim still: what it writes is fenced, and it says that nothing was changed.
        var reply = await Poll.UntilAsync($"the release of {id} to be written down", () => Http.DeleteAsync($"api/v1/claims/{id}"), static told => told.Status != 503);
        Assert.True(reply.Status == 202, reply.ToString());
        await ClaimAsync(id, released => released.Phase == "released", "released");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var daemon in daemons.Values)
            await daemon.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }
}
