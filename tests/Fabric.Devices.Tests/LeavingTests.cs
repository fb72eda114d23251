using Akka.Actor;
using Fabric.Vfio.Core;

namespace Fabric.Devices.Tests;

/// <summary>A core that leaves the bus, and its supervisor.</summary>
public sealed class LeavingTests : DeviceTest
{
    [Fact]
    public async Task A_removal_that_another_finished_is_noticed_at_the_next_request_SV_23()
    {
        var supervisor = CreateTestProbe();
        var slot = new CoreSlot(100);
        var core = supervisor.ChildActorOf(VfioPciCoreActor.Props(new CoreContext(
            new FakeFunction(), new VfioPciDevices(callersTakeTurns: true), "vfio-pci", DeviceOptions.Default, Threads, Time, slot,
            Sys.ActorOf(IommuGroupActor.Props(7)), ActorRefs.Nobody)), cancellationToken: Cancelled);
        await OpenAsync(core, CreateTestProbe());
        core.Tell(LeaveBus.Instance);
        await UntilAsync<ReleaseRequested>(supervisor, _ => true);

        // As a PF does that leaves and takes its VFs with it.
        slot.Core!.Close();
        Timers.Advance(Unregistration.Interval);

        await UntilAsync<CoreLeft>(supervisor, _ => true);
    }
}
