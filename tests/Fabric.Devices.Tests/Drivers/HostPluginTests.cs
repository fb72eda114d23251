using System.Runtime.Versioning;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>A host with a folder of plugins: they come, they go, and those that are broken harm nobody.</summary>
[UnsupportedOSPlatform("windows")]
public sealed class HostPluginTests : SlotTest
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly PluginFolder folder = new();

    public HostPluginTests() => Bus.Add(One);

    // ---- They come -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_plugin_is_there_before_the_first_function_is_probed_and_its_driver_answers()
    {
        folder.Add("acme", PluginFolder.Driver());
        var host = Start();

        var front = await FrontAsync(host, One);

        Assert.Equal("acme", (await StatusAsync(host, One)).Driver);
        Assert.Equal(42, await AnswerOf(front));
        Assert.DoesNotContain(await HistoryAsync(host, One), entry => entry.Kind == "probed" && !entry.Message.Contains("acme", StringComparison.Ordinal));
    }

    [Fact]
    public async Task It_is_listed_with_its_ids_and_where_it_comes_from()
    {
        folder.Add("acme", PluginFolder.Driver(attribute: ", Priority = 2, Model = \"card\""));
        var host = Start(DriverChoiceTests.Driver("boxed"));
        await FrontAsync(host, One);

        var list = (await AskAsync<DriverList>(host, ListDrivers.Instance)).Drivers;

        Assert.Equal(["vfio-pci", "boxed", "acme"], list.Select(driver => driver.Name));
        var (boxed, plugin) = (list[1], list[2]);
        Assert.Equal((null, DriverPresence.Loaded, 0), (boxed.Plugin, boxed.Presence, boxed.Devices));
        Assert.Equal(("acme", "0.0.0.0", "card", 2, 1), (plugin.Plugin, plugin.Version, plugin.Model, plugin.Priority, plugin.Devices));
        Assert.Equal("1b36:fab0", Assert.Single(plugin.Ids).ToString());
    }

    [Fact]
    public async Task One_that_is_put_there_later_is_loaded_when_it_is_asked_for_and_takes_what_nobody_holds()
    {
        Bus.Add(Other);
        var host = Start();
        var held = await FrontAsync(host, Other);
        var session = await OpenAsync(held, TestActor, "claim one");
        folder.Add("acme", PluginFolder.Driver());

        await AskInTimeAsync<DriverList>(host, new LoadDrivers(null, "me"));

        Assert.Equal("acme", (await StatusAsync(host, One)).Driver);
        var other = await StatusAsync(host, Other);
        Assert.Null(other.Driver);
        Assert.Equal([new DriverPassedOver("acme", "it came while the device was held, and is asked at the next probe", false)], other.Choice!.PassedOver);
        await AskAsync<DeviceInfoRead>(held, new GetDeviceInfo(session));
        await AskAsync<DeviceDone>(held, new CloseDevice(session));
        await AskInTimeAsync<DriverList>(host, new LoadDrivers(null, "me"));
        Assert.Equal("acme", (await StatusAsync(host, Other)).Driver);
    }

    [Fact]
    public async Task One_by_its_name_alone()
    {
        var host = Start();
        await FrontAsync(host, One);
        folder.Add("acme", PluginFolder.Driver()).Add("other", PluginFolder.Driver("other"));

        var list = await AskInTimeAsync<DriverList>(host, new LoadDrivers("other", "me"));

        Assert.Equal(["vfio-pci", "other"], list.Drivers.Select(driver => driver.Name));
        Assert.Equal(Errno.ENOENT, (await AskInTimeAsync<DeviceFailed>(host, new LoadDrivers("nothing", "me"))).Error.Errno);
    }

    [Fact]
    public async Task A_function_whose_override_named_it_is_probed_when_it_comes()
    {
        var host = Start(DriverChoiceTests.Driver("boxed"));
        folder.Add("acme", PluginFolder.Driver());
        await AskInTimeAsync<DriverList>(host, new LoadDrivers(null, "me"));
        await AskAsync<HostDone>(host, new OverrideDriver(One, "acme", "me"));
        await AskInTimeAsync<HostDone>(host, new UnloadDriver("acme", "me"));
        Assert.Equal(DeviceState.Inventory, (await StatusAsync(host, One)).State);

        await AskInTimeAsync<DriverList>(host, new LoadDrivers("acme", "me"));

        Assert.Equal(("acme", DeviceState.Closed), ((await StatusAsync(host, One)).Driver, (await StatusAsync(host, One)).State));
    }

    [Fact]
    public async Task A_host_without_a_folder_says_so() =>
        Assert.Contains("drivers.folder", (await RefusedAsync(Host(), new LoadDrivers(null, "me"))).Sentence, StringComparison.Ordinal);

    // ---- They go ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Unloaded_its_functions_have_the_next_best_driver_and_its_context_leaves_memory()
    {
        folder.Add("parting", PluginFolder.Driver("acme", attribute: ", Priority = 1", more: "private readonly byte[] ballast = new byte[100_000];"));
        using var contexts = new Contexts("parting");
        var host = Start(DriverChoiceTests.Driver("boxed"));
        await UseAndCloseAsync(host, TestActor);

        await AskInTimeAsync<HostDone>(host, new UnloadDriver("acme", "me"));

        var status = await StatusAsync(host, One);
        Assert.Equal(("boxed", DeviceState.Closed), (status.Driver, status.State));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        contexts.AssertCollected();
        Assert.Equal(DriverPresence.Unloaded, (await EntryAsync(host, "parting")).Presence);
    }

    [Fact]
    public async Task Loaded_again_it_is_another_one_with_what_was_put_there_meanwhile()
    {
        folder.Add("acme", PluginFolder.Driver(answer: 1));
        var host = Start();
        Assert.Equal(1, await AnswerOf(await FrontAsync(host, One)));
        await AskInTimeAsync<HostDone>(host, new UnloadDriver("acme", "me"));
        folder.Add("acme", PluginFolder.Driver(answer: 2));

        await AskInTimeAsync<DriverList>(host, new LoadDrivers("acme", "me"));

        Assert.Equal(2, await AnswerOf(await FrontAsync(host, One)));
    }

    [Fact]
    public async Task While_one_of_its_functions_is_held_it_stays_and_says_who_holds_it()
    {
        folder.Add("acme", PluginFolder.Driver());
        Bus.Add(Other);
        var host = Start();
        await FrontAsync(host, Other);
        var front = await FrontAsync(host, One);
        await OpenAsync(front, TestActor, "claim one");

        var refused = await RefusedAsync(host, new UnloadDriver("acme", "me"));

        Assert.Equal(new VfioError(Errno.EBUSY, $"{One} has driver acme and is held by claim one; release it first."), refused);
        Assert.Equal("acme", (await StatusAsync(host, Other)).Driver);
        Assert.Equal(42, await AnswerOf(front));
    }

    [Fact]
    public async Task Where_somebody_is_quicker_it_stays_and_what_had_gone_comes_back()
    {
        folder.Add("acme", PluginFolder.Driver(attribute: ", Priority = 1"));
        Bus.Add(Other);
        var host = Start(DriverChoiceTests.Driver("boxed"));
        await FrontAsync(host, One);
        var front = await FrontAsync(host, Other);
        // Known to its supervisor, and not yet to the host.
        await OpenAsync(front, TestActor, "claim two");
        host.Tell(new DeviceStatusChanged((await StatusAsync(host, Other)) with { Holder = null, State = DeviceState.Closed }));

        var refused = await AskInTimeAsync<DeviceFailed>(host, new UnloadDriver("acme", "me"));

        Assert.Equal(Errno.EBUSY, refused.Error.Errno);
        await AwaitConditionAsync(
            async () => (await StatusAsync(host, One)) is { Driver: "acme", State: DeviceState.Closed }, TimeSpan.FromSeconds(15), cancellationToken: Cancelled);
        Assert.Equal(42, await AnswerOf(front));
    }

    [Fact]
    public async Task What_is_in_the_box_or_not_there_is_not_unloaded()
    {
        var host = Start(DriverChoiceTests.Driver("boxed"));

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(host, new UnloadDriver("boxed", "me"))).Errno);
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(host, new UnloadDriver("vfio-pci", "me"))).Errno);
        Assert.Equal(Errno.ENOENT, (await RefusedAsync(host, new UnloadDriver("nothing", "me"))).Errno);
    }

    [Fact]
    public async Task A_second_change_of_drivers_while_one_is_under_way_is_EAGAIN()
    {
        folder.Add("slow", PluginFolder.Driver(more: "static AcmeDriver() => new System.Threading.ManualResetEvent(false).WaitOne();"));
        var host = Start();
        await GiveUpAsync(host);
        Client.Send(host, new LoadDrivers("slow", "me"));

        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new LoadDrivers(null, "me"))).Errno);
        Assert.Equal(Errno.EAGAIN, (await RefusedAsync(host, new UnloadDriver("slow", "me"))).Errno);

        await InTimeAsync<DeviceFailed>(Client, Deadline * 2, failed => failed.Error.Errno == Errno.ETIMEDOUT);
    }

    [Fact]
    public async Task What_happens_to_plugins_is_told()
    {
        folder.Add("acme", PluginFolder.Driver()).AddBytes("broken", "broken.dll", []);
        var told = CreateTestProbe();
        Sys.EventStream.Subscribe(told, typeof(DriverNoted));
        var host = Start();
        await FrontAsync(host, One);
        await AskInTimeAsync<HostDone>(host, new UnloadDriver("acme", "me"));

        Assert.Equal(
            [("acme", "loaded"), ("broken", "refused"), ("acme", "unloaded")],
            new[] { await NextAsync<DriverNoted>(told), await NextAsync<DriverNoted>(told), await NextAsync<DriverNoted>(told) }
                .Select(noted => (noted.Plugin, noted.Kind)));
    }

    // ---- Broken ones -----------------------------------------------------------------------------------------------------------------

    /// <summary>All at once, beside one that is well: the host comes up, and each is refused for what it is.</summary>
    [Fact]
    public async Task Each_broken_one_is_refused_with_its_reason_and_the_others_go_on()
    {
        folder
            .Add("acme", PluginFolder.Driver())
            .Add("constructor", PluginFolder.Driver("constructor", construct: "if (context is not null) throw new InvalidOperationException(\"bad luck\");"))
            .Add("duplicate", PluginFolder.Driver("acme"))
            .AddBytes("garbage", "garbage.dll", [1, 2, 3])
            .Add("shadow", PluginFolder.Driver("boxed"))
            .Add("static", PluginFolder.Driver("static", more: "static AcmeDriver() => throw new InvalidOperationException(\"bad luck\");"))
            .Add("twins", PluginFolder.Driver("twin") + PluginFolder.Driver("twin").Split("namespace Acme;")[1].Replace("AcmeDriver", "Other", StringComparison.Ordinal));
        var host = Start(DriverChoiceTests.Driver("boxed"));

        Assert.Equal(42, await AnswerOf(await FrontAsync(host, One)));
        foreach (var (plugin, reason) in new[]
        {
            ("constructor", "The constructor of constructor failed: InvalidOperationException: bad luck"),
            ("duplicate", "Its driver is named acme, as that of plugin acme"),
            ("garbage", "It is not a .NET assembly"),
            ("shadow", "Its driver is named boxed, as one in the box"),
            ("static", "Loading it failed: InvalidOperationException: bad luck."),
            ("twins", "Two of its drivers are named twin"),
        })
        {
            var entry = await EntryAsync(host, plugin);
            Assert.Equal(DriverPresence.Refused, entry.Presence);
            Assert.Contains(reason, entry.Reason, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("static AcmeDriver() => new System.Threading.ManualResetEvent(false).WaitOne();", "")]
    [InlineData("", "new System.Threading.ManualResetEvent(false).WaitOne();")]
    public async Task One_that_never_comes_back_is_given_up_and_everything_else_goes_on(string more, string construct)
    {
        folder.Add("acme", PluginFolder.Driver(attribute: ", Priority = 1")).Add("hung", PluginFolder.Driver("hung", more: more, construct: construct));
        var host = Start();

        await GiveUpAsync(host);

        Assert.Equal(42, await AnswerOf(await FrontAsync(host, One)));
        var entry = await EntryAsync(host, "hung");
        Assert.Equal(DriverPresence.Refused, entry.Presence);
        Assert.Contains("has not come back within 15 s", entry.Reason, StringComparison.Ordinal);
    }

    /// <summary>Well when it was tried, and not with a real function.</summary>
    [Fact]
    public async Task One_whose_constructor_never_returns_for_a_function_takes_that_out_of_service_and_no_other()
    {
        folder.Add("acme", PluginFolder.Driver(construct: $"if (context.Address.ToString() == \"{One}\") new System.Threading.ManualResetEvent(false).WaitOne();"));
        Bus.Add(Other);
        var host = Start();
        Assert.Equal(42, await AnswerOf(await FrontAsync(host, Other)));

        Advance(Options.CallDeadline);

        var status = await StateAsync(One, DeviceState.Quarantined);
        Assert.Contains("it hangs in the constructor of driver acme", status.Reason, StringComparison.Ordinal);
        Assert.Equal(Errno.EBUSY, (await AskInTimeAsync<DeviceFailed>(host, new UnloadDriver("acme", "me"))).Error.Errno);
    }

    [Fact]
    public async Task One_whose_constructor_throws_for_a_function_leaves_it_to_the_next_best()
    {
        folder.Add("acme", PluginFolder.Driver(attribute: ", Priority = 1", construct: $"if (context.Address.ToString() == \"{One}\") throw new InvalidOperationException(\"bad luck\");"));
        var host = Start(DriverChoiceTests.Driver("boxed"));

        var status = await StatusAsync(One, status => status is { Driver: "boxed", State: DeviceState.Closed });

        Assert.Equal("the constructor of acme failed: InvalidOperationException: bad luck", Assert.Single(status.Choice!.PassedOver).Reason);
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task One_that_fails_at_work_is_restarted_as_any_driver_is()
    {
        folder.Add("acme", PluginFolder.Driver(construct: "On<GetMigrationFlags>(_ => throw new InvalidOperationException(\"bad luck\"));"));
        var front = await FrontAsync(Start(), One);

        Assert.Contains("bad luck", (await RefusedAsync(front, new GetMigrationFlags(default))).Sentence, StringComparison.Ordinal);
        Assert.Equal(42, await AnswerOf(front));
    }

    [Fact]
    public async Task A_folder_that_is_not_there_keeps_no_host_from_coming_up()
    {
        var host = Start(new PluginOptions(folder.PathOf("nowhere")));

        await FrontAsync(host, One);

        Assert.Contains("is not there; make it", (await AskAsync<DriverList>(host, ListDrivers.Instance)).Drivers[^1].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_broken_and_is_mended_is_loaded_the_next_time()
    {
        folder.AddBytes("acme", "acme.dll", [1, 2, 3]);
        var host = Start();
        await FrontAsync(host, One);
        folder.Add("acme", PluginFolder.Driver());

        await AskInTimeAsync<DriverList>(host, new LoadDrivers(null, "me"));

        Assert.Equal(42, await AnswerOf(await FrontAsync(host, One)));
    }

    protected override void AfterAll()
    {
        base.AfterAll();
        folder.Dispose();
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private IActorRef Start(params DriverRegistration[] boxed) => Start(new PluginOptions(folder.Path), boxed);

    private IActorRef Start(PluginOptions plugins, params DriverRegistration[] boxed) => Sys.ActorOf(
        HostActor.Props(new HostOptions(Bus, new DriverCatalog(boxed), [], _ => null, Time) { Devices = Options, Plugins = plugins }), "host");

    /// <summary>The host has begun to load, and what does not come back is given up.</summary>
    private async Task GiveUpAsync(IActorRef host)
    {
        Client.Send(host, new FindDevice(One));
        await InTimeAsync<DeviceFound>(Client, Deadline, patience: 250);
    }

    private async Task<T> AskInTimeAsync<T>(IActorRef host, object request)
    {
        var asker = CreateTestProbe();
        asker.Send(host, request);
        return await InTimeAsync<T>(asker, Deadline, patience: 2500);
    }

    private static async Task<int> AnswerOf(IActorRef front) => (await AskAsync<DeviceIoctlDone>(front, new DeviceIoctl(default, 1, default))).Value;

    private static async Task<DriverEntry> EntryAsync(IActorRef host, string plugin) =>
        (await AskAsync<DriverList>(host, ListDrivers.Instance)).Drivers.Single(driver => driver.Plugin == plugin);

    /// <summary>In a method of its own: what it holds of the driver is gone when it ends.</summary>
    private static async Task UseAndCloseAsync(IActorRef host, IActorRef holder)
    {
        var front = await FrontAsync(host, One);
        Assert.Equal(42, await AnswerOf(front));
        var session = await OpenAsync(front, holder);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
    }
}
