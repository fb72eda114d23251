using System.Buffers.Binary;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Drivers.Virtio;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>The stream: records of parts and an end, and what a target says to anything else (VD-VIR-3).</summary>
public sealed class VirtioStreamTests
{
    private const int HeaderBytes = 16;
    private const int EndBytes = HeaderBytes + 16;

    private static byte[] Good => VirtioMachine.GoodStream;

    // ---- Saving ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_record_is_size_flags_tag_and_parts_and_the_end_is_an_optional_one_VD_VIR_3()
    {
        using var machine = new VirtioMachine().With(3);
        var parts = machine.Parts();
        var stream = machine.Save();
        Assert.Equal(((ulong)parts.Length + 1, 0ul), (Word(stream, 0), Word(stream, 8)));
        Assert.Equal(parts, stream[HeaderBytes..(HeaderBytes + parts.Length)]);
        var end = stream.Length - EndBytes;
        Assert.Equal((16ul, 0x1_0000_0001ul, (ulong)end), (Word(stream, end), Word(stream, end + 8), Word(stream, end + HeaderBytes)));
    }

    [Fact]
    public void Data_size_is_the_length_of_the_stream_and_leaves_no_object_behind_MG_27()
    {
        using var machine = new VirtioMachine().With(2);
        var size = machine.Machine.GetDataSize().Value;
        Assert.Equal(0, machine.Function.Objects);
        machine.Enter(PreCopy);
        Assert.Equal((size, 1), (machine.Machine.GetDataSize().Value, machine.Function.Objects));
        machine.Enter(Running);
        Assert.Equal((size, 0), (machine.Machine.GetDataSize().Value, machine.Function.Objects));
        Assert.Equal((int)size, machine.Save().Length);
    }

    [Fact]
    public void Pre_copy_is_refreshed_once_a_second_at_most_and_nothing_yet_is_ENOMSG_VD_VIR_3_MG_22()
    {
        using var machine = new VirtioMachine().With(1);
        var stream = machine.Enter(PreCopy);
        var first = SerialMachine.ReadAll(stream).Length;
        machine.With(1);
        Assert.Equal((Errno.ENOMSG, new PrecopyInfo(0, 0)), (ErrnoOfRead(stream), stream.GetPrecopyInfo().Value));
        machine.Time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.Equal(Errno.ENOMSG, ErrnoOfRead(stream));
        machine.Time.Advance(TimeSpan.FromMilliseconds(1));
        machine.Channel.Commands.Clear();
        Assert.Equal(first, SerialMachine.ReadAll(stream).Length);
        Assert.Equal(Errno.ENOMSG, ErrnoOfRead(stream));
        Assert.Equal([VirtioOpcode.GetPartsMetadata, VirtioOpcode.GetParts], machine.Channel.Commands);
    }

    [Fact]
    public void What_has_not_changed_is_not_sent_again()
    {
        using var machine = new VirtioMachine().With(1);
        var stream = machine.Enter(PreCopy);
        SerialMachine.ReadAll(stream);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((Errno.ENOMSG, new PrecopyInfo(0, 0)), (ErrnoOfRead(stream), stream.GetPrecopyInfo().Value));
        machine.Enter(PreCopyP2P);
        machine.Enter(StopCopy);
        // Its mode has.
        Assert.Equal(Good.Length, SerialMachine.ReadAll(stream).Length);
    }

    [Fact]
    public void Precopy_info_counts_the_first_record_as_initial_and_what_a_refresh_finds_as_dirty_MG_25()
    {
        using var machine = new VirtioMachine().With(1);
        var stream = machine.Enter(PreCopy);
        var record = (ulong)(Good.Length - EndBytes);
        Assert.Equal(new PrecopyInfo(record, 0), stream.GetPrecopyInfo().Value);
        Assert.Equal(10, stream.Read(new byte[10]).Value);
        Assert.Equal(new PrecopyInfo(record - 10, 0), stream.GetPrecopyInfo().Value);
        SerialMachine.ReadAll(stream);
        machine.With(1);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(new PrecopyInfo(0, record), stream.GetPrecopyInfo().Value);
    }

