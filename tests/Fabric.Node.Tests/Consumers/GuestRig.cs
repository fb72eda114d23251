using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Node.Consumers;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Node.Tests.Consumers;

/// <summary>
/// A guest on a whole device: emulated function, core and driver as actors, and a clock that stands until it is told. Engine and guest run
/// inside <see cref="Run"/> and nowhere else, so that memory can be damaged between two of their moves.
/// </summary>
internal sealed class GuestRig : IAsyncDisposable
{
    public const int MemoryBytes = 64 << 10;
    public const int StepsPerSecond = 10_000;
    public const int RingOffset = 4096;
    public const int Slots = (MemoryBytes - RingOffset) / AcceleratorRecord.Bytes;
    public const long StateBytes = AcceleratorState.Granule;

    private const ulong MemoryIova = 0x4000_0000;

    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(1);

    private readonly EmulatedBus bus;
    private readonly ActorSystem system;

    private GuestRig(EmulatedBus bus, ActorSystem system, FakeTimeProvider time, IActorRef host)
    {
        (this.bus, this.system, Time, Host) = (bus, system, time, host);
        Guest = NewGuest();
    }

    public FakeTimeProvider Time { get; }

    public IActorRef Host { get; }

    public GuestMemory Memory { get; private set; } = new(MemoryBytes);

    public AcceleratorGuest Guest { get; private set; }

    public DeviceClient Device { get; private set; } = null!;

    public WorkloadCounters Counters => Guest.Counters;

    private IPciFunction Function => bus.Functions[1];

    /// <summary>An open device whose guest has started its program.</summary>
    public static async Task<GuestRig> StartAsync()
    {
        var rig = Create();
        rig.Device = await rig.OpenAsync(rig.Function.Address);
        Expect(await rig.Device.MapDmaAsync(MemoryIova, rig.Memory));
        Expect(await rig.Guest.StartAsync(rig.Device));
        return rig;
    }

    /// <summary>A host whose devices nobody has opened.</summary>
    /// <param name="virtualFunctions">With none the physical function can be opened: one that another has made VFs of is not taken (LC-3).</param>
    public static GuestRig Create(int virtualFunctions = 1)
    {
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var bus = new EmulatedBus(new EmulatedBusOptions(Accelerators: 1, virtualFunctions, StateBytes), time);
        var system = ActorSystem.Create("guest-rig", "akka.loglevel = WARNING");
        var host = system.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(AcceleratorDriver.Registration), [], _ => StateBytes, time)));
        return new GuestRig(bus, system, time, host);
    }

    public PciAddress PhysicalFunction => bus.Functions[0].Address;

    public async Task<DeviceClient> OpenAsync(PciAddress address)
    {
        var found = await Host.Ask<DeviceFound>(new FindDevice(address), TimeSpan.FromSeconds(30));
        return (await DeviceClient.OpenAsync(found.Front, "test", Host)).Value;
    }

    /// <summary>Lets engine and guest run.</summary>
    public void Run(int milliseconds)
    {
        for (var i = 0; i < milliseconds; i++)
            Time.Advance(Moment);
    }

    /// <summary>
    /// As long as so many steps take. A tick that finds the function busy leaves its time to the next, and no more of it than of one batch: virtual time
    /// may run faster than a real thread lets go.
    /// </summary>
    public void RunToStep(ulong step)
    {
        for (var i = 0; i < 1_000_000 && Head < step; i++)
            Time.Advance(Moment);
        Assert.True(Head >= step, $"The engine stands at step {Head}.");
    }

    /// <summary>Lets the engine run while the guest looks away, does something to memory, and lets the guest look.</summary>
    public void DamageUnseen(int milliseconds, Action<GuestRig> damage)
    {
        Guest.Pause();
        Run(milliseconds);
        damage(this);
        Guest.Resume();
        Run(5);
    }

    public async Task SetStateAsync(MigrationState state) => Assert.Equal(state, (await Device.SetMigrationStateAsync(state)).Value.State);

    /// <summary>Verifies as a host does: guest and device stand.</summary>
    public async Task<VerificationResult> VerifyAsync(Func<GuestRig, Task>? damage = null)
    {
        Guest.Pause();
        await SetStateAsync(MigrationState.Stop);
        if (damage is not null)
            await damage(this);
        return (await Guest.VerifyAsync(Device)).Value;
    }

    /// <summary>Another guest takes over memory and state, as on the target of a migration.</summary>
    public VfioResult Replace(Action<GuestMemory>? change = null)
    {
        Guest.Pause();
        var (saved, memory) = (Guest.SaveState(), Memory.Window(0, MemoryBytes).ToArray());
        Guest.Dispose();
        Memory = new GuestMemory(MemoryBytes);
        Guest = NewGuest();
        memory.CopyTo(Memory.Window(0, MemoryBytes));
        change?.Invoke(Memory);
        return Guest.LoadState(saved);
    }

    // ---- Memory and state, to look at and to damage ----------------------------------------------------------------------------------

    /// <summary>Steps the device has told of.</summary>
    public ulong Head
    {
        get => BinaryPrimitives.ReadUInt64LittleEndian(Memory.Window(0, 8));
        set => BinaryPrimitives.WriteUInt64LittleEndian(Memory.Window(0, 8), value);
    }

    /// <summary>The record of a step, in the slot where it belongs.</summary>
    public ref AcceleratorRecord RecordOf(ulong step) =>
        ref MemoryMarshal.Cast<byte, AcceleratorRecord>(Memory.Window(RingOffset, MemoryBytes - RingOffset))[(int)(step % Slots)];

    public void FlipMemory(ulong offset) => Memory.Window(offset, 1)[0] ^= 0x10;

    public void FlipState(ulong offset)
    {
        Span<byte> cell = stackalloc byte[1];
        Expect(Function.ReadRegion(AcceleratorBar.State, offset, cell));
        cell[0] ^= 0x10;
        Expect(Function.WriteRegion(AcceleratorBar.State, offset, cell));
    }

    public static ulong MemoryOffsetOf(ulong step) => RingOffset + (step % Slots * AcceleratorRecord.Bytes);

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        Guest.Dispose();
        bus.Dispose();
    }

    private AcceleratorGuest NewGuest() => new(Memory, MemoryIova, StepsPerSecond, Time);

    private static void Expect(VfioResult result) => Assert.True(result.IsOk, result.Error.ToString());
}
