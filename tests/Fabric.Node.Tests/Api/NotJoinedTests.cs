using System.Net;
using System.Net.Http.Json;
using Fabric.Node.Api;

namespace Fabric.Node.Tests.Api;

/// <summary>A host that finds no fabric to join.</summary>
public sealed class LonelyHost : IAsyncLifetime
{
    private RunningDaemon? daemon;

    internal HttpClient Api => daemon!.Api;

    /// <summary>Port 1 of loopback: nobody listens there.</summary>
    public async ValueTask InitializeAsync() => daemon = await RunningDaemon.StartAsync(
        "--node:name=lonely", "--node:roles:0=host", "--cluster:seeds:0=127.0.0.1:1", "--hardware:emulated:accelerators=1",
        "--hardware:emulated:functionsPerAccelerator=2", "--hardware:emulated:stateSize=256KiB");

    public ValueTask DisposeAsync() => daemon?.DisposeAsync() ?? ValueTask.CompletedTask;
}

public sealed class NotJoinedTests(LonelyHost host) : IClassFixture<LonelyHost>
{
    [Theory]
    [InlineData("GET", "/health/ready")]
    [InlineData("GET", "/api/v1/claims/a")]
    [InlineData("DELETE", "/api/v1/claims/a")]
    [InlineData("POST", "/api/v1/claims/a/verify")]
    [InlineData("GET", "/api/v1/migrations/a.1")]
    [InlineData("GET", "/api/v1/events")]
    [InlineData("POST", "/api/v1/hosts/lonely/drain")]
    [InlineData("POST", "/api/v1/hosts/lonely/undrain")]
    [InlineData("GET", "/api/v1/drains")]
    [InlineData("POST", "/api/v1/rebalance")]
    [InlineData("GET", "/api/v1/breaker")]
    [InlineData("POST", "/api/v1/breaker/reset")]
    [InlineData("POST", "/api/v1/migrations/a.1/cancel")]
    public async Task What_needs_the_fabric_is_refused_as_not_joined(string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        using var response = await host.Api.SendAsync(request, TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        var problem = await response.Content.ReadFromJsonAsync<ProblemResource>(ApiJson.Options, TestContext.Current.CancellationToken);
        Assert.Equal(ProblemCode.NotJoined, problem!.Code);
    }

    [Theory]
    [InlineData("/api/v1/claims/a/verify?plan=true")]
    [InlineData("/api/v1/claims/a/verify?plan=perhaps")]
    public async Task What_has_no_plan_is_not_carried_out_in_its_place(string path)
    {
        using var refused = await host.Api.PostAsync(path, content: null, TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Contains("cannot be planned; nothing was done.", await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("perhaps")]
    [InlineData("true&plan=false")]
    public async Task A_plan_that_is_neither_true_nor_false_is_not_carried_out(string plan)
    {
        using var refused = await host.Api.PostAsync($"/api/v1/devices/lonely/fab0:01:00.2/reset?plan={plan}", content: null, TestContext.Current.CancellationToken);
        var history = await host.Api.GetFromJsonAsync<ListResource<DeviceEventResource>>(
            "/api/v1/devices/lonely/fab0:01:00.2/history", ApiJson.Options, TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.DoesNotContain(history!.Items, static entry => entry.Kind == "reset");
    }

    [Fact]
    public async Task It_lives() => Assert.Equal("live", await host.Api.GetStringAsync("/health/live", TestContext.Current.CancellationToken));

    [Fact]
    public async Task It_shows_the_devices_it_has()
    {
        var devices = await host.Api.GetFromJsonAsync<ListResource<DeviceResource>>("/api/v1/devices", ApiJson.Options, TestContext.Current.CancellationToken);

        Assert.Equal(
            ["lonely/fab0:01:00.0", "lonely/fab0:01:00.1", "lonely/fab0:01:00.2"], devices!.Items.Select(device => device.Id));
    }

    [Fact]
    public async Task It_carries_out_what_is_asked_of_its_own_devices()
    {
        using var reset = await host.Api.PostAsync("/api/v1/devices/lonely/fab0:01:00.1/reset", content: null, TestContext.Current.CancellationToken);
        var history = await host.Api.GetFromJsonAsync<ListResource<DeviceEventResource>>(
            "/api/v1/devices/lonely/fab0:01:00.1/history?limit=1", ApiJson.Options, TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.OK, reset.StatusCode);
        Assert.Equal("reset", Assert.Single(history!.Items).Kind);
    }

    [Fact]
    public async Task What_is_asked_of_another_hosts_devices_needs_the_fabric()
    {
        using var reset = await host.Api.PostAsync("/api/v1/devices/other/fab0:01:00.1/reset", content: null, TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.ServiceUnavailable, reset.StatusCode);
    }
}
