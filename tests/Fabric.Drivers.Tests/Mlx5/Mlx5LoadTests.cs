using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The stream that is written: when firmware is given what, and what a target says to anything that is not its state.</summary>
public sealed class Mlx5LoadTests
{
    private const int HeaderBytes = 16;

    private static byte[] Record(ulong size, uint flags, uint tag, params byte[] payload)
    {
        var record = new byte[HeaderBytes + payload.Length];
        BinaryPrimitives.WriteUInt64LittleEndian(record, size);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), flags);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12), tag);
        payload.CopyTo(record, HeaderBytes);
        return record;
    }

    private static byte[] Record(Mlx5SaveTests.StreamRecord record) => Record(record.Size, record.Flags, record.Tag, record.Payload);

    private static List<byte[]> GoodRecords => [.. Mlx5SaveTests.RecordsOf(Mlx5Machine.GoodStream).Select(Record)];

    private static byte[] Joined(IEnumerable<byte[]> records) => [.. records.SelectMany(record => record)];

    /// <summary>
    /// Writes it, and stops; a target that refuses with these errors at one of the two is as good as new after a reset.
    /// </summary>
    private static void AssertRefused(byte[] stream, params Errno[] errnos)
    {
        using var target = new Mlx5Machine().Used(seed: 2);
        var written = target.Enter(Resuming).Write(stream);
        var stopped = target.Set(Stop);
        Assert.False(written.IsOk && stopped.IsOk, "It was taken.");
        Assert.Contains(written.IsOk ? stopped.Error.Errno : written.Error.Errno, errnos);
        if (!written.IsOk)
            Assert.Equal(written.Error.Errno, stopped.Error.Errno);
        Assert.Equal(Resuming, target.State);
        target.Reset();
        target.AssertWorks();
        target.Enter(Stop);
        Assert.True(target.Enter(Resuming).Write(Mlx5Machine.GoodStream).IsOk);
        target.Enter(Running);
        target.AssertWorks();
    }

    // ---- The parser ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void An_image_is_loaded_by_the_write_that_completes_it_VD_MLX_2()
    {
        using var target = new Mlx5Machine();
        var stream = target.Enter(Resuming);
        target.TakeOpcodes();
        foreach (var record in GoodRecords)
        {
            Assert.True(stream.Write(record.AsSpan(0, record.Length - 1)).IsOk);
            Assert.Empty(target.TakeOpcodes());
            Assert.True(stream.Write(record.AsSpan(record.Length - 1)).IsOk);
            Assert.Equal([Mlx5Opcode.LoadVhcaState], target.TakeOpcodes());
        }

        target.Enter(Stop);
        Assert.Empty(target.TakeOpcodes());
    }

    [Fact]
    public void A_record_that_is_not_known_is_EOPNOTSUPP_where_it_is_mandatory_VD_MLX_1() =>
        AssertRefused([.. Record(8, 0, 7, new byte[8]), .. Mlx5Machine.GoodStream], Errno.EOPNOTSUPP);

    [Theory]
    [InlineData(7u, 100)]
    [InlineData(7u, 0)]
    [InlineData(1u, 8)]
    [InlineData(1u, 12)]
    public void A_record_that_is_not_known_is_skipped_where_it_is_optional_VD_MLX_1(uint tag, int bytes)
    {
        using var target = new Mlx5Machine();
        var stream = target.Enter(Resuming);
        var unknown = Record((ulong)bytes, 1, tag, new byte[bytes]);
        foreach (var record in GoodRecords)
            Assert.True(stream.Write([.. unknown, .. record, .. unknown]).IsOk);
        target.Enter(Running);
        target.AssertWorks();
    }

    [Theory]
    [InlineData((16ul << 20) + 1, 0u)]
    [InlineData(ulong.MaxValue, 0u)]
    [InlineData((16ul << 20) + 1, 7u)]
    public void A_record_larger_than_the_device_takes_is_ENOMEM_by_its_header_VD_MLX_1(ulong size, uint tag) =>
        AssertRefused(Record(size, tag == 0 ? 0u : 1u, tag), Errno.ENOMEM);

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(0ul)]
    public void A_hint_is_no_promise_VD_MLX_1(ulong size)
    {
        using var target = new Mlx5Machine();
        var stream = target.Enter(Resuming);
        var hint = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(hint, size);
        Assert.True(stream.Write([.. Record(8, 1, 1, hint), .. Mlx5Machine.GoodStream]).IsOk);
        target.Enter(Running);
        target.AssertWorks();
    }

    // ---- TS-12 -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_stream_that_is_cut_short_is_EINVAL_at_the_end_and_may_be_gone_on_with_TS_12_MG_23()
    {
        var good = Mlx5Machine.GoodStream;
        var ends = GoodRecords.Select(record => record.Length).Aggregate(new List<int> { 0 }, (ends, length) => [.. ends, ends[^1] + length]);
        foreach (var cut in ends.SkipLast(1).SelectMany(end => new[] { end, end + 1, end + HeaderBytes, end + HeaderBytes + 100 }))
        {
            using var target = new Mlx5Machine();
            var stream = target.Enter(Resuming);
            Assert.True(stream.Write(good.AsSpan(0, cut)).IsOk);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Set(Stop).Error.Errno, target.State));
            Assert.True(stream.Write(good.AsSpan(cut)).IsOk);
            target.Enter(Running);
            target.AssertWorks();
        }
    }

    [Fact]
    public void A_record_that_is_left_out_repeated_or_in_anothers_place_is_EINVAL_TS_12_MG_24()
    {
        for (var at = 0; at < GoodRecords.Count; at++)
        {
            var (missing, repeated) = (GoodRecords, GoodRecords);
            missing.RemoveAt(at);
            repeated.Insert(at, repeated[at]);
            AssertRefused(Joined(missing), Errno.EINVAL);
            AssertRefused(Joined(repeated), Errno.EINVAL);
            if (at == 0)
                continue;
            var exchanged = GoodRecords;
            (exchanged[at], exchanged[at - 1]) = (exchanged[at - 1], exchanged[at]);
            AssertRefused(Joined(exchanged), Errno.EINVAL);
        }
    }

    [Fact]
    public void What_goes_on_after_its_end_is_EINVAL_TS_12()
    {
        AssertRefused([.. Mlx5Machine.GoodStream, .. Mlx5Machine.GoodStream], Errno.EINVAL);
        AssertRefused([.. Mlx5Machine.GoodStream, 0], Errno.EINVAL);
        AssertRefused([.. Mlx5Machine.GoodStream, .. Record(0, 0, 0)], Errno.EINVAL);
    }

    [Fact]
    public void Any_flipped_bit_is_refused_TS_12()
    {
        // Flags say whether a reader who does not know the tag may skip the record: of a tag that is known they say nothing.
        var starts = GoodRecords.Select(record => record.Length).Aggregate(new List<int> { 0 }, (ends, length) => [.. ends, ends[^1] + length]);
        var flags = starts.SelectMany(start => Enumerable.Range(start + 8, 4)).ToHashSet();
        var random = new Random(12);
        for (var flip = 0; flip < 300; flip++)
        {
            // Headers and heads at first, then anywhere.
            var at = flip < 48 ? flip : random.Next(Mlx5Machine.GoodStream.Length);
            if (flags.Contains(at))
                continue;
            var stream = Mlx5Machine.GoodStream.ToArray();
            stream[at] ^= (byte)(1 << random.Next(8));
            AssertRefused(stream, Errno.EINVAL, Errno.ENOMEM, Errno.EOPNOTSUPP);
        }
    }

    /// <summary>An image's version stands behind its magic.</summary>
    [Fact]
    public void Firmware_of_another_version_is_EINVAL_by_the_write_TS_12()
    {
        var stream = Mlx5Machine.GoodStream.ToArray();
        stream[HeaderBytes + 4]++;
        using var target = new Mlx5Machine();
        Assert.Equal(Errno.EINVAL, target.Enter(Resuming).Write(stream).Error.Errno);
        AssertRefused(stream, Errno.EINVAL);
    }

    [Fact]
    public void The_stream_of_another_device_is_refused_by_the_write_TS_12()
    {
        using var serial = new Mtty.SerialMachine();
        AssertRefused(serial.Save(), Errno.ENOMEM, Errno.EOPNOTSUPP, Errno.EINVAL);
        var larger = new Hardware.Emulated.Mlx5.Mlx5Vhca(2 * Mlx5Machine.MemoryBytes);
        var reply = new byte[Mlx5Reply.Bytes + (1 << 20)];
        foreach (var half in new[] { Mlx5Half.Initiator, Mlx5Half.Responder })
            Execute(larger, Mlx5Opcode.SuspendVhca, half, 0, reply);
        Execute(larger, Mlx5Opcode.SaveVhcaState, default, 1 << 20, reply);
        var image = reply[Mlx5Reply.Bytes..][..(int)BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(Mlx5Saved.ActualImageSize))];
        AssertRefused(Record((ulong)image.Length, 0, 0, image), Errno.EINVAL);
    }

    private static void Execute(Hardware.Emulated.Mlx5.Mlx5Vhca vhca, Mlx5Opcode opcode, Mlx5Half half, int size, byte[] reply)
    {
        var command = new byte[Mlx5Command.Bytes];
        BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(Mlx5Command.Opcode), (ushort)opcode);
        BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(Mlx5Command.Modifier), (ushort)half);
        BinaryPrimitives.WriteInt32BigEndian(command.AsSpan(Mlx5Command.Size), size);
        Assert.True(vhca.Execute(command, reply).IsOk && reply[Mlx5Reply.Status] == 0);
    }

    // ---- The PF and firmware ---------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_stream_whose_PF_detaches_is_disabled_also_when_it_is_back_VD_MLX_5()
    {
        using var target = new Mlx5Machine();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(Mlx5Machine.GoodStream.AsSpan(0, 100)).IsOk);
        target.Card.DetachDriver();
        target.Card.AttachDriver();
        Assert.Equal(Errno.ENODEV, stream.Write(Mlx5Machine.GoodStream.AsSpan(100)).Error.Errno);
        Assert.Equal((Errno.ENODEV, Resuming), (target.Set(Stop).Error.Errno, target.State));
        target.Reset();
        target.AssertWorks();
    }

    [Fact]
    public void A_load_that_fails_is_the_writers_and_stays_MG_23_MG_24()
    {
        using var target = new Mlx5Machine();
        var stream = target.Enter(Resuming);
        target.Channel.Before = () => VfioResult.Fail(Errno.EIO, "It failed.");
        Assert.Equal(Errno.EIO, stream.Write(Mlx5Machine.GoodStream).Error.Errno);
        target.Channel.Before = () => VfioResult.Ok;
        Assert.Equal(Errno.EIO, stream.Write(Mlx5Machine.GoodStream).Error.Errno);
        Assert.Equal(Errno.EIO, target.Set(Stop).Error.Errno);
    }

    [Fact]
    public void What_was_stopped_after_a_load_may_load_again()
    {
        using var target = new Mlx5Machine();
        Assert.True(target.Enter(Resuming).Write(Mlx5Machine.GoodStream).IsOk);
        target.Enter(Stop);
        Assert.True(target.Enter(Resuming).Write(Mlx5Machine.GoodStream).IsOk);
        target.Enter(Running);
        target.AssertWorks();
    }
}
