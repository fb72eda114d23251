using System.Buffers.Binary;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The device's half of the writable data fd (MG-23): takes the stream in any chunks, checks the header before anything else, and puts state
/// where it belongs as it comes. <see cref="Finish"/> is RESUMING to STOP: its success is the only proof that all of the state was accepted.
/// </summary>
internal sealed class AcceleratorLoadStream(AcceleratorCommands device) : IMigrationData
{
    private readonly byte[] head = new byte[AcceleratorStreamFormat.HeadBytes];
    private readonly byte[] small = new byte[Math.Max(AcceleratorStreamFormat.HeaderBytes, AcceleratorMigration.ContextBytes)];
    private int headFilled;
    private int smallFilled;
    private RecordHead record;
    private ulong nextNumber;
    private int left;
    private ulong offset;
    private bool headerSeen;
    private bool contextSeen;
    private bool endSeen;
    private VfioError broken;

    /// <summary>
    /// Whether the whole of a state was accepted. Errors: EINVAL for one that was cut short, or what a write was refused with; the answer
    /// stays the same from then on.
    /// </summary>
    public VfioResult Finish()
    {
        if (broken.Errno == Errno.None)
        {
            broken = endSeen
                ? device.WriteContext(small.AsSpan(0, AcceleratorMigration.ContextBytes)).Error
                : Refused("The migration stream ended before the device state was complete; reset the device, and send it again from the start.");
        }

        return broken;
    }

    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty && broken.Errno == Errno.None)
            source = source[Take(source)..];
        return broken;
    }

    private int Take(ReadOnlySpan<byte> source)
    {
        if (left == 0)
            return TakeHead(source);
        var part = Math.Min(left, source.Length);
        if (record.Kind == RecordKind.Blocks)
        {
            broken = device.WriteState(offset, source[..part]).Error;
            offset += (ulong)part;
        }
        else
        {
            source[..part].CopyTo(small.AsSpan(smallFilled));
            smallFilled += part;
        }

        left -= part;
        if (left == 0)
            EndRecord();
        return part;
    }

    private int TakeHead(ReadOnlySpan<byte> source)
    {
        if (endSeen)
        {
            broken = Refused("The migration stream goes on after its end.");
            return 0;
        }

        var part = Math.Min(head.Length - headFilled, source.Length);
        source[..part].CopyTo(head.AsSpan(headFilled));
        headFilled += part;
        if (headFilled < head.Length)
            return part;
        headFilled = smallFilled = 0;
        record = AcceleratorStreamFormat.ReadHead(head);
        broken = CheckHead();
        if (broken.Errno != Errno.None)
            return part;
        nextNumber++;
        (left, offset) = (record.Length, record.Offset);
        endSeen = record.Kind == RecordKind.End;
        return part;
    }

    private VfioError CheckHead() => record.Kind switch
    {
        RecordKind.Header when !headerSeen && record is { Length: AcceleratorStreamFormat.HeaderBytes, Number: 0, Offset: 0 } => default,
        _ when !headerSeen => Refused("The migration stream does not start with an accelerator's header; it is another device's."),
        _ when record.Number != nextNumber =>
            Refused("The migration stream has a record missing, repeated or out of its order; send it whole, in order and once."),
        not RecordKind.Blocks when record.Offset != 0 =>
            Refused("The migration stream is damaged: a record that has no place in the state says it has one."),
        RecordKind.Blocks when !contextSeen && record.Length is > 0 and <= AcceleratorStreamFormat.MaxRunBytes &&
                               record.Offset <= device.StateBytes && (ulong)record.Length <= device.StateBytes - record.Offset => default,
        RecordKind.Blocks => Refused("The migration stream holds blocks that this device has no place for."),
        RecordKind.Context when !contextSeen && record.Length == AcceleratorMigration.ContextBytes => default,
        RecordKind.End when contextSeen && record.Length == 0 => default,
        _ => Refused("The migration stream is damaged: a record of a kind or length that cannot stand here."),
    };

    private void EndRecord()
    {
        switch (record.Kind)
        {
            case RecordKind.Header:
                headerSeen = true;
                broken = CheckHeader();
                break;
            case RecordKind.Context:
                contextSeen = true;
                break;
            case RecordKind.Blocks:
            case RecordKind.End:
                break;
        }
    }

    private VfioError CheckHeader()
    {
        if (BinaryPrimitives.ReadUInt64LittleEndian(small) != AcceleratorStreamFormat.Magic)
            return Refused("The migration stream does not start with an accelerator's header; it is another device's.");
        if (BinaryPrimitives.ReadUInt32LittleEndian(small.AsSpan(8)) != AcceleratorStreamFormat.Version)
            return Refused("The migration stream is of another version of the accelerator's driver; run the same version on both hosts.");
        if (BinaryPrimitives.ReadUInt32LittleEndian(small.AsSpan(12)) != AcceleratorState.BlockBytes)
            return Refused("The migration stream is of an accelerator with another size of block; choose a target of the same kind.");
        if (BinaryPrimitives.ReadUInt64LittleEndian(small.AsSpan(16)) != device.StateBytes)
            return Refused("The migration stream is of an accelerator with another size of device state; choose a target of the same size.");
        return default;
    }

    private static VfioError Refused(string sentence) => new(Errno.EINVAL, sentence);
}
