using System.Net.Http.Json;
using System.Text;
using Fabric.Node.Api;

namespace Fabric.Node.Tests.Api;

/// <summary>Mediated devices over real HTTP, in a daemon that is a fabric by itself. Each test has definitions of its own.</summary>
public sealed class MdevTests(MdevTests.Host host) : IClassFixture<MdevTests.Host>
{
    private const string Mdevs = "/api/v1/hosts/one/mdev";
    private const string Uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
    private const string Nobody = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1fff";

    /// <summary>Path, body, and what the sentence must name.</summary>
    public static TheoryData<string, string, string> Bad => new()
    {
        { Mdevs, "{}", "'parent' and 'type' are needed" },
        { Mdevs, """{"parent":"mtty"}""", "'parent' and 'type' are needed" },
        { Mdevs, """{"parent":"mtty","type":"mtty-1","uuid":"7"}""", "'7' is no UUID" },
        { Mdevs, """{"parent":"mtty","type":"mtty-1","uuid":""}""", "'' is no UUID" },
        { Mdevs, """{"parent":"mtty","type":"mtty-1","uuid":"{83b8f4f2-509f-382f-3c1e-e6bfe0fa1001}"}""", "is no UUID" },
        { Mdevs, """{"parent":"mtty","type":"mtty-1","start":"always"}""", "start is 'always'" },
        { Mdevs, """{"parent":"mtty","type":"mtty-1","colour":"red"}""", "at $.colour, line 1" },
        { $"{Mdevs}/7/start", "", "'7' is no UUID" },
        { $"{Mdevs}/7/stop", "{}", "'7' is no UUID" },
        { $"{Mdevs}/{Uuid}/stop", """{"force_after_s":-1}""", "force_after_s is -1" },
    };

    [Theory, MemberData(nameof(Bad))]
    public async Task What_is_wrong_is_said_in_a_sentence_and_nothing_is_defined(string path, string body, string named)
    {
        var before = (await host.GetAsync<MdevListResource>(Mdevs)).Items.Count;

        var (status, problem) = await host.RefusedAsync(HttpMethod.Post, path, body);

        Assert.Equal(400, status);
        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
        Assert.Equal(before, (await host.GetAsync<MdevListResource>(Mdevs)).Items.Count);
    }

    /// <summary>What is asked, and how it is refused.</summary>
    public static TheoryData<string, string, string, int, string, string> Refused => new()
    {
        { "POST", Mdevs, """{"parent":"mill","type":"mill-1"}""", 404, "ENODEV", "This host has no mdev parent 'mill'; it has mtty, mdpy, mbochs." },
        { "POST", Mdevs, """{"parent":"mtty","type":"mdpy-hd"}""", 422, "EINVAL", "mtty has no type 'mdpy-hd'; it has mtty-1, mtty-2." },
        { "POST", $"{Mdevs}/{Nobody}/start", "", 404, "ENODEV", $"This host defines no mdev {Nobody}" },
        { "POST", $"{Mdevs}/{Nobody}/stop", "", 404, "ENODEV", $"This host defines no mdev {Nobody}" },
        { "DELETE", $"{Mdevs}/{Nobody}", "", 404, "ENODEV", $"This host defines no mdev {Nobody}" },
    };

