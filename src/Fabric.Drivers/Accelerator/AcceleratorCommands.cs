using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Accelerator;

/// <summary>How the accelerator is told: its registers behind two mapped BARs. Knows nothing of the uAPI.</summary>
internal sealed class AcceleratorCommands
{
    /// <summary>Log words are taken this many bytes at a time.</summary>
    private const int LogBatch = 512;

    private readonly RegionMapping registers;
    private readonly RegionMapping state;
    private readonly RegionMapping migration;

    private AcceleratorCommands(RegionMapping registers, RegionMapping state, RegionMapping migration, ulong stateBytes) =>
        (this.registers, this.state, this.migration, StateBytes) = (registers, state, migration, stateBytes);

    /// <summary>Bytes of device state: of the device that was attached, whatever becomes of it.</summary>
    public ulong StateBytes { get; }

    /// <summary>Takes the three BARs of one session. Errors: EIO where what answers is no accelerator, ENODEV when the session has ended.</summary>
    public static VfioResult<AcceleratorCommands> Attach(RegionMapping registers, RegionMapping state, RegionMapping migration)
    {
        Span<byte> value = stackalloc byte[8];
        var read = registers.Read(AcceleratorRegister.StateBytes, value);
        if (!read.IsOk)
            return read.Error;
        var stateBytes = BinaryPrimitives.ReadUInt64LittleEndian(value);
        return stateBytes is 0 or > AcceleratorMigration.MaxStateBytes || stateBytes % AcceleratorState.BlockBytes != 0 || stateBytes > state.Length
            ? new VfioError(Errno.EIO, "The accelerator tells no possible size of its state; reset its link, or take it out of service.")
            : new AcceleratorCommands(registers, state, migration, stateBytes);
    }

    /// <summary>
    /// Whether the device still is where its driver put it. A reset behind the driver's back, as a link's is (ER-10), leaves power-on state
    /// that looks like any other: only this tells. Errors: EIO.
    /// </summary>
    public VfioResult CheckActivity(AcceleratorActivity expected, AcceleratorActivity mask)
    {
        var activity = ReadActivity();
        if (!activity.IsOk)
            return activity.Error;
        return (activity.Value & mask) == expected
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EIO, "The accelerator was reset behind its driver's back, and what it held is lost; reset the device.");
    }

    public VfioResult<AcceleratorActivity> ReadActivity()
    {
        var read = migration.Read32(AcceleratorMigration.Activity);
        return read.IsOk ? (AcceleratorActivity)read.Value : read.Error;
    }

    public VfioResult Execute(AcceleratorCommand command) => migration.Write32(AcceleratorMigration.Command, (uint)command);

    /// <summary>Clears what keeps the engine from running after an internal error.</summary>
    public VfioResult ClearInternalError() => registers.Write32(AcceleratorRegister.Status, (uint)AcceleratorStatus.InternalError);

    public VfioResult ReadState(ulong offset, Span<byte> destination) => state.Read(offset, destination);

    public VfioResult WriteState(ulong offset, ReadOnlySpan<byte> source) => state.Write(offset, source);

    public VfioResult ReadContext(Span<byte> destination) => migration.Read(AcceleratorMigration.Context, destination);

    public VfioResult WriteContext(ReadOnlySpan<byte> source) => migration.Write(AcceleratorMigration.Context, source);

    /// <summary>
    /// Takes the state log into a bitmap of blocks: what is taken is cleared in the device. Errors: EIO, also where the log is off by then.
    /// </summary>
    public VfioResult TakeStateLog(DirtyBitmap blocks)
    {
        var taken = TakeLog(AcceleratorMigration.StateLog, blocks, new IovaRange(0, StateBytes - 1));
        return taken.IsOk ? CheckStateLog() : taken;
    }

    /// <summary>Whether the state log is still on, so that all that was read before is of one life of the device.</summary>
    public VfioResult CheckStateLog() => CheckActivity(AcceleratorActivity.StateLogOn, AcceleratorActivity.StateLogOn);

    public VfioResult StartDmaLog(IovaRange range)
    {
        Span<byte> value = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(value, range.First);
        var written = migration.Write(AcceleratorMigration.LogIova, value);
        BinaryPrimitives.WriteUInt64LittleEndian(value, range.Length);
        if (written.IsOk)
            written = migration.Write(AcceleratorMigration.LogLength, value);
        return written.IsOk ? Execute(AcceleratorCommand.StartDmaLog) : written;
    }

    /// <summary>
    /// Takes the DMA log into a bitmap of all that is watched: what is taken is cleared in the device, in words of 64 pages. Errors: EIO, also
    /// where the log is off by then.
    /// </summary>
    /// <param name="range">Of which pages; lies within the bitmap.</param>
    public VfioResult TakeDmaLog(DirtyBitmap pages, IovaRange range)
    {
        var taken = TakeLog(AcceleratorMigration.DmaLog, pages, range);
        return taken.IsOk ? CheckActivity(AcceleratorActivity.DmaLogOn, AcceleratorActivity.DmaLogOn) : taken;
    }

    private VfioResult TakeLog(ulong log, DirtyBitmap into, IovaRange range)
    {
        const int wordBytes = sizeof(ulong);
        const int wordBits = 8 * wordBytes;
        Span<byte> words = stackalloc byte[LogBatch];
        var end = (((range.Last - into.Iova) / into.PageSize / wordBits) + 1) * wordBytes;
        for (var at = (range.First - into.Iova) / into.PageSize / wordBits * wordBytes; at < end; at += LogBatch)
        {
            var batch = words[..(int)Math.Min(LogBatch, end - at)];
            var read = migration.Read(log + at, batch);
            if (!read.IsOk)
                return read;
            for (var word = 0; word < batch.Length; word += wordBytes)
            {
                for (var bits = BinaryPrimitives.ReadUInt64LittleEndian(batch[word..]); bits != 0; bits &= bits - 1)
                {
                    var page = ((at + (ulong)word) * 8) + (ulong)BitOperations.TrailingZeroCount(bits);
                    into.Mark(into.Iova + (page * into.PageSize), into.PageSize);
                }
            }
        }

        return VfioResult.Ok;
    }
}