    [Fact]
    public void A_stopped_device_is_asked_for_no_more_and_its_stream_ends_with_0_MG_22()
    {
        using var machine = new VirtioMachine().With(1);
        var stream = machine.Enter(StopCopy);
        SerialMachine.ReadAll(stream);
        machine.Time.Advance(TimeSpan.FromSeconds(5));
        machine.Channel.Commands.Clear();
        Assert.Equal((true, 0), (stream.Read(new byte[1]).IsOk, stream.Read(new byte[1]).Value));
        Assert.Empty(machine.Channel.Commands);
    }

    [Fact]
    public void A_PF_without_its_driver_is_ENOTCONN_to_a_reader_who_is_owed_a_refresh()
    {
        using var machine = new VirtioMachine();
        var stream = machine.Enter(PreCopy);
        SerialMachine.ReadAll(stream);
        machine.Physical.DetachDriver();
        Assert.Equal(Errno.ENOMSG, ErrnoOfRead(stream));
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(Errno.ENOTCONN, ErrnoOfRead(stream));
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(Errno.ENOTCONN, stream.GetPrecopyInfo().Error.Errno);
    }

    // ---- Loading ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Parts_go_to_the_device_at_the_write_that_completes_their_record_VD_VIR_3()
    {
        using var source = new VirtioMachine().With(3);
        using var target = new VirtioMachine();
        var stream = target.Enter(Resuming);
        var record = Good.Length - EndBytes;
        target.Channel.Commands.Clear();
        Assert.True(stream.Write(Good.AsSpan(0, record - 1)).IsOk);
        Assert.Empty(target.Channel.Commands);
        Assert.True(stream.Write(Good.AsSpan(record - 1, 1)).IsOk);
        Assert.Equal([VirtioOpcode.SetParts], target.Channel.Commands);
        Assert.Equal(source.Parts(), target.Parts());
    }

    [Theory]
    [InlineData(2, 0, Errno.EOPNOTSUPP)]
    [InlineData(uint.MaxValue, 2, Errno.EOPNOTSUPP)]
    [InlineData(2, 1, Errno.None)]
    public void A_tag_that_is_not_known_is_EOPNOTSUPP_or_where_it_is_optional_skipped_VD_VIR_3(uint tag, uint flags, Errno refused)
    {
        using var target = new VirtioMachine();
        byte[] foreign = [.. Header(5, flags, tag), 1, 2, 3, 4, 5];
        var stream = target.Enter(Resuming);
        Assert.Equal(refused, stream.Write(foreign.AsSpan(0, HeaderBytes)).Error.Errno);
        Assert.Equal(refused, stream.Write(foreign.AsSpan(HeaderBytes)).Error.Errno);
    }

    /// <summary>A newer driver's optional records are in the checksum of its end, whatever they are.</summary>
    [Fact]
    public void A_stream_with_an_optional_record_is_loaded()
    {
        using var target = new VirtioMachine();
        var stream = target.Enter(Resuming);
        var record = Good.Length - EndBytes;
        byte[] optional = [.. Header(3, 1, 77), 1, 2, 3];
        Assert.True(stream.Write(Ended([.. Good[..record], .. optional])).IsOk);
        target.Enter(Running);
    }

