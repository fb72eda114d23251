using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>The reset ladder (ER-32), set off by a link that is found dead, and the resets that operators ask for.</summary>
public sealed class LadderTests : SlotTest
{
    private static readonly VfioResult Failed = VfioResult.Fail(Errno.EIO, "It did not work.");

    private readonly SlotFunction function;

    public LadderTests() => function = Bus.Add(One);

    [Fact]
    public async Task A_dead_link_that_the_first_method_revives_is_in_service_again_and_the_entry_has_cause_and_duration()
    {
        function.OnReset = _ =>
        {
            Time.Advance(TimeSpan.FromSeconds(1.5));
            function.IsDead = false;
            return VfioResult.Ok;
        };
        var host = Host();

        await DieAsync(host);

        await NoteAsync(One, "recovered");
        Assert.Equal("flr: done in 1.5 s, since its config space reads all ones: the link is dead", Assert.Single(await ResetsAsync(host)));
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, One)).Health);
    }

    [Fact]
    public async Task Each_method_is_tried_in_the_functions_own_order_then_slot_then_power_and_each_has_its_entry()
    {
        Bus.Add(Two);
        Bus.Slot = [One, Two];
        Bus.HasPower = true;
        function.OnReset = static _ => Failed;
        Bus.OnHotReset = static () => Failed;
        Bus.OnPower = () =>
        {
            function.IsDead = false;
            return VfioResult.Ok;
        };
        var host = Host();

        await DieAsync(host);

        await NoteAsync(One, "recovered");
        Assert.Equal(["flr", "pm", "slot", "power"], function.Calls);
        var resets = await ResetsAsync(host);
        Assert.Equal(["flr: failed", "pm: failed", "slot or bus reset: failed", "power cycle: done"], resets.Select(static reset => reset[..reset.IndexOf(" in ", StringComparison.Ordinal)]));
    }

    [Fact]
    public async Task A_method_that_works_but_leaves_the_device_dead_is_not_the_last()
    {
        function.OnReset = method =>
        {
            function.IsDead = method != "pm";
            return VfioResult.Ok;
        };
        var host = Host();

        await DieAsync(host);

        await NoteAsync(One, "recovered");
        var resets = await ResetsAsync(host);
        Assert.Contains("flr: failed", resets[0], StringComparison.Ordinal);
        Assert.Contains("config space reads all ones after it", resets[0], StringComparison.Ordinal);
        Assert.Contains("pm: done", resets[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Contention_is_tried_again_with_a_growing_delay_and_then_given_up()
    {
        var delays = new List<TimeSpan>();
        var last = Time.GetUtcNow();
        var tried = CreateTestProbe();
        function.ResetMethods = ["flr"];
        VfioResult OnReset(string method)
        {
            delays.Add(Time.GetUtcNow() - last);
            last = Time.GetUtcNow();
            tried.Ref.Tell(method);
            return VfioResult.Fail(Errno.EAGAIN, "Busy.");
        }

        var host = Host();

        await DieAsync(host, OnReset);
        await NextAsync<string>(tried);
        for (var delay = Options.LadderRetries.Delay; delays.Count <= Options.LadderRetries.Tries; delay *= 2)
            await AdvanceUntilAsync(tried, delay);

        Assert.Equal(Enumerable.Range(0, 8).Select(static i => TimeSpan.FromMilliseconds(10 * (1 << i))), delays.Skip(1).Take(8));
        await StateAsync(One, DeviceState.Quarantined);
        Assert.Single(await ResetsAsync(host));
    }

    [Fact]
    public async Task A_device_that_nothing_revives_is_out_of_service_with_reason_and_way_back()
    {
        function.OnReset = static _ => Failed;
        var host = Host();

        await DieAsync(host);

        var status = await StateAsync(One, DeviceState.Quarantined);
        Assert.Equal("no rung of the reset ladder brought it back", status.Reason);
        Assert.Contains("fabric device unquarantine", status.WayBack, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Methods_are_tried_as_the_host_orders_them()
    {
        function.OnReset = static _ => Failed;
        var host = Host(Options with { ResetOrder = ["pm", "bus", "flr"] });

        await DieAsync(host);
        await StateAsync(One, DeviceState.Quarantined);

        Assert.Equal(["pm", "flr"], function.Calls);
        Assert.Equal(["pm", "flr"], (await StatusAsync(host, One)).ResetMethods);
    }

    [Fact]
    public async Task Methods_are_tried_as_an_operator_ordered_them_whatever_the_host_says()
    {
        function.OnReset = static _ => Failed;
        var host = Host(Options with { ResetOrder = ["flr", "pm"] });
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new SetResetMethods(One, ["pm"], "me"));

        await DieAsync(host);
        await StateAsync(One, DeviceState.Quarantined);

        Assert.Equal(["pm"], function.Calls.Distinct());
    }

    [Fact]
    public async Task A_failed_recovery_climbs_with_the_methods_that_each_device_has()
    {
        var other = Bus.Add(Two);
        other.ResetMethods = ["pm"];
        Bus.OnLinkReset = static _ => Failed;
        function.OnReset = static method => method == "flr" ? VfioResult.Ok : Failed;
        var host = Host();
        await FrontAsync(host, Two);

        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));

        Assert.True((await NextAsync<RecoveryReport>(Client)).Recovered);
        await NoteAsync(Two, "recovered");
        Assert.Equal(["flr"], function.Calls);
        Assert.Equal(["pm"], other.Calls);
    }

    [Fact]
    public async Task A_rung_that_hangs_is_told_of_within_its_deadline_with_what_and_how_long_and_ends_the_climb()
    {
        using var hang = new Hang();
        var host = Host();
        await DieAsync(host, _ =>
        {
            hang.Enter();
            return VfioResult.Ok;
        });
        await hang.Entered;

        var status = (await InTimeAsync<DeviceStatusChanged>(Events, Options.SlowCallDeadline * 2, changed => changed.Status.State == DeviceState.Quarantined)).Status;

        Assert.Contains("hangs in reset by flr", status.Reason, StringComparison.Ordinal);
        Assert.Contains("Wait until reset by flr comes back", status.WayBack, StringComparison.Ordinal);
        var hung = Assert.Single(await HistoryAsync(host, One), entry => entry.Kind == "hung");
        Assert.StartsWith("reset by flr has not come back for", hung.Message, StringComparison.Ordinal);
        hang.Release();
        await NoteAsync(One, "hang-ended");
        Assert.Equal(["flr"], function.Calls);
    }

    [Fact]
    public async Task A_climb_spends_the_freeze_budget()
    {
        function.OnReset = _ =>
        {
            function.IsDead = false;
            return VfioResult.Ok;
        };
        var host = Host();
        for (var i = 0; i < 5; i++)
        {
            var holder = await DieAsync(host);
            await NoteAsync(One, "recovered");
            Sys.Stop(holder);
            await NoteAsync(One, "closed");
        }

        await DieAsync(host);

        Assert.Contains("freezes", (await StateAsync(One, DeviceState.Quarantined)).Reason, StringComparison.Ordinal);
    }

    // ---- Resets by operators ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task An_operators_reset_is_by_the_method_that_is_asked_for_and_in_the_history()
    {
        var host = Host();
        await FrontAsync(host, One);

        await AskAsync<HostDone>(host, new ResetByOperator(One, "pm", "me"));

        Assert.Equal(["pm"], function.Calls);
        Assert.Contains("asked for by me", Assert.Single(await ResetsAsync(host)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fails", Errno.EIO)]
    [InlineData("busy", Errno.EAGAIN)]
    [InlineData("dead after it", Errno.EIO)]
    [InlineData("throws", Errno.EIO)]
    public async Task An_operators_reset_that_does_not_work_is_answered(string how, Errno errno)
    {
        function.OnReset = _ => how switch
        {
            "fails" => Failed,
            "busy" => VfioResult.Fail(Errno.EAGAIN, "Busy."),
            "dead after it" => Die(),
            _ => throw new InvalidOperationException("bad luck"),
        };
        var host = Host();
        await FrontAsync(host, One);

        Assert.Equal(errno, (await RefusedAsync(host, new ResetByOperator(One, null, "me"))).Errno);
    }

    [Fact]
    public async Task An_operators_reset_that_hangs_is_answered_within_its_deadline()
    {
        using var hang = Bus.HangAt(One, "reset");
        var host = Host();
        await FrontAsync(host, One);

        Client.Send(host, new ResetByOperator(One, null, "me"));

        var failed = await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 2);
        Assert.Equal(Errno.EIO, failed.Error.Errno);
        Assert.Contains("hangs in reset", failed.Error.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_operators_reset_of_a_device_that_leaves_meanwhile_is_answered()
    {
        using var hang = Bus.HangAt(One, "reset");
        var host = Host();
        await FrontAsync(host, One);
        Client.Send(host, new ResetByOperator(One, null, "me"));
        await hang.Entered;

        Bus.PullOut(One);

        await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 4);
        await InTimeAsync<DeviceGone>(Events, Options.SlowCallDeadline * 4);
        Assert.False(Client.HasMessages);
    }

    [Theory]
    [InlineData("bus")]
    [InlineData("flr,flr")]
    public async Task Methods_that_a_device_has_not_or_twice_are_EINVAL(string methods)
    {
        var host = Host();
        await FrontAsync(host, One);

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(host, new SetResetMethods(One, [.. methods.Split(',')], "me"))).Errno);
    }

    // ---- Inspection ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Inspection_shows_supervisor_driver_and_core()
    {
        var host = Host(drivers: Scripted(own => own.Take<GetMigrationFlags>(_ => { })));
        var front = await FrontAsync(host, One);
        await OpenAsync(front, TestActor, "claim one");
        await StatusAsync(One, status => status.Holder is not null);

        var state = (await AskAsync<DeviceInspected>(host, new InspectDevice(One))).State;

        Assert.Equal("Open", Value(state["supervisor"]!, "state"));
        Assert.Equal("claim one", Value(state["supervisor"]!, "holder"));
        Assert.Equal("GetMigrationFlags", Value(state["driver"]!, "takes over"));
        Assert.Equal("Ready", Value(state["core"]!, "phase"));
        Assert.Equal("claim one", Assert.Single(state["core"]!["sessions"]!.Children).Value);
    }

    [Fact]
    public async Task Inspection_of_a_device_that_is_being_probed_shows_what_it_waits_for_at_once()
    {
        using var hang = Bus.HangAt(One, "read config");
        var host = Host();
        await hang.Entered;

        var state = (await AskAsync<DeviceInspected>(host, new InspectDevice(One))).State;

        Assert.Equal("Probing", Value(state, "state"));
        Assert.Equal("probe", Value(state, "busy with"));
    }

    [Fact]
    public async Task A_part_that_hangs_is_said_not_to_answer()
    {
        using var hang = new Hang();
        var host = Host(drivers: Scripted(own => own.Take<GetMigrationFlags>(_ => hang.Enter())));
        var front = await FrontAsync(host, One);
        front.Tell(new GetMigrationFlags(await OpenAsync(front, TestActor)), TestActor);
        await hang.Entered;

        Client.Send(host, new InspectDevice(One));

        var state = (await InTimeAsync<DeviceInspected>(Client, TimeSpan.FromSeconds(4))).State;
        Assert.Equal("does not answer", state["driver"]!.Value);
        Assert.Equal("Ready", Value(state, "phase"));
    }

    private VfioResult Die()
    {
        function.IsDead = true;
        return VfioResult.Ok;
    }

    /// <summary>The link dies under a holder who reads a register.</summary>
    private async Task<TestProbe> DieAsync(IActorRef host, Func<string, VfioResult>? onReset = null)
    {
        var front = await FrontAsync(host, One);
        var holder = CreateTestProbe();
        var session = await OpenAsync(front, holder);
        function.Calls.Clear();
        function.OnReset = onReset ?? function.OnReset;
        Die();
        await AskAsync<RegionRead>(front, new ReadRegion(session, 0, 0, 4));
        await NoteAsync(One, "recovering");
        return holder;
    }

    private async Task AdvanceUntilAsync(TestProbe probe, TimeSpan step)
    {
        for (var i = 0; i < 200; i++)
        {
            // The delay begins when the ladder has heard; more time than that is not let pass.
            if (i == 0)
                Time.Advance(step);
            Timers.Advance(step);
            if (await ReceiveAsync(probe) is not null)
                return;
        }

        Assert.Fail("Nothing was tried again.");
    }

    private static async Task<ImmutableArray<string>> ResetsAsync(IActorRef host) =>
        [.. (await HistoryAsync(host, One)).Where(static entry => entry.Kind == "reset").Select(static entry => entry.Message).Reverse()];
}
