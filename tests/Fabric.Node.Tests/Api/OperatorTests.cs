using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Fabric.Node.Api;
using Fabric.Node.Hosting;

namespace Fabric.Node.Tests.Api;

/// <summary>What operators do with devices, over real HTTP, in a daemon that is a fabric by itself. Each test has a device of its own.</summary>
public sealed class OperatorTests(OperatorTests.Devices devices) : IClassFixture<OperatorTests.Devices>
{
    [Fact]
    public async Task A_device_goes_into_quarantine_and_back_and_its_history_says_who_did_it_and_why()
    {
        const string Device = "fab0:01:00.1";

        var smell = new QuarantineRequest("it smells");
        var taken = await devices.SendAsync<OperationResource>(HttpMethod.Post, $"{Device}/quarantine", smell, "ops@desk");
        var shown = await devices.UntilAsync(Device, device => device.State == "quarantined");
        var back = await devices.SendAsync<OperationResource>(HttpMethod.Post, $"{Device}/unquarantine", null, "night@desk");
        var again = await devices.UntilAsync(Device, device => device.State == "closed");
        var history = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history");

        Assert.Equal([new OperationResource("one/fab0:01:00.1", "done"), new OperationResource("one/fab0:01:00.1", "done")], [taken, back]);
        Assert.Equal(("Unhealthy", "it smells"), (shown.Health, shown.Reason));
        Assert.Contains("fabric device unquarantine", shown.WayBack, StringComparison.Ordinal);
        Assert.Equal(("Healthy", null, null), (again.Health, again.Reason, again.WayBack));
        Assert.Equal(
            ["quarantined: it smells (by ops@desk)", "unquarantined: by night@desk"],
            history.Items.Where(entry => entry.Kind is "quarantined" or "unquarantined").Select(entry => $"{entry.Kind}: {entry.Message}"));
    }

    [Fact]
    public async Task Who_says_nothing_of_himself_is_known_by_his_address()
    {
        const string Device = "fab0:01:00.2";

        await devices.SendAsync<OperationResource>(HttpMethod.Post, $"{Device}/quarantine", null);
        var history = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history?limit=1");

        Assert.Equal("an operator took it out of service (by 127.0.0.1)", Assert.Single(history.Items).Message);
    }

    [Fact]
    public async Task A_reset_is_in_the_history_with_who_asked_and_what_it_took()
    {
        const string Device = "fab0:01:00.3";

        await devices.SendAsync<OperationResource>(HttpMethod.Post, $"{Device}/reset", new ResetDeviceRequest("flr"), "ops@desk");
        var history = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history");

        Assert.Matches("^flr: done in .* s, asked for by ops@desk$", Assert.Single(history.Items, entry => entry.Kind == "reset").Message);
    }

    [Fact]
    public async Task Reset_methods_are_those_that_were_chosen()
    {
        const string Device = "fab0:01:00.4";
        var before = (await devices.UntilAsync(Device, _ => true)).ResetMethods;

        await devices.SendAsync<OperationResource>(HttpMethod.Put, $"{Device}/reset-methods", new ResetMethodsRequest([]));
        await devices.UntilAsync(Device, device => device.ResetMethods.Count == 0);
        await devices.SendAsync<OperationResource>(HttpMethod.Put, $"{Device}/reset-methods", new ResetMethodsRequest(before), "ops@desk");
        var after = await devices.UntilAsync(Device, device => device.ResetMethods.Count > 0);
        var history = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history");

        Assert.Equal(before, after.ResetMethods);
        Assert.Equal(
            ["none, by 127.0.0.1", $"{string.Join(", ", before)}, by ops@desk"],
            history.Items.Where(entry => entry.Kind == "reset-methods").Select(entry => entry.Message));
    }

    [Fact]
    public async Task A_device_is_inspected_from_supervisor_to_core()
    {
        var tree = await devices.SendAsync<InspectResource>(HttpMethod.Get, "fab0:01:00.5/inspect");

        Assert.Equal("device", tree.Name);
        Assert.Equal("Healthy", tree.Children.Single(part => part.Name == "supervisor").Children.Single(leaf => leaf.Name == "health").Value);
        Assert.Equal(3, tree.Children.Count);
    }

