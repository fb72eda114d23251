using System.Buffers.Binary;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Accelerator;

/// <summary>How the accelerator is told: its registers behind two mapped BARs. Knows nothing of the uAPI.</summary>
internal sealed class AcceleratorCommands(RegionMapping registers, RegionMapping state, RegionMapping migration)
{
    /// <summary>Log words are taken this many bytes at a time.</summary>
    private const int LogBatch = 512;

    private ulong logIova;
    private ulong logLength;

    public ulong StateBytes
    {
        get
        {
            Span<byte> value = stackalloc byte[8];
            return registers.Read(AcceleratorRegister.StateBytes, value).IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(value) : 0;
        }
    }

    public VfioResult<AcceleratorActivity> ReadActivity()
    {
        Span<byte> value = stackalloc byte[4];
        var read = migration.Read(AcceleratorMigration.Activity, value);
        return read.IsOk ? (AcceleratorActivity)BinaryPrimitives.ReadUInt32LittleEndian(value) : read.Error;
    }

    public VfioResult Execute(AcceleratorCommand command)
    {
        Span<byte> value = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(value, (uint)command);
        return migration.Write(AcceleratorMigration.Command, value);
    }

    /// <summary>Clears what keeps the engine from running after an internal error.</summary>
    public VfioResult ClearInternalError()
    {
        Span<byte> value = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(value, (uint)AcceleratorStatus.InternalError);
        return registers.Write(AcceleratorRegister.Status, value);
    }

    public VfioResult ReadState(ulong offset, Span<byte> destination) => state.Read(offset, destination);

    public VfioResult WriteState(ulong offset, ReadOnlySpan<byte> source) => state.Write(offset, source);

    public VfioResult ReadContext(Span<byte> destination) => migration.Read(AcceleratorMigration.Context, destination);

    public VfioResult WriteContext(ReadOnlySpan<byte> source) => migration.Write(AcceleratorMigration.Context, source);

    /// <summary>Takes the state log into a bitmap of blocks: what is taken is cleared in the device.</summary>
    public VfioResult TakeStateLog(DirtyBitmap blocks) =>
        TakeLog(AcceleratorMigration.StateLog, blocks, 0, StateBytes, AcceleratorState.BlockBytes);

    public VfioResult StartDmaLog(ulong iova, ulong length)
    {
        Span<byte> value = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(value, iova);
        var written = migration.Write(AcceleratorMigration.LogIova, value);
        BinaryPrimitives.WriteUInt64LittleEndian(value, length);
        if (written.IsOk)
            written = migration.Write(AcceleratorMigration.LogLength, value);
        (logIova, logLength) = (iova, length);
        return written.IsOk ? Execute(AcceleratorCommand.StartDmaLog) : written;
    }

    /// <summary>Takes the DMA log: what is taken is cleared in the device (MG-41).</summary>
    public VfioResult<DirtyBitmap> TakeDmaLog()
    {
        var pages = new DirtyBitmap(logIova, logLength, AcceleratorMigration.LogPageSize);
        var taken = TakeLog(AcceleratorMigration.DmaLog, pages, logIova, logLength, AcceleratorMigration.LogPageSize);
        return taken.IsOk ? pages : taken.Error;
    }

    private VfioResult TakeLog(ulong log, DirtyBitmap into, ulong start, ulong length, ulong grain)
    {
        Span<byte> words = stackalloc byte[LogBatch];
        var bits = length / grain;
        for (ulong first = 0; first < bits; first += LogBatch * 8)
        {
            var read = migration.Read(log + (first / 8), words);
            if (!read.IsOk)
                return read;
            for (var word = 0; word < LogBatch; word += 8)
            {
                var value = BinaryPrimitives.ReadUInt64LittleEndian(words[word..]);
                for (; value != 0; value &= value - 1)
                {
                    var bit = first + ((ulong)word * 8) + (ulong)System.Numerics.BitOperations.TrailingZeroCount(value);
                    into.Mark(start + (bit * grain), grain);
                }
            }
        }

        return VfioResult.Ok;
    }
}
