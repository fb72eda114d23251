using System.Buffers.Binary;
using CsCheck;
using Fabric.Drivers.HisiAcc;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.HisiAcc;

/// <summary>The stream: 40 bytes of match data, 136 of state (VD-HIS-1, VD-HIS-3). CsCheck prints the seed of a failure.</summary>
public sealed class HisiAccStreamTests
{
    private const int Magic = 0;
    private const int Queues = 8;
    private const int DeviceId = 12;
    private const int Isolation = 16;
    private const int Major = 28;

    private static readonly Gen<(int Queue, int Tasks)[]> AnyWork =
        Gen.Select(Gen.Int[0, HisiAccRig.Queues - 1], Gen.Int[0, 9]).Array[0, 6];

    private static readonly Gen<int[]> AnyChunks = Gen.Int[1, 50].Array[1, 8];

    [Fact]
    public void Its_bytes_are_those_of_version_1_0_VD_HIS_1()
    {
        var stream = Convert.ToHexString(HisiAccRig.GoodStream);
        var match = "DEDECADEEDFECCAA" + "08000000" + "56A20000" + "01000000" + "08000000" + "00000000" + "0100" + "0000" + new string('0', 16);
        Assert.Equal(match, stream[..80]);
        Assert.Equal("0C000000" + "24000000" + "60000000" + "6C000000" + "84000000" + "9C000000", stream[80..128]);
        Assert.Equal("00000000" + "00020100" + "00000000" + new string('0', 24) + "03000000", stream[128..184]);
        Assert.Equal("0002010000000000" + "0008010000000000" + "0000010000000000" + "0001010000000000", stream[288..]);
    }

    // ---- Moves -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_VF_arrives_bit_for_bit_in_any_chunks_and_its_queues_go_on_where_they_were_MG_23_MG_24_VD_HIS_1() =>
        Gen.Select(Gen.UInt[0, 9], AnyWork, AnyWork, AnyWork, AnyChunks, AnyChunks, Gen.Bool, Gen.Bool).Sample(
            (masks, before, during, after, reads, writes, preCopy, targetByPf) =>
            {
                using var source = new HisiAccRig().SetUp(masks);
                using var twin = new HisiAccRig().SetUp(masks);
                using var target = new HisiAccRig(targetByPf ? EmulatedModels.HisiSecByPf : EmulatedModels.HisiSec);
                var given = new int[HisiAccRig.Queues];
                Work(given, before, source, twin);
                var to = target.Enter(Resuming);
                if (preCopy)
                {
                    var from = source.Enter(PreCopy);
                    var early = Chunks.Read(from, reads);
                    Assert.Equal(HisiAccStreamFormat.MatchBytes, early.Length);
                    Assert.True(Chunks.Write(to, early, writes).IsOk);
                    Work(given, during, source, twin);
                    source.Enter(StopCopy);
                    Assert.True(Chunks.Write(to, Chunks.Read(from, reads), writes).IsOk);
                }
                else
                    Assert.True(Chunks.Write(to, Chunks.Read(source.Enter(StopCopy), reads), writes).IsOk);

                target.TakeMemoryOf(source);
                target.Enter(Stop);
                source.Enter(Stop);
                Assert.Equal(Convert.ToHexString(source.Save()), Convert.ToHexString(target.Save()));
                target.Enter(Running);
                Work(given, after, target, twin);
                Assert.Equal(twin.Events(), target.Events());
                Assert.Equal(twin.Seen(), target.Seen());
            }, iter: 300);

    [Fact]
    public void A_VF_that_goes_on_where_it_was_has_lost_no_task_that_came_while_it_stood()
    {
        using var rig = new HisiAccRig().SetUp();
        rig.Ring(0, 2);
        rig.Enter(Stop);
        rig.Ring(0, 5);
        Assert.Equal([(0, 0), (0, 1)], rig.Events().Values);
        rig.Enter(Running);
        Assert.Equal([(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)], rig.Events().Values);
    }

