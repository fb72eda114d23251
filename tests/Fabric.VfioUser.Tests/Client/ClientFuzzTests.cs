using System.Diagnostics;
using Fabric.Devices.Hardware;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Client;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Tests.Server;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>
/// Servers that answer with random bytes, sizes, ids, errors, DMA of their own, or not at all. Every call of the client ends in time, with a value or
/// an error, and when all is over nothing is left of any of them.
/// </summary>
[Collection(Alone.Name)]
public sealed class ClientFuzzTests(ITestOutputHelper output)
{
    private const int Servers = 60;
    private const int CallsAServer = 60;

    private static readonly TimeSpan InTime = TimeSpan.FromSeconds(20);

    private static ClientOptions Impatient { get; } = ClientOptions.Default with
    {
        RequestDeadline = TimeSpan.FromMilliseconds(50),
        SlowDeadline = TimeSpan.FromMilliseconds(50),
        MessageDeadline = TimeSpan.FromMilliseconds(50),
    };

    [Fact]
    public async Task Whatever_a_server_says_each_call_ends_in_time_and_nothing_is_left_of_it()
    {
        var seed = FuzzRun.AnySeed;
        var servers = FuzzRun.Times(Servers);
        output.WriteLine($"{servers} servers; {FuzzRun.Again(seed)}");
        var random = new Random(seed);
        var threads = new LaneThreads();
        using var memory = new ClientMemoryFile(4096, isSealed: true);
        var (calls, good, reached) = (0, 0, 0);
        for (var number = 0; number < servers; number++)
        {
            var mischief = new Mischief(new Random(random.Next()), memory.Fd, oneIn: 1 << random.Next(2, 9));
            await using var server = new ScriptedServer(mischief.Answer);
            if (ServerConnection.Connect(server.Path, Impatient, threads) is not { IsOk: true, Value: var connection })
                continue;
            using (connection)
            {
                if (DeviceDescription.Read(connection) is not { IsOk: true, Value: var described })
                    continue;
                reached++;
                using var function = new VfioUserFunction(RemoteLab.Address, connection, described, threads);
                var migration = ((RemotePlatform)function.Platform).Migration;
                var space = new DmaMap();
                function.ConnectDma(space);
                for (var call = 0; call < CallsAServer; call++)
                {
                    var began = Stopwatch.GetTimestamp();
                    try
                    {
                        good += Call(function, migration, space, random) ? 1 : 0;
                    }
                    catch (Exception failed)
                    {
                        Assert.Fail($"After {calls} calls ({FuzzRun.Again(seed)}): {failed}");
                    }

                    Assert.True(Stopwatch.GetElapsedTime(began) < InTime, FuzzRun.Again(seed));
                    calls++;
                }
            }
        }

        output.WriteLine($"{calls} calls, {good} of them well, at {reached} servers.");
        await DmaTests.UntilAsync(() => Task.FromResult(memory.Holds == 1));
        Assert.True(reached > servers / 4 && good > calls / 20, $"The servers are too wild to reach anything; {FuzzRun.Again(seed)}");
    }

    private static bool Call(VfioUserFunction function, RemoteMigration migration, DmaMap space, Random random)
    {
        var data = new byte[random.Next(1, 5000)];
        switch (random.Next(14))
        {
            case 0:
                function.ReadConfig(random.Next(64), data.AsSpan(0, Math.Min(data.Length, 16)));
                return true;
            case 1:
                function.WriteConfig(random.Next(64), data.AsSpan(0, Math.Min(data.Length, 16)));
                return true;
            case 2:
                return function.WriteRegion(random.Next(6), (ulong)random.Next(4096), data).IsOk;
            case 3:
                return function.Reset(ResetMethod.DeviceSpecific).IsOk;
            case 4:
                return space.Map((ulong)random.Next(16) << 12, new HolderMemory(4096)).IsOk;
            case 5:
                return space.Unmap((ulong)random.Next(16) << 12).IsOk;
            case 6:
                return function.Interrupts.Allocate(IrqIndex.Msix, random.Next(1, 5)).IsOk;
            case 7:
                return function.Interrupts.Connect(random.Next(4), new Signals()).IsOk;
            case 8:
                function.Interrupts.Free();
                return true;
            case 9:
                return migration.GetFlags().IsOk;
            case 10:
                return migration.SetState((Vfio.Migration.MigrationState)random.Next(8)).IsOk;
            case 11:
                return migration.ReadData(data).IsOk;
            case 12:
                return migration.ReportLog(0, 1 << 20, 4096, data.AsSpan(0, Math.Min(data.Length, 32))).IsOk;
            default:
                return function.ReadRegion(random.Next(6), (ulong)random.Next(4096), data).IsOk;
        }
    }

    /// <summary>Answers as it should, but for one time in so many.</summary>
    private sealed class Mischief(Random random, int fd, int oneIn)
    {
        public bool? Answer(ScriptedServer.Talk talk, ScriptedServer.Asked asked)
        {
            if (asked.Header.IsReply || random.Next(oneIn) != 0)
                return asked.Header.IsReply;
            var payload = new byte[random.Next(8) switch { 0 => 0, 1 => 16, 2 => 32, 3 => random.Next(70_000), _ => random.Next(64) }];
            random.NextBytes(payload);
            var head = asked.Header.Answer(payload.Length);
            switch (random.Next(9))
            {
                case 0:
                    return true;
                case 1:
                    return null;
                case 2:
                    talk.Refuse(asked, (Errno)random.Next(200));
                    return true;
                case 3:
                    talk.Send([.. TestClient.HeadOf(head with { Id = (ushort)random.Next(1 << 16) }), .. payload]);
                    return true;
                case 4:
                    talk.Send([.. TestClient.HeadOf(head with { Size = (uint)random.NextInt64(uint.MaxValue) }), .. payload]);
                    return true;
                case 5:
                    talk.Send([.. TestClient.HeadOf(head with { Flags = (MessageFlags)random.Next(64) }), .. payload], fd);
                    return true;
                case 6:
                    talk.Send(Dma());
                    return false;
                case 7:
                    talk.Send(payload);
                    return true;
                default:
                    talk.Send([.. TestClient.HeadOf(head), .. payload], fd, fd);
                    return true;
            }
        }

        private byte[] Dma()
        {
            var data = random.Next(2) == 0 ? [] : new byte[random.Next(5000)];
            var command = data.Length > 0 ? Command.DmaWrite : Command.DmaRead;
            var access = new DmaAccessPayload((ulong)random.Next(1 << 16), (ulong)(random.Next(8) == 0 ? random.Next() : Math.Max(data.Length, 64)));
            var head = MessageHeader.Request((ushort)random.Next(1 << 16), command, 16 + data.Length);
            return [.. TestClient.HeadOf(head), .. TestClient.Bytes(access, data)];
        }
    }
}
