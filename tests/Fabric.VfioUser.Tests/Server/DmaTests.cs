using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>DMA into a client's memory: through descriptors, and by messages.</summary>
public sealed class DmaTests
{
    private const ulong Iova = 0x4000_0000;
    private const int Bytes = 64 << 10;
    private const int Ring = 4096;
    private const int Slots = 64;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_engine_writes_into_a_memfd_of_its_client(bool isSealed)
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        using var memory = new ClientMemoryFile(2 * Bytes, isSealed);
        Assert.Equal(Errno.None, (await MapAsync(client, Iova, Bytes, Bytes, memory.Fd)).Errno);
        await RunEngineAsync(client, pace: 1000);
        var steps = await StepsAsync(client, atLeast: 20);
        await StopEngineAsync(client);
        var record = MemoryMarshal.Read<AcceleratorRecord>(memory.Read(Bytes + Ring, AcceleratorRecord.Bytes));
        Assert.True(record.IsWhole && steps >= 20);
        Assert.True(BinaryPrimitives.ReadUInt64LittleEndian(memory.Read(Bytes, 8)) >= 20);
        Assert.All(memory.Read(0, Bytes), static untouched => Assert.Equal(0, untouched));
    }

    [Fact]
    public async Task A_file_that_its_client_cuts_off_is_a_DMA_fault_and_no_SIGBUS()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        using var memory = new ClientMemoryFile(Bytes, isSealed: false);
        Assert.Equal(Errno.None, (await MapAsync(client, Iova, 0, Bytes, memory.Fd)).Errno);
        memory.Truncate(0);
        await RunEngineAsync(client, pace: 1000);
        await UntilAsync(async () =>
            (await client.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Status, 4))[0] == (byte)AcceleratorStatus.DmaFault);
        Assert.Empty(memory.Read(0, 1));
        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task Memory_without_a_descriptor_is_written_by_messages_after_the_request_that_caused_it_is_answered()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(Errno.None, (await MapAsync(client, Iova, 0, Bytes)).Errno);
        await client.WriteAsync(RegionIndex.Config, 4, 6, 0);
        var memory = new byte[Bytes];
        var (asked, answered, dma) = (0, 0, 0);
        foreach (var (register, value) in Program(pace: 1000))
        {
            var written = new RegionAccessPayload((ulong)register, AcceleratorBar.Registers, (uint)value.Length);
            client.Send(Command.RegionWrite, TestClient.Bytes(written, value));
            asked++;
            while (answered < asked)
                Take(await client.ReceiveAsync());
        }

        // With a request unanswered nothing was sent: each answer came before any DMA that followed it.
        while (dma < 40)
            Take(await client.ReceiveAsync());
        var record = MemoryMarshal.Read<AcceleratorRecord>(memory.AsSpan(Ring));
        Assert.True(record.IsWhole);
        Assert.NotEqual(0UL, BinaryPrimitives.ReadUInt64LittleEndian(memory));

        void Take(Received received)
        {
            if (received.Header.IsReply)
            {
                answered++;
                return;
            }

            Assert.Equal((Command.DmaWrite, asked), (received.Header.Command, answered));
            dma++;
            var write = received.As<DmaAccessPayload>();
            received.Payload.AsSpan(16).CopyTo(memory.AsSpan((int)(write.Iova - Iova)));
            client.Send([.. TestClient.HeadOf(received.Header.Answer(16)), .. TestClient.Bytes(write)], []);
        }
    }

    [Fact]
    public async Task Posted_writes_do_not_hold_DMA_back()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        await MapAsync(client, Iova, 0, Bytes);
        await client.WriteAsync(RegionIndex.Config, 4, 6, 0);
        foreach (var (register, value) in Program(pace: 100))
        {
            var write = TestClient.Bytes(new RegionAccessPayload((ulong)register, AcceleratorBar.Registers, (uint)value.Length), value);
            client.Send(Command.RegionWrite, write, flags: MessageFlags.NoReply);
        }

        Assert.Equal(Command.DmaWrite, (await client.ReceiveAsync()).Header.Command);
    }

    [Fact]
    public async Task A_client_that_does_not_answer_its_DMA_is_let_go_of_and_the_next_is_served()
    {
        await using var lab = await Lab.AcceleratorAsync(ServerOptions.Default with { DmaDeadline = TimeSpan.FromMilliseconds(300) });
        using var client = await lab.OpenAsync();
        await MapAsync(client, Iova, 0, Bytes);
        await RunEngineAsync(client, pace: 100, expectDma: true);
        while ((await client.ReceiveAsync()).Header.Command != Command.DmaWrite)
        {
            // Answers of before.
        }

        await client.ExpectEndAsync();
        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task What_is_mapped_wrongly_is_refused_and_nothing_is_kept_of_it()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        using var memory = new ClientMemoryFile(Bytes, isSealed: true);
        using var pipe = EventFd.Create();
        using var readOnly = File.OpenHandle("/etc/passwd");
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, 0, 0)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova + 1, 0, Bytes)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, 1, 4096, memory.Fd)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, 4096, Bytes, memory.Fd)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, ulong.MaxValue - 4095, Bytes, memory.Fd)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, 0, 4096, pipe.Number)).Errno);
        Assert.Equal(Errno.EINVAL, (await MapAsync(client, Iova, 0, 4096, memory.Fd, memory.Fd)).Errno);
        Assert.Equal(Errno.EOVERFLOW, (await MapAsync(client, ulong.MaxValue - 4095, 0, 8192)).Errno);
        Assert.NotEqual(Errno.None, (await MapAsync(client, Iova, 0, 4096, (int)readOnly.DangerousGetHandle())).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaMap, new DmaMapPayload(32, MapFlags.None, 0, Iova, 4096))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaMap, new DmaMapPayload(32, (MapFlags)0x10, 0, Iova, 4096))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaMap, new DmaMapPayload(24, MapFlags.Read, 0, Iova, 4096))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaMap, new byte[31])).Errno);

        Assert.Equal(Errno.None, (await MapAsync(client, Iova, 0, Bytes, memory.Fd)).Errno);
        // Its own, and of the server a descriptor and a mapping.
        Assert.Equal(3, memory.Holds);
        Assert.Equal(Errno.EEXIST, (await MapAsync(client, Iova + 4096, 0, 4096, memory.Fd)).Errno);
        Assert.Equal(Errno.EEXIST, (await MapAsync(client, Iova - 4096, 0, 8192)).Errno);
        Assert.Equal(Errno.ENOENT, (await UnmapAsync(client, Iova, 4096)).Errno);
        Assert.Equal(Errno.ENOENT, (await UnmapAsync(client, Iova + 4096, Bytes)).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaUnmap, new DmaUnmapPayload(24, UnmapFlags.All, Iova, 0))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DmaUnmap, new DmaUnmapPayload(24, (UnmapFlags)1, Iova, Bytes))).Errno);
        Assert.Equal(Errno.None, (await UnmapAsync(client, Iova, Bytes)).Errno);
        Assert.Equal(Errno.ENOENT, (await UnmapAsync(client, Iova, Bytes)).Errno);
        Assert.Equal(1, memory.Holds);
    }

    [Fact]
    public async Task Unmapping_all_unmaps_all_and_a_reset_unmaps_nothing()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        for (var at = 0ul; at < 4; at++)
            Assert.Equal(Errno.None, (await MapAsync(client, Iova + (at * 4096), 0, 4096)).Errno);
        Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceReset)).Errno);
        Assert.Equal(Errno.EEXIST, (await MapAsync(client, Iova, 0, 4096)).Errno);
        var all = new DmaUnmapPayload(24, UnmapFlags.All, 0, 0);
        Assert.Equal(all, (await client.RequestAsync(Command.DmaUnmap, all)).As<DmaUnmapPayload>());
        Assert.Equal(Errno.ENOENT, (await UnmapAsync(client, Iova, 4096)).Errno);
        Assert.Equal(Errno.None, (await MapAsync(client, Iova, 0, 4 * 4096)).Errno);
    }

    [Fact]
    public async Task Mappings_are_bounded()
    {
        await using var lab = await Lab.AcceleratorAsync(ServerOptions.Default with { MaxDmaMaps = 3 });
        using var client = await lab.OpenAsync();
        for (var at = 0ul; at < 3; at++)
            Assert.Equal(Errno.None, (await MapAsync(client, Iova + (at * 4096), 0, 4096)).Errno);
        Assert.Equal(Errno.ENOSPC, (await MapAsync(client, Iova + (3 * 4096), 0, 4096)).Errno);
    }

    internal static Task<Received> MapAsync(TestClient client, ulong iova, ulong fileOffset, ulong length, params int[] fds) =>
        client.RequestAsync(Command.DmaMap, new DmaMapPayload(32, MapFlags.Read | MapFlags.Write, fileOffset, iova, length), null, fds);

    internal static Task<Received> UnmapAsync(TestClient client, ulong iova, ulong length) =>
        client.RequestAsync(Command.DmaUnmap, new DmaUnmapPayload(24, UnmapFlags.None, iova, length));

    /// <summary>The registers in the order in which a guest writes them; the last write lets the engine go.</summary>
    internal static IEnumerable<(int Register, byte[] Value)> Program(uint pace) =>
    [
        (AcceleratorRegister.RingIova, BitConverter.GetBytes(Iova + Ring)),
        (AcceleratorRegister.RingSlots, BitConverter.GetBytes((ulong)Slots)),
        (AcceleratorRegister.HeadIova, BitConverter.GetBytes(Iova)),
        (AcceleratorRegister.Pace, BitConverter.GetBytes(pace)),
        (AcceleratorRegister.Control, BitConverter.GetBytes(AcceleratorRegister.ControlRun)),
    ];

    internal static async Task RunEngineAsync(TestClient client, uint pace, bool expectDma = false)
    {
        await client.WriteAsync(RegionIndex.Config, 4, 6, 0);
        var program = Program(pace).ToArray();
        foreach (var (register, value) in expectDma ? program[..^1] : program)
            await client.WriteAsync(AcceleratorBar.Registers, (ulong)register, value);
        if (expectDma)
            client.Send(Command.RegionWrite, TestClient.Bytes(new RegionAccessPayload((ulong)program[^1].Register, 0, 4), program[^1].Value));
    }

    internal static Task StopEngineAsync(TestClient client) => client.WriteAsync(AcceleratorBar.Registers, AcceleratorRegister.Control, 0, 0, 0, 0);

    internal static async Task<ulong> StepsAsync(TestClient client, ulong atLeast)
    {
        var steps = 0UL;
        await UntilAsync(async () =>
            (steps = BitConverter.ToUInt64(await client.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Steps, 8))) >= atLeast);
        return steps;
    }

    internal static async Task UntilAsync(Func<Task<bool>> isSo)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (!await isSo())
            await Task.Delay(5, deadline.Token);
    }
}
