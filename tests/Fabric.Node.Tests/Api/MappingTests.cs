using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Node.Api;

namespace Fabric.Node.Tests.Api;

public sealed class MappingTests
{
    private static readonly DateTimeOffset Then = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(MigrationStep.Reserve, "reserve")]
    [InlineData(MigrationStep.PreCopy, "pre-copy")]
    [InlineData(MigrationStep.StopCopy, "stop-copy")]
    [InlineData(MigrationStep.Run, "run")]
    [InlineData(MigrationStep.Release, "release")]
    [InlineData(MigrationStep.Rollback, "rollback")]
    [InlineData(MigrationStep.Done, "done")]
    public void Every_step_of_a_migration_has_its_word(MigrationStep step, string word) =>
        Assert.Equal(word, Mapping.ToResource(Claim(ClaimPhase.Running), Migration(1, step)).Phase);

    [Fact]
    public void Every_step_there_is_is_tested_above() => Assert.Equal(7, Enum.GetValues<MigrationStep>().Length);

    [Theory]
    [InlineData(ClaimPhase.Placing, "placing")]
    [InlineData(ClaimPhase.Running, "running")]
    [InlineData(ClaimPhase.Migrating, "migrating")]
    [InlineData(ClaimPhase.Releasing, "releasing")]
    [InlineData(ClaimPhase.Released, "released")]
    [InlineData(ClaimPhase.Failed, "failed")]
    public void Every_phase_of_a_claim_has_its_word(ClaimPhase phase, string word) =>
        Assert.Equal(word, Mapping.ToResource(Claim(phase, Migration(1, MigrationStep.Done))).Phase);

    [Fact]
    public void A_migrating_claim_names_the_migration_under_way()
    {
        var claim = Mapping.ToResource(Claim(ClaimPhase.Migrating, Migration(1, MigrationStep.Done), Migration(2, MigrationStep.PreCopy)));

        Assert.Equal("demo.2", claim.Migration);
        Assert.Equal(["demo.1", "demo.2"], claim.Migrations.Select(migration => migration.Id));
    }

    [Fact]
    public void A_running_claim_names_no_migration() =>
        Assert.Null(Mapping.ToResource(Claim(ClaimPhase.Running, Migration(1, MigrationStep.Done))).Migration);

    [Fact]
    public void Bytes_per_second_become_MiB_per_second() =>
        Assert.Equal(1.5, Mapping.ToResource(Claim(ClaimPhase.Running), Migration(1, MigrationStep.Done)).MibPerS);

    [Fact]
    public void A_workload_is_shown_as_it_was_told()
    {
        var claim = Mapping.ToResource(Claim(ClaimPhase.Running) with { Workload = new WorkloadCounters(10, 1, 2, 3, 4.5) });

        Assert.Equal(new WorkloadResource(10, 1, 2, 3, 4.5), claim.Workload);
    }

    [Fact]
    public void A_host_counts_its_devices_those_that_can_be_claimed_and_those_that_are_free()
    {
        var inventory = new HostInventory("host-a", "http://127.0.0.1:1", "1", [
            Device("0000:00:01.0", model: null, "inventory"),
            Device("fab0:01:00.1", "accelerator-vf", "open"),
            Device("fab0:01:00.2", "accelerator-vf", "closed"),
            Device("fab0:01:00.3", "accelerator-vf", "quarantined"),
        ]);

        var host = Mapping.ToResource(new FleetHost("host-a", "up", "127.0.0.1:2", inventory));

        Assert.Equal((4, 3, 1), (host.Devices, host.Claimable, host.Free));
    }

    [Fact]
    public void A_host_that_nothing_was_heard_of_has_no_devices()
    {
        var host = Mapping.ToResource(new FleetHost("host-a", "unreachable", "127.0.0.1:2", null));

        Assert.Equal((0, 0, 0, ""), (host.Devices, host.Claimable, host.Free, host.Version));
    }

    [Fact]
    public void A_device_is_named_by_its_host_and_address()
    {
        var device = Mapping.ToResource("host-a", Device("0000:3b:00.2", model: null, "inventory"));

        Assert.Equal(("host-a/0000:3b:00.2", "physical"), (device.Id, device.Kind));
    }

    [Fact]
    public void A_device_has_its_health_with_the_reason_the_way_back_and_its_VFs()
    {
        var device = Mapping.ToResource("host-a", Device("fab0:01:00.0", "accelerator", "quarantined") with
        {
            Health = "Unhealthy", Reason = "it smells", WayBack = "air", VirtualFunctions = 3,
        });

        Assert.Equal(
            ("quarantined", "Unhealthy", "it smells", "air", 3),
            (device.State, device.Health, device.Reason, device.WayBack, device.VirtualFunctions));
    }

    [Fact]
    public void Lines_become_the_tree_they_were()
    {
        var tree = Mapping.ToResource([
            new InspectLine(0, "device", null), new InspectLine(1, "supervisor", null), new InspectLine(2, "state", "Open"),
            new InspectLine(2, "health", "Healthy"), new InspectLine(1, "driver", "none"),
        ]);

        Assert.Equal(
            "device(supervisor(state=Open(),health=Healthy()),driver=none())",
            Written(tree));

        static string Written(InspectResource node) =>
            $"{node.Name}{(node.Value is null ? "" : $"={node.Value}")}({string.Join(",", node.Children.Select(Written))})";
    }

    [Fact]
    public void A_claim_says_what_its_device_failed_of_and_where_it_went()
    {
        var trouble = new TroubleView("host-a", "fab0:01:00.1", "it smells", Readable: true, Then, Attempts: 2, "evacuated", "host-b", "fab0:01:00.2", Ms: 1500, DowntimeMs: 12.5);

        var claim = Mapping.ToResource(Claim(ClaimPhase.Running) with { OnDeviceFailure = DeviceFailurePolicy.Restart, Trouble = trouble });

        Assert.Equal("restart", claim.OnDeviceFailure);
        Assert.Equal(
            new DeviceFailureResource("host-a/fab0:01:00.1", "it smells", true, Then, 2, "evacuated", "host-b/fab0:01:00.2", 1500, 12.5),
            claim.DeviceFailure);
    }

    [Fact]
    public void A_claim_says_what_becomes_of_it_when_its_host_is_lost_and_how_long_its_lease_is()
    {
        var claim = Mapping.ToResource(Claim(ClaimPhase.Running) with { OnHostLoss = HostLossPolicy.Restart, Lease = new LeaseView(60_000, Then, Then.AddMinutes(1)) });

        Assert.Equal(("restart", new LeaseResource(60_000, Then, Then.AddMinutes(1))), (claim.OnHostLoss, claim.Lease));
    }

    [Fact]
    public void A_claim_that_waits_for_its_host_has_no_lease()
    {
        var claim = Mapping.ToResource(Claim(ClaimPhase.Running));

        Assert.Equal(("wait", null), (claim.OnHostLoss, claim.Lease));
    }

    [Fact]
    public void A_claim_that_starts_afresh_is_restarting() => Assert.Equal("restarting", Mapping.ToResource(Claim(ClaimPhase.Restarting)).Phase);

    [Fact]
    public void An_event_keeps_its_number()
    {
        var resource = Mapping.ToResource(new NumberedEvent(42, new FabricEvent(Then, "claim.created", "demo", "control", "made")));

        Assert.Equal(new EventResource(42, Then, "claim.created", "demo", "control", "made"), resource);
    }

    private static ClaimView Claim(ClaimPhase phase, params MigrationView[] migrations) => new(
        "demo", [new ClaimedDevice("accelerator-vf", "fab0:01:00.1")], phase, "host-a", 3, "control", null, Then, Workload: null, migrations);

    private static MigrationView Migration(int number, MigrationStep step) => new(
        number, "host-a", ["fab0:01:00.1"], "host-b", ["fab0:01:00.2"], step, null, null, Then, TotalMs: 5, DowntimeMs: 1, DowntimeLimitMs: 300,
        Bytes: 9, RemainingBytes: 0, BytesPerSecond: 3 << 19, Rounds: 2, Verified: true, "c0ffee", [], "test");

    private static DeviceEntry Device(string address, string? model, string state) => new(
        address, "1b36:fab1", model, Physical: model is null, Driver: null, state, "Healthy", Reason: null, WayBack: null,
        MigrationState: null, Claim: null, StateBytes: null, IommuGroup: null, PhysicalFunction: null, VirtualFunctions: 0, ResetMethods: [],
        MdevUuid: null);
}
