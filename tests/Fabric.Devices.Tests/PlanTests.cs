using System.Collections.Immutable;
using Akka.Actor;

namespace Fabric.Devices.Tests;

/// <summary>Commands that are only planned: they say what the command comes to, and leave everything as it is.</summary>
public sealed class PlanTests : SlotTest
{
    private readonly Journal journal = new();

    public PlanTests() => Bus.Add(One, totalVfs: 4);

    public enum Standing
    {
        Closed,
        Held,
        Quarantined,
    }

    private static ImmutableDictionary<string, HostRequest> Commands { get; } = new Dictionary<string, HostRequest>
    {
        ["quarantine"] = new QuarantineDevice(One, "it is loud", "me"),
        ["unquarantine"] = new UnquarantineDevice(One, "me"),
        ["reset"] = new ResetByOperator(One, null, "me"),
        ["reset by flr"] = new ResetByOperator(One, "flr", "me"),
        ["reset by what it has not"] = new ResetByOperator(One, "acpi", "me"),
        ["reset methods"] = new SetResetMethods(One, ["flr"], "me"),
        ["no reset methods"] = new SetResetMethods(One, [], "me"),
        ["reset methods that it has not"] = new SetResetMethods(One, ["acpi"], "me"),
        ["two VFs"] = new ConfigureSriov(One, 2, "me"),
        ["no VFs"] = new ConfigureSriov(One, 0, "me"),
        ["more VFs than it can"] = new ConfigureSriov(One, 5, "me"),
        ["the core alone"] = new OverrideDriver(One, "vfio-pci", "me"),
        ["no override"] = new OverrideDriver(One, null, "me"),
        ["a driver that is not there"] = new OverrideDriver(One, "none-such", "me"),
        ["of another device"] = new ResetByOperator(Other, null, "me"),
        ["VFs of another device"] = new ConfigureSriov(Other, 2, "me"),
        ["drivers, without a folder"] = new LoadDrivers(null, "me"),
        ["a driver in the box"] = new UnloadDriver("vfio-pci", "me"),
    }.ToImmutableDictionary();

    public static TheoryData<Standing, string> Cases =>
    [
        .. from standing in Enum.GetValues<Standing>() from command in Commands.Keys.Order(StringComparer.Ordinal) select (standing, command),
    ];

    [Theory, MemberData(nameof(Cases))]
    public async Task A_plan_says_what_the_command_comes_to_and_changes_nothing(Standing standing, string command)
    {
        var host = await InAsync(standing);
        var before = await StatusAsync(host, One);

        var planned = await host.Ask<object>(Commands[command] with { PlanOnly = true }, TimeSpan.FromSeconds(15), Cancelled);
        var between = await StatusAsync(host, One);
        var done = await host.Ask<object>(Commands[command], TimeSpan.FromSeconds(15), Cancelled);

        Assert.Same(before, between);
        Assert.Equal((done as DeviceFailed)?.Error, (planned as DeviceFailed)?.Error);
        Assert.True(planned is DeviceFailed or CommandPlanned, planned.ToString());
    }

    [Fact]
    public async Task Whoever_holds_the_device_is_named_in_the_plan_of_what_disturbs_him()
    {
        var host = await InAsync(Standing.Held);

        var reset = await AskAsync<CommandPlanned>(host, new ResetByOperator(One, null, "me") { PlanOnly = true });
        var removal = await AskAsync<CommandPlanned>(host, new RemoveDevice(One, "me") { PlanOnly = true });

        Assert.Equal([$"{One}, which claim one holds"], reset.Affects);
        Assert.Equal([$"{One}, which claim one holds"], removal.Affects);
        Assert.Equal(DeviceState.Open, (await StatusAsync(host, One)).State);
    }

    [Fact]
    public async Task VFs_that_are_held_are_named_in_the_plan_of_their_removal()
    {
        var host = await InAsync(Standing.Closed);
        var first = (await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"))).VirtualFunctions[0];
        await OpenAsync(await FrontAsync(host, first), TestActor, "claim one");
        await FrontAsync(host, first);

        var planned = await AskAsync<CommandPlanned>(host, new ConfigureSriov(One, 0, "me") { PlanOnly = true });

        Assert.Equal([$"{first}, which claim one holds and is asked to release"], planned.Affects);
        Assert.Equal("0 VFs would be there, in place of 2", planned.Would);
    }

    [Fact]
    public async Task What_is_planned_is_not_in_the_history()
    {
        var host = await InAsync(Standing.Closed);
        var noted = CreateTestProbe();
        Sys.EventStream.Subscribe(noted, typeof(DeviceNoted));

        foreach (var command in Commands.Values)
            await host.Ask<object>(command with { PlanOnly = true }, TimeSpan.FromSeconds(15), Cancelled);
        await StatusAsync(host, One);

        Assert.False(noted.HasMessages);
    }

    private async Task<IActorRef> InAsync(Standing standing)
    {
        var host = Host(history: journal.Props());
        var front = await FrontAsync(host, One);
        if (standing == Standing.Held)
            await OpenAsync(front, TestActor, "claim one");
        if (standing == Standing.Quarantined)
            await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));
        await AskAsync<DeviceInspected>(host, new InspectDevice(One));
        return host;
    }
}
