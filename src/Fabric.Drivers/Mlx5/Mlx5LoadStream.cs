using System.Buffers;
using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;

namespace Fabric.Drivers.Mlx5;

/// <summary>
/// The device's half of the writable data fd: a parser that loads each image as soon as it is complete, so that what is not the device's is
/// refused by the write (VD-MLX-2). At the end the kernel's driver leaves it to firmware whether all has come; here it is asked.
/// </summary>
internal sealed class Mlx5LoadStream : IMigrationData
{
    private readonly Parser parser;
    private readonly RecordReader records;
    private volatile bool isLost;

    public Mlx5LoadStream(Mlx5Commands device) =>
        records = new RecordReader(Mlx5StreamFormat.HeaderBytes, parser = new Parser(device));

    /// <summary>
    /// Errors: EOPNOTSUPP for a record that is mandatory and not known, ENOMEM for one that is larger than the device takes (VD-MLX-1),
    /// those of the firmware that is to load it; the first stays. ENODEV when the PF's driver went meanwhile (VD-MLX-5).
    /// </summary>
    public VfioResult Write(ReadOnlySpan<byte> source) => isLost ? Lost : records.Write(source);

    /// <summary>RESUMING to STOP. Errors: EINVAL for a stream that is cut short, which may be gone on with; those of a write.</summary>
    public VfioResult Finish()
    {
        if (isLost)
            return Lost;
        var ended = records.Finish();
        return ended.IsOk && !parser.IsWhole
            ? VfioResult.Fail(Errno.EINVAL, "The migration stream ends before the device's state is whole; write the rest of it.")
            : ended;
    }

    /// <summary>What firmware has loaded is of no use. From any thread.</summary>
    public void Lose() => isLost = true;

    public void Close() => parser.Dispose();

    private static VfioResult Lost => VfioResult.Fail(
        Errno.ENODEV, "The PF's driver or firmware went while the state was loaded; reset the device, and send the stream again.");

    /// <summary>header → prepare image → read image → load image, or → prepare → read header data; again and again.</summary>
    private sealed class Parser(Mlx5Commands device) : IRecordSink, IDisposable
    {
        /// <summary>Room for the command, and the image behind it; what an optional record says lies in the same place.</summary>
        private byte[] image = ArrayPool<byte>.Shared.Rent(Mlx5Command.Bytes + sizeof(ulong));
        private int filled = Mlx5Command.Bytes;
        private ulong size;
        private Mlx5Tag tag;
        private bool isSkipped;
        private bool isBegun;

        public bool IsWhole { get; private set; }

        public VfioResult<ulong> Begin(ReadOnlySpan<byte> header)
        {
            (size, var flags, tag) = Mlx5StreamFormat.ReadHeader(header);
            filled = Mlx5Command.Bytes;
            if (size > (ulong)device.MaxLoadBytes)
                return new VfioError(Errno.ENOMEM, "A record of the migration stream is larger than the device takes; it is damaged, or another's.");
            var isKnown = tag == Mlx5Tag.FirmwareData || (tag == Mlx5Tag.StopCopySize && size == sizeof(ulong));
            if (!isKnown && (flags & Mlx5StreamFormat.OptionalTag) == 0)
            {
                return new VfioError(
                    Errno.EOPNOTSUPP, "The migration stream has a record that this driver must know and does not; use the source's version.");
            }

            isSkipped = !isKnown;
            if (isKnown)
                Prepare((int)size);
            return size;
        }

        public VfioResult Take(ReadOnlySpan<byte> part)
        {
            if (isSkipped)
                return VfioResult.Ok;
            part.CopyTo(image.AsSpan(filled));
            filled += part.Length;
            return VfioResult.Ok;
        }

        public VfioResult End()
        {
            if (isSkipped)
                return VfioResult.Ok;
            if (tag == Mlx5Tag.StopCopySize)
            {
                // A hint, and no promise: room for a chunk of it, as far as the device takes one.
                Prepare((int)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(image.AsSpan(Mlx5Command.Bytes)), (ulong)device.MaxLoadBytes));
                return VfioResult.Ok;
            }

            var loaded = device.Load(image.AsSpan(0, filled), isFirst: !isBegun);
            if (!loaded.IsOk)
                return loaded.Error;
            (isBegun, IsWhole) = (true, loaded.Value);
            return VfioResult.Ok;
        }

        public void Dispose()
        {
            ArrayPool<byte>.Shared.Return(image);
            image = [];
        }

        private void Prepare(int bytes)
        {
            if (image.Length >= Mlx5Command.Bytes + bytes)
                return;
            ArrayPool<byte>.Shared.Return(image);
            image = ArrayPool<byte>.Shared.Rent(Mlx5Command.Bytes + bytes);
        }
    }
}
