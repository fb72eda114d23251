using CsCheck;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>
/// Whatever the ports hold arrives, in whatever pieces it goes; whatever is done to the stream is noticed. CsCheck prints the seed of a failure.
/// </summary>
public sealed class MttyMoveTests
{
    private enum Harm
    {
        CutShort,
        Flipped,
        Repeated,
        Exchanged,
        Missing,
        Prolonged,
    }

    /// <summary>A register of a port written with a value, or (null) read.</summary>
    private readonly record struct Access(int Port, int Register, byte? Value);

    private static readonly Gen<Access> AnyAccess = Gen.Select(Gen.Int[0, 1], Gen.Int[0, 7], Gen.Byte, Gen.Int[0, 2],
        (port, register, value, kind) => new Access(port, register, kind == 0 ? null : value));

    /// <summary>Registers in any order, and runs of bytes that fill FIFOs.</summary>
    private static readonly Gen<Access[]> AnyUse = Gen.Frequency(
        (4, AnyAccess.Select(access => new[] { access })),
        (1, Gen.Select(
            Gen.Int[0, 1], Gen.Byte.Array[1, 20], (port, bytes) => bytes.Select(sent => new Access(port, UartRegister.Data, sent)).ToArray())),
        (1, Gen.Int[0, 1].Select(port => new Access[]
        {
            new(port, UartRegister.LineControl, 3), new(port, UartRegister.FifoControl, 0xc1), new(port, UartRegister.InterruptEnable, 15),
        })))
        .Array[0, 25].Select(uses => uses.SelectMany(use => use).ToArray());

    private static readonly Gen<int[]> AnyChunks = Gen.Int[1, 40].Array[1, 20];

    [Fact]
    public void Whatever_two_ports_hold_arrives_bit_for_bit_in_any_chunks_and_goes_on_the_same_MG_23_MG_24_TS_20() =>
        Gen.Select(AnyUse, AnyUse, AnyUse, AnyChunks, AnyChunks, Gen.Bool).Sample((before, during, after, reads, writes, preCopy) =>
        {
            using var source = new SerialMachine();
            using var target = new SerialMachine();
            Use(source, before);
            var bytes = new List<byte>();
            if (preCopy)
            {
                var stream = source.Enter(PreCopy);
                Read(stream, reads, bytes);
                Use(source, during);
                source.Enter(PreCopyP2P);
                Use(source, during);
                source.Enter(StopCopy);
                Read(stream, reads, bytes);
            }
            else
                Read(source.Enter(StopCopy), reads, bytes);

            Write(target.Enter(Resuming), [.. bytes], writes);
            target.Enter(Stop);
            Assert.Equal(source.Ports(), target.Ports());

            target.Enter(Running);
            source.Enter(Running);
            var (lineOfSource, lineOfTarget) = (Line(source), Line(target));
            Assert.Equal(lineOfSource.Signals, lineOfTarget.Signals);
            Assert.Equal(Use(source, after), Use(target, after));
            Assert.Equal((lineOfSource.Signals, Convert.ToHexString(source.Ports())), (lineOfTarget.Signals, Convert.ToHexString(target.Ports())));
        }, iter: 2_000);

    [Fact]
    public void What_is_received_after_any_number_of_moves_is_what_was_sent_in_order() =>
        Gen.Select(Gen.Byte.Array[0, 3].Array[1, 40], AnyChunks).Sample((bursts, chunks) =>
        {
            var cards = new List<SerialMachine> { new SerialMachine().With() };
            var (sent, received) = (new List<byte>(), new List<byte>());
            foreach (var burst in bursts)
            {
                // Ten at most, and half of them read: a FIFO of 16 is not overrun.
                foreach (var value in burst)
                {
                    cards[^1][UartRegister.Data] = value;
                    sent.Add(value);
                }
                while (sent.Count - received.Count > 5)
                    received.Add(cards[^1][UartRegister.Data]);
                cards.Add(new SerialMachine());
                Write(cards[^1].Enter(Resuming), cards[^2].Save(), chunks);
                cards[^1].Enter(Running);
            }

            received.AddRange(cards[^1].Received());
            Assert.Equal(sent, received);
            cards.ForEach(card => card.Dispose());
        }, iter: 200);