    [Theory]
    [InlineData((1ul << 20) + 1)]
    [InlineData(1ul << 32)]
    [InlineData(ulong.MaxValue)]
    public void A_record_that_is_too_large_is_ENOMEM_at_its_header(ulong size)
    {
        using var target = new VirtioMachine();
        var stream = target.Enter(Resuming);
        Assert.Equal(Errno.ENOMEM, stream.Write(Header(size, 0, 0)).Error.Errno);
        Assert.Equal((Errno.ENOMEM, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
    }

    [Theory]
    [InlineData(EmulatedModels.VirtioNet, EmulatedModels.VirtioBlock)]
    [InlineData(EmulatedModels.VirtioBlock, EmulatedModels.VirtioNet)]
    public void Another_devices_parts_are_EINVAL_at_the_write_and_change_nothing(string from, string to)
    {
        using var source = new VirtioMachine(from);
        using var target = new VirtioMachine(to);
        var (before, stream) = (target.Parts(), target.Enter(Resuming));
        Assert.Equal(Errno.EINVAL, stream.Write(source.Save()).Error.Errno);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
        Assert.Equal(before, target.Parts());
    }

    [Fact]
    public void A_short_stream_is_EINVAL_at_the_end_and_may_be_gone_on_with_MG_23()
    {
        for (var cut = 0; cut < Good.Length; cut++)
        {
            using var target = new VirtioMachine();
            var stream = target.Enter(Resuming);
            Assert.True(stream.Write(Good.AsSpan(0, cut)).IsOk);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
            Assert.True(stream.Write(Good.AsSpan(cut)).IsOk);
            target.Enter(Running);
        }
    }

    [Fact]
    public void A_stream_with_any_bit_flipped_is_refused_and_a_reset_leads_to_a_device_that_works_MG_23_MG_31_MG_34()
    {
        for (var bit = 0; bit < 8 * Good.Length; bit++)
        {
            using var target = new VirtioMachine();
            var stream = target.Enter(Resuming);
            var bytes = Good.ToArray();
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            var written = stream.Write(bytes);
            var ended = target.Machine.Set(Stop);
            Assert.Contains(ended.Error.Errno, new[] { Errno.EINVAL, Errno.ENOMEM, Errno.EOPNOTSUPP });
            Assert.True(written.IsOk || written.Error.Errno == ended.Error.Errno);
            target.Reset();
            Assert.Equal(1, DoneBy(target));
        }
    }

    [Fact]
    public void Records_that_are_missing_or_doubled_or_out_of_order_are_refused_at_the_end_record_MG_24_TS_12()
    {
        var (first, second, end) = (Record(1), Record(2), Ended([.. Record(1), .. Record(2)])[^EndBytes..]);
        foreach (byte[] bad in new byte[][]
                 {
                     [.. second, .. first, .. end], [.. first, .. first, .. second, .. end], [.. second, .. end], [.. first, .. end],
                     [.. first, .. second, .. second, .. end],
                 })
        {
            using var target = new VirtioMachine();
            var stream = target.Enter(Resuming);
            Assert.True(stream.Write(bad.AsSpan(0, bad.Length - 1)).IsOk);
            Assert.Equal(Errno.EINVAL, stream.Write(bad.AsSpan(bad.Length - 1)).Error.Errno);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
        }
    }

    [Fact]
    public void What_comes_behind_the_end_is_EINVAL_and_stays_refused()
    {
        using var target = new VirtioMachine();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(Good).IsOk);
        Assert.Equal(Errno.EINVAL, stream.Write(Good).Error.Errno);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
    }

    [Fact]
    public void A_stream_whose_parts_the_device_refuses_is_refused_though_its_end_matches()
    {
        using var target = new VirtioMachine();
        var stream = target.Enter(Resuming);
        var record = Good[..(Good.Length - EndBytes)];
        // A queue of 7 entries.
        BinaryPrimitives.WriteUInt16LittleEndian(record.AsSpan(HeaderBytes + (2 * 24) + (16 + 24) + 16), 7);
        Assert.Equal(Errno.EINVAL, stream.Write(Ended(record)).Error.Errno);
        Assert.Equal(Resuming, target.State);
    }

    private static int DoneBy(VirtioMachine machine)
    {
        machine.Memory.Bytes.AsSpan().Clear();
        var guest = new VirtioGuest(machine.Function, machine.Memory);
        guest.SetUp();
        guest.Send();
        return guest.Done;
    }

    private static byte[] Record(int requests)
    {
        using var machine = new VirtioMachine().With(requests);
        return machine.Save()[..^EndBytes];
    }

    private static byte[] Ended(byte[] records)
    {
        var sum = new VirtioStreamSum();
        sum.Add(records);
        var payload = new byte[16];
        sum.Write(payload);
        return [.. records, .. Header(16, 1, 1), .. payload];
    }

    private static byte[] Header(ulong size, uint flags, uint tag)
    {
        var header = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(header, size);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), flags);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), tag);
        return header;
    }

    private static ulong Word(byte[] bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at));

    private static Errno ErrnoOfRead(IMigrationStream stream) => stream.Read(new byte[1]).Error.Errno;
}
