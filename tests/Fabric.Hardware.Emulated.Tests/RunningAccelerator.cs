using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>An accelerator of a bus with its engine running into memory: head at 0, ring behind it.</summary>
internal sealed class RunningAccelerator : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(2);

    private readonly FakeTimeProvider time;
    private readonly AcceleratorVirtualFunction function;
    private readonly HolderMemory memory = new(0x4000);

    public RunningAccelerator(FakeTimeProvider time, AcceleratorVirtualFunction function)
    {
        (this.time, this.function) = (time, function);
        var dma = new DmaMap();
        Assert.True(dma.Map(0, memory).IsOk);
        function.ConnectDma(dma);
        function.Command(PciCommand.BusMaster);
        Write(AcceleratorRegister.RingIova, BitConverter.GetBytes(0x1000UL));
        Write(AcceleratorRegister.RingSlots, BitConverter.GetBytes(16UL));
        Write(AcceleratorRegister.Control, BitConverter.GetBytes(AcceleratorRegister.ControlRun));
    }

    /// <summary>Steps that its memory has seen.</summary>
    public ulong Head => BitConverter.ToUInt64(memory.Bytes);

    public void RunTicks(int ticks)
    {
        for (; ticks > 0; ticks--)
            time.Advance(Tick);
    }

    public void Dispose() => function.Dispose();

    private void Write(int register, byte[] value) => Assert.True(function.WriteRegion(AcceleratorBar.Registers, (ulong)register, value).IsOk);
}
