using System.Buffers.Binary;
using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Mlx5;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mlx5;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The driver as the holder of its device sees it.</summary>
public sealed class Mlx5DriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const ulong Iova = 0x10_0000;

    private readonly FakeTimeProvider time = new();

    [Fact]
    public async Task A_move_brings_what_the_device_held_and_it_goes_on_where_it_was()
    {
        using var host = new Host(this);
        var (source, target) = (await host.OpenAsync(1), await host.OpenAsync(2));
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy, (await source.GetMigrationFlagsAsync()).Value);
        await ProgramAsync(source);
        Assert.True((await source.StartDmaLoggingAsync(Iova, 1 << 16)).IsOk);
        var (from, to) = (await EnterAsync(source, PreCopy), await EnterAsync(target, Resuming));
        Assert.True(to.Write(Read(from)).IsOk);
        await PostAsync(source, 3);
        await EnterAsync(source, PreCopyP2P);
        await PostAsync(source, 2);
        await EnterAsync(source, StopCopy);
        Assert.Equal(1, (await source.ReportDmaLoggingAsync()).Value.DirtyPages);
        Assert.True(to.Write(Read(from)).IsOk);
        await EnterAsync(target, Stop);
        Assert.Equal(host.Functions[0].State, host.Functions[1].State);
        await EnterAsync(target, Running);
        Assert.Equal(5u, await DoneAsync(target));
    }

    [Fact]
    public async Task Without_the_PFs_driver_it_opens_and_does_not_migrate_VD_0()
    {
        using var host = new Host(this);
        host.Card.DetachDriver();
        var client = await host.OpenAsync(1);
        Assert.Equal(
            (Errno.ENOTTY, Errno.ENOTTY),
            ((await client.GetMigrationFlagsAsync()).Error.Errno, (await client.StartDmaLoggingAsync(Iova, 1 << 16)).Error.Errno));
        await ProgramAsync(client);
        await PostAsync(client, 1);
        Assert.Equal(1u, await DoneAsync(client));
    }

    [Fact]
    public async Task A_PF_whose_driver_goes_is_ENOTCONN_and_a_reset_mends_it_when_it_is_back_VD_MLX_5()
    {
        using var host = new Host(this);
        var client = await host.OpenAsync(1);
        var stream = await EnterAsync(client, PreCopy);
        host.Card.DetachDriver();
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(Errno.ENOTCONN, (await client.SetMigrationStateAsync(PreCopyP2P)).Error.Errno);
        Assert.Equal(PreCopy, (await client.GetMigrationStateAsync()).Value);
        host.Card.AttachDriver();
        Assert.True((await client.ResetAsync()).IsOk);
        Assert.Equal(Running, (await client.GetMigrationStateAsync()).Value);
        Assert.NotEmpty(Read(await EnterAsync(client, StopCopy)));
    }

    [Theory]
    [InlineData(PreCopy)]
    [InlineData(RunningP2P)]
    [InlineData(Stop)]
    public async Task A_driver_that_fails_in_mid_migration_leaves_ERROR_until_a_reset_and_no_tracker_MG_31(MigrationState at)
    {
        using var host = new Host(this);
        var client = await host.OpenAsync(1);
        Assert.True((await client.StartDmaLoggingAsync(Iova, 1 << 16)).IsOk);
        var stream = await EnterAsync(client, at);
        time.Advance(TimeSpan.FromSeconds(1));
        host.Fronts[0].Tell(Kill.Instance);
        Assert.Equal(Error, (await client.GetMigrationStateAsync()).Value);
        Assert.Equal(stream is null ? null : Errno.ENODEV, stream?.Read(new byte[1]).Error.Errno);
        Assert.True((await client.ResetAsync()).IsOk);
        Assert.Equal(Running, (await client.GetMigrationStateAsync()).Value);
        Assert.True((await client.StartDmaLoggingAsync(Iova, 1 << 16)).IsOk);
    }

    [Fact]
    public async Task A_close_leaves_neither_a_migration_nor_a_tracker_to_who_opens_it_next_LC_30()
    {
        using var host = new Host(this);
        var client = await host.OpenAsync(1);
        Assert.True((await client.StartDmaLoggingAsync(Iova, 1 << 16)).IsOk);
        var stream = await EnterAsync(client, PreCopy);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True((await client.CloseAsync()).IsOk);
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        client = await host.OpenAsync(1);
        Assert.Equal(Running, (await client.GetMigrationStateAsync()).Value);
        Assert.True((await client.StartDmaLoggingAsync(Iova, 1 << 16)).IsOk);
        Assert.NotEmpty(Read(await EnterAsync(client, StopCopy)));
    }

    private sealed class Host : IDisposable
    {
        private readonly EmulatedBus bus;
        private readonly Mlx5DriverTests test;
        private readonly IActorRef host;

        public Host(Mlx5DriverTests test)
        {
            this.test = test;
            bus = new EmulatedBus(
                new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(EmulatedModels.Mlx5, VirtualFunctions: 2)] }, test.time);
            host = test.Sys.ActorOf(HostActor.Props(new HostOptions(bus, new DriverCatalog(Mlx5Driver.Registration), [], _ => null, test.time)));
        }

        public Mlx5PhysicalFunction Card => bus.Functions.OfType<Mlx5PhysicalFunction>().Single();

        public Mlx5VirtualFunction[] Functions => [.. bus.Functions.OfType<Mlx5VirtualFunction>()];

        public IActorRef[] Fronts { get; } = new IActorRef[2];

        /// <param name="number">Of the VF, from 1.</param>
        public async Task<DeviceClient> OpenAsync(int number)
        {
            var found = await host.Ask<DeviceFound>(new FindDevice(Functions[number - 1].Address), TimeSpan.FromSeconds(10));
            Fronts[number - 1] = found.Front;
            var client = (await DeviceClient.OpenAsync(found.Front, "the test", test.TestActor)).Value;
            Assert.True((await client.MapDmaAsync(Iova, new HolderMemory(1 << 16))).IsOk);
            Assert.True((await client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[] { (byte)PciCommand.BusMaster, 0 })).IsOk);
            return client;
        }

        public void Dispose() => bus.Dispose();
    }

    private static async Task<IMigrationStream> EnterAsync(DeviceClient client, MigrationState target)
    {
        var set = await client.SetMigrationStateAsync(target);
        Assert.True(set.IsOk, set.Error.ToString());
        return set.Value.Stream!;
    }

    private byte[] Read(IMigrationStream stream)
    {
        var (all, piece, idle) = (new List<byte>(), new byte[100_000], 0);
        while (idle < 2)
        {
            var read = stream.Read(piece);
            Assert.True(read.IsOk || read.Error.Errno is Errno.EAGAIN or Errno.ENOMSG, read.Error.ToString());
            if (read is { IsOk: true, Value: 0 })
                break;
            idle = read.Error.Errno == Errno.ENOMSG ? idle + 1 : 0;
            if (read.IsOk)
                all.AddRange(piece[..read.Value]);
            else
                time.Advance(TimeSpan.FromMilliseconds(1));
        }

        return [.. all];
    }

    private static async Task ProgramAsync(DeviceClient client)
    {
        var value = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(value, Iova);
        Assert.True((await client.WriteAsync(Mlx5Bar.Registers, Mlx5Register.RingIova, value)).IsOk);
        Assert.True((await client.WriteAsync(Mlx5Bar.Registers, Mlx5Register.RingEntries, new byte[] { 64, 0, 0, 0 })).IsOk);
    }

    private static async Task PostAsync(DeviceClient client, byte requests) =>
        Assert.True((await client.WriteAsync(Mlx5Bar.Registers, Mlx5Register.Doorbell, new byte[] { requests, 0, 0, 0 })).IsOk);

    private static async Task<uint> DoneAsync(DeviceClient client) =>
        BinaryPrimitives.ReadUInt32LittleEndian((await client.ReadAsync(Mlx5Bar.Registers, Mlx5Register.Done, 4)).Value.Span);
}
