using System.Text.Json;
using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>A claim goes from host to host, as an operator and a program see it.</summary>
[Collection(SharedFabric.Name)]
public sealed class MigrationTests(SharedFabric shared)
{
    private TestFabric Fabric => shared.Fabric;

    [Fact]
    public async Task A_migration_that_is_watched_commits_and_nothing_is_damaged()
    {
        await Fabric.ClaimRunningAsync("mover", "host-a");
        var watched = await Fabric.RunAsync("migrate", "mover", "--to", "host-b", "--watch");
        var verified = await Fabric.RunAsync("claim", "verify", "mover", "-o", "json");
        var after = await Fabric.ClaimAsync("mover");
        await Fabric.ReleaseAsync("mover");

        Assert.True(watched.ExitCode == 0, watched.ToString());
        Assert.Equal(("running", "host-b"), (after.Phase, after.Host));
        Assert.Equal("committed", Assert.Single(after.Migrations).Outcome);
        Assert.Equal(0, verified.ExitCode);
        var damage = JsonSerializer.Deserialize<VerificationResource>(verified.Out, ApiJson.Options)!;
        Assert.Equal(0, damage.Damaged);
        Assert.True(damage is { Steps: > 0, MemoryRecords: > 0, DeviceCells: > 0 }, $"{damage} checked nothing");
    }

    [Fact]
    public async Task A_claim_of_two_devices_moves_while_it_works_and_nothing_is_lost()
    {
        var created = await Fabric.RunAsync(
            "claim", "create", "pair", "--host", "host-a", "--device", "accelerator-vf", "--device", "accelerator-vf", "--memory-mib", "2",
            "--steps-per-second", "2000", "--wait");
        var before = await Fabric.ClaimAsync("pair", static claim => claim.Workload is { Steps: > 0 }, "working");
        var watched = await Fabric.RunAsync("migrate", "pair", "--to", "host-b", "--watch");
        var moved = await Fabric.ClaimAsync("pair", claim => claim.Workload!.Steps > before.Workload!.Steps, "working again");
        var verified = await Fabric.RunAsync("claim", "verify", "pair", "-o", "json");
        await Fabric.ReleaseAsync("pair");

        Assert.True(created.ExitCode == 0, created.ToString());
        Assert.True(watched.ExitCode == 0, watched.ToString());
        Assert.Equal("host-b", moved.Host);
        Assert.Equal(2, moved.Devices!.Select(static device => device.Device).Distinct().Count());
        Assert.Equal((0L, 0L, 0L), (moved.Workload!.Lost, moved.Workload.Repeated, moved.Workload.Torn));
        var damage = JsonSerializer.Deserialize<VerificationResource>(verified.Out, ApiJson.Options)!;
        Assert.Equal((0, 0L), (verified.ExitCode, damage.Damaged));
        // 256 KiB of state each: the cells of both were compared.
        Assert.Equal(2 * (256 << 10) / 8, damage.DeviceCells);
    }

    [Fact]
    public async Task A_watched_migration_writes_JSON_alone_to_standard_output()
    {
        await Fabric.ClaimRunningAsync("json", "host-a");
        var watched = await Fabric.RunAsync("migrate", "json", "--to", "host-b", "--watch", "-o", "json");
        await Fabric.ReleaseAsync("json");
        Assert.Equal("committed", JsonSerializer.Deserialize<MigrationResource>(watched.Out, ApiJson.Options)!.Outcome);
    }

    [Theory]
    [InlineData("host", "list")]
    [InlineData("device", "list")]
    [InlineData("claim", "list")]
    [InlineData("migration", "list")]
    public async Task A_list_as_JSON_is_one_document_on_standard_output_and_nothing_beside_it(params string[] command)
    {
        var ending = await Fabric.RunAsync([.. command, "-o", "json"]);
        Assert.Equal((0, ""), (ending.ExitCode, ending.Error));
        using var document = JsonDocument.Parse(ending.Out);
        Assert.Equal(JsonValueKind.Array, document.RootElement.GetProperty("items").ValueKind);
    }

