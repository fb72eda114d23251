using CsCheck;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>
/// Whatever a device holds arrives, in whatever pieces it goes; whatever is done to the stream is noticed. CsCheck prints the seed of a failure.
/// </summary>
public sealed class VirtioMoveTests
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

    /// <summary>What a guest does: writes a register, makes a request, reads the interrupt register, or lets a second pass.</summary>
    private readonly record struct Step(int Kind, int Offset, int Width, ulong Value);

    private static readonly int[] Registers =
    [
        VirtioCommon.DeviceFeatureSelect, VirtioCommon.DriverFeatureSelect, VirtioCommon.DriverFeature, VirtioCommon.ConfigVector,
        VirtioCommon.Status, VirtioCommon.QueueSelect, VirtioCommon.QueueSize, VirtioCommon.QueueVector, VirtioCommon.QueueEnable,
        VirtioCommon.QueueDescriptors, VirtioCommon.QueueDriver + 4, VirtioCommon.QueueDevice, VirtioBar.Device, VirtioBar.Device + 3,
    ];

    private static readonly Gen<Step[]> AnyUse = Gen.Select(
        Gen.Frequency((3, Gen.Const(0)), (4, Gen.Const(1)), (1, Gen.Const(2)), (1, Gen.Const(3))),
        Gen.Int[0, Registers.Length - 1].Select(register => Registers[register]), Gen.Int[0, 3].Select(power => 1 << power), Gen.ULong[0, 300],
        (kind, offset, width, value) => new Step(kind, offset, width, value)).Array[0, 20];

    private static readonly Gen<string> AnyModel = Gen.Bool.Select(net => net ? EmulatedModels.VirtioNet : EmulatedModels.VirtioBlock);

    private static readonly Gen<int[]> AnyChunks = Gen.Int[1, 200].Array[1, 20];

    [Fact]
    public void Whatever_a_device_holds_arrives_bit_for_bit_in_any_chunks_and_goes_on_the_same_MG_23_MG_24() =>
        Gen.Select(AnyModel, AnyUse, AnyUse, AnyUse, AnyChunks, AnyChunks, Gen.Bool)
            .Sample((model, before, during, after, reads, writes, preCopy) =>
        {
            using var source = new VirtioMachine(model).With(1);
            using var target = new VirtioMachine(model);
            Use(source, before);
            var bytes = new List<byte>();
            if (preCopy)
            {
                var stream = source.Enter(PreCopy);
                Read(stream, reads, bytes);
                foreach (var step in during)
                {
                    Use(source, [step]);
                    Read(stream, reads, bytes);
                }

                source.Enter(PreCopyP2P);
                source.Enter(StopCopy);
                Read(stream, reads, bytes);
            }
            else
                Read(source.Enter(StopCopy), reads, bytes);

            Assert.Equal(Errno.None, Write(target.Enter(Resuming), [.. bytes], writes));
            target.Enter(Stop);
            Assert.Equal(source.Parts(), target.Parts());

            // The guest's memory goes by itself.
            source.Memory.Bytes.CopyTo(target.Memory.Bytes.AsSpan());
            source.Enter(Running);
            target.Enter(Running);
            Use(source, after);
            Use(target, after);
            Assert.Equal(Convert.ToHexString(source.Parts()), Convert.ToHexString(target.Parts()));
            Assert.Equal(source.Memory.Bytes, target.Memory.Bytes);
        }, iter: 500);

    [Fact]
    public void No_request_is_lost_or_served_twice_over_any_number_of_moves() =>
        Gen.Select(Gen.Int[0, 3].Array[1, 20], AnyChunks).Sample((bursts, chunks) =>
        {
            var memory = new GuestMemory();
            var devices = new List<VirtioMachine> { new VirtioMachine(memory: memory).With(0) };
            var sent = 0;
            foreach (var burst in bursts)
            {
                var (source, target) = (devices[^1], new VirtioMachine(memory: memory));
                devices.Add(target);
                var guest = new VirtioGuest(source.Function, memory);
                for (var i = 0; i < burst; i++, sent++)
                    guest.Send();
                // One more that the source is told of when it has stopped already.
                source.Enter(Stop);
                guest.Send();
                sent++;
                Assert.Equal(sent - 1, guest.Done);
                Assert.Equal(Errno.None, Write(target.Enter(Resuming), source.Save(), chunks));
                target.Enter(Running);
                Assert.Equal(sent, guest.Done);
            }

            devices.ForEach(device => device.Dispose());
        }, iter: 100);

    /// <summary>TS-12. Harm that leaves the stream as it was is none, and is left out.</summary>
    [Fact]
    public void A_stream_that_came_to_harm_is_refused_and_a_reset_leads_to_a_device_that_works_MG_23_MG_24_TS_12() =>
        Gen.Select(AnyUse, Gen.Enum<Harm>(), Gen.Int[0, 999], Gen.Int[0, 999], Gen.Int[1, 300], Gen.Int[0, 7], AnyChunks).Sample(
        (use, harm, at, other, length, bit, chunks) =>
        {
            using var source = new VirtioMachine().With(1);
            using var target = new VirtioMachine();
            Use(source, use);
            var good = source.Save();
            (at, other) = (at % good.Length, other % good.Length);
            length = Math.Min(length, Math.Min(good.Length - at, good.Length - other));
            var bad = Damage(good, harm, at, other, length, bit);
            if (bad.AsSpan().SequenceEqual(good))
                return;
            var refused = Write(target.Enter(Resuming), bad, chunks);
            var ended = target.Machine.Set(Stop);
            Assert.Contains(ended.Error.Errno, new[] { Errno.EINVAL, Errno.ENOMEM, Errno.EOPNOTSUPP });
            Assert.True(refused is Errno.None || refused == ended.Error.Errno);
            target.Reset();
            target.With(1);
            Assert.Equal(1, new VirtioGuest(target.Function, target.Memory).Done);
        }, iter: 1_000);

    [Fact]
    public void No_bytes_whatever_pass_for_a_stream_TS_12() =>
        Gen.Select(Gen.Byte.Array[0, 400], Gen.Int[0, 2], AnyChunks).Sample((bytes, like, chunks) =>
        {
            using var target = new VirtioMachine();
            // As far as the header goes, or into the parts, it is a good one.
            VirtioMachine.GoodStream.AsSpan(0, Math.Min(like * 16, bytes.Length)).CopyTo(bytes);
            Write(target.Enter(Resuming), bytes, chunks);
            Assert.Contains(target.Machine.Set(Running).Error.Errno, new[] { Errno.EINVAL, Errno.ENOMEM, Errno.EOPNOTSUPP });
            Assert.Equal(Resuming, target.State);
        }, iter: 2_000);

    private static void Use(VirtioMachine machine, Step[] steps)
    {
        foreach (var step in steps)
        {
            switch (step.Kind)
            {
                case 0:
                    machine.Write(step.Offset, step.Width, step.Value);
                    break;
                case 1:
                    new VirtioGuest(machine.Function, machine.Memory).Send();
                    break;
                case 2:
                    machine.Read(VirtioBar.Interrupt, 1);
                    break;
                default:
                    machine.Time.Advance(TimeSpan.FromSeconds(1));
                    break;
            }
        }
    }

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

    private static void Read(IMigrationStream stream, int[] chunks, List<byte> into)
    {
        var buffer = new byte[200];
        for (var i = 0; stream.Read(buffer.AsSpan(0, chunks[i % chunks.Length])) is { IsOk: true, Value: > 0 } read; i++)
            into.AddRange(buffer[..read.Value]);
    }

    /// <summary>What the first write that was refused was refused with.</summary>
    private static Errno Write(IMigrationStream stream, byte[] bytes, int[] chunks)
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
