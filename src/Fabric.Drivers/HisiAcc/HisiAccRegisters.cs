using System.Buffers.Binary;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;

namespace Fabric.Drivers.HisiAcc;

/// <summary>
/// Registers and mailbox of the VF's queue manager. The first error stands until it is taken, and nothing is written after it: so that a sequence
/// of accesses reads as one.
/// </summary>
internal sealed class HisiAccRegisters(IRegisters bar)
{
    private VfioResult standing;

    public uint this[int offset]
    {
        get
        {
            var read = bar.Read32((ulong)offset);
            Note(read.Error);
            return read.IsOk ? read.Value : 0;
        }
        set
        {
            Span<byte> bytes = stackalloc byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
            Write(offset, bytes);
        }
    }

    /// <summary>Errors: EIO when the VF does not answer, or its mailbox takes no command; ENODEV after its session.</summary>
    public VfioResult Take()
    {
        var taken = standing;
        standing = VfioResult.Ok;
        return taken;
    }

    public void Ring(int queue)
    {
        Span<byte> doorbell = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(doorbell, (uint)queue | HisiAccDoorbell.Priority);
        Write(HisiAccRegister.Doorbell, doorbell);
    }

    public void Tell(HisiAccMailboxCommand command, ulong address = 0) => Give((uint)command, address);

    public ulong Ask(HisiAccMailboxCommand command)
    {
        Give((uint)command | HisiAccMailbox.Reads, 0);
        return ((ulong)this[HisiAccRegister.Mailbox + 8] << 32) | this[HisiAccRegister.Mailbox + 4];
    }

    private void Give(uint command, ulong address)
    {
        Span<byte> words = stackalloc byte[HisiAccMailbox.Bytes];
        words.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(words, command | HisiAccMailbox.Busy);
        BinaryPrimitives.WriteUInt64LittleEndian(words[4..], address);
        Write(HisiAccRegister.Mailbox, words);
        if ((this[HisiAccRegister.Mailbox] & (HisiAccMailbox.Busy | HisiAccMailbox.Status)) != 0)
            Note(VfioResult.Fail(Errno.EIO, "The accelerator's mailbox did not take a command; reset the device."));
    }

    private void Write(int offset, ReadOnlySpan<byte> source)
    {
        if (standing.IsOk)
            Note(bar.Write((ulong)offset, source));
    }

    private void Note(VfioResult result)
    {
        if (standing.IsOk)
            standing = result;
    }
}