    [Theory, MemberData(nameof(Refused))]
    public async Task What_the_host_refuses_keeps_its_errno(string method, string path, string body, int status, string errno, string sentence)
    {
        var refused = await host.RefusedAsync(new HttpMethod(method), path, body);

        Assert.Equal((status, errno), (refused.Status, refused.Problem.Errno));
        Assert.StartsWith(sentence, refused.Problem.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData($"{Mdevs}/{Nobody}", 404, "defines no mdev")]
    [InlineData($"{Mdevs}/7", 400, "'7' is no UUID")]
    [InlineData("/api/v1/hosts/two/mdev", 404, "There is no host two")]
    [InlineData("/api/v1/hosts/two/mdev/types", 404, "There is no host two")]
    public async Task What_there_is_not_is_not_found(string path, int status, string named)
    {
        var refused = await host.RefusedAsync(HttpMethod.Get, path);

        Assert.Equal(status, refused.Status);
        Assert.Contains(named, refused.Problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Types_say_how_many_more_there_could_be()
    {
        var types = await host.GetAsync<ListResource<MdevTypeResource>>($"{Mdevs}/types");

        Assert.Equal(
            ["mtty-1", "mtty-2", "mdpy-vga", "mdpy-xga", "mdpy-hd", "mbochs-small", "mbochs-medium", "mbochs-large"],
            types.Items.Select(type => type.Type));
        Assert.Contains(new MdevTypeResource("mdpy", "mdpy-hd", "vfio hd", "a framebuffer of 1920 by 1080 pixels", 4), types.Items);
    }

    [Fact]
    public async Task Defined_started_stopped_and_undefined_it_is_a_device_while_it_is_started()
    {
        var definition = $$"""{"parent":"mtty","type":"mtty-2","uuid":"{{Uuid}}","start":"auto"}""";
        var defined = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, definition, 201);
        var started = await host.SendAsync<MdevResource>(HttpMethod.Post, $"{Mdevs}/{Uuid}/start");
        var device = await host.DeviceAsync(Uuid, found => found?.State == "closed");
        var again = await host.RefusedAsync(HttpMethod.Post, $"{Mdevs}/{Uuid}/start");
        var early = await host.RefusedAsync(HttpMethod.Delete, $"{Mdevs}/{Uuid}");
        var twice = await host.RefusedAsync(HttpMethod.Post, Mdevs, definition);
        var seen = await host.GetAsync<MdevResource>($"{Mdevs}/{Uuid.ToUpperInvariant()}");
        var stopped = await host.SendAsync<OperationResource>(HttpMethod.Post, $"{Mdevs}/{Uuid}/stop");
        await host.DeviceAsync(Uuid, static found => found is null);
        var undefined = await host.SendAsync<OperationResource>(HttpMethod.Delete, $"{Mdevs}/{Uuid}");

        Assert.Equal(new MdevResource($"one/{Uuid}", "one", Uuid, "mtty", "mtty-2", "auto", "stopped", null, null), defined);
        Assert.Equal(defined with { State = "started", Device = "one/fabd:35:14.0" }, started);
        Assert.Equal(started, seen);
        Assert.Equal(("one/fabd:35:14.0", "mtty", "mtty"), (device!.Id, device.Driver, device.Model));
        Assert.Equal((409, "EEXIST"), (again.Status, again.Problem.Errno));
        Assert.Equal((409, "EBUSY"), (early.Status, early.Problem.Errno));
        Assert.Equal((409, "EEXIST"), (twice.Status, twice.Problem.Errno));
        Assert.Equal([new OperationResource($"one/{Uuid}", "done"), new OperationResource($"one/{Uuid}", "done")], [stopped, undefined]);
        Assert.Equal(404, (await host.RefusedAsync(HttpMethod.Get, $"{Mdevs}/{Uuid}")).Status);
    }

    [Fact]
    public async Task A_plan_defines_starts_stops_and_forgets_nothing()
    {
        const string Planned = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002";
        const string Definition = $$"""{"parent":"mtty","type":"mtty-1","uuid":"{{Planned}}"}""";

        var define = await host.SendAsync<PlanResource>(HttpMethod.Post, $"{Mdevs}?plan=true", Definition);
        Assert.Equal(404, (await host.RefusedAsync(HttpMethod.Get, $"{Mdevs}/{Planned}")).Status);
        await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, Definition, 201);
        var start = await host.SendAsync<PlanResource>(HttpMethod.Post, $"{Mdevs}/{Planned}/start?plan=true");
        var stop = await host.SendAsync<PlanResource>(HttpMethod.Post, $"{Mdevs}/{Planned}/stop?plan=true");
        var forget = await host.SendAsync<PlanResource>(HttpMethod.Delete, $"{Mdevs}/{Planned}?plan=true");

        Assert.Equal("stopped", (await host.GetAsync<MdevResource>($"{Mdevs}/{Planned}")).State);
        Assert.Equal([true, true, false, true], [define.Possible, start.Possible, stop.Possible, forget.Possible]);
        Assert.Equal($"mtty would make mdev {Planned}, a mtty-1", start.Would);
        Assert.Equal($"mdev {Planned} is not started.", Assert.Single(stop.Reasons));
    }

    [Fact]
    public async Task One_that_finds_no_room_is_ENOSPC_and_says_what_is_left()
    {
        for (var number = 0; number < 4; number++)
        {
            var made = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, """{"parent":"mbochs","type":"mbochs-large"}""", 201);
            await host.SendAsync<MdevResource>(HttpMethod.Post, $"{Mdevs}/{made.Uuid}/start");
        }

        var last = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, """{"parent":"mbochs","type":"mbochs-small"}""", 201);
        var plan = await host.SendAsync<PlanResource>(HttpMethod.Post, $"{Mdevs}/{last.Uuid}/start?plan=true");
        var refused = await host.RefusedAsync(HttpMethod.Post, $"{Mdevs}/{last.Uuid}/start");

