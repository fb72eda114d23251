using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>A host asks the drivers of a function in their order, takes the first that takes it, and says why each of the others has it not.</summary>
public sealed class DriverChoiceTests : SlotTest
{
    private static readonly VfioResult NoPf = VfioResult.Fail(Errno.ENODEV, "The driver of the PF is not loaded.");

    public DriverChoiceTests() => Bus.Add(One);

    [Fact]
    public async Task The_one_that_is_chosen_is_explained_and_those_that_are_passed_over_too()
    {
        var host = Host(drivers: [Driver("low"), Driver("high", priority: 2), Driver("vendor", vendorOnly: true)]);

        var status = await ProbedAsync(host);

        Assert.Equal("high", status.Driver);
        Assert.Equal("it matches 1b36:fab0, better than others", status.Choice!.Why);
        Assert.Equal(
            [
                new DriverPassedOver("low", "its 1b36:fab0 is as specific, but its priority 0 is below 2", false),
                new DriverPassedOver("vendor", "its 1b36:* is less specific than 1b36:fab0", false),
            ],
            status.Choice.PassedOver);
    }

    [Fact]
    public async Task One_that_nothing_matches_is_the_cores_alone_and_says_so()
    {
        var status = await ProbedAsync(Host(drivers: new DriverRegistration("other", new PciIds(1, 2), null, _ => throw new InvalidOperationException())));

        Assert.Equal((null, "no driver matches it"), (status.Driver, status.Choice!.Why));
    }

    // ---- Refusals at probe -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_refuses_makes_way_for_the_next_best_with_its_reason_VD_0()
    {
        var host = Host(drivers: [Driver("best", priority: 1) with { Probe = _ => NoPf }, Driver("next") with { Probe = _ => VfioResult.Ok }]);

        var status = await ProbedAsync(host);

        Assert.Equal("next", status.Driver);
        Assert.Equal([new DriverPassedOver("best", "ENODEV: The driver of the PF is not loaded.", true)], status.Choice!.PassedOver);
        Assert.Contains(await HistoryAsync(host, One), entry => entry is { Kind: "driver-refused", Message: "best: ENODEV: The driver of the PF is not loaded." });
    }

