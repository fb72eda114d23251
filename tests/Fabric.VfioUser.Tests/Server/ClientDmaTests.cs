using System.Net.Sockets;
using Akka.Actor;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>DMA_READ, DMA_WRITE and what goes with them, as hardware's own threads call for it.</summary>
public sealed class ClientDmaTests : IAsyncDisposable
{
    private const ulong Iova = 0x10_0000;
    private const uint MostBytes = 4096;

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("vu");
    private readonly CancellationTokenSource shutdown = new();
    private MessageConnection connection = null!;
    private ClientDma dma = null!;
    private ClientMemory memory = null!;
    private Task running = Task.CompletedTask;
    private Task receiving = Task.CompletedTask;

    [Fact]
    public async Task A_read_is_asked_of_the_client_piece_by_piece_as_large_as_it_takes()
    {
        using var client = await ConnectAsync();
        var read = Task.Run(() => Read(0x800, 10_000));
        for (var (at, left) = (0x800ul, 10_000ul); left > 0; at += MostBytes, left -= Math.Min(left, MostBytes))
        {
            var asked = await client.ReceiveAsync();
            var access = new DmaAccessPayload(Iova + at, Math.Min(left, MostBytes));
            Assert.Equal((Command.DmaRead, access), (asked.Header.Command, asked.As<DmaAccessPayload>()));
            Answer(client, asked, access, Enumerable.Repeat((byte)(at >> 8), (int)access.Count).ToArray());
        }

        var bytes = await read;
        Assert.Equal([0x08, 0x18, 0x28], [bytes![0], bytes[4096], bytes[9999]]);
    }

    [Fact]
    public async Task A_read_sees_the_writes_before_it_and_an_interrupt_comes_after_them()
    {
        using var client = await ConnectAsync();
        var interrupt = new Interrupt();
        Assert.True(memory.TryWrite(0, [1, 2, 3]));
        dma.Signal(interrupt);
        var read = Task.Run(() => Read(0, 3));
        var write = await client.ReceiveAsync();
        Assert.Equal((Command.DmaWrite, 3), (write.Header.Command, write.Payload.Length - 16));
        Assert.False(interrupt.IsSignalled);
        Answer(client, write, write.As<DmaAccessPayload>());
        var asked = await client.ReceiveAsync();
        Assert.Equal(Command.DmaRead, asked.Header.Command);
        Assert.True(interrupt.IsSignalled);
        Answer(client, asked, asked.As<DmaAccessPayload>(), [1, 2, 3]);
        Assert.Equal([1, 2, 3], await read);
        var direct = new Interrupt();
        await DmaTests.UntilAsync(() =>
        {
            dma.Signal(direct);
            return Task.FromResult(direct.IsSignalled);
        });
    }

    [Fact]
    public async Task Nothing_is_sent_while_a_request_is_unanswered()
    {
        using var client = await ConnectAsync();
        dma.Received();
        dma.Received();
        Assert.True(memory.TryWrite(0, [1]));
        dma.Answered();
        await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.Equal(0, client.Socket.Available);
        dma.Answered();
        Assert.Equal(Command.DmaWrite, (await client.ReceiveAsync()).Header.Command);
    }

    [Theory]
    [InlineData(MessageFlags.Reply | MessageFlags.Error, 3, 0)]
    [InlineData(MessageFlags.Reply, 2, 0)]
    [InlineData(MessageFlags.Reply, 4, 0)]
    [InlineData(MessageFlags.Reply, 3, 1)]
    public async Task An_error_or_an_answer_to_something_else_is_a_fault_of_the_device_and_no_more(MessageFlags flags, int bytes, int off)
    {
        using var client = await ConnectAsync();
        var read = Task.Run(() => Read(0, 3));
        var asked = await client.ReceiveAsync();
        byte[] payload = [.. TestClient.Bytes(new DmaAccessPayload(Iova + (ulong)off, 3)), .. new byte[bytes]];
        client.Send([.. TestClient.HeadOf(asked.Header.Answer(payload.Length) with { Flags = flags }), .. payload], []);
        Assert.Null(await read);
        Assert.False(connection.Ending.IsCancellationRequested);
    }

    [Fact]
    public async Task A_client_that_does_not_answer_in_time_is_let_go_of_and_the_device_waits_no_longer()
    {
        using var client = await ConnectAsync(TimeSpan.FromMilliseconds(200));
        Assert.Null(await Task.Run(() => Read(0, 3)));
        await DmaTests.UntilAsync(() => Task.FromResult(connection.Ending.IsCancellationRequested));
    }

    [Fact]
    public async Task An_actor_does_not_wait_for_a_client()
    {
        using var client = await ConnectAsync();
        using var system = ActorSystem.Create("dma", "akka.loglevel = WARNING");
        var reader = system.ActorOf(Props.Create(() => new Reader(memory)));
        Assert.False(await reader.Ask<bool>("read", TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken));
        Assert.Equal(0, client.Socket.Available);
    }

    [Fact]
    public async Task What_is_posted_is_bounded_and_what_is_unmapped_is_not_written_any_more()
    {
        using var client = await ConnectAsync();
        dma.Received();
        var posted = 0;
        while (memory.TryWrite(0, new byte[4096]))
            posted++;
        Assert.InRange(posted, 1500, 2048);
        memory.Dispose();
        Assert.False(memory.TryWrite(0, [1]));
        using var other = new ClientMemory(2 * Iova, Iova, dma);
        dma.Answered();
        await DmaTests.UntilAsync(() => Task.FromResult(other.TryWrite(0, [7])));
        Assert.Equal(2 * Iova, (await client.ReceiveAsync()).As<DmaAccessPayload>().Iova);
    }

    public async ValueTask DisposeAsync()
    {
        dma.Dispose();
        await shutdown.CancelAsync();
        await running;
        await receiving;
        connection.Dispose();
        shutdown.Dispose();
        folder.Delete(recursive: true);
    }

    private static void Answer(TestClient client, Received asked, DmaAccessPayload access, byte[]? data = null) => client.Send(
        [.. TestClient.HeadOf(asked.Header.Answer(16 + (data?.Length ?? 0))), .. TestClient.Bytes(access, data)], []);

    private byte[]? Read(ulong offset, int length)
    {
        var bytes = new byte[length];
        return memory.TryRead(offset, bytes) ? bytes : null;
    }

    private async Task<TestClient> ConnectAsync(TimeSpan? deadline = null)
    {
        var options = ServerOptions.Default with { DmaDeadline = deadline ?? TimeSpan.FromSeconds(20) };
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var path = Path.Combine(folder.FullName, "s");
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        var client = await TestClient.ConnectAsync(path);
        connection = new MessageConnection(await listener.AcceptAsync(TestContext.Current.CancellationToken), options, shutdown.Token);
        dma = new ClientDma(connection, MostBytes, options);
        memory = new ClientMemory(Iova, Iova, dma);
        running = dma.RunAsync();
        receiving = Task.Factory.StartNew(Receive, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        return client;
    }

    private void Receive()
    {
        try
        {
            var message = new Message();
            while (connection.Read(message, 1 << 20))
            {
                dma.Accept(message);
                message.Clear();
            }
        }
        catch (SocketException)
        {
            // The test is over.
        }
    }

    private sealed class Interrupt : IEventTarget
    {
        private volatile bool isSignalled;

        public bool IsSignalled => isSignalled;

        public void Signal() => isSignalled = true;
    }

    private sealed class Reader : ReceiveActor
    {
        public Reader(IDmaTarget memory) => ReceiveAny(_ => Sender.Tell(memory.TryRead(0, new byte[8])));
    }
}
