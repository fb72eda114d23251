using System.Net;
using System.Text;
using System.Text.Json;
using Fabric.Cli.Api;
using Fabric.Cli.Demo;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests.Demo;

/// <summary>
/// A fabric that keeps its promises, without processes or sockets; a test breaks the one promise it is about. A migration moves
/// on by a tenth with every look at it.
/// </summary>
internal sealed class FakeFabric(DemoOptions options, ShiftedTime time) : IDemoFabric
{
    private readonly Lock _gate = new();
    private readonly HashSet<string> _dead = [];
    private readonly List<MigrationResource> _migrations = [];
    private ClaimResource? _claim;
    private long _steps;
    private int _looks;

    public double DowntimeMs { get; set; } = 40;

    public double LongestGapMs { get; set; } = 40;

    public bool Verified { get; set; } = true;

    /// <summary>The wrong way: a claim that follows a target which died.</summary>
    public bool CommitsToTheDead { get; set; }

    /// <summary>Every other look at the claim finds no workload.</summary>
    public bool Stutters { get; set; }

    public bool StepsStop { get; set; }

    public long Lost { get; set; }

    public long Damaged { get; set; }

    public string RecoveryOutcome { get; set; } = "recovered";

    public string? Coordinator { get; set; } = DemoNames.Controls(options.Journal)[^1];

    /// <summary>How much time passes before a killed control node is up again.</summary>
    public TimeSpan RestartTakes { get; set; }

    public List<string> Killed { get; } = [];

    public List<(string Daemon, bool InPlace)> Restarted { get; } = [];

    public IReadOnlyList<string> Controls { get; } = DemoNames.Controls(options.Journal);

    public IReadOnlyList<string> Hosts { get; } = DemoNames.Hosts;

    public Task StartAsync(IBoard board, CancellationToken cancellation) => Task.CompletedTask;

    public FabricApi Api(string daemon) =>
        new(new Uri($"http://{daemon}"), TimeProvider.System, TimeSpan.FromSeconds(10), new Endpoint(this, daemon));

    public int Pid(string daemon) => 4711;

    public Task KillAsync(string daemon)
    {
        lock (_gate)
            _dead.Add(daemon);
        Killed.Add(daemon);
        return Task.CompletedTask;
    }

    public void Restart(string daemon, bool inPlace)
    {
        Restarted.Add((daemon, inPlace));
        time.Shift(RestartTakes);
        lock (_gate)
            _dead.Remove(daemon);
    }

    public Task LiveAsync(string daemon, CancellationToken cancellation) => Task.CompletedTask;

    public Task ReadyAsync(string daemon, CancellationToken cancellation) => Task.CompletedTask;

    public void ThrowIfOneDied()
    {
    }

    private object Answer(string method, string[] path, JsonElement body) => (method, path) switch
    {
        ("GET", ["hosts"]) => new ListResource<HostResource>([.. Hosts.Select(Sample.Host)]),
        ("GET", ["devices"]) => new ListResource<DeviceResource>(
            [.. Hosts.Select(host => Sample.Device(host)), .. Hosts.Select(Sample.RealDevice)]),
        ("GET", ["devices", var host, _]) => Sample.Device(host),
        ("POST", ["devices", var host, var address, "faults"]) => new FaultResource($"{host}/{address}", "aer", new RecoveryResource(
            $"{host}/{address}", body.GetProperty("severity").GetString()!, RecoveryOutcome, 8, ["error_detected(normal)", "resume"])),
        ("POST", ["claims"]) => _claim = Sample.Claim() with
        {
            Id = body.GetProperty("id").GetString()!,
            Host = body.GetProperty("host").GetString(),
            Coordinator = Coordinator,
        },
        ("GET", ["claims", _]) => Claim(),
        ("DELETE", ["claims", _]) => _claim = _claim! with { Phase = "released" },
        ("POST", ["claims", _, "verify"]) => new VerificationResource(_steps, 4096, 1024, Damaged),
        ("POST", ["claims", _, "migrations"]) => Begin(body.GetProperty("to").GetString()!),
        ("GET", ["migrations", var id]) => Advance(_migrations.FindIndex(migration => migration.Id == id)),
        _ => throw new InvalidOperationException($"{method} {string.Join('/', path)}"),
    };

    /// <summary>What a control node tells of those that were killed: noticed, and put out.</summary>
    private string Events() => string.Concat(_dead.SelectMany(
        (name, index) => new[] { "node.unreachable", "node.down" }.Select((kind, step) => new EventResource(
            (2 * index) + step + 1, time.GetUtcNow(), kind, name, Controls[0], $"{name} died"))).Select(
        happened => $"event: {happened.Kind}\ndata: {JsonSerializer.Serialize(happened, ApiJson.Options)}\n\n"));

    private ClaimResource Claim()
    {
        _steps += StepsStop && _steps > 0 ? 0 : 1000;
        if (Stutters && _looks++ % 2 == 0)
            return _claim! with { Workload = null };
        return _claim! with { Workload = new WorkloadResource(_steps, Lost, 0, 0, LongestGapMs) };
    }

    private MigrationResource Begin(string to)
    {
        var migration = new MigrationResource(
            $"{_claim!.Id}.{_migrations.Count + 1}", _claim.Id, _claim.Host!, to, "pre-copy", null, null, Sample.Noon, 0, null,
            options.DowntimeMs, 0, options.StateSize.Bytes, 16, 1, false, null, [], "demo");
        _migrations.Add(migration);
        return migration;
    }

    private MigrationResource Advance(int index)
    {
        var migration = _migrations[index];
        if (migration.Outcome is not null)
            return migration;
        if (_dead.Contains(migration.To) && !CommitsToTheDead)
            return _migrations[index] = migration with { Phase = "done", Outcome = "rolled-back", Reason = $"{migration.To} is gone" };
        var bytes = migration.Bytes + (options.StateSize.Bytes / 10);
        if (bytes < options.StateSize.Bytes)
            return _migrations[index] = migration with { Bytes = bytes, RemainingBytes = options.StateSize.Bytes - bytes };
        _claim = _claim! with { Host = migration.To };
        return _migrations[index] = migration with
        {
            Phase = "done", Outcome = "committed", Bytes = bytes, DowntimeMs = DowntimeMs, Verified = Verified, Checksum = "9f1c",
            Phases = [new PhaseResource("pre-copy", 900, false), new PhaseResource("stop-copy", DowntimeMs, true)],
        };
    }

    private sealed class Endpoint(FakeFabric fabric, string daemon) : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var body = request.Content is null ? default : JsonElement.Parse(await request.Content.ReadAsStringAsync(cancellationToken));
            var path = request.RequestUri!.AbsolutePath["/api/v1/".Length..].Split('/');
            object answer;
            lock (fabric._gate)
            {
                if (fabric._dead.Contains(daemon))
                    throw new HttpRequestException("Connection refused");
                if (path is ["events"])
                    return new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(fabric.Events(), Encoding.UTF8, "text/event-stream") };
                answer = fabric.Answer(request.Method.Method, path, body);
            }

            var json = JsonSerializer.Serialize(answer, answer.GetType(), ApiJson.Options);
            return new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        }
    }
}
