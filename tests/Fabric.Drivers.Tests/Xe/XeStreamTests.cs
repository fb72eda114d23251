using System.Buffers.Binary;
using CsCheck;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Hardware.Specs.Xe.XePacketType;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Xe;

/// <summary>
/// The packets: what they are, that whatever a VF holds arrives by them, and what a target says to anything else. CsCheck prints the seed of a
/// failure.
/// </summary>
public sealed class XeStreamTests
{
    private static List<byte[]> GoodPackets => PacketsOf(XeMachine.GoodStream);

    private static List<byte[]> PacketsOf(byte[] stream)
    {
        var packets = new List<byte[]>();
        for (var at = 0; at < stream.Length; at += packets[^1].Length)
            packets.Add(stream[at..(at + XePacket.HeaderBytes + (int)BinaryPrimitives.ReadUInt64LittleEndian(stream.AsSpan(at + XePacket.Size)))]);
        return packets;
    }

    private static byte[] Joined(IEnumerable<byte[]> packets) => [.. packets.SelectMany(packet => packet)];

    /// <summary>Writes it, and stops; a target that refuses at one of the two is as good as new after a reset.</summary>
    private static void AssertRefused(byte[] stream, Errno errno)
    {
        using var target = new XeMachine().Used(seed: 2);
        var written = target.Enter(Resuming).Write(stream);
        var stopped = target.Machine.Set(Stop);
        Assert.False(written.IsOk && stopped.IsOk, "It was taken.");
        Assert.Equal(errno, written.IsOk ? stopped.Error.Errno : written.Error.Errno);
        Assert.False(stopped.IsOk);
        Assert.Equal(Resuming, target.State);
        target.Reset();
        target.AssertWorks();
        Assert.True(target.Enter(Resuming).Write(XeMachine.GoodStream).IsOk);
        target.Enter(Running);
        target.AssertWorks();
    }

    [Fact]
    public void Packets_come_in_one_order_with_their_version_VD_XE_1()
    {
        var types = GoodPackets.Select(packet => (XePacketType)packet[XePacket.Type]);
        Assert.Equal([Descriptor, Ggtt, Mmio, Guc, .. Enumerable.Repeat(Vram, 4), Trailer], types);
        Assert.All(GoodPackets, packet => Assert.Equal(XePacket.CurrentVersion, packet[XePacket.Version]));
    }

    [Fact]
    public void The_PF_makes_packets_as_they_are_read_and_the_end_is_0_VD_XE_1_MG_22()
    {
        using var machine = new XeMachine().Used();
        var stream = machine.Enter(StopCopy);
        machine.TakeCalls();
        Assert.Equal(24, stream.Read(new byte[24]).Value);
        Assert.Equal([XeCall.ReadData], machine.TakeCalls());
        Assert.Equal(XeMachine.GoodStream.Length - 24, XeMachine.ReadAll(stream).Length);
        Assert.Equal((0, 0), (stream.Read(new byte[1]).Value, stream.Read(new byte[1]).Value));
    }

    [Theory]
    [InlineData(Running)]
    [InlineData(StopCopy)]
    public void Data_size_is_that_of_the_stream_in_any_state_MG_27(MigrationState at)
    {
        using var machine = new XeMachine().Used();
        machine.Enter(at);
        Assert.Equal((ulong)XeMachine.GoodStream.Length, machine.Machine.GetDataSize().Value);
    }

    [Fact]
    public void Whatever_a_VF_holds_arrives_byte_for_byte_in_any_pieces_and_goes_on_the_same_MG_23_MG_24() => Gen.Select(
        Gen.Int[0, 1000], Gen.Byte, Gen.Byte, Gen.Int[1, 200_000], Gen.Int[1, 200_000].Array[1, 10]).Sample((seed, jobs, waiting, reads, writes) =>
        {
            using var source = new XeMachine().Used(seed);
            using var target = new XeMachine().Used(seed + 1);
            source.Submit(jobs);
            source.Enter(RunningP2P);
            source.Submit(waiting);
            var (bytes, to) = (XeMachine.ReadAll(source.Enter(StopCopy), reads), target.Enter(Resuming));
            for (var (at, piece) = (0, 0); at < bytes.Length; piece++)
            {
                var part = Math.Min(writes[piece % writes.Length], bytes.Length - at);
                Assert.True(to.Write(bytes.AsSpan(at, part)).IsOk);
                at += part;
            }

            target.Enter(Stop);
            Assert.Equal(source.Function.State, target.Function.State);
            source.Enter(Running);
            target.Enter(Running);
            Assert.Equal((ulong)(5 + jobs + waiting), target.Read64(XeRegister.Done));
            Assert.Equal(source.Function.State, target.Function.State);
        }, iter: 100);

