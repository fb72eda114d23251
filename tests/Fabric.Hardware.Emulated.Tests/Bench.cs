using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>One accelerator on a bench: with memory, a clock in the hand, and its registers by name.</summary>
internal sealed class Bench : IDisposable
{
    public const ulong HeadIova = 0x4000_0000;
    public const ulong RingIova = 0x4000_1000;
    public const int PageBytes = 4096;
    public const long StateBytes = AcceleratorState.Granule;

    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(2);

    public Bench(long stateBytes = StateBytes, int memoryPages = 16)
    {
        Memory = new HolderMemory(memoryPages * PageBytes);
        Function = new AcceleratorVirtualFunction(new PciAddress(0xfab0, 1, 0, 1), stateBytes, Time);
        Assert.True(Dma.Map(HeadIova, Memory).IsOk);
        Function.ConnectDma(Dma);
    }

    public FakeTimeProvider Time { get; } = new();

    public HolderMemory Memory { get; }

    public DmaMap Dma { get; } = new();

    public AcceleratorVirtualFunction Function { get; }

    public ulong Slots { get; private set; } = 256;

    public long Cells => Function.StateBytes / AcceleratorState.CellBytes;

    public ulong Steps => Register64(AcceleratorRegister.Steps);

    public AcceleratorStatus Status => (AcceleratorStatus)Register32(AcceleratorRegister.Status);

    public AcceleratorActivity Activity
    {
        get
        {
            var value = new byte[4];
            Assert.True(Function.ReadRegion(AcceleratorBar.Migration, AcceleratorMigration.Activity, value).IsOk);
            return (AcceleratorActivity)BinaryPrimitives.ReadUInt32LittleEndian(value);
        }
    }

    public ulong Head => BinaryPrimitives.ReadUInt64LittleEndian(Memory.Bytes);

    /// <summary>Programs the function and lets its engine go: <paramref name="pace"/> steps a second.</summary>
    public Bench Start(uint pace = 50_000, ulong slots = 256, ulong ringIova = RingIova, ulong headIova = HeadIova)
    {
        Slots = slots;
        SetBusMaster(true);
        Write64(AcceleratorRegister.RingIova, ringIova);
        Write64(AcceleratorRegister.RingSlots, slots);
        Write64(AcceleratorRegister.HeadIova, headIova);
        Write32(AcceleratorRegister.Pace, pace);
        Write32(AcceleratorRegister.Control, AcceleratorRegister.ControlRun);
        return this;
    }

    public void RunTicks(int ticks)
    {
        for (; ticks > 0; ticks--)
            Time.Advance(Tick);
    }

    public void SetBusMaster(bool on) =>
        Function.WriteConfig(ConfigOffset.Command, [on ? (byte)PciCommand.BusMaster : (byte)0, 0]);

    public void Execute(AcceleratorCommand command)
    {
        var value = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(value, (uint)command);
        Assert.True(Function.WriteRegion(AcceleratorBar.Migration, AcceleratorMigration.Command, value).IsOk);
    }

    public void WatchDma(ulong iova, ulong length)
    {
        WriteMigration64(AcceleratorMigration.LogIova, iova);
        WriteMigration64(AcceleratorMigration.LogLength, length);
        Execute(AcceleratorCommand.StartDmaLog);
    }

    public void WriteMigration64(int offset, ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.True(Function.WriteRegion(AcceleratorBar.Migration, (ulong)offset, bytes).IsOk);
    }

    /// <summary>The numbers of the bits that are set; they are cleared in the function.</summary>
    public List<int> TakeLog(int log, int bytes)
    {
        var words = new byte[bytes];
        Assert.True(Function.ReadRegion(AcceleratorBar.Migration, (ulong)log, words).IsOk);
        return [.. Enumerable.Range(0, bytes * 8).Where(bit => (words[bit / 8] >> (bit % 8) & 1) != 0)];
    }

    public List<int> TakeStateLog() => TakeLog(AcceleratorMigration.StateLog, 64);

    public List<int> TakeDmaLog() => TakeLog(AcceleratorMigration.DmaLog, 64);

    public byte[] SaveContext()
    {
        var context = new byte[AcceleratorMigration.ContextBytes];
        Assert.True(Function.ReadRegion(AcceleratorBar.Migration, AcceleratorMigration.Context, context).IsOk);
        return context;
    }

    public void LoadContext(byte[] context) =>
        Assert.True(Function.WriteRegion(AcceleratorBar.Migration, AcceleratorMigration.Context, context).IsOk);

    public byte[] ReadState() => ReadState(0, (int)Function.StateBytes);

    public byte[] ReadState(long offset, int length)
    {
        var bytes = new byte[length];
        Assert.True(Function.ReadRegion(AcceleratorBar.State, (ulong)offset, bytes).IsOk);
        return bytes;
    }

    public ulong[] Counters() => MemoryMarshal.Cast<byte, ulong>(ReadState()).ToArray();

    /// <summary>What every counter must hold after a number of steps.</summary>
    public ulong[] CountersAfter(ulong steps) =>
        [.. Enumerable.Range(0, (int)Cells).Select(cell => AcceleratorState.ValueAfter(steps, cell, Cells))];

    public AcceleratorRecord Record(ulong slot) =>
        MemoryMarshal.Read<AcceleratorRecord>(Memory.Window(RingIova - HeadIova + (slot * AcceleratorRecord.Bytes), AcceleratorRecord.Bytes));

    public AcceleratorRecord RecordOf(ulong step)
    {
        var cell = AcceleratorState.CellOf(step, Cells);
        return AcceleratorRecord.Of(step, cell, AcceleratorState.ValueAfter(step + 1, cell, Cells));
    }

    public ulong Register64(int register)
    {
        var value = new byte[8];
        Assert.True(Function.ReadRegion(AcceleratorBar.Registers, (ulong)register, value).IsOk);
        return BinaryPrimitives.ReadUInt64LittleEndian(value);
    }

    public uint Register32(int register) => (uint)Register64(register);

    public void Write64(int register, ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.True(Function.WriteRegion(AcceleratorBar.Registers, (ulong)register, bytes).IsOk);
    }

    public void Write32(int register, uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Assert.True(Function.WriteRegion(AcceleratorBar.Registers, (ulong)register, bytes).IsOk);
    }

    public void Dispose() => Function.Dispose();
}
