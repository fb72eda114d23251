using System.Net.Sockets;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>What counts this process's sockets cannot run beside what opens some.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}

/// <summary>
/// Clients that are broken or mean harm. Each gets an error reply or a closed connection; the device goes on, and the next client is served; what the
/// server holds is what it held before.
/// </summary>
[Collection(Alone.Name)]
public sealed class HostileTests
{
    private static readonly byte[] Read16 = TestClient.Bytes(new RegionAccessPayload(0, RegionIndex.Config, 16));

    [Theory]
    [InlineData(1, "")]
    [InlineData(0xffff, "")]
    [InlineData(0, "{")]
    [InlineData(0, "[]")]
    [InlineData(0, """{"capabilities":{"max_msg_fds":"many"}}""")]
    public async Task Another_major_version_or_bad_JSON_is_EINVAL_and_the_end(int major, string json)
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.ConnectAsync();
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.Version, TestClient.VersionPayloadOf(json, (ushort)major))).Errno);
        await client.ExpectEndAsync();
        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task What_comes_before_VERSION_is_EINVAL_and_the_end()
    {
        await using var lab = await Lab.StartAsync();
        foreach (var command in Enum.GetValues<Command>().Except([Command.Version]))
        {
            using var client = await lab.ConnectAsync();
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(command, Read16)).Errno);
            await client.ExpectEndAsync();
        }

        using (var client = await lab.ConnectAsync())
        {
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.Version, new byte[3])).Errno);
            await client.ExpectEndAsync();
        }

        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task VERSION_comes_once()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.Version, TestClient.VersionPayloadOf())).Errno);
        await client.ExpectServedAsync();
    }

    [Theory]
    [InlineData(0u, Errno.EINVAL)]
    [InlineData(15u, Errno.EINVAL)]
    [InlineData((1u << 20) + 33, Errno.EMSGSIZE)]
    [InlineData(0x7fff_ffffu, Errno.EMSGSIZE)]
    [InlineData(0x8000_0000u, Errno.EMSGSIZE)]
    [InlineData(0xffff_ffffu, Errno.EMSGSIZE)]
    public async Task A_size_that_no_message_has_is_answered_and_the_end(uint size, Errno errno)
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        client.Send(TestClient.HeadOf(new MessageHeader(3, Command.RegionRead, size, 0, 0)), []);
        var reply = await client.ReceiveAsync();
        Assert.Equal((3, errno), (reply.Header.Id, reply.Errno));
        await client.ExpectEndAsync();
        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task Every_command_with_a_payload_of_any_wrong_length_is_EINVAL_and_the_stream_stays_in_step()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        Command[] others = [Command.Version, Command.DeviceReset, Command.DeviceFeature, Command.RegionWriteMulti];
        foreach (var command in Enum.GetValues<Command>().Except(others))
        {
            foreach (var length in new[] { 0, 1, 3, 7, 15, 17, 23, 25, 31, 33, 100 })
            {
                var payload = new byte[length];
                payload.AsSpan().Fill(0x7f);
                Assert.Equal((command, length, Errno.EINVAL), (command, length, (await client.RequestAsync(command, payload)).Errno));
            }
        }

        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task Commands_that_there_are_not_and_types_that_are_none_are_EINVAL()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        foreach (var command in new Command[] { 0, (Command)14, (Command)19, (Command)0xffff, Command.DmaRead, Command.DmaWrite })
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(command, Read16)).Errno);
        for (var type = 2u; type < 16; type++)
        {
            client.Send(Command.RegionRead, Read16, flags: (MessageFlags)type);
            Assert.Equal(Errno.EINVAL, (await client.ReceiveAsync()).Errno);
        }

        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task Descriptors_that_no_command_takes_are_closed()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        using var memory = new ClientMemoryFile(4096, isSealed: true);
        await client.ExpectServedAsync();
        foreach (var command in Enum.GetValues<Command>())
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(command, Read16, memory.Fd, memory.Fd)).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceReset, [], [.. Enumerable.Repeat(memory.Fd, 16)])).Errno);

        // More than one message may bring: descriptors with both halves of a head.
        var head = TestClient.HeadOf(MessageHeader.Request(5, Command.DeviceReset, 0));
        client.Send(head[..8], [.. Enumerable.Repeat(memory.Fd, 12)]);
        client.Send(head[8..], [.. Enumerable.Repeat(memory.Fd, 12)]);
        Assert.Equal(Errno.EINVAL, (await client.ReceiveAsync()).Errno);

        // With the body, where nobody looks for them.
        var read = MessageHeader.Request(6, Command.RegionRead, 16);
        client.Send(TestClient.HeadOf(read), []);
        client.Send(Read16, [memory.Fd]);
        Assert.Equal(Errno.None, (await client.ReceiveAsync()).Errno);

        // Eventfds that are none, and fewer than the count.
        var assign = new VfioIrqSet(20, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 2, 0, 2);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceSetIrqs, assign, [], memory.Fd, memory.Fd)).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceSetIrqs, assign, [], memory.Fd)).Errno);
        await client.ExpectServedAsync();
        Assert.Equal(1, memory.Holds);
    }

    [Fact]
    public async Task SET_IRQS_that_cannot_be_is_EINVAL()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        const IrqSetFlags Trigger = IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger;
        foreach (var set in new VfioIrqSet[]
        {
            new(19, Trigger, 2, 0, 1), new(20, 0, 2, 0, 1), new(20, (IrqSetFlags)0x3f, 2, 0, 1), new(20, (IrqSetFlags)0x61, 2, 0, 1),
            new(20, Trigger, 5, 0, 1), new(20, Trigger, uint.MaxValue, 0, 1), new(20, Trigger, 2, 8, 1), new(20, Trigger, 2, 0, 9),
            new(20, Trigger, 2, uint.MaxValue, uint.MaxValue), new(20, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 2, 1, uint.MaxValue),
            new(20, IrqSetFlags.DataBool | IrqSetFlags.ActionTrigger, 2, 0, 1),
        })
            Assert.Equal((set, Errno.EINVAL), (set, (await client.RequestAsync(Command.DeviceSetIrqs, set)).Errno));
        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task An_eventfd_that_its_client_has_filled_up_holds_nobody_up()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        using var full = EventFd.Create();
        Fill(full);
        var assign = new VfioIrqSet(20, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, 3, 0, 1);
        Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceSetIrqs, assign, [], full.Number)).Errno);
        var trigger = new VfioIrqSet(20, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger, 3, 0, 1);
        Assert.Equal(Errno.None, (await client.RequestAsync(Command.DeviceSetIrqs, trigger)).Errno);
        await client.ExpectServedAsync();

        static unsafe void Fill(EventFd eventfd)
        {
            var most = ulong.MaxValue - 1;
            Assert.Equal(8, Libc.Write(eventfd, &most, 8));
        }
    }

    [Fact]
    public async Task Replies_that_nobody_asked_for_mean_nothing()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        foreach (var command in new[] { Command.DmaRead, Command.DmaWrite, Command.Version, (Command)0 })
            client.Send(command, new byte[100], flags: MessageFlags.Reply);
        client.Send(Command.DmaRead, [], flags: MessageFlags.Reply | MessageFlags.Error);
        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task A_client_may_end_in_the_middle_of_any_message()
    {
        await using var lab = await Lab.StartAsync();
        byte[] version = [.. TestClient.HeadOf(MessageHeader.Request(1, Command.Version, 4)), .. TestClient.VersionPayloadOf()];
        byte[] read = [.. TestClient.HeadOf(MessageHeader.Request(2, Command.RegionRead, 16)), .. Read16];
        for (var cut = 0; cut <= version.Length; cut++)
        {
            using var client = await lab.ConnectAsync();
            client.Send(version[..cut], []);
        }

        for (var cut = 0; cut <= read.Length; cut++)
        {
            using var client = await lab.ConnectAsync();
            Assert.Equal(Errno.None, (await client.RequestAsync(Command.Version, TestClient.VersionPayloadOf())).Errno);
            client.Send(read[..cut], []);
        }

        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task A_client_that_says_nothing_or_half_a_message_is_let_go_of()
    {
        var soon = TimeSpan.FromMilliseconds(200);
        var hasty = ServerOptions.Default with { HandshakeDeadline = soon, MessageDeadline = soon };
        await using var lab = await Lab.StartAsync(hasty);
        using (var silent = await lab.ConnectAsync())
            await silent.ExpectEndAsync();
        foreach (var bytes in new[] { 1, 15, 16, 20 })
        {
            using var half = await lab.OpenAsync();
            half.Send([.. TestClient.HeadOf(MessageHeader.Request(2, Command.RegionRead, 16)).Concat(Read16).Take(bytes)], []);
            await half.ExpectEndAsync();
        }

        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task A_client_that_is_idle_between_messages_is_served_on()
    {
        var soon = TimeSpan.FromMilliseconds(100);
        var hasty = ServerOptions.Default with { HandshakeDeadline = soon, MessageDeadline = soon };
        await using var lab = await Lab.StartAsync(hasty);
        using var client = await lab.OpenAsync();
        await client.ExpectServedAsync();
        await Task.Delay(500, TestContext.Current.CancellationToken);
        await client.ExpectServedAsync();
    }

    [Fact]
    public async Task A_client_that_never_reads_its_replies_is_let_go_of()
    {
        await using var lab = await Lab.StartAsync(ServerOptions.Default with { SendDeadline = TimeSpan.FromMilliseconds(300) });
        using var client = await lab.OpenAsync();
        client.Socket.SendTimeout = 5000;
        var access = TestClient.Bytes(new RegionAccessPayload(0, RegionIndex.Config, 4096));
        byte[] read = [.. TestClient.HeadOf(MessageHeader.Request(2, Command.RegionRead, 16)), .. access];
        // Until the sockets both ways are full, and then the server's patience is over.
        var over = Assert.Throws<SocketException>(new Action(() =>
        {
            while (true)
                client.Socket.Send(read);
        }));
        Assert.NotEqual(SocketError.TimedOut, over.SocketErrorCode);
        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task Ten_thousand_connects_leave_nothing_behind_and_disturb_nobody()
    {
        await using var lab = await Lab.StartAsync();
        using var served = await lab.OpenAsync();
        await served.ExpectServedAsync();
        var before = Sockets();
        for (var connected = 0; connected < 10_000; connected++)
        {
            using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            // As a client of libc does: it waits while the server's backlog is full.
            client.Connect(new UnixDomainSocketEndPoint(lab.Path));
            if (connected % 1000 == 0)
                await served.ExpectServedAsync();
        }

        await served.ExpectServedAsync();
        await DmaTests.UntilAsync(() => Task.FromResult(lab.Server.Connections == 1));
        await DmaTests.UntilAsync(() => Task.FromResult(Sockets() <= before));
    }

    [Fact]
    public async Task More_connections_than_are_looked_after_are_answered_EBUSY()
    {
        await using var lab = await Lab.StartAsync(ServerOptions.Default with { MaxConnections = 3 });
        var waiting = new List<TestClient>();
        for (var at = 0; at < 3; at++)
            waiting.Add(await lab.ConnectAsync());
        await DmaTests.UntilAsync(() => Task.FromResult(lab.Server.Connections == 3));
        using (var turnedAway = await lab.ConnectAsync())
        {
            var answer = await turnedAway.ReceiveAsync();
            Assert.Equal((Command.Version, Errno.EBUSY), (answer.Header.Command, answer.Errno));
            await turnedAway.ExpectEndAsync();
        }

        waiting.ForEach(static client => client.Dispose());
        await DmaTests.UntilAsync(() => Task.FromResult(lab.Server.Connections == 0));
        await lab.ExpectServesAsync();
    }

    /// <summary>Of this process. What the runtime has open beside them comes and goes as it likes.</summary>
    private static int Sockets() => Directory.GetFiles("/proc/self/fd")
        .Count(static fd => new FileInfo(fd).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true);
}
