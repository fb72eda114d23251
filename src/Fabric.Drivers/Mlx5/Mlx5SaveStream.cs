using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Mlx5;

/// <summary>
/// The device's half of the readable data fd (VD-MLX-3). Firmware saves images by itself, in chunks, while those before are read: an image of
/// all at first; in PRE_COPY one of what changed, whenever PRECOPY_INFO finds that something did; the last when the device has stopped.
/// </summary>
internal sealed class Mlx5SaveStream(Mlx5Commands device, int chunkBytes) : IMigrationData
{
    /// <summary>One in the making while the other is read.</summary>
    private const int Buffers = 2;

    private readonly Mlx5Commands device = device;
    private readonly ChunkedSave chunks = new(Buffers);
    private readonly SaveBuffer hint = new(Mlx5StreamFormat.HeaderBytes + sizeof(ulong));

    /// <summary>Bytes of the start-up set that are still to be read, estimated until firmware has saved it.</summary>
    private long startUpLeft;

    /// <summary>The start-up set, or a part of it, is not read yet.</summary>
    private bool isStartingUp;

    /// <summary>A fresh start-up set goes with the next image.</summary>
    private bool isFreshQueued;

    /// <summary>1 where it has been announced, and PRECOPY_INFO has not told of it.</summary>
    private int freshAnnounced;

    /// <summary>Firmware cannot go on with pre-copy: the last image holds all (PRE_COPY_ERROR, VD-MLX-4).</summary>
    private volatile bool isPreCopyLost;

    public VfioResult Standing => chunks.Standing;

    /// <summary>Firmware has no buffer of this stream.</summary>
    public bool IsIdle => chunks.IsIdle;

    /// <summary>Into PRE_COPY: the hint, and an image of all; changes are tracked from here on. Errors: those of the device.</summary>
    public VfioResult StartTracking()
    {
        var size = device.QuerySize(Mlx5Flags.None);
        if (!size.IsOk)
            return size.Error;
        WriteHint(size.Value.Total);
        startUpLeft = (long)size.Value.Total;
        isStartingUp = true;
        return Begin(Mlx5Flags.Track, size.Value, isLast: false);
    }

    /// <summary>The device has stopped: the last image, of what changed since the one before, or without one of all. Errors: the device's.</summary>
    public VfioResult Finish(bool isIncremental)
    {
        // Room for one of all in any case: what an image before it met is known only when that has been saved.
        var size = device.QuerySize(Mlx5Flags.None);
        return size.IsOk ? Begin(isIncremental ? Mlx5Flags.Incremental : Mlx5Flags.None, size.Value, isLast: true) : size.Error;
    }

    /// <summary>Firmware told of a fresh start-up set (MG-26). From any thread.</summary>
    public void AnnounceFreshStartUpSet() => Interlocked.Exchange(ref freshAnnounced, 1);

    /// <summary>What is not read is lost. From any thread.</summary>
    public void Fail(VfioError error) => chunks.Fail(error);

    /// <summary>No more of it is saved, but for the chunk that is in the making.</summary>
    public void Stop() => chunks.Stop();

    public VfioResult<int> Read(Span<byte> destination)
    {
        var early = chunks.Standing.IsOk ? hint.Read(destination).Value : 0;
        var read = early > 0 ? early : chunks.Read(destination);
        if (read.IsOk && early == 0)
            startUpLeft -= read.Value;
        return read;
    }

    /// <summary>
    /// Errors: the one that stands; those of the device. Where all that was saved has been read and something has changed since, another image
    /// is begun.
    /// </summary>
    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        if (!chunks.Standing.IsOk)
            return chunks.Standing.Error;
        var isFresh = Interlocked.Exchange(ref freshAnnounced, 0) != 0;
        isFreshQueued = (isFreshQueued || isFresh) && !isPreCopyLost;
        var changed = isPreCopyLost ? default(Mlx5Size) : device.QuerySize(Mlx5Flags.Incremental);
        if (!changed.IsOk)
            return changed.Error;

