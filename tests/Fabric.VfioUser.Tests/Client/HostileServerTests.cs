using System.Diagnostics;
using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Client;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Tests.Server;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>
/// Servers that are broken or mean harm. Whatever they do, each call ends in time with an error that says why, and nothing of theirs is kept.
/// </summary>
[Collection(Alone.Name)]
public sealed class HostileServerTests
{
    /// <summary>On any machine: far beyond the deadline of <see cref="Impatient"/>, far below that of a hang.</summary>
    private static readonly TimeSpan InTime = TimeSpan.FromSeconds(20);

    private static readonly LaneThreads Threads = new();

    private static ClientOptions Impatient { get; } = ClientOptions.Default with
    {
        RequestDeadline = TimeSpan.FromMilliseconds(200),
        SlowDeadline = TimeSpan.FromMilliseconds(200),
        MessageDeadline = TimeSpan.FromMilliseconds(200),
    };

    /// <summary>A patient one: what is to be told at once must not be told by a deadline.</summary>
    private static ClientOptions Patient { get; } =
        ClientOptions.Default with { RequestDeadline = TimeSpan.FromMinutes(1), SlowDeadline = TimeSpan.FromMinutes(1) };

    public static TheoryData<Command> Commands { get; } =
    [
        Command.Version, Command.DeviceGetInfo, Command.DeviceGetRegionInfo, Command.DeviceGetIrqInfo, Command.RegionRead, Command.RegionWrite,
        Command.DeviceSetIrqs, Command.DmaMap, Command.DmaUnmap, Command.DeviceReset, Command.DeviceFeature, Command.MigDataRead,
        Command.MigDataWrite,
    ];

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task Silence_is_ETIMEDOUT_in_time_and_the_end(Command command)
    {
        await using var server = new ScriptedServer((_, asked) => asked.Header.Command == command);
        var began = Stopwatch.GetTimestamp();
        Assert.Equal(Errno.ETIMEDOUT, Use(server, command, Impatient).Errno);
        Assert.InRange(Stopwatch.GetElapsedTime(began), Impatient.RequestDeadline / 2, InTime);
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task A_server_that_hangs_up_is_EIO_at_once(Command command)
    {
        await using var server = new ScriptedServer((_, asked) => asked.Header.Command == command ? null : false);
        Assert.Equal(Broken.Closed, Use(server, command, Patient));
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task Half_an_answer_is_ETIMEDOUT_and_half_an_answer_and_the_end_is_EIO(Command command)
    {
        await using (var server = new ScriptedServer((talk, asked) => asked.Header.Command == command && Half(talk, asked)))
            Assert.Equal(Errno.ETIMEDOUT, Use(server, command, Impatient).Errno);
        await using (var server = new ScriptedServer((talk, asked) => asked.Header.Command == command && Half(talk, asked) ? null : false))
            Assert.Equal(Broken.Closed, Use(server, command, Patient));

        static bool Half(ScriptedServer.Talk talk, ScriptedServer.Asked asked)
        {
            talk.Send(TestClient.HeadOf(asked.Header.Answer(16))[..9]);
            return true;
        }
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task An_answer_of_another_id_or_command_or_size_is_EIO_and_the_end(Command command)
    {
        Func<MessageHeader, MessageHeader>[] lies =
        [
            static head => head with { Id = (ushort)(head.Id + 1) },
            static head => head with { Command = head.Command == Command.Version ? Command.DmaMap : Command.Version },
            static head => head with { Size = 15 },
            static head => head with { Size = 0 },
            static head => head with { Size = uint.MaxValue },
            static head => head with { Size = 16 + (1 << 20) + 65 },
            static head => head with { Flags = (MessageFlags)7 },
            static head => head with { Flags = MessageFlags.Command },
        ];
        foreach (var lie in lies)
        {
            await using var server = new ScriptedServer((talk, asked) =>
            {
                if (asked.Header.Command != command)
                    return false;
                talk.Send(TestClient.HeadOf(lie(asked.Header.Answer(0))));
                return true;
            });
            Assert.Equal(Errno.EIO, Use(server, command, Patient).Errno);
        }
    }

    [Fact]
    public async Task What_a_connection_ended_with_is_told_at_once_to_who_asks_later()
    {
        await using var server = new ScriptedServer(static (_, asked) => asked.Header.Command == Command.DeviceReset);
        using var function = Open(server, Impatient).Value;
        Assert.Equal(Broken.Silent, function.Reset(ResetMethod.DeviceSpecific).Error);
        var config = new byte[4];
        var began = Stopwatch.GetTimestamp();
        for (var at = 0; at < 100; at++)
        {
            function.ReadConfig(0, config);
            Assert.Equal([0xff, 0xff, 0xff, 0xff], config);
            Assert.Equal(Broken.Silent, function.ReadRegion(0, 0, config).Error);
        }

        Assert.True(Stopwatch.GetElapsedTime(began) < Impatient.RequestDeadline * 50);
    }

    [Theory]
    [InlineData(16u, Errno.EBUSY)]
    [InlineData(0u, Errno.EIO)]
    [InlineData(uint.MaxValue, Errno.EIO)]
    public async Task A_refusal_has_its_errno_and_may_repeat_the_request(uint told, Errno errno)
    {
        await using var server = new ScriptedServer((talk, asked) =>
        {
            if (asked.Header.Command != Command.RegionWrite)
                return false;
            var head = asked.Header.Answer(24) with { Flags = MessageFlags.Reply | MessageFlags.Error, Error = told };
            talk.Send([.. TestClient.HeadOf(head), .. new byte[24]]);
            return true;
        });
        using var function = Open(server, Patient).Value;
        Assert.Equal(errno, function.WriteRegion(0, 0, new byte[64]).Error.Errno);
        Assert.True(function.ReadRegion(0, 0, new byte[4]).IsOk);
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task Less_than_was_asked_for_is_no_answer(Command command)
    {
        // Of these nothing is to be read: they are carried out, or not.
        if (command is Command.DeviceSetIrqs or Command.DmaMap or Command.DmaUnmap or Command.DeviceReset or Command.MigDataWrite)
            return;
        await using var server = new ScriptedServer((talk, asked) =>
        {
            if (asked.Header.Command == command)
                talk.Answer(asked, [0, 0, 0]);
            return asked.Header.Command == command;
        });
        Assert.Equal(Errno.EIO, Use(server, command, Patient).Errno);
    }

    [Fact]
    public async Task Regions_and_interrupts_that_a_server_refuses_are_those_that_its_device_does_not_have()
    {
        await using var server = new ScriptedServer(static (talk, asked) =>
        {
            var isRefused = asked.Header.Command == Command.DeviceGetIrqInfo
                || (asked.Header.Command == Command.DeviceGetRegionInfo && ScriptedServer.Read<VfioRegionInfo>(asked).Index != RegionIndex.Config);
            if (isRefused)
                talk.Refuse(asked, Errno.EINVAL);
            return isRefused;
        });
        using var function = Open(server, Patient).Value;
        Assert.All(function.Bars, static bar => Assert.Equal(PciBar.None, bar));
        Assert.False(function.Interrupts.HasLine);
        Assert.Equal(Errno.ENODEV, function.Interrupts.Allocate(IrqIndex.Msix, 1).Error.Errno);
    }

    [Fact]
    public async Task A_config_space_that_a_server_refuses_is_EINVAL_and_no_device()
    {
        await using var server = new ScriptedServer(static (talk, asked) =>
        {
            if (asked.Header.Command == Command.DeviceGetRegionInfo)
                talk.Refuse(asked, Errno.EINVAL);
            return asked.Header.Command == Command.DeviceGetRegionInfo;
        });
        Assert.Equal(Errno.EINVAL, Open(server, Patient).Error.Errno);
    }

    [Fact]
    public async Task Descriptors_that_come_with_any_answer_are_closed()
    {
        using var memory = new ClientMemoryFile(4096, isSealed: true);
        await using var server = new ScriptedServer((talk, asked) =>
        {
            if (asked.Header.Command != Command.RegionRead)
                return false;
            var read = ScriptedServer.Read<RegionAccessPayload>(asked);
            talk.Answer(asked, TestClient.Bytes(read, new byte[read.Count]), [.. Enumerable.Repeat(memory.Fd, 16)]);
            return true;
        });
        using var function = Open(server, Patient).Value;
        for (var at = 0; at < 50; at++)
            Assert.True(function.ReadRegion(0, 0, new byte[4]).IsOk);
        Assert.Equal(1, memory.Holds);
    }

    public static TheoryData<string> Devices { get; } =
    [
        "no PCI", "few regions", "many regions", "few interrupts", "many interrupts", "short config", "odd BAR", "tiny BAR", "huge 32-bit BAR",
        "64-bit BAR 5", "64-bit BAR without second half", "33 MSI vectors",
    ];

    [Theory]
    [MemberData(nameof(Devices))]
    public async Task A_device_that_cannot_be_is_EINVAL_and_no_device(string what)
    {
        await using var server = new ScriptedServer((talk, asked) => Describe(talk, asked, what));
        var opened = Open(server, Patient);
        Assert.Equal(Errno.EINVAL, opened.Error.Errno);
    }

    [Fact]
    public async Task DMA_that_is_not_mapped_is_refused_and_that_which_is_longer_than_may_be_is_the_end()
    {
        var refused = new TaskCompletionSource<Errno>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = new ScriptedServer((talk, asked) =>
        {
            if (asked.Header is { Command: Command.DmaRead, IsReply: true })
            {
                refused.TrySetResult((Errno)asked.Header.Error);
                talk.Send(Dma(Command.DmaRead, 0x1000, (1 << 20) + 1));
                return true;
            }

            if (asked.Header.Command == Command.DeviceReset)
                talk.Send(Dma(Command.DmaRead, 0x5000, 4));
            return false;
        });
        using var function = Open(server, Patient).Value;
        var space = new DmaMap();
        function.ConnectDma(space);
        Assert.True(space.Map(0x1000, new HolderMemory(4096)).IsOk);
        Assert.True(function.Reset(ResetMethod.DeviceSpecific).IsOk);
        Assert.Equal(Errno.EFAULT, await refused.Task.WaitAsync(InTime, TestContext.Current.CancellationToken));
        await DmaTests.UntilAsync(() => Task.FromResult(function.ReadRegion(0, 0, new byte[4]).Error == Broken.NoMessage));
    }

    [Fact]
    public async Task DMA_that_does_not_wait_for_its_answers_is_the_end()
    {
        // Left to the collector: what was asked may be answered after this test.
        var gate = new ManualResetEventSlim();
        await using var server = new ScriptedServer((talk, asked) =>
        {
            for (var at = 0; asked.Header.Command == Command.DeviceReset && at < 100; at++)
                talk.Send(Dma(Command.DmaRead, 0x1000, 4));
            return false;
        });
        using var function = Open(server, Patient).Value;
        var space = new DmaMap();
        function.ConnectDma(space);
        Assert.True(space.Map(0x1000, new SlowMemory(gate)).IsOk);
        Assert.Equal(Broken.TooMuchDma, function.Reset(ResetMethod.DeviceSpecific).Error);
        gate.Set();
    }

    [Fact]
    public async Task A_mapping_that_the_server_refuses_is_not_mapped_here_either()
    {
        await using var server = new ScriptedServer(static (talk, asked) =>
        {
            if (asked.Header.Command == Command.DmaMap)
                talk.Refuse(asked, Errno.ENOSPC);
            return asked.Header.Command == Command.DmaMap;
        });
        using var function = Open(server, Patient).Value;
        var space = new DmaMap();
        function.ConnectDma(space);
        Assert.Equal(Errno.ENOSPC, space.Map(0x1000, new HolderMemory(4096)).Error.Errno);
        Assert.Equal((0, Errno.ENOENT), (space.Count, space.Unmap(0x1000).Error.Errno));
        Assert.True(function.ReadRegion(0, 0, new byte[4]).IsOk);
    }

    [Fact]
    public async Task A_server_that_does_not_unmap_is_not_spoken_to_any_more()
    {
        await using var server = new ScriptedServer(static (talk, asked) =>
        {
            if (asked.Header.Command == Command.DmaUnmap)
                talk.Refuse(asked, Errno.EBUSY);
            return asked.Header.Command == Command.DmaUnmap;
        });
        using var function = Open(server, Patient).Value;
        var space = new DmaMap();
        function.ConnectDma(space);
        Assert.True(space.Map(0x1000, new HolderMemory(4096)).IsOk);
        Assert.True(space.Unmap(0x1000).IsOk);
        Assert.Equal(Errno.EBUSY, function.ReadRegion(0, 0, new byte[4]).Error.Errno);
    }

    /// <summary>Comes as far as a command, and uses it. What it fails with, or what the server was not reached for.</summary>
    private static VfioError Use(ScriptedServer server, Command command, ClientOptions options)
    {
        var connected = ServerConnection.Connect(server.Path, options, Threads);
        if (!connected.IsOk)
            return connected.Error;
        using var connection = connected.Value;
        var described = DeviceDescription.Read(connection);
        if (!described.IsOk)
            return described.Error;
        using var function = new VfioUserFunction(RemoteLab.Address, connection, described.Value, Threads);
        var migration = ((RemotePlatform)function.Platform).Migration;
        var space = new DmaMap();
        switch (command)
        {
            case Command.RegionWrite:
                return function.WriteRegion(0, 0, new byte[4]).Error;
            case Command.DeviceSetIrqs:
                return function.Interrupts.Allocate(IrqIndex.Msix, 2).Error;
            case Command.DmaMap:
                function.ConnectDma(space);
                return space.Map(0x1000, new HolderMemory(4096)).Error;
            case Command.DmaUnmap:
                function.ConnectDma(space);
                Assert.True(space.Map(0x1000, new HolderMemory(4096)).IsOk);
                function.ConnectDma(null);
                return function.ReadRegion(0, 0, new byte[4]).Error;
            case Command.DeviceReset:
                return function.Reset(ResetMethod.DeviceSpecific).Error;
            case Command.DeviceFeature:
                return migration.GetState().Error;
            case Command.MigDataRead:
                return migration.ReadData(new byte[64]).Error;
            case Command.MigDataWrite:
                return migration.WriteData(new byte[64]).Error;
            default:
                throw new InvalidOperationException($"{command} should have failed before.");
        }
    }

    private static VfioResult<VfioUserFunction> Open(ScriptedServer server, ClientOptions options)
    {
        var connection = ServerConnection.Connect(server.Path, options, Threads).Value;
        var described = DeviceDescription.Read(connection);
        if (described.IsOk)
            return new VfioUserFunction(RemoteLab.Address, connection, described.Value, Threads);
        connection.Dispose();
        return described.Error;
    }

    private static byte[] Dma(Command command, ulong iova, ulong count) =>
        [.. TestClient.HeadOf(MessageHeader.Request(1, command, 16)), .. TestClient.Bytes(new DmaAccessPayload(iova, count))];

    private static bool Describe(ScriptedServer.Talk talk, ScriptedServer.Asked asked, string what)
    {
        switch (asked.Header.Command)
        {
            case Command.DeviceGetInfo:
                var info = new DeviceInfoPayload(16, DeviceFlags.Pci, 9, 5);
                talk.Answer(asked, TestClient.Bytes(what switch
                {
                    "no PCI" => info with { Flags = DeviceFlags.Reset },
                    "few regions" => info with { Regions = 7 },
                    "many regions" => info with { Regions = 101 },
                    "few interrupts" => info with { Irqs = 2 },
                    "many interrupts" => info with { Irqs = 51 },
                    _ => info,
                }));
                return true;
            case Command.DeviceGetRegionInfo:
                var region = ScriptedServer.Read<VfioRegionInfo>(asked);
                talk.Answer(asked, TestClient.Bytes(region with { Size = SizeOf(what, region.Index) }));
                return true;
            case Command.DeviceGetIrqInfo when what == "33 MSI vectors":
                talk.Answer(asked, TestClient.Bytes(ScriptedServer.Read<VfioIrqInfo>(asked) with { Count = 33 }));
                return true;
            case Command.RegionRead:
                var read = ScriptedServer.Read<RegionAccessPayload>(asked);
                var header = new byte[read.Count];
                if (what.StartsWith("64-bit", StringComparison.Ordinal))
                    header[ConfigOffset.Bar0] = header[ConfigOffset.Bar0 + 20] = 4;
                talk.Answer(asked, TestClient.Bytes(read, header));
                return true;
            default:
                return false;
        }
    }

    private static ulong SizeOf(string what, uint region) => (what, region) switch
    {
        ("short config", RegionIndex.Config) => 255,
        ("odd BAR", 0) => 12 << 10,
        ("tiny BAR", 0) => 2,
        ("huge 32-bit BAR", 0) => 1UL << 32,
        ("64-bit BAR 5", 5) => 4096,
        ("64-bit BAR without second half", 0 or 1) => 4096,
        (_, RegionIndex.Config) => 4096,
        _ => 0,
    };

    /// <summary>Memory that answers when it is let.</summary>
    private sealed class SlowMemory(ManualResetEventSlim gate) : IDmaTarget
    {
        public ulong Length => 4096;

        public bool TryRead(ulong offset, Span<byte> destination) => gate.Wait(InTime, CancellationToken.None);

        public bool TryWrite(ulong offset, ReadOnlySpan<byte> source) => gate.Wait(InTime, CancellationToken.None);
    }
}
