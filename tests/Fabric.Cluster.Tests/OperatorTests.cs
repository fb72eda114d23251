using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>A fabric whose host counts a reset of two seconds as hung; each test has devices of its own.</summary>
public sealed class OperatedFabric : IAsyncLifetime
{
    internal TestFabric Fabric { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Fabric = await TestFabric.StartAsync(hosts: 1, slowCallDeadline: "2s");

    public async ValueTask DisposeAsync()
    {
        if (Fabric is not null)
            await Fabric.DisposeAsync();
    }
}

/// <summary>What operators do, by the command line, to devices of a host in a process of its own.</summary>
public sealed class OperatorTests(OperatedFabric operated) : IClassFixture<OperatedFabric>
{
    private const string Host = "host-a";
    private const int Failed = 1;
    private const int TimedOut = 4;

    private TestFabric Fabric => operated.Fabric;

    [Fact]
    public async Task A_device_in_quarantine_is_handed_to_nobody_until_it_is_put_back_and_can_explain_itself()
    {
        const string Device = "fab0:01:00.1";

        var taken = await Fabric.RunAsync("device", "quarantine", $"{Host}/{Device}", "--reason", "it smells");
        var sick = await Fabric.DeviceAsync(Host, Device, device => device.State == "quarantined", "in quarantine");
        var shown = await Fabric.RunAsync("device", "show", $"{Host}/{Device}");
        var inspected = await Fabric.RunAsync("device", "inspect", $"{Host}/{Device}");
        var refused = await Fabric.RunAsync("device", "reset", $"{Host}/{Device}");
        var claim = await Fabric.RunAsync("claim", "create", "of-the-sick", "--host", Host, "--device", Device);
        var back = await Fabric.RunAsync("device", "unquarantine", $"{Host}/{Device}");
        await Fabric.DeviceAsync(Host, Device, device => device is { State: "closed", Health: "Healthy" }, "back in service");
        var reset = await Fabric.RunAsync("device", "reset", $"{Host}/{Device}");
        var history = await Fabric.RunAsync("device", "history", $"{Host}/{Device}");

        Assert.Equal((0, 0, 0), (taken.ExitCode, back.ExitCode, reset.ExitCode));
        Assert.Equal(("Unhealthy", "it smells"), (sick.Health, sick.Reason));
        Assert.Contains("'fabric device unquarantine'", shown.Out, StringComparison.Ordinal);
        Assert.Contains("    reason: it smells", inspected.Out, StringComparison.Ordinal);
        Assert.Equal((Failed, 3), (refused.ExitCode, claim.ExitCode));
        Assert.Contains("is out of service: it smells.", refused.Sentence, StringComparison.Ordinal);
        var lines = history.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("quarantined    it smells (by ", string.Join('\n', lines), StringComparison.Ordinal);
        Assert.Contains($"asked for by {Environment.UserName}@", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_hosts_own_daemon_takes_commands_too()
    {
        var reset = await TestFabric.RunAtAsync(Fabric[Host], "device", "reset", $"{Host}/fab0:01:00.2", "--method", "flr");

        Assert.True(reset.ExitCode == 0, reset.Error);
    }

    [Fact]
    public async Task A_removal_of_a_device_in_use_says_who_is_waited_for_and_ends_when_it_is_released()
    {
        const string Device = "fab0:01:00.3";
        var created = await Fabric.RunAsync("claim", "create", "in-the-way", "--host", Host, "--device", Device, "--memory-mib", "1", "--wait");
        Assert.True(created.ExitCode == 0, created.Error);

        var waiting = await Fabric.RunAsync("device", "remove", $"{Host}/{Device}");
        var shown = await Fabric.DeviceAsync(Host, Device, device => device.State == "removing", "on its way out");
        var claim = await Fabric.ClaimAsync("in-the-way");
        await Fabric.ReleaseAsync("in-the-way");
        await Poll.UntilAsync($"{Device} to be gone", () => Fabric.Http.GetAsync($"api/v1/devices/{Host}/{Device}"), reply => reply.Status == 404);

        Assert.Equal(TimedOut, waiting.ExitCode);
        Assert.Contains("is held by claim in-the-way, who is asked for release", waiting.Sentence, StringComparison.Ordinal);
        Assert.Contains("claim in-the-way", shown.Reason, StringComparison.Ordinal);
        Assert.Equal("running", claim.Phase);
    }

    [Fact]
    public async Task A_reset_that_hangs_is_reported_while_the_other_devices_go_on()
    {
        const string Device = "fab0:01:00.4";
        var injected = await Fabric.Http.PostAsync($"api/v1/devices/{Host}/{Device}/faults", """{"kind":"hang","point":"reset"}""");
        if (injected.Status == 422 && injected.Problem.Errno == "EOPNOTSUPP")
            Assert.Skip("The emulated functions of this build cannot be made to hang.");
        Assert.True(injected.Status == 200, injected.ToString());

        var hanging = Fabric.RunAsync("device", "reset", $"{Host}/{Device}");
        var sick = await Fabric.DeviceAsync(Host, Device, device => device.State == "quarantined", "found to hang");
        var early = await Fabric.RunAsync("device", "unquarantine", $"{Host}/{Device}");
        var others = await Fabric.RunAsync("device", "reset", $"{Host}/fab0:01:00.2");
        var released = await Fabric.RunAsync("inject", "hang", $"{Host}/{Device}", "--release");
        await Poll.UntilAsync(
            "the hang to be over",
            () => Fabric.RunAsync("device", "history", $"{Host}/{Device}"),
            history => history.Out.Contains("hang-ended", StringComparison.Ordinal),
            history => history.Out);
        var back = await Fabric.RunAsync("device", "unquarantine", $"{Host}/{Device}");
        await Fabric.DeviceAsync(Host, Device, device => device.Health == "Healthy", "back in service");

        Assert.Equal(Failed, (await hanging).ExitCode);
        Assert.StartsWith("it hangs in reset", sick.Reason, StringComparison.Ordinal);
        Assert.StartsWith("Wait until reset", sick.WayBack, StringComparison.Ordinal);
        Assert.Equal(Failed, early.ExitCode);
        Assert.Contains("hangs in reset", early.Sentence, StringComparison.Ordinal);
        Assert.Equal((0, 0, 0), (others.ExitCode, released.ExitCode, back.ExitCode));
    }
}
