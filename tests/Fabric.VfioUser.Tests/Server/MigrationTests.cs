using Fabric.Hardware.Specs.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>Features, migration v2 between two servers under a client that drives it, and the log of DMA.</summary>
public sealed class MigrationTests
{
    private const ulong Iova = 0x4000_0000;
    private const int Memory = 64 << 10;

    [Fact]
    public async Task State_moves_from_one_server_to_another_byte_for_byte()
    {
        await using var source = await Lab.AcceleratorAsync();
        await using var target = await Lab.AcceleratorAsync();
        using var from = await source.OpenAsync();
        using var to = await target.OpenAsync();
        using var memory = new ClientMemoryFile(Memory, isSealed: true);
        await DmaTests.MapAsync(from, Iova, 0, Memory, memory.Fd);
        await DmaTests.MapAsync(to, Iova, 0, Memory, memory.Fd);
        // Config space is not the device's state: its client gives it to the target, as a VMM does.
        await to.WriteAsync(RegionIndex.Config, 4, 6, 0);
        await DmaTests.RunEngineAsync(from, pace: 10_000);
        await DmaTests.StepsAsync(from, atLeast: 100);

        Assert.Equal(Errno.None, await SetAsync(from, MigrationState.PreCopy));
        Assert.Equal(Errno.None, await SetAsync(to, MigrationState.Resuming));
        // The engine writes all the while, and may be faster than this client reads: some is left for the stop.
        var moved = await MoveAsync(from, to, chunk: 64 << 10, enough: 2 << 20);
        Assert.Equal(Errno.None, await SetAsync(from, MigrationState.StopCopy));
        moved += await MoveAsync(from, to, chunk: 1 << 20);
        Assert.True(moved >= 1 << 20);
        Assert.Equal(Errno.None, await SetAsync(from, MigrationState.Stop));
        Assert.Equal(MigrationState.Stop, await GetAsync(from));
        var (steps, digest) = await CountersAsync(from);
        Assert.Equal(Errno.None, await SetAsync(to, MigrationState.Stop));
        Assert.Equal((steps, digest), await CountersAsync(to));
        Assert.Equal(Errno.None, await SetAsync(to, MigrationState.Running));
        await DmaTests.StepsAsync(to, atLeast: steps + 1);
        Assert.True(steps >= 100);
    }

