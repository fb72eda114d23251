using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Node.Tests.Api;

/// <summary>One daemon, control node and host, for all of <see cref="RequestTests"/>.</summary>
public sealed class WholeFabric : IAsyncLifetime
{
    private RunningDaemon? daemon;

    internal HttpClient Api => daemon!.Api;

    public async ValueTask InitializeAsync()
    {
        daemon = await RunningDaemon.StartAsync(
            "--node:name=one", "--node:roles:0=control", "--node:roles:1=host", "--hardware:emulated:accelerators=1",
            "--hardware:emulated:functionsPerAccelerator=1", "--hardware:emulated:stateSize=256KiB");
        await daemon.BecomeReadyAsync();
    }

    public ValueTask DisposeAsync() => daemon?.DisposeAsync() ?? ValueTask.CompletedTask;
}

/// <summary>What callers get wrong, over real HTTP: each is one problem document, and the fabric stays as it was.</summary>
public sealed class RequestTests(WholeFabric fabric) : IClassFixture<WholeFabric>
{
    private const string Long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// <summary>Path, body, and what the sentence must name.</summary>
    public static TheoryData<string, string, string> BadBodies => new()
    {
        { "/api/v1/claims", """{"id":""", "at $.id, line 1" },
        { "/api/v1/claims", "{\n\"id\": \"a\",\n\"memory_mib\": \"x\"}", "at $.memory_mib, line 3" },
        { "/api/v1/claims", """{"id":{"a":1}}""", "at $.id, line 1" },
        { "/api/v1/claims", """{"id":"a","steps_per_second":1.5}""", "at $.steps_per_second, line 1" },
        { "/api/v1/claims", """{"id":"a","memory_mib":99999999999}""", "at $.memory_mib, line 1" },
        { "/api/v1/claims", "[]", "is not the JSON it should be" },
        { "/api/v1/claims", "not json", "is not the JSON it should be" },
        { "/api/v1/claims", "\u0001", "is not the JSON it should be" },
        { "/api/v1/claims", "null", "has no body" },
        { "/api/v1/claims", "", "has no body" },
        { "/api/v1/claims", "{}", "'' is not a claim id" },
        { "/api/v1/claims", """{"id":null}""", "'' is not a claim id" },
        { "/api/v1/claims", """{"id":"A"}""", "'A' is not a claim id" },
        { "/api/v1/hosts/one/drivers/load", """{"plugin":""}""", "'' is not the name of a plugin" },
        { "/api/v1/hosts/one/drivers/load", """{"plugin":"../acme"}""", "'../acme' is not the name of a plugin" },
        { "/api/v1/hosts/one/drivers/load", """{"plugins":"acme"}""", "plugins" },
        { "/api/v1/claims", """{"id":"a_b"}""", "'a_b' is not a claim id" },
        { "/api/v1/claims", """{"id":"-a"}""", "'-a' is not a claim id" },
        { "/api/v1/claims", """{"id":"a-"}""", "'a-' is not a claim id" },
        { "/api/v1/claims", """{"id":"a\n"}""", "is not a claim id" },
        { "/api/v1/claims", $$"""{"id":"{{Long}}"}""", "is not a claim id" },
        { "/api/v1/claims", """{"id":"../../etc"}""", "'../../etc' is not a claim id" },
        { "/api/v1/claims", """{"id":"a","memory_mib":0}""", "memory_mib is 0" },
        { "/api/v1/claims", """{"id":"a","memory_mib":1025}""", "memory_mib is 1025" },
        { "/api/v1/claims", """{"id":"a","steps_per_second":0}""", "steps_per_second is 0" },
        { "/api/v1/claims", """{"id":"a","steps_per_second":1000001}""", "steps_per_second is 1000001" },
        { "/api/v1/claims", """{"id":"a","on_host_loss":"pray"}""", "on_host_loss is 'pray'; it must be wait or restart" },
        { "/api/v1/claims", """{"id":"a","lease_seconds":20}""", "lease_seconds is given, and the claim has no lease" },
        { "/api/v1/claims", """{"id":"a","on_host_loss":"restart","lease_seconds":9}""", "lease_seconds is 9; it must be 10 to 3600" },
        { "/api/v1/claims", """{"id":"a","on_host_loss":"restart","lease_seconds":3601}""", "lease_seconds is 3601; it must be 10 to 3600" },
        { "/api/v1/claims", """{"id":"a","host":"one","device":"zz"}""", "'zz' is not a PCI address" },
        { "/api/v1/claims", """{"id":"a","device":"fab0:01:00.1"}""", "without its host" },
        { "/api/v1/claims/a/migrations", "{}", "'to' is missing" },
        { "/api/v1/claims/a/migrations", """{"to":5}""", "at $.to, line 1" },
        { "/api/v1/claims/a/migrations", """{"to":"b","downtime":5}""", "at $.downtime, line 1" },
        { "/api/v1/claims/a/migrations", """{"to":"b","downtime_ms":0}""", "downtime_ms is 0" },
        { "/api/v1/claims/a/migrations", """{"to":"b","downtime_ms":600001}""", "downtime_ms is 600001" },
        { "/api/v1/claims/a/migrations", """{"to":"b","timeout_s":0}""", "timeout_s is 0" },
        { "/api/v1/claims/a/migrations", """{"to":"b","timeout_s":86401}""", "timeout_s is 86401" },
        { "/api/v1/claims/a/migrations", """{"to":"b","bandwidth_mib_s":-1}""", "bandwidth_mib_s is -1" },
        { "/api/v1/claims/a/migrations", """{"to":"b","bandwidth_mib_s":1000001}""", "bandwidth_mib_s is 1000001" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", "{}", "'' is not a kind of fault" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", "", "has no body" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"fire"}""", "'fire' is not a kind of fault" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"aer"}""", "'' is not a severity" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"aer","severity":"huge"}""", "'huge' is not a severity" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"hang","point":"middle"}""", "'middle' is not a point" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"hang","point":"reset","severity":"fatal"}""", "'severity' belongs to aer" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"release","point":"reset"}""", "'point' belongs to hang" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"remove","times":2}""", "belong to flap" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"return","each_ms":2}""", "belong to flap" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"flap","times":0}""", "times is 0" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"flap","times":101}""", "times is 101" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"flap","each_ms":0}""", "each_ms is 0" },
        { "/api/v1/devices/one/fab0:01:00.1/faults", """{"kind":"flap","each_ms":60001}""", "each_ms is 60001" },
        { "/api/v1/devices/one/zz/faults", """{"kind":"aer","severity":"fatal"}""", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/fab0:01:00.1/reset", """{"method":"hammer"}""", "'hammer' is not a reset method" },
        { "/api/v1/devices/one/fab0:01:00.1/reset", """{"method":7}""", "at $.method, line 1" },
        { "/api/v1/devices/one/zz/reset", "{}", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/fab0:01:00.1/quarantine", """{"reason":"two\nlines"}""", "'reason' must be one line" },
        { "/api/v1/devices/one/fab0:01:00.1/quarantine", $$"""{"reason":"{{new string('a', 501)}}"}""", "'reason' must be one line" },
        { "/api/v1/devices/one/zz/quarantine", "{}", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/zz/unquarantine", "", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/fab0:01:00.1/remove", """{"force_after_s":-1}""", "force_after_s is -1" },
        { "/api/v1/devices/one/fab0:01:00.1/remove", """{"force_after_s":86401}""", "force_after_s is 86401" },
        { "/api/v1/devices/one/zz/remove", "", "'zz' is not a PCI address" },
    };

    /// <summary>As <see cref="BadBodies"/>, for what is put.</summary>
    public static TheoryData<string, string, string> BadPuts => new()
    {
        { "/api/v1/devices/one/fab0:01:00.0/sriov", "{}", "count is missing" },
        { "/api/v1/devices/one/fab0:01:00.0/sriov", "", "has no body" },
        { "/api/v1/devices/one/fab0:01:00.0/sriov", """{"count":-1}""", "count is -1" },
        { "/api/v1/devices/one/fab0:01:00.0/sriov", """{"count":65536}""", "count is 65536" },
        { "/api/v1/devices/one/fab0:01:00.0/sriov", """{"count":"all"}""", "at $.count, line 1" },
        { "/api/v1/devices/one/zz/sriov", """{"count":1}""", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/fab0:01:00.1/reset-methods", "{}", "'methods' is missing" },
        { "/api/v1/devices/one/fab0:01:00.1/reset-methods", """{"methods":["flr","hammer"]}""", "'hammer' is not a reset method" },
        { "/api/v1/devices/one/fab0:01:00.1/reset-methods", """{"methods":["flr","flr"]}""", "a reset method twice" },
        { "/api/v1/devices/one/fab0:01:00.1/reset-methods", """{"methods":[null]}""", "'' is not a reset method" },
        { "/api/v1/devices/one/zz/reset-methods", """{"methods":["flr"]}""", "'zz' is not a PCI address" },
        { "/api/v1/devices/one/fab0:01:00.1/driver-override", "{}", "'driver' is missing" },
        { "/api/v1/devices/one/fab0:01:00.1/driver-override", """{"driver":null}""", "'driver' is missing" },
        { "/api/v1/devices/one/fab0:01:00.1/driver-override", """{"driver":" "}""", "'driver' is missing" },
        { "/api/v1/devices/one/fab0:01:00.1/driver-override", """{"drivr":"vfio-pci"}""", "drivr" },
        { "/api/v1/devices/one/fab0:01:00.1/driver-override", $$"""{"driver":"{{new string('a', 256)}}"}""", "has at most 255" },
        { "/api/v1/devices/one/zz/driver-override", """{"driver":"vfio-pci"}""", "'zz' is not a PCI address" },
    };

    /// <summary>Method, path and body of what operators do to a device that is not there.</summary>
    public static TheoryData<string, string, string> Commands => new()
    {
        { "GET", "history", "" },
        { "GET", "inspect", "" },
        { "POST", "reset", "{}" },
        { "PUT", "reset-methods", """{"methods":["flr"]}""" },
        { "POST", "quarantine", "{}" },
        { "POST", "unquarantine", "" },
        { "POST", "remove", "{}" },
        { "PUT", "driver-override", """{"driver":"vfio-pci"}""" },
        { "DELETE", "driver-override", "" },
        { "PUT", "sriov", """{"count":1}""" },
        { "PUT", "binding", "{}" },
        { "DELETE", "binding", "" },
        { "POST", "faults", """{"kind":"aer","severity":"fatal"}""" },
    };

    /// <summary>Method, path, and what the sentence must name.</summary>
    public static TheoryData<string, string, string> Unknown => new()
    {
        { "GET", "/api/v1/nothing", "There is no /api/v1/nothing" },
        { "GET", "/api/v1/nothing.json", "There is no /api/v1/nothing.json" },
        { "GET", "/", "There is no /" },
        { "GET", "/api/v1/hosts/nope", "There is no host nope" },
        { "GET", "/api/v1/devices?host=nope", "There is no host nope" },
        { "GET", "/api/v1/devices/nope/0000:00:00.0", "There is no host nope" },
        { "GET", "/api/v1/devices/one/0000:00:1f.7", "one has no device 0000:00:1f.7" },
        { "GET", "/api/v1/hosts/nope/drivers", "There is no host nope" },
        { "POST", "/api/v1/hosts/nope/drivers/load", "There is no host nope" },
        { "POST", "/api/v1/hosts/nope/drivers/acme/unload", "There is no host nope" },
        { "POST", "/api/v1/hosts/one/drivers/acme/unload", "No driver 'acme' is loaded" },
        { "POST", "/api/v1/hosts/one/drivers/load", "This host has no folder of drivers" },
        { "GET", "/api/v1/claims/nope", "There is no claim nope" },
        { "GET", "/api/v1/claims/NOPE", "There is no claim NOPE" },
        { "GET", $"/api/v1/claims/{Long}", "There is no claim aaa" },
        { "DELETE", "/api/v1/claims/nope", "There is no claim nope" },
        { "DELETE", "/api/v1/claims/N_O", "There is no claim N_O" },
        { "POST", "/api/v1/claims/nope/verify", "There is no claim nope" },
        { "GET", "/api/v1/migrations/nope", "There is no migration 'nope'" },
        { "GET", "/api/v1/migrations/nope.1", "There is no claim nope" },
        { "GET", "/api/v1/migrations/nope.-1", "There is no migration 'nope.-1'" },
        { "GET", "/api/v1/migrations/nope.99999999999", "There is no migration 'nope.99999999999'" },
        { "POST", "/api/v1/migrations/nope.1/cancel", "There is no claim nope" },
        { "POST", "/api/v1/migrations/.1/cancel", "There is no migration '.1'" },
    };

    [Theory, MemberData(nameof(BadBodies))]
    public async Task A_bad_body_is_an_invalid_request(string path, string body, string named)
    {
        using var content = new StringContent(body, Encoding.UTF8, "application/json");

        var problem = await ProblemAsync(HttpMethod.Post, path, content, HttpStatusCode.BadRequest, ProblemCode.InvalidRequest);

        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(BadPuts))]
    public async Task A_bad_body_that_is_put_is_an_invalid_request(string path, string body, string named)
    {
        using var content = new StringContent(body, Encoding.UTF8, "application/json");

        var problem = await ProblemAsync(HttpMethod.Put, path, content, HttpStatusCode.BadRequest, ProblemCode.InvalidRequest);

        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Commands))]
    public async Task A_command_to_a_device_that_is_not_there_is_not_found_with_its_errno(string method, string command, string body)
    {
        using var content = body.Length > 0 ? new StringContent(body, Encoding.UTF8, "application/json") : null;

        var problem = await ProblemAsync(
            new HttpMethod(method), $"/api/v1/devices/one/0000:00:1f.7/{command}", content, HttpStatusCode.NotFound, ProblemCode.NotFound);

        Assert.Equal("ENODEV", problem.Errno);
    }

    [Theory, MemberData(nameof(Commands))]
    public async Task A_command_to_a_host_that_is_not_there_names_the_host(string method, string command, string body)
    {
        using var content = body.Length > 0 ? new StringContent(body, Encoding.UTF8, "application/json") : null;

        var problem = await ProblemAsync(
            new HttpMethod(method), $"/api/v1/devices/nope/fab0:01:00.1/{command}", content, HttpStatusCode.NotFound, ProblemCode.NotFound);

        Assert.Equal("There is no host nope in the fabric; list the hosts.", problem.Detail);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("1001")]
    [InlineData("many")]
    public async Task A_history_has_1_to_1000_entries(string limit) => await ProblemAsync(
        HttpMethod.Get, $"/api/v1/devices/one/fab0:01:00.1/history?limit={limit}", content: null, HttpStatusCode.BadRequest,
        ProblemCode.InvalidRequest);

    [Theory, MemberData(nameof(Unknown))]
    public async Task What_is_not_there_is_not_found_and_named(string method, string path, string named)
    {
        var problem = await ProblemAsync(new HttpMethod(method), path, content: null, HttpStatusCode.NotFound, ProblemCode.NotFound);

        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_address_that_is_none_is_an_invalid_request() =>
        await ProblemAsync(HttpMethod.Get, "/api/v1/devices/one/zz", content: null, HttpStatusCode.BadRequest, ProblemCode.InvalidRequest);

    [Fact]
    public async Task A_body_that_is_not_JSON_by_its_type_is_an_unsupported_media_type()
    {
        using var content = new StringContent("""{"id":"a"}""", Encoding.UTF8, "text/plain");

        await ProblemAsync(HttpMethod.Post, "/api/v1/claims", content, HttpStatusCode.UnsupportedMediaType, ProblemCode.InvalidRequest);
    }

    [Fact]
    public async Task A_body_past_the_limit_is_too_large()
    {
        using var content = new StringContent($$"""{"id":"{{new string('a', ApiJson.MaxRequestBytes)}}"}""", Encoding.UTF8, "application/json");

        await ProblemAsync(HttpMethod.Post, "/api/v1/claims", content, HttpStatusCode.RequestEntityTooLarge, ProblemCode.InvalidRequest);
    }

    [Theory]
    [InlineData("PUT", "/api/v1/claims")]
    [InlineData("POST", "/api/v1/hosts")]
    [InlineData("GET", "/api/v1/claims/a/verify")]
    public async Task A_method_that_a_path_does_not_take_is_not_allowed(string method, string path)
    {
        var problem = await ProblemAsync(new HttpMethod(method), path, content: null, HttpStatusCode.MethodNotAllowed, ProblemCode.InvalidRequest);

        Assert.Contains($"{path} does not take {method}", problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_claim_on_a_host_that_is_not_there_is_refused_by_plan_and_does_not_come_to_be()
    {
        using var content = JsonContent.Create(new CreateClaimRequest("elsewhere", Host: "nope"), options: ApiJson.Options);

        await ProblemAsync(HttpMethod.Post, "/api/v1/claims", content, HttpStatusCode.Conflict, ProblemCode.RefusedByPlan);

        await ProblemAsync(HttpMethod.Get, "/api/v1/claims/elsewhere", content: null, HttpStatusCode.NotFound, ProblemCode.NotFound);
    }

    [Fact]
    public async Task A_claim_of_a_model_that_no_host_has_is_refused_by_plan()
    {
        using var content = JsonContent.Create(new CreateClaimRequest("teapots", Model: "teapot"), options: ApiJson.Options);

        await ProblemAsync(HttpMethod.Post, "/api/v1/claims", content, HttpStatusCode.Conflict, ProblemCode.RefusedByPlan);
    }

    [Fact]
    public async Task A_reset_method_that_the_device_lacks_is_refused_by_it_with_its_errno()
    {
        using var content = JsonContent.Create(new ResetDeviceRequest("acpi"), options: ApiJson.Options);

        var problem = await ProblemAsync(
            HttpMethod.Post, "/api/v1/devices/one/fab0:01:00.1/reset", content, HttpStatusCode.UnprocessableEntity, ProblemCode.DeviceRefused);

        Assert.Equal("ENOTTY", problem.Errno);
    }

    [Fact]
    public async Task A_device_that_is_not_in_quarantine_is_not_put_back()
    {
        var problem = await ProblemAsync(
            HttpMethod.Post, "/api/v1/devices/one/fab0:01:00.1/unquarantine", content: null, HttpStatusCode.UnprocessableEntity,
            ProblemCode.DeviceRefused);

        Assert.Equal("EINVAL", problem.Errno);
    }

    [Fact]
    public async Task The_API_is_described()
    {
        var description = await fabric.Api.GetStringAsync("/openapi/v1.json", TestContext.Current.CancellationToken);

        Assert.Contains("/api/v1/claims/{id}/migrations", description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_request_that_changes_something_can_be_planned()
    {
        // One changes nothing, the other is a plan.
        string[] exceptions = ["VerifyClaim", "PlanMigration"];
        using var description = JsonDocument.Parse(await fabric.Api.GetStringAsync("/openapi/v1.json", TestContext.Current.CancellationToken));

        var changing = description.RootElement.GetProperty("paths").EnumerateObject()
            .SelectMany(static path => path.Value.EnumerateObject())
            .Where(static request => request.Name is not ("get" or "parameters"))
            .Select(static request => request.Value).ToArray();
        var withoutPlan = changing.Where(static request => !request.TryGetProperty("parameters", out var parameters)
            || parameters.EnumerateArray().All(static parameter => parameter.GetProperty("name").GetString() != "plan"));

        Assert.InRange(changing.Length, 25, 100);
        Assert.Equal(exceptions.Order(), withoutPlan.Select(static request => request.GetProperty("operationId").GetString()!).Order());
    }

    [Theory, MemberData(nameof(Commands))]
    public async Task Each_command_is_described_with_its_body_its_answer_and_its_problems(string method, string command, string body)
    {
        using var description = JsonDocument.Parse(await fabric.Api.GetStringAsync("/openapi/v1.json", TestContext.Current.CancellationToken));

        var described = description.RootElement.GetProperty("paths").GetProperty($"/api/v1/devices/{{host}}/{{address}}/{command}")
            .GetProperty(method.ToLowerInvariant());

        Assert.Equal(body.Length > 0, described.TryGetProperty("requestBody", out _));
        Assert.NotEmpty(described.GetProperty("summary").GetString()!);
        var responses = described.GetProperty("responses");
        Assert.True(responses.GetProperty("200").GetProperty("content").GetProperty("application/json").TryGetProperty("schema", out _));
        Assert.All(
            (string[])["400", "403", "404", "409", "422", "502", "503", "504"],
            status => Assert.True(responses.GetProperty(status).GetProperty("content").TryGetProperty("application/problem+json", out _)));
    }

    /// <summary>Asks, and expects one problem document: its status twice, its code, one line of text.</summary>
    private async Task<ProblemResource> ProblemAsync(HttpMethod method, string path, HttpContent? content, HttpStatusCode status, string code)
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        using var response = await fabric.Api.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(status, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        var problem = await response.Content.ReadFromJsonAsync<ProblemResource>(ApiJson.Options, TestContext.Current.CancellationToken);
        Assert.NotNull(problem);
        Assert.Equal(((int)status, code, $"urn:fabric:problem:{code}"), (problem.Status, problem.Code, problem.Type));
        Assert.NotEmpty(problem.Title);
        Assert.EndsWith(".", problem.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', problem.Detail);
        return problem;
    }
}
