using System.Net.Http.Json;
using Microsoft.Data.Sqlite;

namespace Fabric.Node.Tests.Api;

/// <summary>A daemon that runs and can no longer write down what happens to its devices.</summary>
public sealed class DegradedTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task It_is_ready_and_says_that_it_is_degraded_and_its_devices_go_on()
    {
        await using var daemon = await RunningDaemon.StartAsync(
            "--node:name=one", "--node:roles:0=control", "--node:roles:1=host", "--hardware:emulated:accelerators=1",
            "--hardware:emulated:functionsPerAccelerator=1", "--hardware:emulated:stateSize=256KiB");
        await daemon.BecomeReadyAsync();
        await using (var file = new SqliteConnection($"Data Source={Path.Combine(daemon.Folder, "history.db")};Pooling=False"))
        {
            await file.OpenAsync(TestContext.Current.CancellationToken);
            await using var spoil = file.CreateCommand();
            spoil.CommandText = "DROP TABLE journal";
            await spoil.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }

        Assert.True((await InjectAsync(daemon)).IsSuccessStatusCode);

        Assert.Equal("ready, degraded: histories of devices are not written down: SQLite Error 1: 'no such table: journal'.", await UntilAsync(daemon, "degraded"));
        Assert.True((await InjectAsync(daemon)).IsSuccessStatusCode);
    }

    private static Task<HttpResponseMessage> InjectAsync(RunningDaemon daemon) =>
        daemon.Api.PostAsJsonAsync("/api/v1/devices/one/fab0:01:00.1/faults", new { kind = "aer", severity = "non-fatal" }, TestContext.Current.CancellationToken);

    /// <summary>Health is asked for, it does not report by itself.</summary>
    private static async Task<string> UntilAsync(RunningDaemon daemon, string word)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (true)
        {
            var reply = await daemon.Api.GetAsync("/health/ready", patience.Token);
            var health = await reply.Content.ReadAsStringAsync(patience.Token);
            if (reply.IsSuccessStatusCode && health.Contains(word, StringComparison.Ordinal))
                return health;
            await again.WaitForNextTickAsync(patience.Token);
        }
    }
}
