using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;
using Fabric.Pci;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>The gateway between the cluster and a host's devices, with a probe on each of its sides.</summary>
public sealed class HostGatewayTests : LoneNode
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private static readonly DateTimeOffset Then = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    private static readonly PciAddress Device = PciAddress.Parse("fab0:01:00.1");

    private TestProbe Devices => field ??= CreateTestProbe();

    private TestProbe Attachments => field ??= CreateTestProbe();

    private TestProbe Claims => field ??= CreateTestProbe();

    /// <summary>Stands at the path of this node's fleet.</summary>
    private TestProbe Fleet
    {
        get
        {
            if (field is not null)
                return field;
            field = CreateTestProbe();
            Sys.ActorOf(Props.Create(() => new Relay(field)), FleetActor.Name);
            return field;
        }
    }

    private IActorRef Gateway => field ??= Sys.ActorOf(
        HostGateway.Props(
            new HostGatewayOptions("alpha", "http://alpha", "1.0", Sys, Devices, Attachments, new FakeTimeProvider(Then)), Claims),
        HostGateway.Name);

    [Fact]
    public async Task It_presents_itself_to_the_attachments_when_it_starts()
    {
        var gateway = Gateway;

        Assert.Equal(gateway, (await Attachments.ExpectMsgAsync<UplinkConnected>(Patience, cancellationToken: Cancellation)).Gateway);
    }

    [Fact]
    public async Task A_command_goes_to_the_attachments()
    {
        var command = new Detach("c1", 3, "fab0:01:00.1");

        Gateway.Tell(command);

        Assert.Equal(command, await Attachments.FishForMessageAsync(message => message is Detach, Patience, cancellationToken: Cancellation));
    }

    [Fact]
    public async Task A_report_goes_to_the_claims()
    {
        var report = new Detached("c1", "alpha", 3, "fab0:01:00.1");

        Gateway.Tell(report);

        Assert.Equal(report, await Claims.ExpectMsgAsync<Detached>(Patience, cancellationToken: Cancellation));
    }

    [Fact]
    public async Task What_devices_there_are_is_told_to_the_control_nodes()
    {
        var fleet = Fleet;
        Gateway.Tell(new DeviceList([Status()]));

        var inventory = (await fleet.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation)).Part;

        Assert.Equal(("alpha", "http://alpha", "fab0:01:00.1"), (inventory.Host, inventory.Api, Assert.Single(inventory.Devices).Address));
    }

    [Fact]
    public async Task A_host_of_very_many_functions_is_told_in_portions()
    {
        var fleet = Fleet;
        Gateway.Tell(new DeviceList([.. Enumerable.Range(0, 4000).Select(slot => Status(slot % 2 == 0))]));

        var portions = new List<InventoryPortion>();
        do
        {
            portions.Add(await fleet.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation));
        }
        while (!portions[^1].Telling.IsLast);

        Assert.InRange(portions.Count, 2, 100);
        Assert.All(portions, static portion => Assert.InRange(WireContract.From(typeof(IWireMessage).Assembly).Codec.Write(portion).Length, 1, Portions.Bytes));
        Assert.Equal(
            Enumerable.Range(0, 4000).Select(static slot => slot % 2 == 0 ? "closed" : "open"),
            portions.SelectMany(static portion => portion.Part.Devices).Select(static device => device.State));
    }

    [Fact]
    public async Task What_has_not_changed_is_not_told_again()
    {
        var fleet = Fleet;
        Gateway.Tell(new DeviceList([Status()]));
        Gateway.Tell(new DeviceList([Status()]));
        Gateway.Tell(new DeviceList([Status(free: false)]));

        var told = (await fleet.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation)).Telling;

        Assert.Equal(
            new InventoryUnchanged("alpha", told.Life, told.Version),
            await fleet.ExpectMsgAsync<InventoryUnchanged>(Patience, cancellationToken: Cancellation));
        Assert.Equal(
            (told.Version + 1, "open"),
            await fleet.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation) is var changed
                ? (changed.Telling.Version, Assert.Single(changed.Part.Devices).State)
                : default);
    }

    [Fact]
    public async Task Who_asks_is_told_all_again_and_nobody_else()
    {
        var fleet = Fleet;
        var asker = CreateTestProbe();
        Gateway.Tell(new DeviceList([Status()]));
        var first = await fleet.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation);

        Gateway.Tell(TellInventory.Instance, asker);

        Assert.Equal(first, await asker.ExpectMsgAsync<InventoryPortion>(Patience, cancellationToken: Cancellation));
        // What comes next is what was told next: another telling would have come before.
        Gateway.Tell(new DeviceList([Status()]));
        await fleet.ExpectMsgAsync<InventoryUnchanged>(Patience, cancellationToken: Cancellation);
    }

    [Fact]
    public async Task What_is_new_in_a_devices_history_is_told_once()
    {
        var fleet = Fleet;
        var opened = new DeviceHistoryEntry(DateTimeOffset.UnixEpoch.AddSeconds(1), "opened", "opened by c1");
        var closed = new DeviceHistoryEntry(DateTimeOffset.UnixEpoch.AddSeconds(2), "closed", "closed by c1");
        Gateway.Tell(new DeviceNoted(Device, opened));
        Gateway.Tell(new DeviceNoted(Device, closed));

        var events = new[] { await NextEvent(fleet), await NextEvent(fleet) };

        Assert.Equal(["device.opened", "device.closed"], events.Select(happened => happened.Kind));
    }

    [Fact]
    public async Task A_device_that_changed_has_the_inventory_told_anew()
    {
        await Devices.ExpectMsgAsync<ListDevices>(Patience, cancellationToken: Cancellation, hint: Gateway.Path.Name);
        Gateway.Tell(new DeviceStatusChanged(Status()));

        await Devices.ExpectMsgAsync<ListDevices>(TimeSpan.FromSeconds(1.5), cancellationToken: Cancellation);
    }

    [Fact]
    public async Task What_an_operator_asks_goes_to_the_devices_and_the_answer_back()
    {
        var answer = Gateway.Ask<OperationDone>(new TakeOutOfService("fab0:01:00.1", "it smells", "ops@desk"), Patience, Cancellation);
        var asked = await Devices.FishForMessageAsync(message => message is QuarantineDevice, Patience, cancellationToken: Cancellation);
        Devices.Reply(HostDone.Instance);

        Assert.Equal(new QuarantineDevice(Device, "it smells", "ops@desk"), asked);
        Assert.Equal("fab0:01:00.1", (await answer).Device);
    }

    [Fact]
    public async Task Who_makes_a_fault_is_told_to_the_control_nodes()
    {
        var fleet = Fleet;

        var answer = Gateway.Ask<OperationDone>(new HangFunction("fab0:01:00.1", "reset", "ops@desk"), Patience, Cancellation);
        await Devices.FishForMessageAsync(message => message is InjectHang, Patience, cancellationToken: Cancellation);
        Devices.Reply(HostDone.Instance);

        Assert.Equal("fab0:01:00.1", (await answer).Device);
        Assert.Equal(
            new FabricEvent(Then, "device.fault-injected", "alpha/fab0:01:00.1", "alpha", "a hang of reset calls, asked for by ops@desk"),
            await NextEvent(fleet));
    }

    [Fact]
    public async Task A_fault_that_was_refused_is_told_to_nobody_but_who_asked()
    {
        var fleet = Fleet;
        var answer = Gateway.Ask<OperationRefused>(new PullOutFunction("fab0:01:00.1", "ops@desk"), Patience, Cancellation);
        await Devices.FishForMessageAsync(message => message is InjectRemoval, Patience, cancellationToken: Cancellation);
        Devices.Reply(new DeviceFailed(new(Vfio.Errno.EOPNOTSUPP, "It is real.")));

        Assert.Equal(new OperationRefused("fab0:01:00.1", "EOPNOTSUPP", "It is real."), await answer);

        // What comes next is the event after it: the one of the fault would have come before.
        Gateway.Tell(new DeviceNoted(Device, new DeviceHistoryEntry(Then, "opened", "by c1")));
        Assert.Equal("device.opened", (await NextEvent(fleet)).Kind);
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static async Task<FabricEvent> NextEvent(TestProbe fleet) =>
        (FabricEvent)await fleet.FishForMessageAsync(message => message is FabricEvent, Patience, cancellationToken: Cancellation);

    private static DeviceStatus Status(bool free = true) => new(
        Device, new PciIds(0x1d0f, 0xfab1), "accelerator", Physical: false, "accelerator-vf", free ? DeviceState.Closed : DeviceState.Open, DeviceHealth.Healthy,
        Migration: null, Holder: null, StateBytes: 4096, IommuGroup: null, PhysicalFunction: null, ["flr"]);

    private sealed class Relay(IActorRef to) : UntypedActor
    {
        protected override void OnReceive(object message) => to.Forward(message);
    }
}
