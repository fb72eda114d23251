using System.Diagnostics;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.History;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

/// <summary>What a host's SQLite file keeps of its devices, from one life of the host to the next.</summary>
public sealed class HostHistoryTests
{
    private const string VictimVariable = "FABRIC_TEST_VICTIM";
    private const string Acknowledged = "acknowledged";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly PciAddress Sick = PciAddress.Parse("fab0:01:00.1");
    private static readonly PciAddress Healed = PciAddress.Parse("fab0:01:00.2");
    private static readonly PciAddress Shaky = PciAddress.Parse("fab0:01:00.3");

    [Fact]
    public async Task Quarantine_budget_and_who_did_what_are_there_when_the_host_is_stopped_and_started_again()
    {
        using var folder = new TemporaryFolder();
        await using (var host = Start(folder.Path))
            await LiveAsync(host);

        await using var next = Start(folder.Path);
        await CheckAsync(next);
    }

    /// <summary>The process that is killed is this test once more, as the variable tells it.</summary>
    [Fact]
    public async Task Quarantine_budget_and_who_did_what_are_there_when_the_process_is_killed_right_after_it_acknowledged()
    {
        if (Environment.GetEnvironmentVariable(VictimVariable) is { } victims)
        {
            await LiveAsync(Start(victims));
            Console.WriteLine(Acknowledged);
            await Task.Delay(Timeout.InfiniteTimeSpan, TestContext.Current.CancellationToken);
        }

        using var folder = new TemporaryFolder();
        await KillWhenAcknowledgedAsync(folder.Path);

        await using var next = Start(folder.Path);
        await CheckAsync(next);
    }

