using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>What operators ask, as messages to a host actor, and its answers; a clock in the hand where a deadline is to pass.</summary>
public sealed class DeviceOperationsTests() : TestKit("akka.loglevel = OFF")
{
    private const string Name = "fab0:01:00.1";
    private const string By = "ops@desk";

    private static readonly PciAddress Device = PciAddress.Parse(Name);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly FakeTimeProvider time = new();

    /// <summary>What is asked, and what the host actor gets.</summary>
    public static TheoryData<IDeviceOperation, HostRequest> Commands => new()
    {
        { new ReadHistory(Name, 7), new GetDeviceHistory(Device, 7) },
        { new InspectFunction(Name), new InspectDevice(Device) },
        { new ResetFunction(Name, null, By), new ResetByOperator(Device, null, By) },
        { new ResetFunction(Name, "flr", By), new ResetByOperator(Device, "flr", By) },
        { new TakeOutOfService(Name, "it smells", By), new QuarantineDevice(Device, "it smells", By) },
        { new PutIntoService(Name, By), new UnquarantineDevice(Device, By) },
        { new ChooseDriver(Name, "acme", By), new OverrideDriver(Device, "acme", By) },
        { new ChooseDriver(Name, null, By), new OverrideDriver(Device, null, By) },
        { new MakeVirtualFunctions(Name, 4, By), new ConfigureSriov(Device, 4, By) },
        { new TakeAway(Name, null, By), new RemoveDevice(Device, By) },
        { new TakeAway(Name, 2500, By), new RemoveDevice(Device, By, TimeSpan.FromSeconds(2.5)) },
        { new InjectError(Name, "correctable", By), new InjectAer(Device, AerSeverity.Correctable) },
        { new InjectError(Name, "non-fatal", By), new InjectAer(Device, AerSeverity.NonFatal) },
        { new InjectError(Name, "fatal", By), new InjectAer(Device, AerSeverity.Fatal) },
        { new HangFunction(Name, "config", By), new InjectHang(Device, HangPoint.Config) },
        { new HangFunction(Name, "region", By), new InjectHang(Device, HangPoint.Region) },
        { new HangFunction(Name, "reset", By), new InjectHang(Device, HangPoint.Reset) },
        { new HangFunction(Name, "sriov", By), new InjectHang(Device, HangPoint.Sriov) },
        { new ReleaseFunction(Name, By), new ReleaseHang(Device) },
        { new PullOutFunction(Name, By), new InjectRemoval(Device) },
        { new PutBackFunction(Name, By), new InjectReturn(Device) },
        { new FlapLink(Name, 3, 20, By), new InjectFlap(Device, 3, TimeSpan.FromMilliseconds(20)) },
    };

    [Theory, MemberData(nameof(Commands))]
    public async Task Each_operation_is_one_message_to_the_host(IDeviceOperation operation, HostRequest expected)
    {
        var (host, running) = Run(operation);
        var asked = await NextAsync<HostRequest>(host);
        host.Reply(HostDone.Instance);

        Assert.Equal(expected, asked);
        Assert.Equal(new OperationDone(Name), await running);
    }

    [Fact]
    public void Every_operation_there_is_is_tested_above()
    {
        var tested = Commands.Select(row => row.Data.Item1.GetType()).Append(typeof(ChooseResetMethods));
        var there = typeof(IDeviceOperation).Assembly.GetTypes()
            .Where(type => type is { IsInterface: false } && type.IsAssignableTo(typeof(IDeviceOperation)));

        Assert.Empty(there.Except(tested));
    }

    /// <summary>What is asked of a host's drivers, and what the host actor gets.</summary>
    public static TheoryData<IDriverOperation, HostRequest> DriverCommands => new()
    {
        { new ShowDrivers(), ListDrivers.Instance },
        { new LoadPlugins(null, By), new LoadDrivers(null, By) },
        { new LoadPlugins("acme", By), new LoadDrivers("acme", By) },
        { new UnloadPlugin("acme", By), new UnloadDriver("acme", By) },
    };

    [Theory, MemberData(nameof(DriverCommands))]
    public async Task Each_operation_on_drivers_is_one_message_to_the_host(IDriverOperation operation, HostRequest expected)
    {
        var host = CreateTestProbe();
        var running = new DeviceOperations("host-a", host, ActorRefs.Nobody, time).RunAsync(operation);
        var asked = await NextAsync<HostRequest>(host);
        host.Reply(new DeviceFailed(Errno.EAGAIN, "Later."));

        Assert.Equal(expected, asked);
        Assert.Equal(("EAGAIN", "Later."), Assert.IsType<OperationRefused>(await running) is var refused ? (refused.Errno, refused.Sentence) : default);
    }

