using System.Runtime.InteropServices;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Client;
using Fabric.VfioUser.Server;
using Fabric.VfioUser.Tests.Server;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>A device that is served by one host's actors and used by another's, as any device is used.</summary>
public sealed class RemoteDeviceTests
{
    private const ulong Iova = 0x4000_0000;
    private const int Memory = 64 << 10;
    private const int Ring = 4096;

    [Fact]
    public async Task It_appears_with_its_own_ids_and_the_driver_of_served_devices()
    {
        await using var lab = await Lab.AcceleratorAsync();
        await using var remote = new RemoteLab(lab.Path);
        var status = (await remote.FindAsync()).Status;
        Assert.Equal((VfioUserDriver.Name, VfioUserDriver.Name, "its bus asks for it"), (status.Driver, status.Model, status.Choice!.Why));
        Assert.Contains(status.Choice.PassedOver, static passed => passed.Driver == "accelerator");
        Assert.Equal(AcceleratorIds.Vendor, status.Ids.Vendor);
    }

    [Fact]
    public async Task What_is_written_there_is_read_there_and_a_reset_forgets_it()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        Assert.True((await device.WriteAsync(RegionIndex.Config, 4, new byte[] { 2, 0 })).IsOk);
        Assert.True((await device.WriteAsync(0, 0x800, new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 })).IsOk);
        Assert.Equal([3, 4, 5, 6], (await device.ReadAsync(0, 0x802, 4)).Value.ToArray());
        Assert.True((await device.ResetAsync()).IsOk);
        Assert.Equal([0, 0, 0, 0], (await device.ReadAsync(0, 0x802, 4)).Value.ToArray());
        Assert.Equal(4096, (await device.ReadAsync(RegionIndex.Config, 0, 4096)).Value.Length);
    }

    [Fact]
    public async Task Each_vector_signals_its_own_target_and_none_after_it_was_taken_away()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        var (first, third) = (new Signals(), new Signals());
        EventRef[] targets = [EventRef.Of(first), EventRef.None, EventRef.Of(third)];
        const IrqSetFlags assign = IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger;
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Msix, 0, 3, assign) { Events = targets })).Value);
        Assert.True((await device.WriteAsync(RegionIndex.Config, 4, new byte[] { 6, 0 })).IsOk);
        await SendAsync(device, 2);
        await SendAsync(device, 0);
        await DmaTests.UntilAsync(() => Task.FromResult((first.Count, third.Count) == (1, 1)));
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Msix, 2, 1, assign) { Events = new[] { EventRef.None } })).Value);
        await SendAsync(device, 2);
        await SendAsync(device, 0);
        await DmaTests.UntilAsync(() => Task.FromResult(first.Count == 2));
        Assert.Equal(1, third.Count);
        // One more than there were, as MSI-X may grow while it is in use (IO-44).
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Msix, 5, 1, assign) { Events = new[] { EventRef.Of(third) } })).Value);
        await SendAsync(device, 5);
        await DmaTests.UntilAsync(() => Task.FromResult(third.Count == 2));
    }

    [Fact]
    public async Task The_line_signals_once_until_it_is_unmasked_and_again_while_it_is_asserted()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        var line = new Signals();
        Assert.True((await device.SetTriggerAsync(IrqIndex.Intx, line)).IsOk);
        Assert.True((await device.WriteAsync(RegionIndex.Config, 4, new byte[] { 2, 0 })).IsOk);
        await SetLineAsync(device, 1);
        await DmaTests.UntilAsync(() => Task.FromResult(line.Count == 1));
        await SetLineAsync(device, 0);
        await SetLineAsync(device, 1);
        Assert.Equal(1, line.Count);
        await UnmaskAsync(device);
        await DmaTests.UntilAsync(() => Task.FromResult(line.Count == 2));
        await SetLineAsync(device, 0);
        await UnmaskAsync(device);
        Assert.Equal(2, line.Count);
        await SetLineAsync(device, 1);
        await DmaTests.UntilAsync(() => Task.FromResult(line.Count == 3));
    }

    [Fact]
    public async Task Its_DMA_reaches_what_its_holder_has_mapped_and_nothing_when_it_is_unmapped()
    {
        await using var lab = await Lab.AcceleratorAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        var memory = new HolderMemory(Memory);
        Assert.True((await device.MapDmaAsync(Iova, memory)).IsOk);
        Assert.Equal(Errno.EEXIST, (await device.MapDmaAsync(Iova + 4096, new HolderMemory(4096))).Error.Errno);
        await RunEngineAsync(device, pace: 1000);
        await StepsAsync(device, atLeast: 20);
        Assert.True((await device.WriteAsync(AcceleratorBar.Registers, AcceleratorRegister.Control, new byte[4])).IsOk);
        Assert.True(MemoryMarshal.Read<AcceleratorRecord>(memory.Bytes.AsSpan(Ring)).IsWhole);
        Assert.True((await device.UnmapDmaAsync(Iova)).IsOk);
        Assert.Equal(Errno.ENOENT, (await device.UnmapDmaAsync(Iova)).Error.Errno);
        await RunEngineAsync(device, pace: 1000);
        await DmaTests.UntilAsync(async () =>
            (await device.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Status, 4)).Value.Span[0] == (byte)AcceleratorStatus.DmaFault);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Memory_with_a_descriptor_goes_by_descriptor_from_its_client_through_this_host_to_the_device(bool isSealed)
    {
        await using var lab = await Lab.AcceleratorAsync();
        await using var remote = new RemoteLab(lab.Path);
        await using var between = await remote.ServeOnAsync(lab.Path + "2");
        using var client = await TestClient.ConnectAsync(between.Path);
        await client.HandshakeAsync();
        using var memory = new ClientMemoryFile(Memory, isSealed);
        var before = memory.Holds;
        Assert.Equal(Errno.None, (await DmaTests.MapAsync(client, Iova, 0, Memory, memory.Fd)).Errno);
        // Of each of the two servers a descriptor and, where it is sealed, a mapping.
        Assert.Equal(before + (isSealed ? 4 : 2), memory.Holds);
        await DmaTests.RunEngineAsync(client, pace: 1000);
        await DmaTests.StepsAsync(client, atLeast: 20);
        await DmaTests.StopEngineAsync(client);
        Assert.True(MemoryMarshal.Read<AcceleratorRecord>(memory.Read(Ring, AcceleratorRecord.Bytes)).IsWhole);
        Assert.Equal(Errno.None, (await DmaTests.UnmapAsync(client, Iova, Memory)).Errno);
        Assert.Equal(before, memory.Holds);
    }

    [Fact]
    public async Task State_moves_between_two_served_devices_byte_for_byte()
    {
        await using var source = await Lab.AcceleratorAsync();
        await using var target = await Lab.AcceleratorAsync();
        await using var from = new RemoteLab(source.Path);
        await using var to = new RemoteLab(target.Path);
        var (leaving, arriving) = (await from.OpenAsync(), await to.OpenAsync());
        var memory = new HolderMemory(Memory);
        Assert.True((await leaving.MapDmaAsync(Iova, memory)).IsOk);
        Assert.True((await arriving.MapDmaAsync(Iova, memory)).IsOk);
        Assert.True((await arriving.WriteAsync(RegionIndex.Config, 4, new byte[] { 6, 0 })).IsOk);
        Assert.True(((await leaving.GetMigrationFlagsAsync()).Value & MigrationFlags.PreCopy) != 0);
        Assert.True((await leaving.GetMigrationDataSizeAsync()).Value > 1 << 20);
        await RunEngineAsync(leaving, pace: 10_000);
        await StepsAsync(leaving, atLeast: 100);

        var reading = (await leaving.SetMigrationStateAsync(MigrationState.PreCopy)).Value.Stream!;
        var writing = (await arriving.SetMigrationStateAsync(MigrationState.Resuming)).Value.Stream!;
        var moved = 0;
        // What the server says of the size is what is left, until it was read once.
        var info = reading.GetPrecopyInfo().Value;
        Assert.True(info is { InitialBytes: > 1 << 20, DirtyBytes: 0 });
        while (info.InitialBytes + info.DirtyBytes > 0 && moved < 2 << 20)
        {
            moved += Move(reading, writing);
            info = reading.GetPrecopyInfo().Value;
        }

        Assert.Equal(0UL, info.InitialBytes);
        Assert.Equal(MigrationState.StopCopy, (await leaving.SetMigrationStateAsync(MigrationState.StopCopy)).Value.State);
        for (int part; (part = Move(reading, writing)) > 0;)
            moved += part;
        Assert.True(moved >= 1 << 20);
        Assert.True((await leaving.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
        Assert.True((await arriving.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
        var counters = await CountersAsync(leaving);
        Assert.Equal(counters, await CountersAsync(arriving));
        Assert.True((await arriving.SetMigrationStateAsync(MigrationState.Running)).IsOk);
        await StepsAsync(arriving, counters.Steps + 1);
    }

    [Fact]
    public async Task A_stream_that_its_server_refuses_leaves_the_device_where_it_was_or_in_ERROR_and_a_reset_mends_it()
    {
        await using var lab = await Lab.AcceleratorAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        var writing = (await device.SetMigrationStateAsync(MigrationState.Resuming)).Value.Stream!;
        Assert.False(writing.Write(new byte[4096]).IsOk && (await device.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
        Assert.True((await device.ResetAsync()).IsOk);
        Assert.Equal(MigrationState.Running, (await device.GetMigrationStateAsync()).Value);
        Assert.True((await device.SetMigrationStateAsync(MigrationState.Stop)).IsOk);
    }

    [Fact]
    public async Task The_log_of_DMA_has_what_went_by_messages()
    {
        await using var lab = await Lab.AcceleratorAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        Assert.True((await device.MapDmaAsync(Iova, new HolderMemory(Memory))).IsOk);
        Assert.True((await device.StartDmaLoggingAsync(Iova, Memory)).IsOk);
        await RunEngineAsync(device, pace: 1000);
        await StepsAsync(device, atLeast: 10);
        Assert.True((await device.WriteAsync(AcceleratorBar.Registers, AcceleratorRegister.Control, new byte[4])).IsOk);
        Assert.Equal([(Iova, 8192UL)], (await device.ReportDmaLoggingAsync()).Value.Runs);
        // What the engine wrote last may have been on its way still; then there is nothing more.
        await DmaTests.UntilAsync(async () => !(await device.ReportDmaLoggingAsync()).Value.Runs.Any());
        Assert.True((await device.StopDmaLoggingAsync()).IsOk);
    }

    [Fact]
    public async Task A_device_without_migration_says_so_here_too()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        Assert.Equal(Errno.ENOTTY, (await device.GetMigrationFlagsAsync()).Error.Errno);
        Assert.Equal(Errno.ENOTTY, (await device.StartDmaLoggingAsync(Iova, Memory)).Error.Errno);
    }

    [Fact]
    public async Task A_server_that_ends_takes_its_device_with_it_and_one_that_comes_back_brings_it_back()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        var device = await remote.OpenAsync();
        for (var round = 0; round < 2; round++)
        {
            await lab.Server.DisposeAsync();
            await remote.GoneAsync();
            Assert.Equal(Errno.ENODEV, (await device.ReadAsync(0, 0, 4)).Error.Errno);
            await using var again = (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path)).Value;
            device = await remote.OpenAsync();
            Assert.True((await device.WriteAsync(RegionIndex.Config, 4, new byte[] { 2, 0 })).IsOk);
            Assert.Equal(BenchRegister.MagicValue, BitConverter.ToUInt32((await device.ReadAsync(0, BenchRegister.Magic, 4)).Value.Span));
            await again.DisposeAsync();
            await remote.GoneAsync();
        }
    }

    [Fact]
    public async Task What_is_removed_lets_its_server_go_and_stays_away()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        await remote.FindAsync();
        Assert.IsType<HostDone>(await remote.Host.Ask<object>(
            new RemoveDevice(RemoteLab.Address, "a test"), TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        await DmaTests.UntilAsync(() => Task.FromResult(lab.Server.Connections == 0));
        await lab.ExpectServesAsync();
        Assert.Empty(remote.Bus.Functions);
        await remote.GoneAsync();
    }

    [Fact]
    public async Task A_register_access_allocates_nothing_where_it_is_asked()
    {
        await using var lab = await Lab.StartAsync();
        await using var remote = new RemoteLab(lab.Path);
        await remote.FindAsync();
        var function = remote.Bus.Functions[0];
        var register = new byte[4];
        for (var at = 0; at < 2000; at++)
            function.ReadConfig(0, register);
        // The server and the test's own actors are in this process too, so it is asked by its own thread alone.
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var at = 0; at < 1000; at++)
        {
            function.ReadConfig(0, register);
            function.WriteConfig(ConfigOffset.CacheLineSize, register.AsSpan(0, 1));
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task A_socket_that_is_not_there_is_said_once_and_looked_for_again()
    {
        await using var lab = await Lab.StartAsync();
        await lab.Server.DisposeAsync();
        await using var remote = new RemoteLab(lab.Path);
        await DmaTests.UntilAsync(() => Task.FromResult(remote.Troubles.Length > 0));
        await using var server = (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path)).Value;
        await remote.FindAsync();
        Assert.Equal([Errno.ENODEV], remote.Troubles.Select(static trouble => trouble.Errno));
    }

    private static async Task SendAsync(DeviceClient device, int vector) =>
        Assert.True((await device.WriteAsync(0, BenchRegister.Message, BitConverter.GetBytes(vector))).IsOk);

    private static async Task SetLineAsync(DeviceClient device, int level) =>
        Assert.True((await device.WriteAsync(0, BenchRegister.Line, BitConverter.GetBytes(level))).IsOk);

    private static async Task UnmaskAsync(DeviceClient device)
    {
        const IrqSetFlags unmask = IrqSetFlags.DataNone | IrqSetFlags.ActionUnmask;
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Intx, 0, 1, unmask))).Value);
    }

    private static async Task RunEngineAsync(DeviceClient device, uint pace)
    {
        Assert.True((await device.WriteAsync(RegionIndex.Config, 4, new byte[] { 6, 0 })).IsOk);
        foreach (var (register, value) in DmaTests.Program(pace))
            Assert.True((await device.WriteAsync(AcceleratorBar.Registers, (ulong)register, value)).IsOk);
    }

    private static Task StepsAsync(DeviceClient device, ulong atLeast) =>
        DmaTests.UntilAsync(async () => (await CountersAsync(device)).Steps >= atLeast);

    private static async Task<(ulong Steps, ulong Digest)> CountersAsync(DeviceClient device) =>
    (
        BitConverter.ToUInt64((await device.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Steps, 8)).Value.Span),
        BitConverter.ToUInt64((await device.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.StateDigest, 8)).Value.Span));

    /// <summary>0 at the end, or where there is nothing for now.</summary>
    private static int Move(IMigrationStream from, IMigrationStream to)
    {
        var part = new byte[100_000];
        var read = from.Read(part);
        if (!read.IsOk)
        {
            Assert.Equal(Errno.ENOMSG, read.Error.Errno);
            return 0;
        }

        var written = to.Write(part.AsSpan(0, read.Value));
        Assert.True(written.IsOk, written.Error.ToString());
        return read.Value;
    }
}
