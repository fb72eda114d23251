using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance;
using Fabric.Drivers.Mtty;
using Fabric.Hardware.Emulated.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Drivers.Tests.Conformance;

public sealed class MttyConformanceTests : MigratingDriverConformance
{
    protected override DriverRegistration Registration => MttyDriver.Registration;

    protected override int HeaderBytes => ImageFormat.HeaderBytes;

    protected override TestedDevice Create(TimeProvider time) => Card(ports: 2);

    protected override TestedDevice CreateOther(TimeProvider time) => Card(ports: 1);

    protected override async Task WorkAsync(GuestDevice guest, Random random)
    {
        await Uart.WorkAsync(guest, MttyBar.Port0, random);
        await Uart.WorkAsync(guest, MttyBar.Port1, random);
    }

    protected override async Task<byte[]> ReadStateAsync(GuestDevice guest) =>
        [.. await Uart.ReadStateAsync(guest, MttyBar.Port0), .. await Uart.ReadStateAsync(guest, MttyBar.Port1)];

    internal static TestedDevice Card(int ports) => new(MttyFunction.Create(new PciAddress(0xfab0, 9, 0, 0), ports, new MttyPortPool()).Value);
}

/// <summary>What a guest does with a port of a serial card.</summary>
internal static class Uart
{
    /// <summary>Sends bytes, which come back to it, and takes some of them.</summary>
    public static async Task WorkAsync(GuestDevice guest, int port, Random random)
    {
        await WriteAsync(UartRegister.FifoControl, (byte)UartFifoControl.Enable);
        await WriteAsync(UartRegister.InterruptEnable, (byte)random.Next(16));
        await WriteAsync(UartRegister.Scratch, (byte)random.Next(256));
        for (var sent = random.Next(1, 40); sent > 0; sent--)
            await WriteAsync(UartRegister.Data, (byte)random.Next(256));
        Assert.NotEqual(0, await ReadAsync(guest, port, UartRegister.LineStatus) & (byte)UartLineStatus.DataReady);
        for (var taken = random.Next(8); taken > 0; taken--)
            await ReadAsync(guest, port, UartRegister.Data);

        async Task WriteAsync(int register, byte value) => await guest.WriteAsync(port, (ulong)register, new[] { value });
    }

    /// <summary>Every register, and then what was received, which that takes.</summary>
    public static async Task<byte[]> ReadStateAsync(GuestDevice guest, int port)
    {
        var state = new List<byte>();
        for (var register = UartRegister.InterruptEnable; register <= UartRegister.Scratch; register++)
            state.Add(await ReadAsync(guest, port, register));
        while ((await ReadAsync(guest, port, UartRegister.LineStatus) & (byte)UartLineStatus.DataReady) != 0)
            state.Add(await ReadAsync(guest, port, UartRegister.Data));
        return [.. state];
    }

    private static async Task<byte> ReadAsync(GuestDevice guest, int port, int register) => (await guest.ReadAsync(port, (ulong)register, 1))[0];
}