    [Fact]
    public void A_VF_that_no_guest_has_set_up_moves_as_its_match_data_and_is_not_set_up_there_VD_HIS_3()
    {
        using var source = new HisiAccRig();
        using var target = new HisiAccRig();
        var stream = source.Save();
        Assert.Equal(HisiAccStreamFormat.MatchBytes, stream.Length);
        Assert.True(target.Enter(Resuming).Write(stream).IsOk);
        target.Enter(Running);
        Assert.Equal(HisiAccVfState.NotReady, target.VfState);
        target.SetUp().Ring(0, 2);
        Assert.Contains((0, 1), target.Events().Values);
    }

    [Fact]
    public void A_guest_that_sets_the_VF_up_during_pre_copy_is_no_matter_VD_HIS_3()
    {
        using var source = new HisiAccRig();
        using var target = new HisiAccRig();
        var (from, to) = (source.Enter(PreCopy), target.Enter(Resuming));
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        source.SetUp().Ring(4, 1);
        source.Enter(StopCopy);
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        target.TakeMemoryOf(source);
        target.Enter(Running);
        Assert.Equal(HisiAccVfState.Ready, target.VfState);
        target.Ring(4, 2);
        Assert.Contains((4, 1), target.Events().Values);
    }

    [Fact]
    public void In_PRE_COPY_the_match_data_comes_and_nothing_more_for_now_MG_22_MG_25()
    {
        using var rig = new HisiAccRig().SetUp();
        var stream = rig.Enter(PreCopy);
        Assert.Equal(new PrecopyInfo(40, 0), stream.GetPrecopyInfo().Value);
        Assert.Equal(15, stream.Read(new byte[15]).Value);
        Assert.Equal(new PrecopyInfo(25, 0), stream.GetPrecopyInfo().Value);
        Assert.Equal((25, Errno.ENOMSG), (Chunks.Read(stream).Length, stream.Read(new byte[1]).Error.Errno));
        Assert.Equal(176UL, rig.Machine.GetDataSize().Value);
    }

