using System.Buffers.Binary;
using CsCheck;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Qat;
using Fabric.Hardware.Specs.Qat;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Qat;

/// <summary>The stream: 4 KiB, the set-up first (VD-QAT-2, VD-QAT-3). CsCheck prints the seed of a failure.</summary>
public sealed class QatStreamTests
{
    private static readonly Gen<(int Bank, byte Key)[]> AnyJobs = Gen.Select(Gen.Int[0, QatBank.Count - 1], Gen.Byte).Array[0, 12];

    private static readonly Gen<int[]> AnyChunks = Gen.OneOf(Gen.Int[1, 70], Gen.Int[1, 2000]).Array[1, 6];

    // ---- Moves -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_VF_arrives_bit_for_bit_with_the_jobs_that_waited_in_any_chunks_MG_23_MG_24_VD_QAT_3() =>
        Gen.Select(AnyJobs, AnyJobs, AnyJobs, AnyChunks, AnyChunks, Gen.Bool).Sample((before, quiesced, after, reads, writes, preCopy) =>
        {
            using var source = new QatRig();
            using var target = new QatRig();
            using var twin = new QatRig();
            Submit(before, source, twin);
            source.Bench.Write32(QatBar.Misc, QatMisc.InterruptMask, 5);
            twin.Bench.Write32(QatBar.Misc, QatMisc.InterruptMask, 5);
            var to = target.Enter(Resuming);
            if (preCopy)
            {
                var from = source.Enter(PreCopy);
                var early = Chunks.Read(from, reads);
                Assert.Equal(QatMigration.SetupBytes, early.Length);
                Assert.True(Chunks.Write(to, early, writes).IsOk);
                source.Enter(PreCopyP2P);
                Submit(quiesced, source, twin);
                source.Enter(StopCopy);
                Assert.True(Chunks.Write(to, Chunks.Read(from, reads), writes).IsOk);
            }
            else
            {
                source.Enter(RunningP2P);
                Submit(quiesced, source, twin);
                Assert.True(Chunks.Write(to, Chunks.Read(source.Enter(StopCopy), reads), writes).IsOk);
            }

            target.TakeMemoryOf(source);
            target.Enter(Stop);
            Assert.Equal(source.Seen(), target.Seen());
            source.Enter(Stop);
            Assert.Equal(Convert.ToHexString(source.Save()), Convert.ToHexString(target.Save()));
            target.Enter(Running);
            Submit(after, target, twin);
            Assert.Equal(twin.Seen(), target.Seen());
            Assert.Equal(twin.Bench.Memory.Bytes, target.Bench.Memory.Bytes);
        }, iter: 200);

    [Fact]
    public void In_PRE_COPY_the_set_up_comes_and_nothing_more_for_now_VD_QAT_2_MG_22_MG_25()
    {
        using var rig = new QatRig();
        var stream = rig.Enter(PreCopy);
        Assert.Equal(new PrecopyInfo(64, 0), stream.GetPrecopyInfo().Value);
        Assert.Equal((64, Errno.ENOMSG), (Chunks.Read(stream).Length, stream.Read(new byte[1]).Error.Errno));
        Assert.Equal(4096UL, rig.Machine.GetDataSize().Value);
    }

    [Fact]
    public void A_PF_that_is_configured_anew_during_pre_copy_does_not_end_it_with_another_set_up_VD_QAT_2()
    {
        using var rig = new QatRig();
        rig.Enter(PreCopy);
        rig.Physical.ServiceLevel++;
        Assert.Equal((Errno.EBUSY, PreCopyP2P), (rig.Go(StopCopy).Error.Errno, rig.State));
        rig.Enter(Running);
        rig.Enter(PreCopy);
        rig.Enter(StopCopy);
    }

    // ---- What a target says as the set-up comes (VD-QAT-2) ---------------------------------------------------------------------------

    [Theory]
    [InlineData(+1, 0, 0, Errno.None)]
    [InlineData(-1, 0, 0, Errno.EINVAL)]
    [InlineData(0, 1, 0, Errno.EINVAL)]
    [InlineData(0, 0, +1, Errno.None)]
    [InlineData(0, 0, -1, Errno.EINVAL)]
    public void A_target_must_be_able_to_do_and_promise_as_much_for_the_same_services_VD_QAT_2(int capabilities, int services, int level, Errno errno)
    {
        using var source = new QatRig();
        using var target = new QatRig();
        target.Physical.Capabilities = capabilities switch { > 0 => 0xff, < 0 => 0x1f, _ => target.Physical.Capabilities };
        target.Physical.Services ^= (uint)services;
        target.Physical.ServiceLevel = (uint)(target.Physical.ServiceLevel + level);
        var setup = Chunks.Read(source.Enter(PreCopy));
        Assert.Equal(errno, target.Enter(Resuming).Write(setup).Error.Errno);
        Assert.Equal(PreCopy, source.State);
    }

    [Fact]
    public void A_VF_of_a_later_generation_takes_one_of_an_earlier_and_not_the_reverse_VD_QAT_2()
    {
        using var earlier = new QatRig();
        using var later = new QatRig(EmulatedModels.QatGen6);
        Assert.True(later.Enter(Resuming).Write(earlier.Save()).IsOk);
        later.Reset();
        earlier.Reset();
        Assert.Equal(Errno.EINVAL, earlier.Enter(Resuming).Write(later.Save()).Error.Errno);
    }

