using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>
/// Random messages at a whole device. Of a stream whose messages have true sizes every request is answered, in its order and with its own id and
/// command; of any other stream the connection may end. Afterwards the device is served as before, and the server holds nothing of it all.
/// </summary>
[Collection(Alone.Name)]
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const int Messages = 40_000;
    private const int MessagesAConnection = 500;

    /// <summary>A connection that is not through by then hangs, on any machine.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static readonly ulong[] Edges =
        [0, 1, 7, 8, 16, 0xfff, 0x1000, 0x4000_0000, 1 << 20, int.MaxValue, uint.MaxValue, ulong.MaxValue - 0xfff, ulong.MaxValue];

    [Fact]
    public async Task Any_messages_are_answered_one_by_one_or_end_the_connection_and_leave_nothing_behind()
    {
        var seed = FuzzRun.AnySeed;
        var messages = FuzzRun.Times(Messages);
        output.WriteLine($"{messages} messages; {FuzzRun.Again(seed)}");
        var random = new Random(seed);
        await using var lab = await Lab.AcceleratorAsync(ServerOptions.Default with { DmaDeadline = TimeSpan.FromMilliseconds(500) });
        using var memory = new ClientMemoryFile(1 << 20, isSealed: true);
        using var eventfd = EventFd.Create();
        await lab.ExpectServesAsync();
        var (began, done, answered, answeredWell) = (Stopwatch.GetTimestamp(), 0, 0, 0);
        while (done < messages)
        {
            try
            {
                var (sent, received, good) = await ConverseAsync(lab, random, memory.Fd, eventfd.Number);
                (done, answered, answeredWell) = (done + sent, answered + received, answeredWell + good);
            }
            catch (Exception failed) when (failed is not SocketException)
            {
                Assert.Fail($"After {done} messages ({FuzzRun.Again(seed)}): {failed}");
            }
        }

        output.WriteLine($"{answered} answers, {answeredWell} of them no errors, in {Stopwatch.GetElapsedTime(began).TotalSeconds:F1} s.");
        await lab.ExpectServesAsync();
        await DmaTests.UntilAsync(() => Task.FromResult(lab.Server.Connections == 0 && memory.Holds == 1));
        Assert.True(answeredWell > messages / 50, "Next to nothing was carried out: the messages are too wild to reach anything.");
    }

    /// <summary>One connection: messages with true sizes, and (one connection in four) bytes that are not even that at its end.</summary>
    private static async Task<(int Sent, int Answered, int Good)> ConverseAsync(Lab lab, Random random, int memory, int eventfd)
    {
        using var client = await lab.OpenAsync();
        using var deadline = new CancellationTokenSource(Patience);
        var expected = new Queue<MessageHeader>();
        var (answered, good) = (0, 0);
        for (var sent = 0; sent < MessagesAConnection;)
        {
            for (var burst = random.Next(1, 12); burst > 0; burst--, sent++)
            {
                var (header, payload, fds) = AnyMessage(random, memory, eventfd);
                client.Send([.. TestClient.HeadOf(header), .. payload], fds);
                if (header.IsReply)
                    continue;
                if (header.WantsReply)
                    expected.Enqueue(header);
            }

            while (expected.Count > 0)
            {
                var received = await client.ReceiveAsync().WaitAsync(deadline.Token);
                if (received.Header.IsCommand)
                {
                    client.Send(TestClient.HeadOf(received.Header.Refusal(Errno.EFAULT)), []);
                    continue;
                }

                var request = expected.Dequeue();
                Assert.Equal((request.Id, request.Command), (received.Header.Id, received.Header.Command));
                answered++;
                good += received.Errno == Errno.None ? 1 : 0;
            }
        }

        if (random.Next(4) == 0)
        {
            var noise = new byte[random.Next(1, 5000)];
            random.NextBytes(noise);
            client.Send(noise, []);
        }

        return (MessagesAConnection, answered, good);
    }

    private static (MessageHeader Header, byte[] Payload, int[] Fds) AnyMessage(Random random, int memory, int eventfd)
    {
        var command = random.Next(20) == 0 ? (Command)random.Next(0, 40) : (Command)random.Next(2, 19);
        var payload = random.Next(10) == 0 ? Noise(random, random.Next(0, 80)) : Plausible(random, command);
        if (random.Next(8) == 0 && payload.Length > 0)
            payload[random.Next(payload.Length)] ^= (byte)(1 << random.Next(8));
        var flags = random.Next(12) switch
        {
            0 => MessageFlags.NoReply,
            1 => MessageFlags.Reply,
            2 => (MessageFlags)random.Next(16) & ~MessageFlags.Reply,
            _ => MessageFlags.Command,
        };
        int[] fds = command switch
        {
            Command.DmaMap when random.Next(2) == 0 => [memory],
            Command.DeviceSetIrqs when random.Next(2) == 0 => [.. Enumerable.Repeat(eventfd, random.Next(1, 4))],
            _ => random.Next(30) == 0 ? [.. Enumerable.Repeat(memory, random.Next(1, 17))] : [],
        };
        var size = (uint)(MessageHeader.Bytes + payload.Length);
        return (new MessageHeader((ushort)random.Next(4), command, size, flags, (uint)random.Next(3)), payload, fds);
    }

    private static byte[] Plausible(Random random, Command command) => command switch
    {
        Command.DmaMap => TestClient.Bytes(new DmaMapPayload(32, (MapFlags)random.Next(1, 4), Page(random), Iova(random), Page(random))),
        Command.DmaUnmap => TestClient.Bytes(
            new DmaUnmapPayload(24, (UnmapFlags)(random.Next(3) & 2), random.Next(3) == 0 ? 0 : Iova(random), Page(random))),
        Command.DeviceGetInfo => TestClient.Bytes(new DeviceInfoPayload(16, 0, 0, 0)),
        Command.DeviceGetRegionInfo => TestClient.Bytes(new VfioRegionInfo((uint)random.Next(30, 200), 0, (uint)random.Next(12), 0, 0, 0)),
        Command.DeviceGetRegionIoFds => TestClient.Bytes(new RegionIoFdsPayload(16, 0, (uint)random.Next(12), 0)),
        Command.DeviceGetIrqInfo => TestClient.Bytes(new VfioIrqInfo(16, 0, (uint)random.Next(7), 0)),
        Command.DeviceSetIrqs => TestClient.Bytes(
            new VfioIrqSet(20, AnyIrqFlags(random), (uint)random.Next(6), (uint)random.Next(3), (uint)random.Next(4))),
        Command.RegionRead => TestClient.Bytes(new RegionAccessPayload(Number(random), (uint)random.Next(10), (uint)random.Next(0, 300))),
        Command.RegionWrite => Write(random),
        Command.RegionWriteMulti => Multi(random),
        Command.DeviceReset => [],
        Command.DeviceFeature => Feature(random),
        Command.MigDataRead => TestClient.Bytes(new MigDataPayload((uint)random.Next(0, 9000), (uint)random.Next(0, 8000))),
        Command.MigDataWrite => TestClient.Bytes(new MigDataPayload(108, 100), Noise(random, 100)),
        _ => Noise(random, random.Next(0, 80)),
    };

    private static byte[] Write(Random random)
    {
        var data = Noise(random, random.Next(0, 64));
        return TestClient.Bytes(new RegionAccessPayload(Number(random), (uint)random.Next(10), (uint)data.Length), data);
    }

    private static byte[] Multi(Random random)
    {
        var count = random.Next(0, 6);
        return
        [
            .. BitConverter.GetBytes((ulong)(count + (random.Next(8) == 0 ? 1 : 0))),
            .. Enumerable.Range(0, count).SelectMany(_ => TestClient.Bytes(
                new WriteMultiEntry(Number(random), (uint)random.Next(9), (uint)random.Next(0, 10), (ulong)random.NextInt64()))),
        ];
    }

    private static byte[] Feature(Random random)
    {
        var head = new VfioDeviceFeature((uint)random.Next(0, 200), (uint)random.Next(0, 15) | ((uint)random.Next(1, 8) << 16));
        return TestClient.Bytes(head, random.Next(5) switch
        {
            0 => TestClient.Bytes(new DeviceStatePayload((Fabric.Vfio.Migration.MigrationState)random.Next(0, 9), -1)),
            1 => TestClient.Bytes(
                new LoggingStartPayload(4096, 1, 0), TestClient.Bytes(new VfioDeviceFeatureDmaLoggingRange(Iova(random), Page(random)))),
            2 => TestClient.Bytes(new LoggingReportPayload(Iova(random), Page(random), 4096)),
            3 => [],
            _ => Noise(random, random.Next(0, 40)),
        });
    }

    private static IrqSetFlags AnyIrqFlags(Random random) => (IrqSetFlags)((1 << random.Next(3)) | (8 << random.Next(3)));

    private static ulong Iova(Random random) => 0x4000_0000 + ((ulong)random.Next(0, 16) * 4096);

    private static ulong Page(Random random) => random.Next(12) == 0 ? Edges[random.Next(Edges.Length)] : (ulong)random.Next(0, 8) * 4096;

    private static ulong Number(Random random) => random.Next(12) == 0 ? Edges[random.Next(Edges.Length)] : (ulong)random.Next(0, 4096);

    private static byte[] Noise(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }
}