    // ---- Streams that are none (TS-12) -----------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(Magic, 8)]
    [InlineData(Queues, 4)]
    [InlineData(DeviceId, 4)]
    [InlineData(Isolation, 4)]
    [InlineData(Major, 2)]
    public void Match_data_with_any_bit_flipped_in_what_must_match_is_refused_by_the_write_that_completes_it_VD_HIS_1(int at, int bytes)
    {
        for (var bit = 8 * at; bit < 8 * (at + bytes); bit++)
        {
            using var rig = new HisiAccRig();
            var stream = rig.Enter(Resuming);
            var bad = HisiAccRig.GoodStream.ToArray();
            bad[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(stream.Write(bad.AsSpan(0, 39)).IsOk);
            Assert.Equal((bit, Errno.EFAULT), (bit, stream.Write(bad.AsSpan(39, 1)).Error.Errno));
            Assert.Equal((Errno.EFAULT, Errno.EFAULT), (stream.Write(bad.AsSpan(40)).Error.Errno, rig.Go(Stop).Error.Errno));
            rig.Reset();
            rig.SetUp().Ring(0, 1);
            Assert.Contains((0, 0), rig.Events().Values);
        }
    }

    [Theory]
    [InlineData(EmulatedModels.HisiHpre)]
    [InlineData(EmulatedModels.HisiZip)]
    public void Another_kind_of_accelerator_is_refused_in_pre_copy_VD_HIS_1(string other)
    {
        using var source = new HisiAccRig(other).SetUp();
        using var target = new HisiAccRig();
        Assert.Equal(Errno.EFAULT, target.Enter(Resuming).Write(Chunks.Read(source.Enter(PreCopy))).Error.Errno);
        Assert.Equal(PreCopy, source.State);
    }

    [Fact]
    public void A_PF_that_isolates_queues_otherwise_is_refused_in_pre_copy_VD_HIS_1()
    {
        using var source = new HisiAccRig().SetUp();
        using var target = new VfBench(EmulatedModels.HisiSec);
        ((Fabric.Hardware.Emulated.HisiAcc.HisiAccPhysicalFunction)target.Physical).QueueIsolation = 0;
        var own = HisiAccCommands.Attach(target.Map(HisiAccBar.Number), new HisiAccPfCommands(target.Channel), HisiAccIds.SecVirtualFunction).Value;
        Assert.Equal(Errno.EFAULT, HisiAccStreamFormat.Check(Chunks.Read(source.Enter(PreCopy)), own.Match).Error.Errno);
    }

    [Fact]
    public void A_stream_of_before_there_were_versions_is_taken_with_its_event_queues_from_their_contexts_VD_HIS_1()
    {
        using var source = new HisiAccRig().SetUp(masks: 3);
        source.Ring(0, 3);
        var old = source.Save();
        BinaryPrimitives.WriteUInt64LittleEndian(old, HisiAccStreamFormat.MagicV1);
        old.AsSpan(Major, 4).Clear();
        old.AsSpan(HisiAccStreamFormat.EventQueue, 16).Clear();
        using var target = new HisiAccRig();
        target.TakeMemoryOf(source);
        Assert.True(target.Enter(Resuming).Write(old).IsOk);
        target.Enter(Stop);
        Assert.Equal(Convert.ToHexString(HisiAccRig.GoodStream), Convert.ToHexString(target.Save()));
    }

    [Fact]
    public void A_short_stream_is_refused_at_the_end_and_may_be_gone_on_with_MG_23_TS_12()
    {
        for (var cut = 0; cut < HisiAccRig.GoodStream.Length; cut++)
        {
            using var target = new HisiAccRig();
            var stream = target.Enter(Resuming);
            Assert.True(stream.Write(HisiAccRig.GoodStream.AsSpan(0, cut)).IsOk);
            Assert.Equal((cut, Errno.EINVAL, Resuming), (cut, target.Go(Stop).Error.Errno, target.State));
            Assert.True(stream.Write(HisiAccRig.GoodStream.AsSpan(cut)).IsOk);
            target.Enter(Stop);
        }
    }

    [Fact]
    public void A_long_stream_is_ENOMEM_and_stays_refused_MG_23_TS_12()
    {
        using var target = new HisiAccRig();
        var stream = target.Enter(Resuming);
        Assert.True(stream.Write(HisiAccRig.GoodStream).IsOk);
        Assert.Equal((Errno.ENOMEM, Errno.ENOMEM), (stream.Write(new byte[1]).Error.Errno, target.Go(Stop).Error.Errno));
        target.Reset();
        Assert.True(target.Enter(Resuming).Write(HisiAccRig.GoodStream).IsOk);
        target.Enter(Running);
    }

    [Theory]
    [InlineData(HisiAccStreamFormat.EventQueue)]
    [InlineData(HisiAccStreamFormat.AsyncEventQueue)]
    [InlineData(HisiAccStreamFormat.SubmissionTable)]
    [InlineData(HisiAccStreamFormat.CompletionTable)]
    public void A_stream_whose_queues_are_nowhere_is_refused_at_the_end_and_changes_nothing_TS_12(int at)
    {
        using var target = new HisiAccRig();
        var bad = HisiAccRig.GoodStream.ToArray();
        bad.AsSpan(at, 8).Clear();
        Assert.True(target.Enter(Resuming).Write(bad).IsOk);
        Assert.Equal((Errno.EINVAL, Resuming, HisiAccVfState.NotReady), (target.Go(Stop).Error.Errno, target.State, target.VfState));
    }

    [Fact]
    public void Halves_in_the_wrong_order_and_twice_are_refused_TS_12()
    {
        using var target = new HisiAccRig();
        var good = HisiAccRig.GoodStream;
        Assert.Equal(Errno.EFAULT, target.Enter(Resuming).Write([.. good[40..], .. good[..40]]).Error.Errno);
        target.Reset();
        Assert.Equal(Errno.ENOMEM, target.Enter(Resuming).Write([.. good, .. good]).Error.Errno);
    }

    private static void Work(int[] given, (int Queue, int Tasks)[] work, params HisiAccRig[] rigs)
    {
        foreach (var (queue, tasks) in work)
        {
            given[queue] += tasks;
            foreach (var rig in rigs)
                rig.Ring(queue, given[queue]);
        }
    }
}