    [Fact]
    public void Another_version_is_refused_by_the_write_that_shows_it_and_stays_refused_VD_QAT_2_TS_12()
    {
        for (var at = 0; at < 8; at++)
        {
            using var target = new QatRig();
            var stream = target.Enter(Resuming);
            var bad = QatRig.GoodStream.ToArray();
            bad[at]++;
            for (var before = 0; before < at; before++)
                Assert.True(stream.Write(bad.AsSpan(before, 1)).IsOk);
            Assert.Equal((at, Errno.EINVAL), (at, stream.Write(bad.AsSpan(at, 1)).Error.Errno));
            Assert.Equal((Errno.EINVAL, Errno.EINVAL), (stream.Write(bad.AsSpan(at + 1)).Error.Errno, target.Go(Stop).Error.Errno));
            AssertUsableAfterReset(target);
        }
    }

    [Fact]
    public void A_bit_flipped_in_the_set_up_is_refused_by_the_write_that_completes_it_VD_QAT_2_TS_12()
    {
        for (var bit = 0; bit < 8 * QatMigration.SetupBytes; bit++)
        {
            using var target = new QatRig();
            var bad = Flipped(bit);
            Assert.Equal((bit, Errno.EINVAL), (bit, Chunks.Write(target.Enter(Resuming), bad.AsSpan(0, QatMigration.SetupBytes), 1).Error.Errno));
        }
    }

    // ---- Streams that are none (TS-12) -----------------------------------------------------------------------------------------------

    [Fact]
    public void A_bit_flipped_anywhere_is_refused_at_the_end_at_the_latest_and_the_VF_has_not_changed_MG_23_TS_12() =>
        Gen.OneOf(Gen.Int[8 * QatMigration.SetupBytes, 8 * 300], Gen.Int[0, (8 * QatMigration.StateBytes) - 1]).Sample(bit =>
        {
            using var target = new QatRig();
            target.Submit(2, 1);
            var before = target.Seen();
            target.Enter(Resuming).Write(Flipped(bit));
            Assert.Equal((Errno.EINVAL, Resuming), (target.Go(Stop).Error.Errno, target.State));
            Assert.Equal(before, target.Seen());
            AssertUsableAfterReset(target);
        }, iter: 300);

    [Fact]
    public void Rings_that_cannot_be_are_refused_although_nothing_is_damaged_TS_12()
    {
        var impossible = new[] { (QatBank.Entries, 3u), (QatBank.Entries, 2048u), (QatBank.RequestTail, 70u), (QatBank.ResponseTail, 1u) };
        foreach (var (register, value) in impossible)
        {
            using var target = new QatRig();
            var rings = new byte[QatBank.Count * QatState.BankPayload];
            BinaryPrimitives.WriteUInt32LittleEndian(rings.AsSpan(QatBank.Entries), QatRig.Entries);
            BinaryPrimitives.WriteUInt32LittleEndian(rings.AsSpan(register), value);
            var bad = new byte[QatMigration.StateBytes];
            QatRig.GoodStream.AsSpan(0, QatMigration.SetupBytes).CopyTo(bad);
            QatBlock.Of((QatState.Rings, rings), (QatState.Misc, new byte[QatState.MiscPayload])).CopyTo(bad, QatMigration.SetupBytes);
            Assert.True(target.Enter(Resuming).Write(bad).IsOk);
            Assert.Equal((register, value, Errno.EINVAL), (register, value, target.Go(Stop).Error.Errno));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(4095)]
    public void A_short_stream_is_refused_at_the_end_and_may_be_gone_on_with_MG_23_TS_12(int cut)
    {
        using var target = new QatRig();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(QatRig.GoodStream.AsSpan(0, cut)).IsOk);
        Assert.Equal((Errno.EINVAL, Resuming), (target.Go(Stop).Error.Errno, target.State));
        Assert.True(stream.Write(QatRig.GoodStream.AsSpan(cut)).IsOk);
        target.Enter(Stop);
        Assert.Equal((1u, 2u), (target.Done(1), target.Read(1, QatBank.RequestTail)));
    }

    [Fact]
    public void A_long_stream_is_ENOMEM_and_stays_refused_VD_QAT_2_TS_12()
    {
        using var target = new QatRig();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(QatRig.GoodStream).IsOk);
        Assert.Equal((Errno.ENOMEM, Errno.ENOMEM), (stream.Write([0]).Error.Errno, target.Go(Stop).Error.Errno));
        AssertUsableAfterReset(target);
    }

    [Fact]
    public void Blocks_in_the_wrong_order_or_twice_are_refused_TS_12()
    {
        var good = QatRig.GoodStream;
        foreach (byte[] bad in new byte[][] { [.. good[64..], .. good[..64]], [.. good[..64], .. good[..64], .. good[64..^64]] })
        {
            using var target = new QatRig();
            target.Enter(Resuming).Write(bad);
            Assert.Equal((Errno.EINVAL, Resuming), (target.Go(Stop).Error.Errno, target.State));
            AssertUsableAfterReset(target);
        }
    }

    private static void AssertUsableAfterReset(QatRig target)
    {
        target.Reset();
        Assert.True(target.Enter(Resuming).Write(QatRig.GoodStream).IsOk);
        target.Enter(Stop);
        target.Reset();
        target.SetUp();
        target.Submit(3, 7);
        Assert.Equal(1u, target.Done(3));
    }

    private static byte[] Flipped(int bit)
    {
        var bad = QatRig.GoodStream.ToArray();
        bad[bit / 8] ^= (byte)(1 << (bit % 8));
        return bad;
    }

    private static void Submit((int Bank, byte Key)[] jobs, params QatRig[] rigs)
    {
        foreach (var rig in rigs)
        {
            foreach (var (bank, key) in jobs)
                rig.Submit(bank, key);
        }
    }
}
