using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The device's half of the readable data fd: the header, every block once, then blocks that changed, and after the device stopped the rest,
/// the context and the end. The reader's thread takes from the device itself, by the mapping.
/// </summary>
internal sealed class AcceleratorSaveStream(AcceleratorCommands device) : IMigrationData
{
    private readonly DirtyBitmap blocks = new(0, device.StateBytes, AcceleratorState.BlockBytes);

    /// <summary>The start-up set: blocks that have not gone out once (MG-25).</summary>
    private readonly DirtyBitmap unsent = Full(device.StateBytes);
    private Phase phase = Phase.Header;
    private bool stopped;
    private ulong records;

    // The record under way: its head and small payload here, or a run of state read as it goes out.
    private readonly byte[] staged = new byte[AcceleratorStreamFormat.HeadBytes + AcceleratorMigration.ContextBytes];
    private int stagedFrom;
    private int stagedTo;
    private ulong runAt;
    private ulong runLeft;

    // Runs are taken from here on, around and around: a block that changes all the time does not keep the others from going out.
    private ulong cursor;

    private enum Phase
    {
        Header,
        Blocks,
        Context,
        End,
        Done,
    }

    /// <summary>The device has stopped: what is left now is all.</summary>
    public void Stop() => stopped = true;

    public VfioResult<int> Read(Span<byte> destination)
    {
        var read = 0;
        while (read < destination.Length)
        {
            var rest = destination[read..];
            if (stagedFrom < stagedTo)
            {
                var part = Math.Min(rest.Length, stagedTo - stagedFrom);
                staged.AsSpan(stagedFrom, part).CopyTo(rest);
                stagedFrom += part;
                read += part;
            }
            else if (runLeft > 0)
            {
                var part = (int)Math.Min((ulong)rest.Length, runLeft);
                var taken = device.ReadState(runAt, rest[..part]);
                if (!taken.IsOk)
                    return taken.Error;
                Advance((ulong)part);
                read += part;
            }
            else if (StageNext() is { Errno: not Errno.None } failed)
            {
                return failed;
            }
            else if (stagedFrom == stagedTo)
            {
                break;
            }
        }

        return read;
    }

    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        var taken = device.TakeStateLog(blocks);
        if (!taken.IsOk)
            return taken.Error;
        var left = (blocks.DirtyPages * AcceleratorState.BlockBytes) + (long)runLeft;
        var initial = unsent.DirtyPages * AcceleratorState.BlockBytes;
        return new PrecopyInfo((ulong)initial, (ulong)Math.Max(0, left - initial));
    }

    private VfioError StageNext()
    {
        switch (phase)
        {
            case Phase.Header:
                AcceleratorStreamFormat.WriteHeader(staged.AsSpan(AcceleratorStreamFormat.HeadBytes), device.StateBytes);
                Stage(RecordKind.Header, AcceleratorStreamFormat.HeaderBytes);
                phase = Phase.Blocks;
                break;
            case Phase.Blocks when StageRun(out var failed):
                return failed;
            case Phase.Blocks when stopped:
                phase = Phase.Context;
                return StageNext();
            case Phase.Blocks:
                break;
            case Phase.Context:
                var context = staged.AsSpan(AcceleratorStreamFormat.HeadBytes, AcceleratorMigration.ContextBytes);
                var read = device.ReadContext(context);
                // Asked when everything has been read: a reset at any time before would have turned it off.
                if (read.IsOk)
                    read = device.CheckStateLog();
                if (!read.IsOk)
                    return read.Error;
                Stage(RecordKind.Context, AcceleratorMigration.ContextBytes);
                phase = Phase.End;
                break;
            case Phase.End:
                Stage(RecordKind.End, 0);
                phase = Phase.Done;
                break;
            case Phase.Done:
                break;
        }

        return default;
    }

    /// <summary>Stages the next run of changed blocks. False when there is none.</summary>
    private bool StageRun(out VfioError failed)
    {
        failed = default;
        if (blocks.DirtyPages == 0)
        {
            failed = device.TakeStateLog(blocks).Error;
            if (failed.Errno != Errno.None)
                return true;
        }

        if ((blocks.NextRun(cursor) ?? blocks.NextRun(0)) is not { } run)
            return false;
        (runAt, runLeft) = (run.Iova, Math.Min(run.Length, AcceleratorStreamFormat.MaxRunBytes));
        cursor = runAt + runLeft;
        blocks.Clear(runAt, runLeft);
        Stage(RecordKind.Blocks, (int)runLeft, runAt);
        return true;
    }

    /// <summary>Bytes of the run went out. A block counts as sent with its last byte.</summary>
    private void Advance(ulong part)
    {
        var block = runAt - (runAt % AcceleratorState.BlockBytes);
        runAt += part;
        runLeft -= part;
        unsent.Clear(block, runAt - block);
    }

    /// <summary>Puts a record's head before its payload, which is staged already; blocks come from the device itself.</summary>
    private void Stage(RecordKind kind, int length, ulong offset = 0)
    {
        AcceleratorStreamFormat.WriteHead(staged, new RecordHead(kind, length, offset, records++));
        (stagedFrom, stagedTo) = (0, AcceleratorStreamFormat.HeadBytes + (kind == RecordKind.Blocks ? 0 : length));
    }

    private static DirtyBitmap Full(ulong stateBytes)
    {
        var all = new DirtyBitmap(0, stateBytes, AcceleratorState.BlockBytes);
        all.Mark(0, stateBytes);
        return all;
    }
}