    [Fact]
    public async Task Data_without_a_stream_or_beyond_bounds_is_EINVAL()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataRead, new MigDataPayload(4104, 4096))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataWrite, new MigDataPayload(12, 4), new byte[4])).Errno);
        Assert.Equal(Errno.None, await SetAsync(client, MigrationState.StopCopy));
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataRead, new MigDataPayload(4103, 4096))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataRead, new MigDataPayload(uint.MaxValue, uint.MaxValue))).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataRead, new byte[7])).Errno);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataWrite, new MigDataPayload(12, 4), new byte[4])).Errno);
        var read = await client.RequestAsync(Command.MigDataRead, new MigDataPayload(4104, 4096));
        Assert.Equal((new MigDataPayload(4104, 4096), 4104), (read.As<MigDataPayload>(), read.Payload.Length));
        Assert.Equal(Errno.None, await SetAsync(client, MigrationState.Stop));
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataRead, new MigDataPayload(4104, 4096))).Errno);
        Assert.Equal(Errno.None, await SetAsync(client, MigrationState.Resuming));
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.MigDataWrite, new MigDataPayload(12, 5), new byte[4])).Errno);
    }

    [Fact]
    public async Task A_state_that_is_cut_short_is_not_obeyed()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        var head = VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, FeatureOps.Set, 8);
        for (var bytes = 0; bytes < 8; bytes++)
        {
            var cut = new byte[bytes];
            cut.AsSpan().Fill(1);
            Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.DeviceFeature, head, cut)).Errno);
        }

        Assert.Equal(Errno.EINVAL, await SetAsync(client, (MigrationState)99));
        Assert.Equal(MigrationState.Running, await GetAsync(client));
    }

    [Fact]
    public async Task Features_are_probed_and_what_there_is_not_is_ENOTTY()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        const FeatureOps Both = FeatureOps.Get | FeatureOps.Set | FeatureOps.Probe;
        Assert.Equal(Errno.None, await ProbeAsync(client, DeviceFeature.Migration, FeatureOps.Get | FeatureOps.Probe));
        Assert.Equal(Errno.EINVAL, await ProbeAsync(client, DeviceFeature.Migration, Both));
        Assert.Equal(Errno.None, await ProbeAsync(client, DeviceFeature.MigDeviceState, Both));
        Assert.Equal(Errno.None, await ProbeAsync(client, DeviceFeature.DmaLoggingStart, FeatureOps.Set | FeatureOps.Probe));
        Assert.Equal(Errno.None, await ProbeAsync(client, DeviceFeature.DmaLoggingReport, FeatureOps.Probe));
        Assert.Equal(Errno.ENOTTY, await ProbeAsync(client, (DeviceFeature)999, FeatureOps.Probe));
        Assert.Equal(Errno.ENOTTY, await ProbeAsync(client, DeviceFeature.PciVfToken, FeatureOps.Probe));
        Assert.Equal(Errno.EINVAL, await ProbeAsync(client, DeviceFeature.Migration, FeatureOps.Get | FeatureOps.Set));
        Assert.Equal(Errno.EINVAL, await ProbeAsync(client, DeviceFeature.Migration, FeatureOps.None));
        var flags = await client.RequestAsync(Command.DeviceFeature, new VfioDeviceFeature(16, (uint)DeviceFeature.Migration | (uint)FeatureOps.Get));
        Assert.Equal(16u, flags.As<VfioDeviceFeature>().Argsz);
        Assert.True(((MigrationFlags)BitConverter.ToUInt64(flags.Payload, 8) & MigrationFlags.StopCopy) != 0);
    }

    [Fact]
    public async Task A_device_without_migration_says_so()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(Errno.ENOTTY, await ProbeAsync(client, DeviceFeature.Migration, FeatureOps.Get | FeatureOps.Probe));
        Assert.Equal(Errno.ENOTTY, await SetAsync(client, MigrationState.Stop));
        Assert.Equal(Errno.ENOTTY, await ProbeAsync(client, DeviceFeature.DmaLoggingStart, FeatureOps.Set | FeatureOps.Probe));
    }

    [Fact]
    public async Task The_log_of_DMA_tells_what_the_engine_wrote_and_reading_clears_it()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        using var memory = new ClientMemoryFile(Memory, isSealed: true);
        await DmaTests.MapAsync(client, Iova, 0, Memory, memory.Fd);
        Assert.Equal(Errno.EINVAL, (await ReportAsync(client, Iova, Memory)).Errno);
        Assert.Equal(Errno.None, await StartAsync(client, (Iova, Memory)));
        Assert.Equal(Errno.EINVAL, await StartAsync(client, (Iova, Memory)));
        await DmaTests.RunEngineAsync(client, pace: 1000);
        await DmaTests.StepsAsync(client, atLeast: 10);
        await DmaTests.StopEngineAsync(client);
        // The head is in the first page, 64 slots of 32 bytes are in the second: asked for in two parts, and out of order.
        Assert.Equal(0b0UL, Bitmap(await ReportAsync(client, Iova + 8192, Memory - 8192)));
        Assert.Equal(0b11UL, Bitmap(await ReportAsync(client, Iova, 8192)));
        Assert.Equal(0UL, Bitmap(await ReportAsync(client, Iova, Memory)));
        // Nobody watched what lies outside.
        Assert.Equal(0b1_0000_0000_0000_0001UL, Bitmap(await ReportAsync(client, Iova - 4096, Memory + 4096)) | 0b1_0000_0000_0000_0000UL);
        Assert.Equal(Errno.EINVAL, (await ReportAsync(client, Iova, Memory, pageSize: 4097)).Errno);
        Assert.Equal(Errno.EINVAL, (await ReportAsync(client, Iova, 0)).Errno);
        Assert.Equal(Errno.EINVAL, (await ReportAsync(client, 0, 1UL << 60)).Errno);
        Assert.Equal(Errno.EOVERFLOW, (await ReportAsync(client, ulong.MaxValue - 4095, 8192)).Errno);
        var stop = VfioDeviceFeature.Of(DeviceFeature.DmaLoggingStop, FeatureOps.Set, 0);
        Assert.Equal(stop, (await client.RequestAsync(Command.DeviceFeature, stop)).As<VfioDeviceFeature>());
        Assert.Equal(Errno.EINVAL, (await ReportAsync(client, Iova, Memory)).Errno);
        Assert.Equal(Errno.None, await StartAsync(client));
    }

    [Fact]
    public async Task A_start_that_lies_about_its_ranges_is_refused()
    {
        await using var lab = await Lab.AcceleratorAsync();
        using var client = await lab.OpenAsync();
        Assert.Equal(Errno.EINVAL, await StartAsync(client, (Iova, 4095)));
        Assert.Equal(Errno.EINVAL, await StartAsync(client, (Iova, 0)));
        Assert.Equal(Errno.EOVERFLOW, await StartAsync(client, (ulong.MaxValue - 4095, 8192)));
        Assert.Equal(Errno.EINVAL, await StartAsync(client));
        Assert.Equal(Errno.E2BIG, await StartAsync(client, TestClient.Bytes(new LoggingStartPayload(4096, uint.MaxValue, 0))));
        Assert.Equal(Errno.EINVAL, await StartAsync(client, TestClient.Bytes(new LoggingStartPayload(4096, 2, 0))));
        Assert.Equal(Errno.EINVAL, await StartAsync(client, TestClient.Bytes(new LoggingStartPayload(4097, 0, 0))));
    }

    private static async Task<Errno> SetAsync(TestClient client, MigrationState state)
    {
        var head = VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, FeatureOps.Set, 8);
        return (await client.RequestAsync(Command.DeviceFeature, head, TestClient.Bytes(new DeviceStatePayload(state, -1)))).Errno;
    }

    private static async Task<MigrationState> GetAsync(TestClient client)
    {
        var reply = await client.RequestAsync(Command.DeviceFeature, VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, FeatureOps.Get, 8));
        Assert.Equal((16u, 16, -1), (reply.As<VfioDeviceFeature>().Argsz, reply.Payload.Length, BitConverter.ToInt32(reply.Payload, 12)));
        return (MigrationState)BitConverter.ToUInt32(reply.Payload, 8);
    }

    private static async Task<Errno> ProbeAsync(TestClient client, DeviceFeature feature, FeatureOps ops) =>
        (await client.RequestAsync(Command.DeviceFeature, VfioDeviceFeature.Of(feature, ops, 0))).Errno;

    private static Task<Errno> StartAsync(TestClient client, params (ulong Iova, ulong Length)[] ranges) => StartAsync(
        client,
        [
            .. TestClient.Bytes(new LoggingStartPayload(4096, (uint)ranges.Length, 0)),
            .. ranges.SelectMany(static range => TestClient.Bytes(new VfioDeviceFeatureDmaLoggingRange(range.Iova, range.Length))),
        ]);

    private static async Task<Errno> StartAsync(TestClient client, byte[] data)
    {
        var head = VfioDeviceFeature.Of(DeviceFeature.DmaLoggingStart, FeatureOps.Set, data.Length);
        return (await client.RequestAsync(Command.DeviceFeature, head, data)).Errno;
    }

    private static Task<Received> ReportAsync(TestClient client, ulong iova, ulong length, ulong pageSize = 4096) => client.RequestAsync(
        Command.DeviceFeature,
        VfioDeviceFeature.Of(DeviceFeature.DmaLoggingReport, FeatureOps.Get, 4096),
        TestClient.Bytes(new LoggingReportPayload(iova, length, pageSize)));

    private static ulong Bitmap(Received report)
    {
        Assert.Equal((Errno.None, 40), (report.Errno, report.Payload.Length));
        return BitConverter.ToUInt64(report.Payload, 32);
    }

    /// <summary>Reads until fewer bytes come than were asked for, or enough have come, and writes them to the other side.</summary>
    private static async Task<int> MoveAsync(TestClient from, TestClient to, int chunk, int enough = int.MaxValue)
    {
        for (var moved = 0; ;)
        {
            var read = await from.RequestAsync(Command.MigDataRead, new MigDataPayload((uint)(8 + chunk), (uint)chunk));
            var length = (int)read.As<MigDataPayload>().Length;
            var data = read.Payload.AsSpan(8, length).ToArray();
            moved += length;
            Assert.Equal(Errno.None, (await to.RequestAsync(Command.MigDataWrite, new MigDataPayload((uint)(8 + length), (uint)length), data)).Errno);
            if (length < chunk || moved >= enough)
                return moved;
        }
    }

    private static async Task<(ulong Steps, ulong Digest)> CountersAsync(TestClient client) =>
    (
        BitConverter.ToUInt64(await client.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Steps, 8)),
        BitConverter.ToUInt64(await client.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.StateDigest, 8)));
}