    [Fact]
    public async Task An_error_is_injected_and_answered_with_its_recovery()
    {
        var fault = await devices.SendAsync<FaultResource>(HttpMethod.Post, "fab0:01:00.6/faults", new FaultRequest("aer", Severity: "correctable"));

        Assert.Equal(("one/fab0:01:00.6", "aer", "logged"), (fault.Device, fault.Kind, fault.Recovery?.Outcome));
    }

    [Fact]
    public async Task A_driver_is_overridden_and_the_choice_explained_and_given_back()
    {
        const string Device = "fab0:01:00.5";
        var before = await devices.UntilAsync(Device, device => device.State == "closed");

        await devices.SendAsync<OperationResource>(HttpMethod.Put, $"{Device}/driver-override", new DriverOverrideRequest("vfio-pci"), "ops@desk");
        var core = await devices.UntilAsync(Device, device => device is { Driver: null, State: "closed" });
        await devices.SendAsync<OperationResource>(HttpMethod.Delete, $"{Device}/driver-override");
        var after = await devices.UntilAsync(Device, device => device is { Driver: not null, State: "closed" });
        var history = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history");

        Assert.Equal(("accelerator", "it matches 1b36:fab1", null), (before.Driver, before.DriverReason, before.DriverOverride));
        Assert.Equal((null, "driver_override names vfio-pci", "vfio-pci"), (core.Model, core.DriverReason, core.DriverOverride));
        Assert.Equal([new PassedOverResource("accelerator", "driver_override names vfio-pci")], core.DriversPassedOver!);
        Assert.Equal((before.Driver, before.Model, null), (after.Driver, after.Model, after.DriversPassedOver));
        Assert.Equal(
            ["vfio-pci, by ops@desk", "cleared, by 127.0.0.1"],
            history.Items.Where(entry => entry.Kind == "driver-override").Select(entry => entry.Message));
    }

    [Fact]
    public async Task The_drivers_in_the_box_are_listed_with_what_they_match()
    {
        var drivers = await devices.DriversAsync();

        Assert.Equal(["vfio-pci", .. HostDrivers.Names], drivers.Select(driver => driver.Name));
        Assert.Equal(("one", null, "loaded", "accelerator-vf"), (drivers[1].Host, drivers[1].Plugin, drivers[1].State, drivers[1].Model));
        Assert.Equal(["1b36:fab1"], drivers[1].Ids);
    }

    public static TheoryData<string, string, string?, string> Plans => new()
    {
        { "POST", "reset", null, "fab0:01:00.6 would be reset by flr" },
        { "POST", "reset", """{"method":"flr"}""", "fab0:01:00.6 would be reset by flr" },
        { "PUT", "reset-methods", """{"methods":[]}""", "fab0:01:00.6 would be reset by nothing from then on" },
        { "POST", "quarantine", null, "fab0:01:00.6 would be handed to nobody any more, and a claim on it leave it as its policy says" },
        { "POST", "remove", null, "fab0:01:00.6 would leave the bus" },
        { "PUT", "driver-override", """{"driver":"vfio-pci"}""", "fab0:01:00.6 would be probed anew with vfio-pci, and with no other driver; it has accelerator" },
        { "POST", "faults", """{"kind":"remove"}""", "a fault would be made in fab0:01:00.6, or ended" },
    };

    [Theory, MemberData(nameof(Plans))]
    public async Task A_command_that_is_planned_says_what_it_would_do_and_does_nothing(string method, string command, string? body, string would)
    {
        const string Device = "fab0:01:00.6";
        var before = await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history");

        var plan = await devices.SendAsync<PlanResource>(
            new HttpMethod(method), $"{Device}/{command}?plan=true", body is null ? null : JsonDocument.Parse(body).RootElement);

        Assert.Equal((true, would), (plan.Possible, plan.Would));
        Assert.Equal(before.Items, (await devices.SendAsync<ListResource<DeviceEventResource>>(HttpMethod.Get, $"{Device}/history")).Items);
        Assert.Equal("closed", (await devices.UntilAsync(Device, static _ => true)).State);
    }