    [Fact]
    public async Task Where_all_refuse_the_core_alone_is_left_and_works()
    {
        var host = Host(drivers: [Driver("a") with { Probe = _ => NoPf }, Driver("b") with { Probe = _ => NoPf }]);

        var status = await ProbedAsync(host);

        Assert.Equal((null, "every driver that matches it refused it"), (status.Driver, status.Choice!.Why));
        Assert.Equal(["a", "b"], status.Choice.PassedOver.Select(passed => passed.Driver));
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task A_probe_that_throws_is_a_refusal_with_what_it_threw()
    {
        var host = Host(drivers: [Driver("bad", priority: 1) with { Probe = _ => throw new InvalidOperationException("bad luck") }, Driver("next")]);

        var status = await ProbedAsync(host);

        Assert.Equal("next", status.Driver);
        Assert.Equal("EIO: Its probe failed: InvalidOperationException: bad luck", status.Choice!.PassedOver[0].Reason);
    }

    [Fact]
    public async Task A_probe_that_never_returns_is_given_up_in_time_and_what_it_says_later_is_dropped()
    {
        using var hang = new Hang();
        var late = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var host = Host(drivers:
        [
            Driver("slow", priority: 1) with
            {
                Probe = _ =>
                {
                    hang.Enter();
                    late.SetResult();
                    return VfioResult.Ok;
                },
            },
            Driver("next"),
        ]);
        await hang.Entered.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);

        Advance(Options.CallDeadline);

        var status = await ProbedAsync(host);
        Assert.Equal(("next", "ETIMEDOUT: It has not answered within 4 s."), (status.Driver, status.Choice!.PassedOver[0].Reason));
        hang.Release();
        await late.Task.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);
        Assert.Equal("next", (await ProbedAsync(host)).Driver);
    }

    [Fact]
    public async Task While_one_function_is_looked_at_others_are_probed_and_what_is_asked_of_it_waits()
    {
        Bus.Add(Other);
        using var hang = new Hang();
        var host = Host(drivers: Driver("slow") with
        {
            Probe = context =>
            {
                if (context.Address == One)
                    hang.Enter();
                return VfioResult.Ok;
            },
        });
        await hang.Entered.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);
        Client.Send(host, new FindDevice(One));
        await AskAsync<DeviceFound>(host, new FindDevice(Other));
        Assert.False(Client.HasMessages);

        hang.Release();

        Assert.Equal("slow", (await NextAsync<DeviceFound>(Client)).Status.Driver);
    }

    [Fact]
    public async Task A_function_that_is_pulled_out_while_it_is_looked_at_is_forgotten_and_who_asked_is_answered()
    {
        using var hang = new Hang();
        var host = Host(drivers: Driver("slow") with
        {
            Probe = _ =>
            {
                hang.Enter();
                return VfioResult.Ok;
            },
        });
        await hang.Entered.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);
        Client.Send(host, new FindDevice(One));
        await AskAsync<HostDone>(host, new InjectRemoval(One));

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(Client)).Error.Errno);
        hang.Release();
        Assert.Empty((await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices);
    }

    [Fact]
    public async Task A_probe_is_given_the_ids_and_the_platform_and_no_core()
    {
        DriverContext? seen = null;
        await ProbedAsync(Host(drivers: Driver("curious") with
        {
            Probe = context =>
            {
                seen = context;
                return VfioResult.Ok;
            },
        }));

        Assert.Equal((One, new PciIds(FakeFunction.HardwareVendor, FakeFunction.HardwareDevice), true), (seen!.Address, seen.Ids, seen.Core.IsNobody()));
        Assert.Same(((IPciFunction)Bus.At(One)).Platform, seen.Platform);
    }

    // ---- Drivers that cannot be made -------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_cannot_be_made_makes_way_for_the_next_best_with_its_reason()
    {
        var host = Host(drivers: [Driver("broken", priority: 1, script: _ => throw new InvalidOperationException("bad luck")), Driver("next")]);

        var status = await StatusAsync(One, status => status is { Driver: "next", State: DeviceState.Closed });

        Assert.Equal(
            [new DriverPassedOver("broken", "the constructor of broken failed: InvalidOperationException: bad luck", true)], status.Choice!.PassedOver);
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task One_whose_driver_behind_cannot_be_made_says_which()
    {
        Host(drivers:
        [
            Driver("front", priority: 1) with { InFrontOf = "behind" },
            new DriverRegistration("behind", new PciIds(1, 2), null, context => ScriptedDriver.Props(context, _ => throw new InvalidOperationException("bad luck"))),
        ]);

        var status = await StatusAsync(One, status => status is { Driver: null, State: DeviceState.Closed });

        Assert.Contains("the constructor of behind failed", Assert.Single(status.Choice!.PassedOver).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_that_stands_in_front_of_a_driver_that_is_not_there_is_passed_over_with_that()
    {
        var status = await ProbedAsync(Host(drivers: [Driver("front", priority: 1) with { InFrontOf = "nobody" }, Driver("next")]));

        Assert.Equal(("next", "it stands in front of nobody, which this host does not have"), (status.Driver, status.Choice!.PassedOver[0].Reason));
    }

    /// <summary>What the host has of it: the name of its driver, its ids.</summary>
    internal static DriverRegistration Driver(string name, int priority = 0, bool vendorOnly = false, Action<ScriptedDriver>? script = null) => new(
        name, [new DriverId(FakeFunction.HardwareVendor, vendorOnly ? null : FakeFunction.HardwareDevice)], $"{name}-vf", context => ScriptedDriver.Props(context, script ?? (static _ => { })))
    {
        Priority = priority,
    };

    private static async Task<DeviceStatus> ProbedAsync(IActorRef host) => (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status;
}