        // In this order: what is not being saved any more does not grow.
        var isSaving = chunks.IsSaving;
        var unread = (long)hint.GetPrecopyInfo().Value.DirtyBytes + chunks.BytesReady;
        if (isStartingUp && !isSaving && unread == 0)
            isStartingUp = false;
        var (initial, dirty) = isStartingUp
            ? (isSaving ? Math.Max(startUpLeft, unread + 1) : unread, (long)changed.Value.Total)
            : (0, unread + (long)changed.Value.Total);
        if (isFreshQueued)
            (initial, dirty) = (Math.Max(1, initial + dirty), 0);
        if (!isSaving && unread == 0 && changed.Value.Chunk > 0)
        {
            if (isFreshQueued)
                (isStartingUp, isFreshQueued, startUpLeft) = (true, false, initial);
            var begun = Begin(Mlx5Flags.Incremental | Mlx5Flags.Track, changed.Value, isLast: false);
            if (!begun.IsOk)
                return begun.Error;
        }

        return new PrecopyInfo((ulong)initial, (ulong)dirty, isFresh);
    }

    public void Close() => chunks.Close();

    /// <summary>State may grow until it is saved: buffers are a tenth larger than firmware asks for (VD-MLX-3).</summary>
    private VfioResult Begin(Mlx5Flags flags, Mlx5Size size, bool isLast) => chunks.Begin(
        new Image(this, flags), (int)Math.Min((ulong)chunkBytes, Mlx5Reply.Bytes + size.Chunk + (size.Chunk / 10UL)), isLast);

    private void WriteHint(ulong total)
    {
        var record = hint.Reserve(Mlx5StreamFormat.HeaderBytes + sizeof(ulong));
        Mlx5StreamFormat.WriteHeader(record, sizeof(ulong), Mlx5StreamFormat.OptionalTag, Mlx5Tag.StopCopySize);
        BinaryPrimitives.WriteUInt64LittleEndian(record[Mlx5StreamFormat.HeaderBytes..], total);
    }

    /// <summary>One image. Each chunk of it is a record of the stream, whose header takes the place of the end of firmware's reply.</summary>
    private sealed class Image(Mlx5SaveStream stream, Mlx5Flags flags) : IChunkRun
    {
        private const int Header = Mlx5Reply.Bytes - Mlx5StreamFormat.HeaderBytes;

        private Mlx5Flags flags = flags;

        public VfioResult Save(Memory<byte> buffer, bool isFirst, Action<VfioResult<SavedChunk>> completed)
        {
            if (isFirst && stream.isPreCopyLost)
                flags &= ~Mlx5Flags.Incremental;
            return stream.device.Save(
                isFirst ? flags : flags | Mlx5Flags.Continue,
                buffer,
                replied => completed(replied.IsOk ? Saved(buffer.Span, replied.Value) : replied.Error));
        }

        private VfioResult<SavedChunk> Saved(Span<byte> reply, int length)
        {
            var status = Mlx5Commands.StatusOf(reply);
            if (!status.IsOk)
            {
                if ((flags & Mlx5Flags.Track) == 0 || (Mlx5Status)reply[Mlx5Reply.Status] != Mlx5Status.BadResourceState)
                    return status.Error;
                stream.isPreCopyLost = true;
                return new SavedChunk(0, 0, IsLast: true);
            }

            var image = BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5Saved.ActualImageSize..]);
            if (length < Mlx5Reply.Bytes || image != length - Mlx5Reply.Bytes)
                return new VfioError(Errno.EIO, "The firmware saved an image of another size than it says; reset the device.");
            var isLast = BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5Saved.NextRequired..]) == 0;
            Mlx5StreamFormat.WriteHeader(reply[Header..], image, 0, Mlx5Tag.FirmwareData);
            return new SavedChunk(Header, Mlx5StreamFormat.HeaderBytes + (int)image, isLast);
        }
    }
}
