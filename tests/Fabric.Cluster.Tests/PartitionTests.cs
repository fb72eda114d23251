using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>A fabric whose daemons are each in a network namespace of their own, and record what runs on them.</summary>
public sealed class CabledFabric : MendedFabric
{
    internal static readonly string[] Daemons = ["control", "host-a", "host-b", "host-c"];

    internal NetworkLab? Network { get; private set; }

    private protected override string? WhyNot => NetworkLab.WhyNot;

    private protected override async Task<TestFabric> StartAsync()
    {
        Network = await NetworkLab.StartAsync();
        var settings = new Dictionary<string, DaemonSettings>();
        foreach (var name in Daemons)
            settings[name] = await Network.PlugInAsync(new DaemonSettings(name, "", ""));
        return await TestFabric.StartAsync(
            hosts: 3, recorded: true,
            change: daemon => daemon with { Address = settings[daemon.Name].Address, Namespace = settings[daemon.Name].Namespace });
    }

    private protected override async ValueTask EndAsync()
    {
        if (Network is not null)
            await Network.DisposeAsync();
    }
}

/// <summary>
/// A network that falls silent on one side of a migration or a lease: both sides go on alone, and when they hear of each other again the laws have
/// held all the while, by what the hosts have recorded.
/// </summary>
public sealed class PartitionTests(CabledFabric cabled) : IClassFixture<CabledFabric>, IAsyncLifetime
{
    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <summary>A test that failed may have left one cut off.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var name in cabled.Network is null ? [] : CabledFabric.Daemons)
            await cabled.Network!.ReconnectAsync(name);
    }

    [Fact]
    public async Task A_source_that_is_cut_off_in_its_pre_copy_goes_on_with_its_claim_and_no_step_is_missing()
    {
        var fabric = await cabled.WholeAsync();
        var history = new RunHistory(fabric);
        await fabric.ClaimRunningAsync("severed", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("severed", "host-b");
        await cabled.Network!.CutOffAsync("host-a");
        await fabric.HostAsync("host-a", host => host.State == "down", "put out of the fabric");
        await fabric.ClaimAsync("severed", claim => claim.Message?.Contains("host-a was lost", StringComparison.Ordinal) == true, "waiting");
        await cabled.Network!.ReconnectAsync("host-a");
        history.Faulted("host-a was cut off");
        await fabric.HostAsync("host-a", host => host.State == "up", "a member again");
        // The transfer has outlived it, or it has not: either way it ends now.
        await fabric.RunAsync("migration", "cancel", "severed.1");

        var ended = await fabric.MigrationAsync("severed.1", migration => migration.Outcome is not null, "over");
        await RestsAsync(fabric, history, "severed", "host-a");

        Assert.Contains(ended.Outcome, (string[])["cancelled", "rolled-back"]);
        await fabric.HostAsync("host-b", host => host.Free == DaemonSettings.VirtualFunctions, "free of the claim");
    }

    [Fact]
    public async Task A_migration_whose_coordinator_is_cut_off_ends_and_no_step_is_missing()
    {
        var fabric = await cabled.WholeAsync();
        var history = new RunHistory(fabric);
        await fabric.ClaimRunningAsync("headless", "host-a", memoryMib: 16);
        await fabric.MigratingSlowlyAsync("headless", "host-b", mibPerSecond: 2);
        await cabled.Network!.CutOffAsync("control");
        // Longer than it takes to be put out of the fabric.
        await Task.Delay(TimeSpan.FromSeconds(15), TestContext.Current.CancellationToken);
        await cabled.Network!.ReconnectAsync("control");
        history.Faulted("control was cut off");

        var ended = await fabric.MigrationAsync("headless.1", migration => migration.Outcome is not null, "over");
        await RestsAsync(fabric, history, "headless", ended.Outcome == "committed" ? "host-b" : "host-a");
    }

    [Fact]
    public async Task A_leased_host_that_is_cut_off_has_stopped_its_function_before_it_is_started_elsewhere()
    {
        var fabric = await cabled.WholeAsync();
        var history = new RunHistory(fabric);
        var created = await fabric.RunAsync(
            "claim", "create", "rented", "--host", "host-a", "--on-host-loss", "restart", "--lease-seconds", "10", "--memory-mib", "1",
            "--steps-per-second", "2000", "--wait");
        Assert.True(created.ExitCode == 0, created.ToString());
        await cabled.Network!.CutOffAsync("host-a");
        var elsewhere = await fabric.ClaimAsync(
            "rented", claim => claim is { Phase: "running", Workload.Steps: > 0 } && claim.Host != "host-a", "started afresh on another host");
        await cabled.Network!.ReconnectAsync("host-a");
        history.Faulted("host-a was cut off");

        await fabric.HostAsync("host-a", host => host is { State: "up", Free: DaemonSettings.VirtualFunctions }, "a member again, with its function given back");
        await RestsAsync(fabric, history, "rented", elsewhere.Host!);
    }

    private static async Task RestsAsync(TestFabric fabric, RunHistory history, string claim, string host)
    {
        var after = await fabric.RunsOnAsync(claim, host);
        history.Rests(claim, host, after.Device!);
        Assert.Equal((0, 0, 0), (after.Workload!.Lost, after.Workload.Repeated, after.Workload.Torn));
        Assert.Empty(RunHistory.Check(history.Records.Where(record => record.Claim.Length == 0 || record.Claim == claim)));
    }
}
