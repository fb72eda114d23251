using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>Info, regions, interrupts and reset of a served device.</summary>
public sealed class DeviceTests
{
    [Fact]
    public async Task GET_INFO_tells_of_a_PCI_device_that_can_be_reset()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var info = (await client.RequestAsync(Command.DeviceGetInfo, new DeviceInfoPayload(16, 0, 0, 0))).As<DeviceInfoPayload>();
        Assert.Equal(new DeviceInfoPayload(16, DeviceFlags.Reset | DeviceFlags.Pci, 9, 5), info);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetInfo, new DeviceInfoPayload(15, 0, 0, 0))).Errno);
    }

    [Fact]
    public async Task REGION_INFO_tells_sizes_and_no_region_is_mapped()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var sizes = new List<(RegionFlags, ulong)>();
        for (var index = 0u; index <= RegionIndex.Config; index++)
        {
            var reply = await client.RequestAsync(Command.DeviceGetRegionInfo, new VfioRegionInfo(32, 0, index, 0, 0, 0));
            var info = reply.As<VfioRegionInfo>();
            Assert.Equal((32u, index, 0u, 32), (info.Argsz, info.Index, info.CapOffset, reply.Payload.Length));
            sizes.Add((info.Flags, info.Size));
        }

        const RegionFlags ReadWrite = RegionFlags.Read | RegionFlags.Write;
        Assert.Equal((ReadWrite, 0x1000ul), sizes[0]);
        Assert.Equal((RegionFlags.None, 0ul), sizes[1]);
        Assert.Equal((ReadWrite, 4096ul), sizes[RegionIndex.Config]);
        // No VGA here (IO-20), and nothing behind it.
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetRegionInfo, new VfioRegionInfo(32, 0, 8, 0, 0, 0))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetRegionInfo, new VfioRegionInfo(32, 0, 9, 0, 0, 0))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetRegionInfo, new VfioRegionInfo(31, 0, 0, 0, 0, 0))).Errno);
    }

    [Fact]
    public async Task REGION_IO_FDS_of_a_region_are_none()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var none = (await client.RequestAsync(Command.DeviceGetRegionIoFds, new RegionIoFdsPayload(16, 0, 0, 0))).As<RegionIoFdsPayload>();
        Assert.Equal(new RegionIoFdsPayload(16, 0, 0, 0), none);
        foreach (var wrong in new RegionIoFdsPayload[] { new(15, 0, 0, 0), new(16, 1, 0, 0), new(16, 0, 0, 1), new(16, 0, 99, 0), new(16, 0, 1, 0) })
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetRegionIoFds, wrong)).Errno);
    }

    [Fact]
    public async Task What_is_written_is_read_and_config_space_is_the_devices()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(4096, (await client.ReadAsync(RegionIndex.Config, 0, 4096)).Length);
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        await client.WriteAsync(0, 0x800, 1, 2, 3, 4, 5, 6, 7, 8);
        Assert.Equal([3, 4, 5, 6], await client.ReadAsync(0, 0x802, 4));
        Assert.Empty(await client.ReadAsync(0, 0, 0));
    }

    [Fact]
    public async Task An_access_outside_of_its_region_is_EINVAL_and_writes_nothing()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        await client.WriteAsync(0, 0xff8, 1, 2, 3, 4, 5, 6, 7, 8);
        foreach (var (offset, region, count) in new (ulong, uint, uint)[]
        {
            (0xffc, 0, 8), (0x1000, 0, 1), (ulong.MaxValue, 0, 1), (ulong.MaxValue - 3, 0, 8), (0, 1, 1), (0, 99, 4), (0, uint.MaxValue, 4),
        })
        {
            var access = new RegionAccessPayload(offset, region, count);
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionRead, access)).Errno);
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionWrite, access, new byte[count])).Errno);
        }

        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], await client.ReadAsync(0, 0xff8, 8));
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionRead, new RegionAccessPayload(0, 0, (1 << 20) + 1))).Errno);
    }

    [Fact]
    public async Task A_posted_write_is_not_answered_and_a_read_after_it_sees_it()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        for (byte value = 1; value < 50; value++)
            client.Send(Command.RegionWrite, TestClient.Bytes(new RegionAccessPayload(0x800, 0, 1), [value]), flags: MessageFlags.NoReply);
        client.Send(Command.RegionWrite, TestClient.Bytes(new RegionAccessPayload(0x8000_0000, 0, 1), [1]), flags: MessageFlags.NoReply);
        Assert.Equal([49], await client.ReadAsync(0, 0x800, 1));
    }

    [Fact]
    public async Task Pipelined_requests_are_answered_in_their_order_whatever_their_ids()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var head = MessageHeader.Request(7, Command.RegionRead, 16);
        for (var at = 0; at < 64; at++)
            client.Send([.. TestClient.HeadOf(head), .. TestClient.Bytes(new RegionAccessPayload((ulong)at, RegionIndex.Config, 1))], []);
        for (var at = 0; at < 64; at++)
        {
            var reply = await client.ReceiveAsync();
            Assert.Equal((7, (ulong)at), (reply.Header.Id, reply.As<RegionAccessPayload>().Offset));
        }
    }

    [Fact]
    public async Task WRITE_MULTI_writes_up_to_the_first_that_fails_and_tells_how_many()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        Assert.Equal(2UL, await Multi(new(0x800, 0, 4, 0x0403_0201), new(0x804, 0, 8, 0x0c0b_0a09_0807_0605)));
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], await client.ReadAsync(0, 0x800, 12));
        Assert.Equal(1UL, await Multi(new(0x800, 0, 1, 0xaa), new(0x1000, 0, 1, 0xbb), new(0x801, 0, 1, 0xcc)));
        Assert.Equal([0xaa, 2], await client.ReadAsync(0, 0x800, 2));
        Assert.Equal(0UL, await Multi());
        var (tooWide, tooMany) = (Entries(1, new WriteMultiEntry(0x800, 0, 9, 0)), Entries(ulong.MaxValue, new WriteMultiEntry(0, 0, 1, 0)));
        foreach (var wrong in new[] { tooWide, tooMany, new byte[7] })
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionWriteMulti, wrong)).Errno);

        async Task<ulong> Multi(params WriteMultiEntry[] entries) =>
            BitConverter.ToUInt64((await client.RequestAsync(Command.RegionWriteMulti, Entries((ulong)entries.Length, entries))).Payload);

        static byte[] Entries(ulong count, params WriteMultiEntry[] entries) =>
            [.. BitConverter.GetBytes(count), .. entries.SelectMany(static entry => TestClient.Bytes(entry))];
    }

    [Fact]
    public async Task A_megabyte_in_pieces_arrives_whole()
    {
        // What is past the region's end is refused as a whole, after all of it was read: the stream stays in step (facts §11.1).
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var large = TestClient.Bytes(new RegionAccessPayload(0, 0, 1 << 20), new byte[1 << 20]);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionWrite, large)).Errno);
        await client.ExpectServedAsync();
        var read = TestClient.Bytes(new RegionAccessPayload(0, RegionIndex.Config, 2));
        byte[] message = [.. TestClient.HeadOf(MessageHeader.Request(9, Command.RegionRead, 16)), .. read];
        foreach (var single in message)
        {
            client.Send([single], []);
            await Task.Yield();
        }

        Assert.Equal(9, (await client.ReceiveAsync()).Header.Id);
    }

    [Fact]
    public async Task IRQ_INFO_tells_counts()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        var counts = new uint[5];
        for (var index = 0u; index < 5; index++)
            counts[index] = (await client.RequestAsync(Command.DeviceGetIrqInfo, new VfioIrqInfo(16, 0, index, 0))).As<VfioIrqInfo>().Count;
        Assert.Equal([1, 0, 8, 1, 1], counts);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetIrqInfo, new VfioIrqInfo(16, 0, 5, 0))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceGetIrqInfo, new VfioIrqInfo(8, 0, 0, 0))).Errno);
    }

    [Fact]
    public async Task MSI_X_goes_as_QEMU_sets_it_up_vector_by_vector_and_loops_back()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        using var first = EventFd.Create();
        using var second = EventFd.Create();
        const IrqSetFlags Assign = IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger;
        // QEMU reserves vector 0 without an eventfd, then gives one for each vector as the guest unmasks it (facts §7).
        await Set(new(20, Assign, 2, 0, 1));
        await Set(new(20, Assign, 2, 0, 1), [], first.Number);
        await Set(new(20, Assign, 2, 3, 1), [], second.Number);
        await Set(new(20, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 2, 3, 1));
        Assert.Equal((0UL, 1UL), (first.Read(), second.Read()));
        await Set(new(20, IrqSetFlags.DataBool | IrqSetFlags.ActionTrigger, 2, 0, 2), [1, 0]);
        Assert.Equal((1UL, 0UL), (first.Read(), second.Read()));
        // De-assigning from a start above 0, which libvfio-user forgets.
        await Set(new(20, Assign, 2, 3, 1));
        await Set(new(20, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 2, 3, 1));
        Assert.Equal(0UL, second.Read());
        await Set(new(20, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 2, 0, 0));
        await Set(new(20, Assign, 0, 0, 1), [], first.Number);

        async Task Set(VfioIrqSet set, byte[]? bools = null, params int[] fds) =>
            Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceSetIrqs, set, bools, fds)).Errno);
    }

    [Fact]
    public async Task RESET_forgets_what_was_written_and_takes_no_payload()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        await client.WriteAsync(0, 0x800, 0x55);
        Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceReset)).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceReset, new byte[1])).Errno);
        await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
        Assert.Equal([0], await client.ReadAsync(0, 0x800, 1));
    }

    [Fact]
    public async Task The_device_of_a_client_that_left_uses_its_eventfds_no_more()
    {
        await using var lab = await Lab.StartAsync();
        using var eventfd = EventFd.Create();
        using (var client = await lab.OpenAsync())
        {
            var assign = new VfioIrqSet(20, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 3, 0, 1);
            Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceSetIrqs, assign, [], eventfd.Number)).Errno);
        }

        using var next = await lab.OpenAsync();
        var trigger = new VfioIrqSet(20, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 3, 0, 1);
        await next.RequestAsync(Command.DeviceSetIrqs, trigger);
        Assert.Equal(0UL, eventfd.Read());
    }
}
