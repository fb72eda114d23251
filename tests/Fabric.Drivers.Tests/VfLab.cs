using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests;

/// <summary>The first VF of an emulated card with its whole chain, and a holder that has it open, with memory and bus mastering.</summary>
internal sealed class VfLab : IDisposable
{
    private VfLab(FakeTimeProvider time, EmulatedBus bus, IActorRef front, DeviceClient client) =>
        (Time, Bus, Front, Client) = (time, bus, front, client);

    public FakeTimeProvider Time { get; }

    public EmulatedBus Bus { get; }

    public CommandedPhysicalFunction Physical => (CommandedPhysicalFunction)Bus.Functions[0];

    public IPciFunction Function => Bus.Functions[1];

    public IActorRef Front { get; }

    public DeviceClient Client { get; }

    public HolderMemory Memory { get; } = new(VfBench.MemoryBytes);

    public SessionId Session => Client.Session;

    public static async Task<VfLab> OpenAsync(
        ActorSystem system, IActorRef holder, string model, IReadOnlyList<DriverRegistration> drivers,
        Action<CommandedPhysicalFunction>? before = null)
    {
        var time = new FakeTimeProvider();
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(model, VirtualFunctions: 1)] }, time);
        before?.Invoke((CommandedPhysicalFunction)bus.Functions[0]);
        var host = system.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(drivers), [], _ => null, time)));
        var found = await host.Ask<DeviceFound>(new FindDevice(bus.Functions[1].Address), TimeSpan.FromSeconds(10));
        var lab = new VfLab(time, bus, found.Front, (await DeviceClient.OpenAsync(found.Front, "the test", holder)).Value);
        Assert.True((await lab.Client.MapDmaAsync(VfBench.Iova, lab.Memory)).IsOk);
        Assert.True((await lab.Client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[] { (byte)PciCommand.BusMaster, 0 })).IsOk);
        return lab;
    }

    public async Task<IMigrationStream> EnterAsync(MigrationState target)
    {
        var set = await Client.SetMigrationStateAsync(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    public async Task<MigrationState> StateAsync() => (await Client.GetMigrationStateAsync()).Value;

    public async Task<T> AskAsync<T>(DeviceRequest request) => await Front.Ask<T>(request, TimeSpan.FromSeconds(10));

    public async Task<Errno> RefusedAsync(DeviceRequest request) => (await AskAsync<DeviceFailed>(request)).Error.Errno;

    /// <summary>The driver has had its turn with all that was sent before.</summary>
    public async Task TurnAsync() => await Front.Ask<ActorIdentity>(new Identify(null), TimeSpan.FromSeconds(10));

    /// <summary>Both clocks go on, step by step, until what was asked is answered; between two steps the driver has its turn.</summary>
    public async Task<T> UntilAsync<T>(Task<T> asked, TestScheduler scheduler, TimeSpan step)
    {
        for (var steps = 0; !asked.IsCompleted; steps++)
        {
            Assert.True(steps < 20_000, $"No answer after {steps} steps of {step}.");
            await TurnAsync();
            Time.Advance(step);
            scheduler.Advance(step);
        }

        return await asked;
    }

    /// <summary>The driver fails and is restarted; what is asked of the device after this meets the new one.</summary>
    public void FailDriver() => Front.Tell(Kill.Instance);

    public void Dispose() => Bus.Dispose();
}