        Assert.Equal((false, "mbochs has no room for another mbochs-small; stop one first."), (plan.Possible, Assert.Single(plan.Reasons)));
        Assert.Equal((422, "ENOSPC"), (refused.Status, refused.Problem.Errno));
        Assert.Equal("mbochs-small takes 4 of the 256 MiB of video RAM of mbochs, and 0 are left; stop another first.", refused.Problem.Detail);
    }

    [Fact]
    public async Task Without_a_UUID_of_the_callers_it_has_one_of_its_own_and_starts_when_it_is_told()
    {
        var one = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, """{"parent":"mdpy","type":"mdpy-vga"}""", 201);
        var two = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, """{"parent":"mdpy","type":"mdpy-vga"}""", 201);

        Assert.NotEqual(one.Uuid, two.Uuid);
        Assert.Equal("manual", one.Start);
    }

    [Fact]
    public async Task What_is_defined_lies_in_the_data_directory()
    {
        var made = await host.SendAsync<MdevResource>(HttpMethod.Post, Mdevs, """{"parent":"mtty","type":"mtty-1"}""", 201);

        Assert.True(File.Exists(Path.Combine(host.Folder, "mdev.d", "mtty", made.Uuid)));
    }

    /// <summary>One daemon, control node and host, with every parent.</summary>
    public sealed class Host : IAsyncLifetime
    {
        private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

        private RunningDaemon? daemon;

        internal string Folder => daemon!.Folder;

        public async ValueTask InitializeAsync()
        {
            daemon = await RunningDaemon.StartAsync(
                "--node:name=one", "--node:roles:0=control", "--node:roles:1=host", "--hardware:emulated:mdevParents:0=mtty",
                "--hardware:emulated:mdevParents:1=mdpy", "--hardware:emulated:mdevParents:2=mbochs");
            await daemon.BecomeReadyAsync();
        }

        public ValueTask DisposeAsync() => daemon?.DisposeAsync() ?? ValueTask.CompletedTask;

        internal Task<T> GetAsync<T>(string path) => SendAsync<T>(HttpMethod.Get, path);

        internal async Task<T> SendAsync<T>(HttpMethod method, string path, string body = "", int status = 200)
        {
            using var response = await AskAsync(method, path, body);
            var content = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            Assert.True((int)response.StatusCode == status, content);
            return System.Text.Json.JsonSerializer.Deserialize<T>(content, ApiJson.Options)!;
        }

        internal async Task<(int Status, ProblemResource Problem)> RefusedAsync(HttpMethod method, string path, string body = "")
        {
            using var response = await AskAsync(method, path, body);
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
            var problem = await response.Content.ReadFromJsonAsync<ProblemResource>(ApiJson.Options, TestContext.Current.CancellationToken);
            return ((int)response.StatusCode, problem!);
        }

        /// <summary>Hosts tell of a change a moment after it.</summary>
        internal async Task<DeviceResource?> DeviceAsync(string uuid, Predicate<DeviceResource?> holds)
        {
            using var patience = new CancellationTokenSource(Patience);
            using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
            while (true)
            {
                var found = (await GetAsync<ListResource<DeviceResource>>("/api/v1/devices")).Items.FirstOrDefault(device => device.MdevUuid == uuid);
                if (holds(found))
                    return found;
                await again.WaitForNextTickAsync(patience.Token);
            }
        }

        private async Task<HttpResponseMessage> AskAsync(HttpMethod method, string path, string body)
        {
            using var request = new HttpRequestMessage(method, path);
            if (body.Length > 0)
                request.Content = new StringContent(body, Encoding.UTF8, "application/json");
            return await daemon!.Api.SendAsync(request, TestContext.Current.CancellationToken);
        }
    }
}