    /// <summary>TS-12. Harm that leaves the stream as it was is none, and is left out.</summary>
    [Fact]
    public void A_stream_that_came_to_harm_is_refused_and_no_port_has_changed_MG_23_MG_24_TS_12() =>
        Gen.Select(AnyUse, Gen.Enum<Harm>(), Gen.Int[0, 95], Gen.Int[0, 95], Gen.Int[1, 96], Gen.Int[0, 7], AnyChunks).Sample(
        (use, harm, at, other, length, bit, chunks) =>
        {
            using var source = new SerialMachine();
            using var target = new SerialMachine().With(9, 8, 7);
            Use(source, use);
            var good = source.Save();
            length = Math.Min(length, Math.Min(good.Length - at, good.Length - other));
            var bad = Damage(good, harm, at, other, length, bit);
            if (bad.AsSpan().SequenceEqual(good))
                return;

            var stream = target.Enter(Resuming);
            var before = target.Ports();
            var refused = Write(stream, bad, chunks);
            var ended = target.Machine.Set(Stop);
            var expected = harm switch
            {
                Harm.Prolonged => new[] { Errno.ENOMEM },
                Harm.Repeated => [Errno.ENOMEM, Errno.EFAULT],
                Harm.CutShort => [Errno.EINVAL],
                _ => [Errno.EFAULT, Errno.EINVAL],
            };
            Assert.Contains(ended.Error.Errno, expected);
            Assert.True(refused == Errno.None || refused == ended.Error.Errno, $"{refused}, then {ended.Error}");
            Assert.Equal(Resuming, target.State);
            Assert.Equal(before, target.Ports());
            target.Reset();
            Assert.Equal([5], target.With(5).Received());
        }, iter: 3_000);

    [Fact]
    public void Any_bytes_are_refused_without_an_exception_TS_12() =>
        Gen.Select(Gen.Byte.Array[0, 200], AnyChunks, Gen.Bool).Sample((bytes, chunks, withHeader) =>
        {
            using var target = new SerialMachine();
            if (withHeader)
                SerialMachine.GoodStream.AsSpan(0, Math.Min(24, bytes.Length)).CopyTo(bytes);
            Write(target.Enter(Resuming), bytes, chunks);
            Assert.Contains(target.Machine.Set(Running).Error.Errno, new[] { Errno.EFAULT, Errno.ENOMEM, Errno.EINVAL });
            Assert.Equal(Resuming, target.State);
        }, iter: 5_000);

    private static byte[] Damage(byte[] good, Harm harm, int at, int other, int length, int bit)
    {
        var piece = good.AsSpan(at, length);
        switch (harm)
        {
            case Harm.CutShort:
                return good[..at];
            case Harm.Flipped:
                var flipped = good.ToArray();
                flipped[at] ^= (byte)(1 << bit);
                return flipped;
            case Harm.Repeated:
                return [.. good[..at], .. piece, .. good[at..]];
            case Harm.Exchanged:
                var exchanged = good.ToArray();
                good.AsSpan(other, length).CopyTo(exchanged.AsSpan(at));
                piece.CopyTo(exchanged.AsSpan(other));
                return exchanged;
            case Harm.Missing:
                return [.. good[..at], .. good[(at + length)..]];
            default:
                return [.. good, .. piece];
        }
    }

    private static SignalCounter Line(SerialMachine machine)
    {
        var line = new SignalCounter();
        Assert.True(machine.Card.Interrupts.ConnectLine(line, exclusive: false).IsOk);
        return line;
    }

    private static List<byte> Use(SerialMachine machine, Access[] accesses)
    {
        var read = new List<byte>();
        var status = new byte[1];
        foreach (var access in accesses)
        {
            if (access.Value is { } value)
                machine[access.Register, access.Port] = value;
            else
                read.Add(machine[access.Register, access.Port]);
            machine.Card.ReadConfig(ConfigOffset.Status, status);
            read.Add(status[0]);
        }

        return read;
    }

    private static void Read(Vfio.Migration.IMigrationStream stream, int[] chunks, List<byte> into)
    {
        var buffer = new byte[64];
        for (var i = 0; stream.Read(buffer.AsSpan(0, chunks[i % chunks.Length])) is { IsOk: true, Value: > 0 } read; i++)
            into.AddRange(buffer[..read.Value]);
    }

    /// <summary>What the first write that was refused was refused with.</summary>
    private static Errno Write(Vfio.Migration.IMigrationStream stream, byte[] bytes, int[] chunks)
    {
        for (var (at, i) = (0, 0); at < bytes.Length; i++)
        {
            var part = Math.Min(chunks[i % chunks.Length], bytes.Length - at);
            var written = stream.Write(bytes.AsSpan(at, part));
            if (!written.IsOk)
                return written.Error.Errno;
            at += part;
        }

        return Errno.None;
    }
}
