using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Vfio;
using Fabric.Vfio.Migration.Streams;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>The stream: 24 bytes of header, 36 of each port, and what a target says to anything else (contract §8.4).</summary>
public sealed class MttyStreamTests
{
    private const int HeaderBytes = 24;
    private const int PortBytes = 36;
    private const int StreamBytes = HeaderBytes + (2 * PortBytes);

    /// <summary>A stream of today must be readable for ever: its bytes are written down.</summary>
    [Fact]
    public void Its_bytes_are_those_of_version_1_0()
    {
        using var machine = new SerialMachine().With(0x61, 0x62);
        machine[UartRegister.LineControl, 1] = 0x83;
        machine[UartRegister.Data, 1] = 0x34;
        machine[UartRegister.InterruptEnable, 1] = 0x12;
        machine[UartRegister.Scratch, 1] = 0x77;
        var header = "464D545459535431" + "01000000" + "00000000" + "02000000" + "00000000";
        var port0 = "0000" + "00" + "01" + "00" + "00" + "00" + "00" + "00" + "01" + "02" + "00" + "6162" + new string('0', 28) + "00000000";
        var port1 = "3412" + "00" + "00" + "83" + "00" + "00" + "00" + "77" + "00" + "00" + "00" + new string('0', 32) + "00000000";
        var stream = Convert.ToHexString(machine.Save());
        Assert.Equal((header, port0, port1), (stream[..48], stream[48..112], stream[120..184]));
        Assert.Equal(("C8C68BC6", "829446A8"), (stream[112..120], stream[184..]));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Data_size_is_the_length_of_the_stream_in_any_state_MG_27(int ports)
    {
        using var machine = new SerialMachine(ports: ports).With(1, 2, 3);
        foreach (var state in new[] { Running, RunningP2P, PreCopy, PreCopyP2P, StopCopy, Stop })
        {
            machine.Enter(state);
            Assert.Equal((ulong)(HeaderBytes + (ports * PortBytes)), machine.Machine.GetDataSize().Value);
        }
        Assert.Equal(HeaderBytes + (ports * PortBytes), machine.Save().Length);
    }

    // ---- Saving ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void In_PRE_COPY_the_header_comes_and_nothing_more_for_now_MG_22_MG_25()
    {
        using var machine = new SerialMachine();
        var stream = machine.Enter(PreCopy);
        Assert.Equal(new PrecopyInfo(HeaderBytes, 0), stream.GetPrecopyInfo().Value);
        var header = new byte[StreamBytes];
        Assert.Equal(10, stream.Read(header.AsSpan(0, 10)).Value);
        Assert.Equal(new PrecopyInfo(HeaderBytes - 10, 0), stream.GetPrecopyInfo().Value);
        Assert.Equal(HeaderBytes - 10, stream.Read(header.AsSpan(10)).Value);
        Assert.Equal((Errno.ENOMSG, new PrecopyInfo(0, 0)), (stream.Read(header).Error.Errno, stream.GetPrecopyInfo().Value));
    }

    [Fact]
    public void Pre_copy_and_stop_copy_are_one_stream_that_ends_with_0_MG_21_MG_24()
    {
        using var machine = new SerialMachine().With(1, 2, 3);
        var stream = machine.Enter(PreCopy);
        var early = SerialMachine.ReadAll(stream);
        Assert.Null(machine.Enter(PreCopyP2P));
        Assert.Null(machine.Enter(StopCopy));
        var late = SerialMachine.ReadAll(stream);
        Assert.Equal((HeaderBytes, StreamBytes - HeaderBytes), (early.Length, late.Length));
        Assert.Equal((true, 0), (stream.Read(new byte[1]).IsOk, stream.Read(new byte[1]).Value));
        machine.Enter(Stop);
        Assert.Equal(Convert.ToHexString(machine.Save()), Convert.ToHexString([.. early, .. late]));
    }

    [Fact]
    public void A_start_up_set_never_comes_anew_MG_26()
    {
        using var machine = new SerialMachine();
        Assert.True(machine.Machine.OptIntoPrecopyInfoV2().IsOk);
        var stream = machine.Enter(PreCopy);
        Assert.False(stream.GetPrecopyInfo().Value.Reinit);
        SerialMachine.ReadAll(stream);
        machine.With(1, 2);
        machine.Enter(PreCopyP2P);
        machine.Enter(PreCopy);
        Assert.Equal(new PrecopyInfo(0, 0, Reinit: false), stream.GetPrecopyInfo().Value);
    }

    [Fact]
    public void A_stream_that_is_left_is_dead_MG_21()
    {
        using var machine = new SerialMachine();
        var stream = machine.Enter(PreCopy);
        machine.Enter(Running);
        Assert.Equal((Errno.ENODEV, Errno.ENODEV), (stream.Read(new byte[1]).Error.Errno, stream.GetPrecopyInfo().Error.Errno));
    }

    // ---- Loading ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_header_with_any_bit_flipped_is_refused_by_the_write_that_completes_it_MG_23()
    {
        using var source = new SerialMachine();
        var good = source.Save();
        for (var bit = 0; bit < 8 * HeaderBytes; bit++)
        {
            using var target = new SerialMachine();
            var stream = target.Enter(Resuming);
            var bytes = good.ToArray();
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(stream.Write(bytes.AsSpan(0, HeaderBytes - 1)).IsOk);
            Assert.Equal(Errno.EFAULT, stream.Write(bytes.AsSpan(HeaderBytes - 1)).Error.Errno);
        }
    }

    [Fact]
    public void A_refused_header_stays_refused_MG_23()
    {
        using var source = new SerialMachine().With(1);
        using var target = new SerialMachine();
        var (bytes, stream, before) = (source.Save(), target.Enter(Resuming), target.Ports());
        bytes[0] ^= 1;
        Assert.Equal(Errno.EFAULT, stream.Write(bytes.AsSpan(0, HeaderBytes)).Error.Errno);
        Assert.Equal(Errno.EFAULT, stream.Write(bytes.AsSpan(HeaderBytes)).Error.Errno);
        Assert.Equal((Errno.EFAULT, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
        Assert.Equal(before, target.Ports());
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 1)]
    public void A_card_with_another_number_of_ports_is_refused_by_its_header(int sourcePorts, int targetPorts)
    {
        using var source = new SerialMachine(ports: sourcePorts);
        using var target = new SerialMachine(ports: targetPorts);
        Assert.Equal(Errno.EFAULT, target.Enter(Resuming).Write(source.Save().AsSpan(0, HeaderBytes)).Error.Errno);
    }

    [Fact]
    public void A_stream_that_is_too_long_is_refused_whole_and_stays_refused()
    {
        using var source = new SerialMachine().With(1);
        using var target = new SerialMachine();
        var (bytes, stream) = (source.Save(), target.Enter(Resuming));
        Assert.True(stream.Write(bytes).IsOk);
        Assert.Equal(Errno.ENOMEM, stream.Write(new byte[1]).Error.Errno);
        Assert.Equal((Errno.ENOMEM, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
    }

    [Fact]
    public void A_write_that_is_too_long_is_no_matter_of_its_header()
    {
        using var target = new SerialMachine();
        Assert.Equal(Errno.ENOMEM, target.Enter(Resuming).Write(new byte[StreamBytes + 1]).Error.Errno);
    }

    [Fact]
    public void A_short_stream_is_refused_at_the_end_and_may_be_gone_on_with_MG_23()
    {
        using var source = new SerialMachine().With(1, 2, 3);
        var bytes = source.Save();
        for (var cut = 0; cut < bytes.Length; cut++)
        {
            using var target = new SerialMachine();
            var stream = target.Enter(Resuming);
            Assert.True(stream.Write(bytes.AsSpan(0, cut)).IsOk);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
            Assert.True(stream.Write(bytes.AsSpan(cut)).IsOk);
            target.Enter(Running);
            Assert.Equal([1, 2, 3], target.Received());
        }
    }

    [Fact]
    public void A_port_with_any_bit_flipped_is_refused_at_the_end_and_changes_nothing_MG_23()
    {
        using var source = new SerialMachine().With(1, 2, 3);
        var good = source.Save();
        for (var bit = 8 * HeaderBytes; bit < 8 * StreamBytes; bit++)
        {
            using var target = new SerialMachine().With(9);
            var (stream, before) = (target.Enter(Resuming), target.Ports());
            var bytes = good.ToArray();
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(stream.Write(bytes).IsOk);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
            Assert.Equal(before, target.Ports());
        }
    }

    [Fact]
    public void Two_ports_in_each_others_place_are_refused_MG_24()
    {
        using var source = new SerialMachine().With(1, 2, 3);
        using var target = new SerialMachine();
        var bytes = source.Save();
        byte[] swapped = [.. bytes[..HeaderBytes], .. bytes[(HeaderBytes + PortBytes)..], .. bytes[HeaderBytes..(HeaderBytes + PortBytes)]];
        Assert.True(target.Enter(Resuming).Write(swapped).IsOk);
        Assert.Equal(Errno.EINVAL, target.Machine.Set(Stop).Error.Errno);
    }

    [Fact]
    public void A_state_that_no_port_can_be_in_is_refused_though_its_checksum_is_right()
    {
        using var target = new SerialMachine();
        var (bytes, stream, before) = (SerialMachine.GoodStream.ToArray(), target.Enter(Resuming), target.Ports());
        bytes[HeaderBytes + MttyPortState.Received] = 17;
        var checksum = ImageFormat.Checksum(0, bytes.AsSpan(HeaderBytes, MttyPortState.Bytes));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(HeaderBytes + MttyPortState.Bytes), checksum);
        Assert.True(stream.Write(bytes).IsOk);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Machine.Set(Stop).Error.Errno, target.State));
        Assert.Equal(before, target.Ports());
    }

    [Fact]
    public void After_a_refusal_a_reset_leads_to_a_card_that_works_MG_31_MG_34()
    {
        using var target = new SerialMachine();
        Assert.Equal(Errno.EFAULT, target.Enter(Resuming).Write(new byte[HeaderBytes]).Error.Errno);
        target.Reset();
        Assert.Equal(Running, target.State);
        Assert.Equal([5], target.With(5).Received());
    }
}