    [Fact]
    public async Task What_would_be_refused_is_a_plan_that_is_not_possible_and_says_why()
    {
        var plan = await devices.SendAsync<PlanResource>(HttpMethod.Post, "fab0:01:00.6/unquarantine?plan=true");

        Assert.False(plan.Possible);
        Assert.Equal("fab0:01:00.6 is not in quarantine; it is Closed.", Assert.Single(plan.Reasons));
    }

    [Fact]
    public async Task A_plan_of_an_error_is_not_told_as_an_error()
    {
        var plan = await devices.SendAsync<PlanResource>(HttpMethod.Post, "fab0:01:00.6/faults?plan=true", new FaultRequest("aer", Severity: "fatal"));

        Assert.True(plan.Possible);
        Assert.Equal("Healthy", (await devices.UntilAsync("fab0:01:00.6", static _ => true)).Health);
    }

    [Fact]
    public async Task A_device_that_nobody_holds_is_gone_when_it_was_removed()
    {
        const string Device = "fab0:01:00.7";

        var removed = await devices.SendAsync<OperationResource>(HttpMethod.Post, $"{Device}/remove", null);

        Assert.Equal("done", removed.Outcome);
        await devices.UntilGoneAsync(Device);
    }

    /// <summary>One daemon, control node and host, with a device for each test.</summary>
    public sealed class Devices : IAsyncLifetime
    {
        private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

        private RunningDaemon? daemon;

        public async ValueTask InitializeAsync()
        {
            daemon = await RunningDaemon.StartAsync(
                "--node:name=one", "--node:roles:0=control", "--node:roles:1=host", "--hardware:emulated:accelerators=1",
                "--hardware:emulated:functionsPerAccelerator=7", "--hardware:emulated:stateSize=256KiB");
            await daemon.BecomeReadyAsync();
            await UntilAsync("fab0:01:00.7", device => device.State == "closed");
        }

        public ValueTask DisposeAsync() => daemon?.DisposeAsync() ?? ValueTask.CompletedTask;

        internal async Task<T> SendAsync<T>(HttpMethod method, string path, object? body = null, string? by = null)
        {
            using var request = new HttpRequestMessage(method, $"/api/v1/devices/one/{path}");
            if (body is not null)
                request.Content = JsonContent.Create(body, body.GetType(), options: ApiJson.Options);
            if (by is not null)
                request.Headers.Add("Fabric-Requester", by);
            using var response = await daemon!.Api.SendAsync(request, TestContext.Current.CancellationToken);
            Assert.True(response.StatusCode == HttpStatusCode.OK, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
            return (await response.Content.ReadFromJsonAsync<T>(ApiJson.Options, TestContext.Current.CancellationToken))!;
        }

        internal async Task<IReadOnlyList<DriverResource>> DriversAsync() => (await daemon!.Api.GetFromJsonAsync<ListResource<DriverResource>>(
            "/api/v1/hosts/one/drivers", ApiJson.Options, TestContext.Current.CancellationToken))!.Items;

        /// <summary>Hosts tell of a change a moment after it.</summary>
        internal async Task<DeviceResource> UntilAsync(string device, Predicate<DeviceResource> holds) =>
            (await LookAsync(device, found => found is not null && holds(found)))!;

        internal Task UntilGoneAsync(string device) => LookAsync(device, found => found is null);

        private async Task<DeviceResource?> LookAsync(string device, Predicate<DeviceResource?> holds)
        {
            using var patience = new CancellationTokenSource(Patience);
            using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
            while (true)
            {
                var listed = await daemon!.Api.GetFromJsonAsync<ListResource<DeviceResource>>("/api/v1/devices", ApiJson.Options, patience.Token);
                var found = listed!.Items.FirstOrDefault(one => one.Address == device);
                if (holds(found))
                    return found;
                await again.WaitForNextTickAsync(patience.Token);
            }
        }
    }
}
