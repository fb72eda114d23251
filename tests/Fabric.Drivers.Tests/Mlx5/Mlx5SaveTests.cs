using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The stream that is read: its records, its pace, pre-copy, and what becomes of it when firmware fails.</summary>
public sealed class Mlx5SaveTests
{
    private const int ChunkBytes = 32 << 10;

    internal readonly record struct StreamRecord(ulong Size, uint Flags, uint Tag, byte[] Payload);

    internal static List<StreamRecord> RecordsOf(byte[] stream)
    {
        var records = new List<StreamRecord>();
        for (var at = 0; at < stream.Length;)
        {
            var size = BinaryPrimitives.ReadUInt64LittleEndian(stream.AsSpan(at));
            var flags = BinaryPrimitives.ReadUInt32LittleEndian(stream.AsSpan(at + 8));
            var tag = BinaryPrimitives.ReadUInt32LittleEndian(stream.AsSpan(at + 12));
            records.Add(new StreamRecord(size, flags, tag, stream[(at + 16)..(at + 16 + (int)size)]));
            at += 16 + (int)size;
        }

        return records;
    }

    // ---- Records and pace ------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_stopped_device_is_images_of_firmware_and_nothing_else_VD_MLX_1()
    {
        using var machine = new Mlx5Machine().Used();
        var records = RecordsOf(machine.Save());
        Assert.True(records.Count > 8);
        Assert.All(records, record => Assert.Equal((0u, 0u), (record.Flags, record.Tag)));
        Assert.All(records, record => Assert.InRange(record.Payload.Length, 1, ChunkBytes - Mlx5Reply.Bytes));
    }

    [Fact]
    public void Pre_copy_begins_with_an_optional_hint_of_the_size_of_the_rest_VD_MLX_1()
    {
        using var machine = new Mlx5Machine().Used();
        var size = machine.Machine.GetDataSize().Value;
        var hint = RecordsOf(machine.Read(machine.Enter(PreCopy)).Value)[0];
        Assert.Equal((8ul, 1u, 1u), (hint.Size, hint.Flags, hint.Tag));
        Assert.Equal(size - 16, BinaryPrimitives.ReadUInt64LittleEndian(hint.Payload));
    }

    [Fact]
    public void Data_size_is_about_that_of_the_stream_MG_27()
    {
        using var machine = new Mlx5Machine().Used();
        foreach (var state in new[] { Running, PreCopy, PreCopyP2P })
        {
            machine.Enter(state);
            Assert.InRange(machine.Machine.GetDataSize().Value, (ulong)Mlx5Machine.MemoryBytes, (ulong)Mlx5Machine.MemoryBytes + 10_000);
        }
    }