    // ---- TS-12 -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_stream_that_is_cut_short_is_EIO_at_the_end_TS_12_MG_23()
    {
        var end = 0;
        foreach (var packet in GoodPackets)
        {
            foreach (var cut in new[] { end, end + 1, end + 23, end + (packet.Length / 2) })
                AssertRefused(XeMachine.GoodStream[..cut], Errno.EIO);
            end += packet.Length;
        }

        AssertRefused(XeMachine.GoodStream[..^1], Errno.EIO);
    }

    [Fact]
    public void A_packet_that_is_left_out_repeated_or_in_anothers_place_is_EINVAL_by_the_write_TS_12_MG_24()
    {
        for (var at = 0; at < GoodPackets.Count; at++)
        {
            var (missing, repeated, exchanged) = (GoodPackets, GoodPackets, GoodPackets);
            missing.RemoveAt(at);
            repeated.Insert(at, repeated[at]);
            // Without the trailer it is cut short.
            AssertRefused(Joined(missing), at == GoodPackets.Count - 1 ? Errno.EIO : Errno.EINVAL);
            AssertRefused(Joined(repeated), Errno.EINVAL);
            if (at == 0)
                continue;
            (exchanged[at], exchanged[at - 1]) = (exchanged[at - 1], exchanged[at]);
            AssertRefused(Joined(exchanged), Errno.EINVAL);
        }
    }

    [Fact]
    public void What_goes_on_after_its_end_is_EINVAL_or_cut_short_TS_12()
    {
        AssertRefused([.. XeMachine.GoodStream, .. XeMachine.GoodStream], Errno.EINVAL);
        AssertRefused([.. XeMachine.GoodStream, 0], Errno.EIO);
    }

    [Fact]
    public void Any_flipped_bit_of_a_header_is_EINVAL_or_cut_short_TS_12()
    {
        var start = 0;
        foreach (var packet in GoodPackets.Take(6))
        {
            for (var bit = 0; bit < 8 * XePacket.HeaderBytes; bit += 3)
            {
                var stream = XeMachine.GoodStream.ToArray();
                stream[start + (bit / 8)] ^= (byte)(1 << (bit % 8));
                using var target = new XeMachine();
                Assert.True(target.Enter(Resuming).Write(stream).Error.Errno is Errno.EINVAL or Errno.ENODEV, $"Bit {bit} of the packet at {start}.");
                Assert.False(target.Machine.Set(Stop).IsOk);
            }

            start += packet.Length;
        }
    }

    [Theory]
    [InlineData(XeDescriptor.DeviceId)]
    [InlineData(XeDescriptor.RevisionId)]
    [InlineData(XeDescriptor.VramBytes)]
    public void The_stream_of_another_device_is_ENODEV_by_its_descriptor_TS_12(ushort key)
    {
        var stream = XeMachine.GoodStream.ToArray();
        var pair = Enumerable.Range(0, 3).Select(pair => XePacket.HeaderBytes + (8 * pair)).Single(at => stream[at] == key);
        stream[pair + XeDescriptor.HeadBytes]++;
        AssertRefused(stream, Errno.ENODEV);
        using var target = new XeMachine();
        Assert.Equal(Errno.ENODEV, target.Enter(Resuming).Write(stream.AsSpan(0, XePacket.HeaderBytes + 24)).Error.Errno);
    }

    [Fact]
    public void Another_version_another_drivers_stream_and_a_packet_that_is_too_large_are_EINVAL_TS_12()
    {
        var (version, large) = (XeMachine.GoodStream.ToArray(), XeMachine.GoodStream.ToArray());
        version[XePacket.Version]++;
        large[XePacket.Size + 6] = 1;
        AssertRefused(version, Errno.EINVAL);
        AssertRefused(large, Errno.EINVAL);
        using var serial = new Mtty.SerialMachine();
        AssertRefused(serial.Save(), Errno.EINVAL);
        AssertRefused(Mlx5.Mlx5Machine.GoodStream, Errno.EINVAL);
    }

    [Fact]
    public void A_key_that_the_descriptor_adds_is_passed_over_VD_XE_1()
    {
        var packets = GoodPackets;
        packets[0] = [.. packets[0], 9, 0, 3, 0, 1, 2, 3];
        packets[0][XePacket.Size] += 7;
        using var target = new XeMachine();
        Assert.True(target.Enter(Resuming).Write(Joined(packets)).IsOk);
        target.Enter(Running);
    }

    [Fact]
    public void What_was_refused_once_stays_refused_MG_24()
    {
        using var target = new XeMachine();
        var stream = target.Enter(Resuming);
        Assert.Equal(Errno.EINVAL, stream.Write(new byte[XePacket.HeaderBytes]).Error.Errno);
        Assert.Equal(Errno.EINVAL, stream.Write(XeMachine.GoodStream).Error.Errno);
    }
}
