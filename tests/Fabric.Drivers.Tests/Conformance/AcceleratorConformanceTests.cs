using System.Buffers.Binary;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Drivers.Conformance;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;

namespace Fabric.Drivers.Tests.Conformance;

public sealed class AcceleratorConformanceTests : MigratingDriverConformance
{
    protected override DriverRegistration Registration => AcceleratorDriver.Registration;

    protected override int GuestMemoryBytes => 1 << 16;

    protected override int HeaderBytes => AcceleratorStreamFormat.HeadBytes + AcceleratorStreamFormat.HeaderBytes;

    protected override TestedDevice Create(TimeProvider time) => Card(AcceleratorState.Granule, time);

    protected override TestedDevice CreateOther(TimeProvider time) => Card(AcceleratorState.Granule * 2, time);

    protected override async Task WorkAsync(GuestDevice guest, Random random)
    {
        if ((await ReadAsync(guest, AcceleratorRegister.Control, 4) & AcceleratorRegister.ControlRun) == 0)
        {
            await WriteAsync(guest, AcceleratorRegister.RingIova, GuestDevice.MemoryIova + 4096, 8);
            await WriteAsync(guest, AcceleratorRegister.RingSlots, (ulong)(GuestMemoryBytes - 4096) / AcceleratorRecord.Bytes, 8);
            await WriteAsync(guest, AcceleratorRegister.HeadIova, GuestDevice.MemoryIova, 8);
            await WriteAsync(guest, AcceleratorRegister.Pace, 1000, 4);
            await WriteAsync(guest, AcceleratorRegister.Control, AcceleratorRegister.ControlRun, 4);
        }

        var before = await ReadAsync(guest, AcceleratorRegister.Steps, 8);
        // It makes its steps of each two milliseconds at once.
        var steps = 2 * random.Next(1, 20);
        for (var step = 0; step < steps; step += 2)
            guest.Advance(TimeSpan.FromMilliseconds(2));
        Assert.Equal(before + (ulong)steps, await ReadAsync(guest, AcceleratorRegister.Steps, 8));
    }

    protected override async Task<byte[]> ReadStateAsync(GuestDevice guest)
    {
        var state = new byte[AcceleratorState.Granule];
        Assert.True(guest.Function.ReadRegion(AcceleratorBar.State, 0, state).IsOk);
        return [.. state, .. await guest.ReadAsync(AcceleratorBar.Registers, 0, AcceleratorRegister.StateDigest + 8)];
    }

    private static TestedDevice Card(long stateBytes, TimeProvider time) =>
        new(new AcceleratorVirtualFunction(new PciAddress(0xfab0, 1, 0, 1), stateBytes, time));

    private static async Task<ulong> ReadAsync(GuestDevice guest, int register, int length)
    {
        var value = new byte[8];
        (await guest.ReadAsync(AcceleratorBar.Registers, (ulong)register, length)).CopyTo(value, 0);
        return BinaryPrimitives.ReadUInt64LittleEndian(value);
    }

    private static Task WriteAsync(GuestDevice guest, int register, ulong value, int length)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return guest.WriteAsync(AcceleratorBar.Registers, (ulong)register, bytes.AsMemory(0, length));
    }
}
