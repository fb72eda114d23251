using CsCheck;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Pds;

/// <summary>The stream: 64 KiB that firmware makes and takes (VD-PDS-2). CsCheck prints the seed of a failure.</summary>
public sealed class PdsStreamTests
{
    private static readonly Gen<int[]> AnyChunks = Gen.Int[1, 20_000].Array[1, 6];

    [Fact]
    public void A_VF_arrives_bit_for_bit_in_any_chunks_and_goes_on_where_it_was_MG_23_MG_24_VD_PDS_2() =>
        Gen.Select(Gen.UInt[0, 9], Gen.UInt[0, 9], Gen.UInt[0, 9], Gen.Int[0, PdsBar.MemoryBytes - 1], Gen.Byte, AnyChunks, AnyChunks).Sample(
            (before, quiesced, after, at, value, reads, writes) =>
            {
                using var source = new PdsRig();
                using var target = new PdsRig();
                source.Give(before);
                Assert.True(source.Bench.Function.WriteRegion(PdsBar.Memory, (ulong)at, [value]).IsOk);
                source.Enter(RunningP2P);
                source.Give(quiesced);
                var stream = Chunks.Read(source.Enter(StopCopy), reads);
                Assert.Equal(PdsAdminQueue.StateBytes, stream.Length);

                source.Bench.Memory.Bytes.CopyTo(target.Bench.Memory.Bytes.AsSpan());
                Assert.True(Chunks.Write(target.Enter(Resuming), stream, writes).IsOk);
                target.Enter(Stop);
                Assert.Equal(Convert.ToHexString(stream), Convert.ToHexString(target.Save()));
                Assert.Equal(source.DeviceMemory, target.DeviceMemory);
                target.Enter(Running);
                target.Give(after);
                Assert.Equal(before + quiesced + after, target.Consumer);
                Assert.True(target.HasRecords(target.Consumer));
            }, iter: 60);

    [Fact]
    public void Data_size_is_64_KiB_whatever_it_holds_VD_PDS_2_MG_27()
    {
        using var rig = new PdsRig();
        Assert.Equal(65536UL, rig.Machine.GetDataSize().Value);
    }

    // ---- Streams that are none (TS-12) -----------------------------------------------------------------------------------------------

    [Fact]
    public void A_bit_that_was_flipped_is_refused_by_firmware_at_the_end_and_the_VF_has_not_changed_MG_23_TS_12() =>
        Gen.OneOf(Gen.Int[0, 511], Gen.Int[0, (8 * PdsAdminQueue.StateBytes) - 1]).Sample(
            bit =>
            {
                var bad = PdsRig.GoodStream.ToArray();
                bad[bit / 8] ^= (byte)(1 << (bit % 8));
                AssertRefusedAtTheEnd(bad);
            }, iter: 150);

    [Fact]
    public void A_stream_in_another_order_is_refused_by_firmware_at_the_end_TS_12()
    {
        var good = PdsRig.GoodStream;
        AssertRefusedAtTheEnd([.. good[32768..], .. good[..32768]]);
        AssertRefusedAtTheEnd([.. good[..4096], .. good[..4096], .. good[8192..]]);
        AssertRefusedAtTheEnd(new byte[PdsAdminQueue.StateBytes]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(65535)]
    public void A_short_stream_is_refused_at_the_end_and_may_be_gone_on_with_MG_23_TS_12(int cut)
    {
        using var target = new PdsRig();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(PdsRig.GoodStream.AsSpan(0, cut)).IsOk);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Go(Stop).Error.Errno, target.State));
        Assert.True(stream.Write(PdsRig.GoodStream.AsSpan(cut)).IsOk);
        target.Enter(Running);
        Assert.Equal(7u, target.Consumer);
    }

    [Fact]
    public void A_long_stream_is_ENOMEM_and_stays_refused_MG_23_TS_12()
    {
        using var target = new PdsRig();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(PdsRig.GoodStream).IsOk);
        Assert.Equal((Errno.ENOMEM, Errno.ENOMEM), (stream.Write([0]).Error.Errno, target.Go(Stop).Error.Errno));
        target.Reset();
        Assert.True(target.Enter(Resuming).Write(PdsRig.GoodStream).IsOk);
        target.Enter(Running);
    }

    [Fact]
    public void Firmware_with_another_size_of_state_is_not_saved_VD_PDS_2()
    {
        using var rig = new PdsRig();
        rig.Enter(Stop);
        rig.Physical.StateSize = 0x8000;
        Assert.Equal((Errno.EIO, Stop), (rig.Go(StopCopy).Error.Errno, rig.State));
    }

    private static void AssertRefusedAtTheEnd(byte[] bad)
    {
        using var target = new PdsRig();
        target.Give(5);
        var memory = target.DeviceMemory;
        Assert.True(target.Enter(Resuming).Write(bad).IsOk);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Go(Stop).Error.Errno, target.State));
        Assert.Equal((5u, Convert.ToHexString(memory)), (target.Consumer, Convert.ToHexString(target.DeviceMemory)));
        target.Reset();
        Assert.True(target.Enter(Resuming).Write(PdsRig.GoodStream).IsOk);
        target.Enter(Running);
        Assert.Equal(7u, target.Consumer);
    }
}
