using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>Two hosts whose devices fail; each test has devices of its own.</summary>
public sealed class FailingFabric : IAsyncLifetime
{
    internal TestFabric Fabric { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Fabric = await TestFabric.StartAsync(hosts: 2);

    public async ValueTask DisposeAsync()
    {
        if (Fabric is not null)
            await Fabric.DisposeAsync();
    }
}

/// <summary>What becomes of a claim whose device is taken out of service, or lost, with hosts in processes of their own.</summary>
public sealed class EvacuationTests(FailingFabric failing) : IClassFixture<FailingFabric>
{
    private const string Host = "host-a";

    private TestFabric Fabric => failing.Fabric;

    [Fact]
    public async Task A_claim_leaves_a_quarantined_device_with_its_state_and_can_explain_it()
    {
        const string Device = "fab0:01:00.1";
        await using var events = TestFabric.Command(Fabric.Control, "events", "--follow", "-o", "json");
        await CreateAsync("patient", Device);

        var taken = await Fabric.RunAsync("device", "quarantine", $"{Host}/{Device}", "--reason", "it smells");
        var after = await Fabric.ClaimAsync("patient", claim => claim is { Phase: "running", DeviceFailure.Outcome: "evacuated" }, "evacuated");
        var steps = after.Workload!.Steps;
        await Fabric.ClaimAsync("patient", claim => claim.Workload!.Steps > steps, "working where it went");
        var verified = await Fabric.RunAsync("claim", "verify", "patient");
        var shown = await Fabric.RunAsync("claim", "show", "patient");
        var told = await Poll.UntilAsync(
            "claim.evacuated to be among the events", () => Task.FromResult(events.Out), lines => lines.Contains("\"claim.evacuated\"", StringComparison.Ordinal));
        await Fabric.ReleaseAsync("patient");

        Assert.Equal((0, 0), (taken.ExitCode, verified.ExitCode));
        Assert.Equal(("host-b", "evacuate"), (after.Host, after.OnDeviceFailure));
        Assert.Equal((0, 0, 0), (after.Workload.Lost, after.Workload.Repeated, after.Workload.Torn));
        var migration = Assert.Single(after.Migrations);
        Assert.Equal(("committed", true, "fabric", $"{Host}/{Device} is out of service: it smells"), (migration.Outcome, migration.Verified, migration.RequestedBy, migration.Cause));
        Assert.Contains("evacuated", shown.Out, StringComparison.Ordinal);
        Assert.Contains("\"claim.evacuating\"", told, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_claim_whose_device_is_pulled_out_is_started_afresh_elsewhere_where_its_policy_says_so()
    {
        const string Device = "fab0:01:00.2";
        await CreateAsync("phoenix", Device, "restart");

        var pulled = await Fabric.RunAsync("inject", "remove", $"{Host}/{Device}");
        var after = await Fabric.ClaimAsync(
            "phoenix", claim => claim is { Phase: "running", DeviceFailure.Outcome: "restarted-afresh", Workload.Steps: > 0 }, "started afresh and working");
        var verified = await Fabric.RunAsync("claim", "verify", "phoenix");
        await Fabric.ReleaseAsync("phoenix");

        Assert.True(pulled.ExitCode == 0, pulled.ToString());
        Assert.Equal(("host-b", 3L, 0), (after.Host, after.Generation, verified.ExitCode));
        Assert.Equal($"{Host}/{Device}", after.DeviceFailure!.Device);
    }

    [Fact]
    public async Task A_claim_whose_device_is_pulled_out_stops_and_waits_for_a_person_by_default()
    {
        const string Device = "fab0:01:00.3";
        await CreateAsync("lost", Device);

        await Fabric.RunAsync("inject", "remove", $"{Host}/{Device}");
        var after = await Fabric.ClaimAsync("lost", claim => claim.Phase == "failed", "stopped");
        await Fabric.ReleaseAsync("lost");

        Assert.Equal("stopped", after.DeviceFailure!.Outcome);
        Assert.Contains("its state cannot be read any more", after.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_that_fails_again_and_again_uses_up_its_budget_and_its_claim_is_started_afresh()
    {
        const string Device = "fab0:01:00.4";
        await CreateAsync("stormy", Device, "restart");

        for (var i = 0; i < 6; i++)
            await Fabric.RunAsync("inject", "aer", $"{Host}/{Device}", "--severity", "fatal");
        var sick = await Fabric.DeviceAsync(Host, Device, device => device.State == "quarantined", "in quarantine");
        var after = await Fabric.ClaimAsync("stormy", claim => claim is { Phase: "running", DeviceFailure.Outcome: not null }, "running elsewhere");
        await Fabric.ReleaseAsync("stormy");

        Assert.Contains("freezes within an hour", sick.Reason, StringComparison.Ordinal);
        Assert.Equal("restarted-afresh", after.DeviceFailure!.Outcome);
        Assert.NotEqual($"{Host}/{Device}", $"{after.Host}/{after.Device}");
    }

    [Fact]
    public async Task A_policy_that_there_is_not_is_refused()
    {
        var reply = await Fabric.Http.PostAsync("api/v1/claims", """{"id":"unsure","on_device_failure":"pray"}""");

        Assert.Equal((400, ProblemCode.InvalidRequest, "on_device_failure is 'pray'; it must be evacuate, restart or stay."), (reply.Status, reply.Problem.Code, reply.Problem.Detail));
    }

    private async Task CreateAsync(string id, string device, string? policy = null)
    {
        string[] chosen = policy is null ? [] : ["--on-device-failure", policy];
        var created = await Fabric.RunAsync(["claim", "create", id, "--host", Host, "--device", device, "--memory-mib", "1", "--steps-per-second", "2000", "--wait", .. chosen]);
        Assert.True(created.ExitCode == 0, created.ToString());
        await Fabric.ClaimAsync(id, claim => claim.Workload is { Steps: > 0 }, "working");
    }
}