    [Fact]
    public void Two_chunks_are_saved_ahead_of_the_reader_and_no_more_VD_MLX_3()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(StopCopy);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal([Mlx5Opcode.SaveVhcaState, Mlx5Opcode.SaveVhcaState], machine.TakeOpcodes()[^2..]);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Empty(machine.TakeOpcodes());
        Assert.Equal(ChunkBytes, stream.Read(new byte[ChunkBytes]).Value);
        Assert.Equal([Mlx5Opcode.SaveVhcaState], machine.TakeOpcodes());
    }

    [Fact]
    public void A_read_of_what_is_not_saved_yet_is_EAGAIN_in_STOP_COPY_and_ENOMSG_before_VD_MLX_3_MG_22()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        Assert.Equal(24, stream.Read(new byte[100]).Value);
        Assert.Equal(Errno.ENOMSG, stream.Read(new byte[100]).Error.Errno);
        machine.Read(stream);
        machine.Enter(StopCopy);
        Assert.Equal(Errno.EAGAIN, stream.Read(new byte[100]).Error.Errno);
        machine.Time.Advance(machine.Card.CommandTime);
        Assert.True(stream.Read(new byte[100]).Value > 0);
    }

    [Fact]
    public void A_buffer_for_changes_is_a_tenth_larger_than_firmware_asks_for_so_that_they_may_grow_VD_MLX_3()
    {
        using var machine = new Mlx5Machine(chunkBytes: 1 << 20).Used();
        var stream = machine.Enter(PreCopy);
        machine.Read(stream);
        for (var page = 0; page < 20; page++)
            machine.WriteMemory(page * Mlx5Bar.PageBytes, 1);
        machine.Channel.Rooms.Clear();
        var asked = stream.GetPrecopyInfo().Value.DirtyBytes;
        Assert.Equal([Mlx5Reply.Bytes + (int)(asked + (asked / 10))], machine.Channel.Rooms);
        // Two pages more, before it is saved: they go with it.
        machine.WriteMemory(30 * Mlx5Bar.PageBytes, 1);
        machine.WriteMemory(31 * Mlx5Bar.PageBytes, 1);
        Assert.Single(RecordsOf(machine.Read(stream).Value));
        Assert.Equal(0ul, stream.GetPrecopyInfo().Value.DirtyBytes);
    }

    // ---- Pre-copy --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Initial_bytes_shrink_to_0_with_the_last_byte_of_the_start_up_set_and_not_before_MG_25()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        var seen = new List<PrecopyInfo>();
        var total = machine.ReadAndLook(stream, seen.Add);
        Assert.InRange(seen[0].InitialBytes, (ulong)Mlx5Machine.MemoryBytes, (ulong)Mlx5Machine.MemoryBytes + 10_000);
        Assert.All(seen.SkipLast(2), info => Assert.InRange(info.InitialBytes, 1ul, seen[0].InitialBytes));
        Assert.True(total > Mlx5Machine.MemoryBytes);
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);
    }

    [Fact]
    public void What_changes_later_is_dirty_and_is_saved_once_it_is_asked_for_MG_25()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        machine.Read(stream);
        Assert.Empty(machine.Read(stream).Value);
        machine.WriteMemory(3 * Mlx5Bar.PageBytes, 1);
        machine.Post(1);
        Assert.InRange(stream.GetPrecopyInfo().Value.DirtyBytes, 2ul * Mlx5Bar.PageBytes, 3ul * Mlx5Bar.PageBytes);
        Assert.InRange(machine.Read(stream).Value.Length, 2 * Mlx5Bar.PageBytes, 3 * Mlx5Bar.PageBytes);
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);
    }

    [Fact]
    public void The_rest_after_pre_copy_is_what_changed_and_the_registers_MG_24()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        var early = machine.Read(stream).Value;
        machine.WriteMemory(0, 1);
        machine.Enter(StopCopy);
        var late = machine.Read(stream).Value;
        Assert.InRange(late.Length, Mlx5Bar.PageBytes, 2 * Mlx5Bar.PageBytes);
        machine.AssertAccepted([.. early, .. late]);
    }

    [Fact]
    public void A_stop_in_the_middle_of_the_start_up_set_loses_nothing_of_it_MG_24()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        var early = new byte[5000];
        Assert.Equal(24, stream.Read(early).Value);
        early = early[..24];
        machine.WriteMemory(0, 9, 9);
        machine.Enter(StopCopy);
        machine.AssertAccepted([.. early, .. machine.Read(stream).Value]);
    }

    [Fact]
    public void Pre_copy_that_is_left_stops_tracking_and_a_later_one_is_whole_VD_2_MG_21()
    {
        using var machine = new Mlx5Machine().Used();
        var left = machine.Enter(PreCopy);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        machine.Enter(Running);
        Assert.Equal(Errno.ENODEV, left.Read(new byte[1]).Error.Errno);
        Assert.False(Drivers.Mlx5.Mlx5Commands.Attach(machine.Channel).Value.QuerySize(Mlx5Flags.None).Value.IsMigrating);
        var stream = machine.Enter(PreCopy);
        var early = machine.Read(stream).Value;
        machine.Enter(StopCopy);
        machine.AssertAccepted([.. early, .. machine.Read(stream).Value]);
    }

    // ---- A fresh start-up set (VD-MLX-5, MG-26) --------------------------------------------------------------------------------------

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_fresh_start_up_set_is_told_once_to_who_opted_in_and_counts_anew_MG_26_VD_MLX_5(bool optedIn)
    {
        using var machine = new Mlx5Machine().Used();
        if (optedIn)
            Assert.True(machine.Machine.OptIntoPrecopyInfoV2().IsOk);
        var stream = machine.Enter(PreCopy);
        var all = machine.Read(stream).Value.ToList();
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);

        machine.Function.BeginFreshStartUpSet();
        var told = stream.GetPrecopyInfo().Value;
        Assert.Equal((optedIn, true, true), (told.Reinit, told.InitialBytes > 0 == optedIn, told.DirtyBytes > 0 != optedIn));
        Assert.False(stream.GetPrecopyInfo().Value.Reinit);
        all.AddRange(machine.Read(stream).Value);
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);
        Assert.True(all.Count > 2 * Mlx5Machine.MemoryBytes);
        machine.Enter(StopCopy);
        machine.AssertAccepted([.. all, .. machine.Read(stream).Value]);
    }

    [Fact]
    public void A_fresh_start_up_set_in_the_middle_of_one_follows_it_MG_26()
    {
        using var machine = new Mlx5Machine().Used();
        machine.Machine.OptIntoPrecopyInfoV2();
        var stream = machine.Enter(PreCopy);
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        machine.Function.BeginFreshStartUpSet();
        var told = stream.GetPrecopyInfo().Value;
        Assert.True(told is { Reinit: true, InitialBytes: > 2 * Mlx5Machine.MemoryBytes });
        machine.Read(stream);
        Assert.True(stream.GetPrecopyInfo().Value is { Reinit: false, InitialBytes: > Mlx5Machine.MemoryBytes });
        machine.Read(stream);
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);
    }

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    /// <param name="chunk">Of the image that fails.</param>
    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(4, true)]
    [InlineData(4, false)]
    public void Firmware_that_cannot_go_on_with_pre_copy_saves_all_when_the_device_has_stopped_VD_MLX_4(int chunk, bool ofChanges)
    {
        using var machine = new Mlx5Machine().Used();
        List<byte> all = [];
        if (!ofChanges && chunk == 0)
            machine.Function.FailNextSave(Mlx5Status.BadResourceState, last: false);
        var stream = machine.Enter(PreCopy);
        if (ofChanges)
        {
            all.AddRange(machine.Read(stream).Value);
            machine.WriteMemory(0, new byte[Mlx5Machine.MemoryBytes / 2]);
            Assert.True(stream.GetPrecopyInfo().IsOk);
        }

        for (var made = 0; made < chunk; made++)
        {
            machine.Time.Advance(machine.Card.CommandTime);
            var piece = new byte[ChunkBytes];
            all.AddRange(piece[..stream.Read(piece).Value]);
        }

        machine.Function.FailNextSave(Mlx5Status.BadResourceState, last: false);
        all.AddRange(machine.Read(stream).Value);
        machine.WriteMemory(5, 1, 2, 3);
        Assert.Equal(new PrecopyInfo(0, 0), stream.GetPrecopyInfo().Value);
        machine.Enter(StopCopy);
        var late = machine.Read(stream).Value;
        Assert.True(late.Length > Mlx5Machine.MemoryBytes, "Not all was saved anew.");
        machine.AssertAccepted([.. all, .. late]);
    }

    [Fact]
    public void Pre_copy_that_fails_when_the_device_is_stopped_already_saves_all_too_VD_MLX_4()
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(PreCopy);
        machine.Function.FailNextSave(Mlx5Status.BadResourceState, last: false);
        machine.Enter(StopCopy);
        machine.AssertAccepted(machine.Read(stream).Value);
    }

    [Theory]
    [InlineData(Mlx5Status.InternalError, false, Errno.EIO)]
    [InlineData(Mlx5Status.InternalError, true, Errno.EIO)]
    [InlineData(Mlx5Status.BadResourceState, true, Errno.EINVAL)]
    public void Any_other_failure_of_a_save_is_the_readers_and_stays(Mlx5Status status, bool last, Errno told)
    {
        using var machine = new Mlx5Machine().Used();
        machine.Function.FailNextSave(status, last);
        var stream = machine.Enter(last ? StopCopy : PreCopy);
        Assert.Equal(told, machine.Read(stream).Error.Errno);
        Assert.Equal(told, stream.Read(new byte[1]).Error.Errno);
        if (!last)
            Assert.Equal(told, machine.Set(StopCopy).Error.Errno);
        machine.Enter(Running);
        machine.AssertWorks();
    }

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(StopCopy)]
    public void A_stream_whose_PF_detaches_is_disabled_also_when_it_is_back_VD_MLX_5(MigrationState state)
    {
        using var machine = new Mlx5Machine().Used();
        var stream = machine.Enter(state);
        machine.Time.Advance(machine.Card.CommandTime);
        machine.Card.DetachDriver();
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        machine.Card.AttachDriver();
        machine.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        machine.Enter(Running);
        machine.AssertWorks();
        machine.AssertMoves();
    }
}