    [Fact]
    public async Task A_host_whose_file_another_has_does_not_start()
    {
        using var folder = new TemporaryFolder();
        await using var first = Start(folder.Path);

        var refused = Assert.Throws<SettingsException>(() => Start(folder.Path));

        Assert.StartsWith($"The history of this host's devices, {Path.Combine(folder.Path, "history.db")} is in use by another daemon", refused.Message, StringComparison.Ordinal);
        Assert.EndsWith("Each host keeps its own: give it a node.dataDirectory that it alone can write.", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_was_let_go_is_the_next_hosts()
    {
        using var folder = new TemporaryFolder();
        await using (var first = Start(folder.Path))
            await AskAsync<DeviceList>(first, ListDevices.Instance);

        await using var next = Start(folder.Path);
        Assert.NotEmpty((await AskAsync<DeviceList>(next, ListDevices.Instance)).Devices);
    }

    [Fact]
    public async Task What_happens_while_the_file_cannot_be_written_is_there_afterwards()
    {
        using var folder = new TemporaryFolder();
        await using (var host = Start(folder.Path))
        {
            var history = await HistoryOfAsync(host);
            using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
            Note(history, 3000);
            Assert.IsType<StandingKept>(await KeepAsync(history, Sick));
            // A snapshot has taken the place of the first.
            while (await ExecuteAsync(folder, "SELECT count(*) FROM journal") is > 2500L)
                await again.WaitForNextTickAsync(TestContext.Current.CancellationToken);
            await ExecuteAsync(folder, "ALTER TABLE journal RENAME TO elsewhere");
            var refused = await AskAsync<DeviceFailed>(host, new QuarantineDevice(Sick, "it burns", "ops"));
            Assert.Contains("no such table: journal", refused.Error.Sentence, StringComparison.Ordinal);
            Assert.Contains("no such table: journal", host.HistoryTrouble, StringComparison.Ordinal);
            await ExecuteAsync(folder, "ALTER TABLE elsewhere RENAME TO journal");
            while (await KeepAsync(history, Healed) is not StandingKept)
                await again.WaitForNextTickAsync(TestContext.Current.CancellationToken);
            Assert.Null(host.HistoryTrouble);
        }

        await using var next = Start(folder.Path);
        Assert.Contains("it burns", (await AskAsync<DeviceFailed>(next, new FindDevice(Sick))).Error.Sentence, StringComparison.Ordinal);
        var entries = await HistoryAsync(next, Sick, HistoryLog.DeviceLimit);
        Assert.Equal(HistoryLog.DeviceLimit, entries.Length);
        Assert.Contains(("quarantined", "it burns (by ops)"), entries);
    }

    [Fact]
    public async Task A_storm_of_notes_is_written_in_time_and_nobody_who_reads_meanwhile_waits()
    {
        const int storm = 10_000;
        using var folder = new TemporaryFolder();
        await using var host = Start(folder.Path);
        var history = await HistoryOfAsync(host);
        var began = Stopwatch.GetTimestamp();
        Note(history, storm);

        var kept = KeepAsync(history, Sick);
        var slowest = TimeSpan.Zero;
        do
        {
            var asked = Stopwatch.GetTimestamp();
            await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(Sick, 10));
            if (Stopwatch.GetElapsedTime(asked) is var took && took > slowest)
                slowest = took;
        }
        while (!kept.IsCompleted);

        var written = Stopwatch.GetElapsedTime(began);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{storm} notes were in the file after {written.TotalMilliseconds:0} ms; the slowest answer meanwhile took {slowest.TotalMilliseconds:0} ms");
        Assert.IsType<StandingKept>(await kept);
        Assert.True(slowest < written / 2 || slowest < TimeSpan.FromSeconds(1), $"A question waited {slowest} of {written}.");
    }

    /// <summary>The last thing is acknowledged, and so all that came before it is written.</summary>
    private static async Task LiveAsync(HostSystem host)
    {
        await AskAsync<DeviceFound>(host, new FindDevice(Shaky));
        for (var freeze = 0; freeze < DeviceOptions.Default.FreezeBudget; freeze++)
            Assert.True((await AskAsync<RecoveryReport>(host, new InjectAer(Shaky, AerSeverity.NonFatal))).Recovered);
        await AskAsync<HostDone>(host, new QuarantineDevice(Healed, "it smells", "ops"));
        await AskAsync<HostDone>(host, new UnquarantineDevice(Healed, "night shift"));
        await AskAsync<HostDone>(host, new QuarantineDevice(Sick, "it burns", "ops"));
    }

    private static async Task CheckAsync(HostSystem host)
    {
        var refused = await AskAsync<DeviceFailed>(host, new FindDevice(Sick));
        Assert.Equal(Errno.EIO, refused.Error.Errno);
        Assert.Contains("it burns", refused.Error.Sentence, StringComparison.Ordinal);
        Assert.Contains(("quarantined", "it burns (by ops)"), await HistoryAsync(host, Sick));

        await AskAsync<DeviceFound>(host, new FindDevice(Healed));
        var healed = await HistoryAsync(host, Healed);
        Assert.Contains(("quarantined", "it smells (by ops)"), healed);
        Assert.Contains(("unquarantined", "by night shift"), healed);

        await AskAsync<DeviceFound>(host, new FindDevice(Shaky));
        await AskAsync<RecoveryReport>(host, new InjectAer(Shaky, AerSeverity.NonFatal));
        Assert.Contains("freezes within an hour", (await AskAsync<DeviceFailed>(host, new FindDevice(Shaky))).Error.Sentence, StringComparison.Ordinal);
    }

    private static async Task KillWhenAcknowledgedAsync(string folder)
    {
        var test = $"{typeof(HostHistoryTests).FullName}.{nameof(Quarantine_budget_and_who_did_what_are_there_when_the_process_is_killed_right_after_it_acknowledged)}";
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "Fabric.Node.Tests"), ["-noColor", "-method", test])
        {
            RedirectStandardOutput = true,
            WorkingDirectory = folder,
        };
        start.Environment[VictimVariable] = folder;
        using var victim = Process.Start(start)!;
        try
        {
            var said = new List<string>();
            while (await victim.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(Patience) is { } line && !line.EndsWith(Acknowledged, StringComparison.Ordinal))
                said.Add(line);
            Assert.False(victim.HasExited, string.Join('\n', said));
        }
        finally
        {
            // SIGKILL.
            victim.Kill();
            await victim.WaitForExitAsync(CancellationToken.None);
        }
    }

    private static HostSystem Start(string folder) => HostSystem.Start(
        new FabricSettings
        {
            Node = new NodeSettings { Name = "one", Roles = ["host"], DataDirectory = folder },
            DataPlane = new DataPlaneSettings { Port = 0 },
            Hardware = new HardwareSettings { Emulated = new EmulatedSettings { Accelerators = 1 }, Linux = new LinuxSettings { Enabled = false } },
        },
        NullLoggerFactory.Instance,
        TimeProvider.System);

    private static async Task<T> AskAsync<T>(HostSystem host, object request) =>
        Assert.IsType<T>(await host.Devices.Ask<object>(request, Patience, TestContext.Current.CancellationToken));

    /// <summary>The history of a host that is up.</summary>
    private static async Task<IActorRef> HistoryOfAsync(HostSystem host)
    {
        await AskAsync<DeviceFound>(host, new FindDevice(Sick));
        return await host.System.ActorSelection("/user/host/history").ResolveOne(Patience, TestContext.Current.CancellationToken);
    }

    private static void Note(IActorRef history, int times)
    {
        for (var number = 0; number < times; number++)
            history.Tell(new NoteHistory(Sick, new DeviceHistoryEntry(DateTimeOffset.UnixEpoch, "error", "a correctable error")), ActorRefs.NoSender);
    }

    private static Task<object> KeepAsync(IActorRef history, PciAddress device) =>
        history.Ask<object>(new KeepStanding(device, DeviceStanding.None), Patience, TestContext.Current.CancellationToken);

    private static async Task<object?> ExecuteAsync(TemporaryFolder folder, string sql)
    {
        await using var file = new SqliteConnection($"Data Source={Path.Combine(folder.Path, "history.db")};Pooling=False");
        await file.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = file.CreateCommand();
        command.CommandText = sql;
        return await command.ExecuteScalarAsync(TestContext.Current.CancellationToken);
    }

    private static async Task<(string Kind, string Message)[]> HistoryAsync(HostSystem host, PciAddress device, int limit = 100) =>
        [.. (await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(device, limit))).Entries.Select(entry => (entry.Kind, entry.Message))];
}