    [Fact]
    public async Task A_migration_that_is_cancelled_before_its_commit_leaves_the_source_running()
    {
        await Fabric.ClaimRunningAsync("cancelled", "host-a", memoryMib: 16);
        await Fabric.MigratingSlowlyAsync("cancelled", "host-b");
        var cancel = await Fabric.RunAsync("migration", "cancel", "cancelled.1");
        var ended = await Fabric.MigrationAsync("cancelled.1", migration => migration.Outcome is not null, "over");
        var steps = (await Fabric.ClaimAsync("cancelled")).Workload!.Steps;
        var after = await Fabric.ClaimAsync("cancelled", claim => claim.Phase == "running" && claim.Workload!.Steps > steps, "working again");
        var verified = await Fabric.RunAsync("claim", "verify", "cancelled");
        await Fabric.ReleaseAsync("cancelled");

        Assert.Equal(0, cancel.ExitCode);
        Assert.Equal("cancelled", ended.Outcome);
        Assert.Equal("host-a", after.Host);
        Assert.Equal(0, verified.ExitCode);
    }

    [Fact]
    public async Task A_cancel_after_the_commit_is_a_conflict_and_the_claim_stays_where_it_went()
    {
        await Fabric.ClaimRunningAsync("too-late", "host-a");
        await Fabric.RunAsync("migrate", "too-late", "--to", "host-b", "--watch");
        var reply = await Fabric.Http.PostAsync("api/v1/migrations/too-late.1/cancel");
        var ending = await Fabric.RunAsync("migration", "cancel", "too-late.1");
        var after = await Fabric.ClaimAsync("too-late");
        await Fabric.ReleaseAsync("too-late");

        const string Sentence = "Migration too-late.1 is committed: it moved the claim to host-b. Migrate it to host-a instead.";
        Assert.Equal((409, ProblemCode.Conflict, Sentence), (reply.Status, reply.Problem.Code, reply.Problem.Detail));
        Assert.Equal((1, Sentence), (ending.ExitCode, ending.Sentence));
        Assert.Equal(("running", "host-b"), (after.Phase, after.Host));
    }

    [Theory]
    [InlineData("control")]
    [InlineData("host-b")]
    public async Task The_events_of_a_migration_are_followed_to_its_commit_at_every_daemon(string at)
    {
        await using var events = TestFabric.Command(Fabric[at], "events", "--follow", "-o", "json");
        var followed = $"followed-at-{at}";
        await Fabric.ClaimRunningAsync(followed, "host-a");
        await Fabric.RunAsync("migrate", followed, "--to", "host-b", "--watch");
        var committed = await Poll.UntilAsync(
            "migration.committed of the claim to be among the events",
            () => Task.FromResult(events.Out),
            lines => lines.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => JsonSerializer.Deserialize<EventResource>(line, ApiJson.Options)!)
                .Any(happened => happened is { Kind: "migration.committed" } && happened.Subject == followed));
        await Fabric.ReleaseAsync(followed);
        Assert.NotEmpty(committed);
    }

    [Fact]
    public async Task The_API_describes_itself()
    {
        var reply = await Fabric.Http.GetAsync("openapi/v1.json");
        using var document = JsonDocument.Parse(reply.Body);
        var paths = document.RootElement.GetProperty("paths").EnumerateObject().Select(path => path.Name).ToHashSet();
        Assert.Superset(
            new HashSet<string>
            {
                "/api/v1/hosts", "/api/v1/devices", "/api/v1/claims", "/api/v1/claims/{id}", "/api/v1/claims/{id}/migrations",
                "/api/v1/migrations/{id}", "/api/v1/migrations/{id}/cancel", "/api/v1/events",
            },
            paths);
    }
}