    [Fact]
    public void Every_operation_on_drivers_there_is_is_tested_above() => Assert.Empty(
        typeof(IDriverOperation).Assembly.GetTypes()
            .Where(type => type is { IsInterface: false } && type.IsAssignableTo(typeof(IDriverOperation)))
            .Except(DriverCommands.Select(row => row.Data.Item1.GetType())));

    [Fact]
    public async Task Drivers_are_shown_with_all_that_is_known_of_them()
    {
        var host = CreateTestProbe();
        var running = new DeviceOperations("host-a", host, ActorRefs.Nobody, time).RunAsync(new ShowDrivers());
        await NextAsync<ListDrivers>(host);
        Assert.True(DriverId.TryParse("vfio_pci:1d0f:efa1", out var id));
        host.Reply(new DriverList([new DriverEntry("acme", "folder", DriverPresence.Leaving)
        {
            Version = "1.0.0.0", Reason = "unloaded by ops", Ids = [id], Model = "card", Priority = 3, InFrontOf = "other", Devices = 2,
        }]));

        var line = Assert.Single(Assert.IsType<DriversShown>(await running).Drivers);

        Assert.Equal(
            new DriverLine("acme", "folder", "1.0.0.0", "leaving", "unloaded by ops", line.Ids, "card", 3, "other", 2), line);
        Assert.Equal(["vfio_pci:1d0f:efa1"], line.Ids);
    }

    [Fact]
    public async Task Drivers_of_a_host_that_is_silent_are_ETIMEDOUT()
    {
        var host = CreateTestProbe();
        var running = new DeviceOperations("host-a", host, ActorRefs.Nobody, time).RunAsync(new ShowDrivers());
        await NextAsync<ListDrivers>(host);

        time.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal("ETIMEDOUT", Assert.IsType<OperationRefused>(await running).Errno);
    }

    [Fact]
    public async Task Reset_methods_keep_their_order()
    {
        var (host, running) = Run(new ChooseResetMethods(Name, ["bus", "flr"], By));
        var asked = await NextAsync<SetResetMethods>(host);
        host.Reply(HostDone.Instance);

        Assert.Equal((Device, By), (asked.Address, asked.By));
        Assert.Equal(["bus", "flr"], asked.Methods);
        Assert.IsType<OperationDone>(await running);
    }

    [Fact]
    public async Task A_history_comes_newest_last()
    {
        var then = DateTimeOffset.UnixEpoch;
        var later = then.AddSeconds(1);
        var read = await AnswerAsync<HistoryRead>(
            new ReadHistory(Name, 2),
            new DeviceHistoryRead([new DeviceHistoryEntry(later, "closed", "b"), new DeviceHistoryEntry(then, "opened", "a")]));

        Assert.Equal([new DeviceHistoryLine(then, "opened", "a"), new DeviceHistoryLine(later, "closed", "b")], read.Lines);
    }

    [Fact]
    public async Task A_tree_goes_as_its_lines()
    {
        var tree = InspectNode.Tree("device", InspectNode.Tree("supervisor", InspectNode.Leaf("state", "Open")), InspectNode.Leaf("driver", "none"));

        var inspected = await AnswerAsync<FunctionInspected>(new InspectFunction(Name), new DeviceInspected(tree));

        Assert.Equal(
            [
                new InspectLine(0, "device", null), new InspectLine(1, "supervisor", null), new InspectLine(2, "state", "Open"),
                new InspectLine(1, "driver", "none"),
            ],
            inspected.Lines);
    }

    [Fact]
    public async Task The_VFs_that_were_made_are_named()
    {
        var made = await AnswerAsync<VirtualFunctionsMade>(
            new MakeVirtualFunctions(Name, 1, By), new SriovConfigured(Device, [PciAddress.Parse("fab0:01:00.2")]));

        Assert.Equal("fab0:01:00.2", Assert.Single(made.VirtualFunctions));
    }

    [Theory]
    [InlineData(true, "recovered")]
    [InlineData(false, "failed")]
    [InlineData(null, "logged")]
    public async Task An_injected_error_is_answered_with_what_the_recovery_did(bool? recovered, string outcome)
    {
        var injected = await AnswerAsync<ErrorInjected>(
            new InjectError(Name, "fatal", By), new RecoveryReport(Device, AerSeverity.Fatal, recovered, TimeSpan.FromMilliseconds(5), ["resume"]));

        Assert.Equal(
            (Name, "fatal", outcome, 5, "resume"),
            (injected.Device, injected.Severity, injected.Outcome, injected.Ms, Assert.Single(injected.Steps)));
    }

