using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>Bad input: one sentence, the right exit code and problem document, and nothing changes.</summary>
[Collection(SharedFabric.Name)]
public sealed class RefusedRequestTests(SharedFabric shared)
{
    private const int Failed = 1;
    private const int Usage = 2;
    private const int RefusedByPlan = 3;

    private TestFabric Fabric => shared.Fabric;

    [Theory]
    [InlineData("claim", "show", "nobody")]
    [InlineData("migrate", "nobody", "--to", "host-b")]
    [InlineData("claim", "release", "nobody")]
    [InlineData("claim", "verify", "nobody")]
    public async Task A_claim_that_does_not_exist_is_named(params string[] command)
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync(command));
        Assert.Equal((Failed, "There is no claim nobody; list the claims."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_claim_that_does_not_exist_is_a_404()
    {
        var reply = await UnchangedAsync(() => Fabric.Http.GetAsync("api/v1/claims/nobody"));
        Assert.Equal((404, ProblemCode.NotFound, "There is no claim nobody; list the claims."), (reply.Status, reply.Problem.Code, reply.Problem.Detail));
    }

    [Theory]
    [InlineData("""{"id":"odd","devices":[]}""", "'devices' has 0 devices; a claim has 1 to 16.")]
    [InlineData("""{"id":"odd","model":"accelerator-vf","devices":[{}]}""", "'devices' says what 'model' and 'device' say of one; give either.")]
    [InlineData("""{"id":"odd","devices":[{},null]}""", """'devices' has a null in it; write each as {"model": …, "device": …}.""")]
    [InlineData("""{"id":"odd","host":"host-a","devices":[{"device":"3b"}]}""", "'3b' is not a PCI address; write domain:bus:device.function, such as 0000:3b:00.2.")]
    [InlineData(
        """{"id":"odd","devices":[{},{"device":"fab0:01:00.1"}]}""",
        "A device is named without its host, and an address names a slot of a host; give both, or neither.")]
    public async Task Devices_that_cannot_be_asked_for_are_a_400_that_says_why(string body, string detail)
    {
        var reply = await UnchangedAsync(() => Fabric.Http.PostAsync("api/v1/claims", body));
        Assert.Equal((400, ProblemCode.InvalidRequest, detail), (reply.Status, reply.Problem.Code, reply.Problem.Detail));
    }

    [Fact]
    public async Task A_device_that_does_not_exist_is_named()
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync("device", "show", "host-a/0000:7f:1f.7"));
        Assert.Equal((Failed, "host-a has no device 0000:7f:1f.7; list its devices."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_device_of_a_host_that_does_not_exist_names_the_host()
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync("device", "show", "host-z/0000:3b:00.1"));
        Assert.Equal((Failed, "There is no host host-z in the fabric; list the hosts."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_claim_on_a_device_that_does_not_exist_is_refused_by_plan()
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync("claim", "create", "no-device", "--host", "host-a", "--device", "0000:7f:1f.7"));
        Assert.Equal((RefusedByPlan, "host-a has no device 0000:7f:1f.7; list its devices."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_claim_of_another_model_is_refused_by_plan()
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync("claim", "create", "other-model", "--host", "host-a", "--model", "nic-vf"));
        Assert.Equal(
            (RefusedByPlan, "host-a has no device of model nic-vf, only of accelerator-vf; choose a host that has one."),
            (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_migration_to_a_host_that_does_not_exist_is_refused_by_plan()
    {
        await using var claim = await HeldAsync("to-nowhere", "host-a");
        var ending = await UnchangedAsync(() => Fabric.RunAsync("migrate", "to-nowhere", "--to", "host-z"));
        Assert.Equal((RefusedByPlan, "There is no host host-z in the fabric; list the hosts."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_migration_to_the_source_is_refused_by_plan()
    {
        await using var claim = await HeldAsync("to-itself", "host-a");
        var ending = await UnchangedAsync(() => Fabric.RunAsync("migrate", "to-itself", "--to", "host-a"));
        Assert.Equal((RefusedByPlan, "Claim to-itself runs on host-a already; name another host."), (ending.ExitCode, ending.Sentence));
    }

    [Fact]
    public async Task A_migration_to_a_full_host_is_refused_by_plan()
    {
        await using var claim = await HeldAsync("to-full", "host-a");
        var fillers = new List<Held>();
        try
        {
            for (var held = 0; held < DaemonSettings.VirtualFunctions; held++)
                fillers.Add(await HeldAsync($"filler-{held}", "host-c"));
            var reply = await UnchangedAsync(() => Fabric.Http.PostAsync("api/v1/claims/to-full/migrations", """{"to":"host-c"}"""));
            Assert.Equal(
                (409, ProblemCode.RefusedByPlan, "host-c is full: all 4 devices of model accelerator-vf are in use or out of service; release one, or choose another host."),
                (reply.Status, reply.Problem.Code, reply.Problem.Detail));
        }
        finally
        {
            foreach (var filler in fillers)
                await filler.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_second_migration_of_a_claim_that_migrates_is_a_conflict()
    {
        await using var claim = await HeldAsync("twice", "host-a", memoryMib: 16);
        await Fabric.MigratingSlowlyAsync("twice", "host-b");
        var reply = await Fabric.Http.PostAsync("api/v1/claims/twice/migrations", """{"to":"host-c"}""");
        var ending = await Fabric.RunAsync("migrate", "twice", "--to", "host-c");
        var after = await Fabric.ClaimAsync("twice");
        await Fabric.Http.PostAsync("api/v1/migrations/twice.1/cancel");

        const string Sentence = "Claim twice is migrating already (twice.1, to host-b); wait for its end, or cancel it.";
        Assert.Equal((409, ProblemCode.Conflict, Sentence), (reply.Status, reply.Problem.Code, reply.Problem.Detail));
        Assert.Equal((Failed, Sentence), (ending.ExitCode, ending.Sentence));
        Assert.Equal(("migrating", "twice.1", 1), (after.Phase, after.Migration, after.Migrations.Count));
    }

    [Fact]
    public async Task A_release_of_a_claim_that_migrates_is_a_conflict()
    {
        await using var claim = await HeldAsync("no-release", "host-a", memoryMib: 16);
        await Fabric.MigratingSlowlyAsync("no-release", "host-b");
        var ending = await Fabric.RunAsync("claim", "release", "no-release");
        var after = await Fabric.ClaimAsync("no-release");
        await Fabric.Http.PostAsync("api/v1/migrations/no-release.1/cancel");

        Assert.Equal((Failed, "Claim no-release is migrating; cancel migration no-release.1, or wait for its end."), (ending.ExitCode, ending.Sentence));
        Assert.Equal("migrating", after.Phase);
    }

    [Fact]
    public async Task A_migration_that_does_not_exist_is_named()
    {
        await using var claim = await HeldAsync("no-history", "host-a");
        var ending = await UnchangedAsync(() => Fabric.RunAsync("migration", "cancel", "no-history.7"));
        Assert.Equal((Failed, "Claim no-history has no migration no-history.7; list its migrations."), (ending.ExitCode, ending.Sentence));
    }

    [Theory]
    [InlineData("{\"id\": \"half")]
    [InlineData("[]")]
    [InlineData("{\"id\":\"typed\",\"memory_mib\":\"many\"}")]
    [InlineData("")]
    public async Task A_malformed_body_is_a_problem_document(string body)
    {
        var reply = await UnchangedAsync(() => Fabric.Http.PostAsync("api/v1/claims", body));
        Assert.Equal((400, ProblemCode.InvalidRequest), (reply.Status, reply.Problem.Code));
        Assert.Contains("/openapi/v1.json", reply.Problem.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"id\":\"Not An Id\"}", "is not a claim id")]
    [InlineData("{}", "is not a claim id")]
    [InlineData("{\"id\":\"x\",\"memory_mib\":100000}", "memory_mib is 100000")]
    [InlineData("{\"id\":\"x\",\"host\":\"host-a\",\"device\":\"slot 3\"}", "is not a PCI address")]
    public async Task A_value_out_of_range_is_named(string body, string part)
    {
        var reply = await UnchangedAsync(() => Fabric.Http.PostAsync("api/v1/claims", body));
        Assert.Equal((400, ProblemCode.InvalidRequest), (reply.Status, reply.Problem.Code));
        Assert.Contains(part, reply.Problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unknown_route_says_where_the_API_is_described()
    {
        var reply = await UnchangedAsync(() => Fabric.Http.GetAsync("api/v1/nothing"));
        Assert.Equal(
            (404, ProblemCode.NotFound, "There is no /api/v1/nothing; the API is described at /openapi/v1.json."),
            (reply.Status, reply.Problem.Code, reply.Problem.Detail));
    }

    [Fact]
    public async Task A_method_that_a_route_does_not_have_is_a_problem_document()
    {
        var reply = await UnchangedAsync(() => Fabric.Http.DeleteAsync("api/v1/hosts"));
        Assert.Equal(405, reply.Problem.Status);
    }

    [Theory]
    [InlineData("migrate", "demo")]
    [InlineData("device", "show", "no-slash")]
    [InlineData("claim", "create", "Not_An_Id")]
    [InlineData("claim", "create", "x", "--memory-mib", "100000")]
    [InlineData("nonsense")]
    public async Task Misuse_exits_2(params string[] command)
    {
        var ending = await UnchangedAsync(() => Fabric.RunAsync(command));
        Assert.Equal((Usage, ""), (ending.ExitCode, ending.Out));
        Assert.NotEmpty(ending.Error);
    }

    /// <summary>What the fabric shows of its claims and devices is the same before and after.</summary>
    private async Task<T> UnchangedAsync<T>(Func<Task<T>> act)
    {
        // Hosts tell of their devices a moment after claims tell of themselves: what another test let go of may still be shown.
        var (before, _) = await Poll.UntilAsync("the lists of claims and devices to agree", LookAsync, seen => seen.Agree, seen => seen.Text);
        var result = await act();
        Assert.Equal(before, await SeenAsync());
        return result;
    }

    private async Task<string> SeenAsync() => (await LookAsync()).Text;

    private async Task<(string Text, bool Agree)> LookAsync()
    {
        var claims = (await Fabric.Http.GetAsync("api/v1/claims")).As<ListResource<ClaimResource>>().Items.Where(claim => claim.Phase != "released").ToArray();
        var devices = (await Fabric.Http.GetAsync("api/v1/devices")).As<ListResource<DeviceResource>>().Items;
        var text = string.Join('\n', claims
            .Select(claim => $"{claim.Id} {claim.Phase} {claim.Host}/{claim.Device} {claim.Generation} {claim.Migrations.Count}")
            .Concat(devices.Select(device => $"{device.Id} {device.State} {device.Claim}")));
        var holders = claims.Where(claim => claim.Phase is "running" or "migrating").Select(claim => claim.Id).ToHashSet();
        return (text, holders.SetEquals(devices.Where(device => device.State == "open").Select(device => device.Claim!)));
    }

    private async Task<Held> HeldAsync(string id, string host, int memoryMib = 1)
    {
        var claim = await Fabric.ClaimRunningAsync(id, host, memoryMib);
        await Poll.UntilAsync(
            $"the fabric's lists to show {id}",
            SeenAsync,
            seen => seen.Contains($"{id} running", StringComparison.Ordinal) && seen.Contains($"{claim.Device} open {id}", StringComparison.Ordinal));
        return new Held(this, id);
    }

    private sealed class Held(RefusedRequestTests tests, string id) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await tests.Fabric.ReleaseAsync(id);
            await Poll.UntilAsync($"the fabric's lists to show {id} no more", tests.SeenAsync, seen => !seen.Contains(id, StringComparison.Ordinal));
        }
    }
}
