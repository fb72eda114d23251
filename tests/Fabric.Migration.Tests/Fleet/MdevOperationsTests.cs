using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Mdev;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>What operators ask of mediated devices, as messages to a host actor, and its answers; time passes when a test says so.</summary>
public sealed class MdevOperationsTests() : TestKit("akka.loglevel = OFF")
{
    private const string By = "ops@desk";
    private static readonly Guid Uuid = new("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    private static readonly PciAddress Address = PciAddress.Parse("fabd:35:14.0");
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly FakeTimeProvider time = new();

    /// <summary>What is asked, and what the host actor gets.</summary>
    public static TheoryData<IMdevOperation, MdevRequest> Commands => new()
    {
        { new ReadMdevTypes(), ListMdevTypes.Instance },
        { new ReadMdevs(), ListMdevs.Instance },
        { new PlanMdev(Uuid, "mtty", "mtty-2", true, By), new DefineMdev(Uuid, "mtty", "mtty-2", true, By) },
        { new BringMdevUp(Uuid, By), new StartMdev(Uuid, By) },
        { new TakeMdevDown(Uuid, null, By), new StopMdev(Uuid, By) },
        { new TakeMdevDown(Uuid, 2500, By), new StopMdev(Uuid, By, TimeSpan.FromSeconds(2.5)) },
        { new DropMdev(Uuid, By), new UndefineMdev(Uuid, By) },
    };

    [Theory, MemberData(nameof(Commands))]
    public async Task Each_operation_is_one_message_to_the_host(IMdevOperation operation, MdevRequest expected)
    {
        var (host, running) = Run(operation);
        var asked = await NextAsync<MdevRequest>(host);
        host.Reply(new MdevChanged(Status(MdevState.Started, Address)));

        Assert.Equal(expected, asked);
        Assert.Equal(new MdevDone(new MdevEntry(Uuid, "mtty", "mtty-2", true, "started", "fabd:35:14.0", null)), await running);
    }

    [Fact]
    public void Every_operation_there_is_is_tested_above() => Assert.Empty(typeof(IMdevOperation).Assembly.GetTypes()
        .Where(type => type is { IsInterface: false } && type.IsAssignableTo(typeof(IMdevOperation)))
        .Except(Commands.Select(row => row.Data.Item1.GetType())));

    [Fact]
    public async Task Types_are_told_with_what_is_left()
    {
        var read = await AnswerAsync<MdevTypesRead>(
            new ReadMdevTypes(), new MdevTypesListed([new MdevTypeOfParent("mtty", new MdevType("mtty-2", "Dual port serial", "two ports", 12))]));

        Assert.Equal([new MdevTypeEntry("mtty", "mtty-2", "Dual port serial", "two ports", 12)], read.Types);
    }

    [Fact]
    public async Task Definitions_are_told_with_those_that_cannot_be_used()
    {
        var read = await AnswerAsync<MdevsRead>(new ReadMdevs(), new MdevsListed(
            [Status(MdevState.Stopped, null, "no room")], [new UnusableDefinition("mtty/readme", "its name is no UUID", null)]));

        Assert.Equal([new MdevEntry(Uuid, "mtty", "mtty-2", true, "stopped", null, "no room")], read.Mdevs);
        Assert.Equal([new UnusableMdev("mtty/readme", "its name is no UUID")], read.Unusable);
    }

    [Fact]
    public async Task What_the_host_refuses_keeps_its_errno_and_its_sentence() => Assert.Equal(
        new OperationRefused($"mdev {Uuid}", "ENOSPC", "1 port is left."),
        await AnswerAsync<OperationRefused>(new BringMdevUp(Uuid, By), new DeviceFailed(Errno.ENOSPC, "1 port is left.")));

    [Fact]
    public async Task A_start_that_takes_too_long_is_given_up_and_says_where_to_look()
    {
        var (host, running) = Run(new BringMdevUp(Uuid, By));
        await NextAsync<StartMdev>(host);

        time.Advance(TimeSpan.FromSeconds(99));
        Assert.False(running.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(1));

        var refused = Assert.IsType<OperationRefused>(await running);
        Assert.Equal("ETIMEDOUT", refused.Errno);
        Assert.Contains("'fabric mdev list alpha'", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stop_that_waits_says_for_whom()
    {
        var (host, running) = Run(new TakeMdevDown(Uuid, null, By));
        await NextAsync<StopMdev>(host);
        time.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<ListMdevs>(host);
        host.Reply(new MdevsListed([Status(MdevState.Stopping, Address)], []));
        await NextAsync<ListDevices>(host);
        host.Reply(new DeviceList([Held]));

        var awaited = Assert.IsType<HolderAwaited>(await running);
        Assert.Equal(
            ("a machine", "alpha/fabd:35:14.0 is held by a machine, who is asked for release. The removal goes on; it ends when it is released."),
            (awaited.Holder, awaited.Sentence));
    }

    [Fact]
    public async Task A_stop_that_is_over_meanwhile_is_done()
    {
        var (host, running) = Run(new TakeMdevDown(Uuid, null, By));
        await NextAsync<StopMdev>(host);
        time.Advance(TimeSpan.FromSeconds(5));
        await NextAsync<ListMdevs>(host);
        host.Reply(new MdevsListed([Status(MdevState.Stopped, null)], []));
        await NextAsync<ListDevices>(host);
        host.Reply(new DeviceList([]));

        Assert.Equal("stopped", Assert.IsType<MdevDone>(await running).Mdev.State);
    }

    [Fact]
    public async Task A_stop_by_force_is_waited_for_until_after_the_force()
    {
        var (host, running) = Run(new TakeMdevDown(Uuid, 2000, By));
        await NextAsync<StopMdev>(host);
        time.Advance(TimeSpan.FromSeconds(6));
        host.Reply(new MdevChanged(Status(MdevState.Stopped, null)));

        Assert.IsType<MdevDone>(await running);
    }

    private static MdevStatus Status(MdevState state, PciAddress? address, string? reason = null) =>
        new(new MdevDefinition(Uuid, "mtty", "mtty-2", AutoStart: true), state, address, reason);

    private static DeviceStatus Held => new(
        Address, new PciIds(0x4348, 0x3253), "mtty", Physical: false, "mtty", DeviceState.Removing, DeviceHealth.Healthy, Migration: null,
        "a machine", StateBytes: null, IommuGroup: null, PhysicalFunction: null, ImmutableArray.Create("device_specific"));

    private (TestProbe Host, Task<IWireMessage> Running) Run(IMdevOperation operation)
    {
        var host = CreateTestProbe();
        return (host, new DeviceOperations("alpha", host, ActorRefs.Nobody, time).RunAsync(operation));
    }

    private async Task<T> AnswerAsync<T>(IMdevOperation operation, object reply)
    {
        var (host, running) = Run(operation);
        await NextAsync<MdevRequest>(host);
        host.Reply(reply);
        return Assert.IsType<T>(await running);
    }

    private static async Task<T> NextAsync<T>(TestProbe host) =>
        (T)await host.FishForMessageAsync(message => message is T, Patience, cancellationToken: TestContext.Current.CancellationToken);
}