    [Fact]
    public async Task What_the_host_refuses_keeps_its_errno_and_its_sentence()
    {
        var refused = await AnswerAsync<OperationRefused>(new ResetFunction(Name, "pm", By), new DeviceFailed(Errno.ENOTTY, "It has no such reset."));

        Assert.Equal(new OperationRefused(Name, "ENOTTY", "It has no such reset."), refused);
    }

    /// <summary>What is asked, and what its refusal must name.</summary>
    public static TheoryData<IDeviceOperation, string> Wrong => new()
    {
        { new InspectFunction("nowhere"), "'nowhere' is not a PCI address" },
        { new InjectError(Name, "terrible", By), "'terrible' is not a severity" },
        { new HangFunction(Name, "middle", By), "'middle' is nothing that hangs" },
    };

    [Theory, MemberData(nameof(Wrong))]
    public async Task What_cannot_be_is_refused_before_the_host_is_asked(IDeviceOperation operation, string named)
    {
        var (host, running) = Run(operation);

        var refused = Assert.IsType<OperationRefused>(await running);
        Assert.Equal("EINVAL", refused.Errno);
        Assert.Contains(named, refused.Sentence, StringComparison.Ordinal);
        Assert.False(host.HasMessages);
    }

    [Fact]
    public async Task A_host_that_does_not_answer_is_given_up_at_the_deadline()
    {
        var (host, running) = Run(new ResetFunction(Name, null, By));
        await NextAsync<ResetByOperator>(host);

        time.Advance(TimeSpan.FromSeconds(99));
        Assert.False(running.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal("ETIMEDOUT", Assert.IsType<OperationRefused>(await running).Errno);
    }

    [Fact]
    public async Task A_removal_that_waits_says_for_whom()
    {
        var (host, running) = Run(new TakeAway(Name, null, By));
        await NextAsync<RemoveDevice>(host);
        time.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<ListDevices>(host);
        host.Reply(new DeviceList([Status("claim demo")]));

        var awaited = Assert.IsType<HolderAwaited>(await running);
        Assert.Equal("claim demo", awaited.Holder);
        Assert.Equal(
            "alpha/fab0:01:00.1 is held by claim demo, who is asked for release (waits for claim demo, asked 1 times in 0 s). "
            + "The removal goes on; it ends when it is released.",
            awaited.Sentence);
    }

    [Fact]
    public async Task A_removal_of_which_the_device_is_gone_meanwhile_is_done()
    {
        var (host, running) = Run(new TakeAway(Name, null, By));
        await NextAsync<RemoveDevice>(host);
        time.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<ListDevices>(host);
        host.Reply(new DeviceList([]));

        Assert.Equal(new OperationDone(Name), await running);
    }

    [Fact]
    public async Task A_removal_by_force_is_waited_for_until_after_the_force()
    {
        var (host, running) = Run(new TakeAway(Name, 2000, By));
        await NextAsync<RemoveDevice>(host);
        time.Advance(TimeSpan.FromSeconds(6));
        host.Reply(HostDone.Instance);

        Assert.Equal(new OperationDone(Name), await running);
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private (TestProbe Host, Task<IWireMessage> Running) Run(IDeviceOperation operation)
    {
        var host = CreateTestProbe();
        return (host, new DeviceOperations("alpha", host, ActorRefs.Nobody, time).RunAsync(operation));
    }

    private async Task<T> AnswerAsync<T>(IDeviceOperation operation, object reply)
    {
        var (host, running) = Run(operation);
        await NextAsync<HostRequest>(host);
        host.Reply(reply);
        return Assert.IsType<T>(await running);
    }

    private static async Task<T> NextAsync<T>(TestProbe host) =>
        (T)await host.FishForMessageAsync(message => message is T, Patience, cancellationToken: Cancelled);

    private static DeviceStatus Status(string holder) => new(
        Device, new PciIds(0x1d0f, 0xfab1), "accelerator", Physical: false, "accelerator-vf", DeviceState.Removing, DeviceHealth.Healthy,
        Migration: null, holder, StateBytes: 4096, IommuGroup: null, PhysicalFunction: null, ImmutableArray.Create("flr"))
    {
        Reason = $"waits for {holder}, asked 1 times in 0 s",
    };
}
