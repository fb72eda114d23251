using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Xe;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Xe;
using Fabric.Hardware.Specs.Xe;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Xe;

/// <summary>The driver as the holder of its VF sees it. The hardware's time and that of actors are both virtual.</summary>
public sealed class XeDriverTests : TestKit
{
    private static readonly TimeSpan CleanUp = TimeSpan.FromMilliseconds(300);

    private readonly FakeTimeProvider time = new();
    private readonly EmulatedBus bus;
    private readonly IActorRef host;

    public XeDriverTests()
        : base(
            """
            akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }
            akka.scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit"
            """)
    {
        bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(EmulatedModels.Xe, VirtualFunctions: 2)] }, time);
        host = Sys.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(XeDriver.Registration), [], _ => null, time)));
    }

    private XePhysicalFunction Card => bus.Functions.OfType<XePhysicalFunction>().Single();

    private XeVirtualFunction[] Functions => [.. bus.Functions.OfType<XeVirtualFunction>()];

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
            bus.Dispose();
    }

    [Fact]
    public async Task A_move_brings_what_the_VF_held()
    {
        var (source, target) = (await OpenAsync(0), await OpenAsync(1));
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P, (await source.GetMigrationFlagsAsync()).Value);
        Assert.True((await source.WriteAsync(XeBar.Vram, 77, new byte[] { 1, 2, 3 })).IsOk);
        Assert.True((await source.WriteAsync(XeBar.Registers, XeRegister.Doorbell, new byte[] { 4, 0, 0, 0 })).IsOk);
        var to = await EnterAsync(target, Resuming);
        Assert.True(to.Write(XeMachine.ReadAll(await EnterAsync(source, StopCopy))).IsOk);
        await EnterAsync(target, Running);
        Assert.Equal(Functions[0].State, Functions[1].State);
        Assert.Equal(Errno.ENOTTY, (await source.StartDmaLoggingAsync(0, 4096)).Error.Errno);
    }

    [Fact]
    public async Task An_illegal_request_stops_the_VF_until_a_reset_VD_XE_2()
    {
        var client = await OpenAsync(0);
        Assert.Equal(Errno.EINVAL, (await client.SetMigrationStateAsync(PreCopy)).Error.Errno);
        Assert.Equal(XeVfState.Stopped, Functions[0].PfState);
        Assert.Equal(Errno.EPERM, (await client.SetMigrationStateAsync(Stop)).Error.Errno);
        Assert.True((await client.ResetAsync()).IsOk);
        await EnterAsync(client, Stop);
    }

    [Fact]
    public async Task The_PF_itself_and_a_VF_whose_PF_has_no_driver_do_not_migrate_VD_0()
    {
        Card.DetachDriver();
        Assert.Equal(Errno.ENOTTY, (await (await OpenAsync(0)).GetMigrationFlagsAsync()).Error.Errno);
    }

    // ---- What the PF clears up after a reset (VD-XE-3) -------------------------------------------------------------------------------

    [Fact]
    public async Task A_reset_is_done_when_the_PF_has_cleared_up_and_what_is_written_after_it_stays_VD_XE_3()
    {
        var client = await OpenAsync(0);
        Card.CleanUpTime = CleanUp;
        Assert.True((await client.WriteAsync(XeBar.Vram, 0, new byte[] { 1 })).IsOk);
        var reset = client.ResetAsync();
        await UntilItWaitsAsync(reset);
        var write = client.WriteAsync(XeBar.Vram, 0, new byte[] { 7 });
        Timers.Advance(TimeSpan.FromMilliseconds(10));
        await UntilItWaitsAsync(reset);
        Assert.False(reset.IsCompleted || write.IsCompleted);
        time.Advance(CleanUp);
        Timers.Advance(TimeSpan.FromMilliseconds(10));
        Assert.True((await reset).IsOk && (await write).IsOk);
        Assert.Equal(new byte[] { 7 }, (await client.ReadAsync(XeBar.Vram, 0, 1)).Value.ToArray());
        Assert.Equal((Running, XeVfState.Running), ((await client.GetMigrationStateAsync()).Value, Functions[0].PfState));
    }

    [Fact]
    public async Task An_open_waits_for_the_PF_too_VD_XE_3()
    {
        Card.CleanUpTime = CleanUp;
        var opening = OpenAsync(0);
        await UntilItWaitsAsync(opening);
        Assert.False(opening.IsCompleted);
        time.Advance(CleanUp);
        Timers.Advance(TimeSpan.FromMilliseconds(10));
        await EnterAsync(await opening, StopCopy);
    }

    [Fact]
    public async Task A_reset_that_the_holder_did_not_ask_for_waits_for_the_PF_too_VD_XE_3()
    {
        var client = await OpenAsync(0);
        var stream = await EnterAsync(client, StopCopy);
        Card.CleanUpTime = CleanUp;
        // Initiate FLR, in the device control register of the VF's PCI Express capability.
        var control = await FlrRegisterAsync(client);
        Assert.True((await client.WriteAsync(RegionIndex.Config, (ulong)control, new byte[] { 0x10, 0xa8 })).IsOk);
        var state = client.GetMigrationStateAsync();
        await UntilItWaitsAsync(state);
        time.Advance(CleanUp);
        Timers.Advance(TimeSpan.FromMilliseconds(10));
        Assert.Equal((Running, Errno.ENODEV), ((await state).Value, stream.Read(new byte[1]).Error.Errno));
    }

    [Fact]
    public async Task A_PF_that_never_clears_up_is_given_up_after_5_seconds_VD_XE_3()
    {
        var client = await OpenAsync(0);
        Card.CleanUpTime = TimeSpan.FromHours(1);
        var reset = client.ResetAsync();
        for (var looks = 0; looks < 500; looks++)
        {
            Assert.False(reset.IsCompleted);
            await UntilItWaitsAsync(reset);
            Timers.Advance(TimeSpan.FromMilliseconds(10));
        }

        Assert.True((await reset).IsOk);
        Assert.Equal(Errno.EBUSY, (await client.SetMigrationStateAsync(Stop)).Error.Errno);
    }

    private TestScheduler Timers => (TestScheduler)Sys.Scheduler;

    private async Task<DeviceClient> OpenAsync(int function)
    {
        var found = (DeviceFound)await host.Ask(new FindDevice(Functions[function].Address), TestContext.Current.CancellationToken);
        var opened = await DeviceClient.OpenAsync(found.Front, "the test", TestActor);
        Assert.True(opened.IsOk, opened.Error.ToString());
        return opened.Value;
    }

    private static async Task<IMigrationStream> EnterAsync(DeviceClient client, MigrationState target)
    {
        var set = await client.SetMigrationStateAsync(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    /// <summary>Completes when the driver of the first VF waits for a time to pass, for an operation that does not end before.</summary>
    private async Task UntilItWaitsAsync(Task operation)
    {
        while (true)
        {
            Assert.False(operation.IsCompleted, "It did not wait.");
            var inspected = (DeviceInspected)await host.Ask(new InspectDevice(Functions[0].Address), TestContext.Current.CancellationToken);
            if (ValueOf(inspected.State, "waits for") == "a delay of its own")
                return;
        }
    }

    private static string? ValueOf(InspectNode node, string name) =>
        node.Name == name ? node.Value : node.Children.Select(child => ValueOf(child, name)).FirstOrDefault(value => value is not null);

    private static async Task<int> FlrRegisterAsync(DeviceClient client)
    {
        var config = (await client.ReadAsync(RegionIndex.Config, 0, 256)).Value;
        var at = config.Span[ConfigOffset.CapabilitiesPointer];
        while (config.Span[at] != 0x10)
            at = config.Span[at + 1];
        return at + 8;
    }
}
