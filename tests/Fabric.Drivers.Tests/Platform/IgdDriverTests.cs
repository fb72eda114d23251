using System.Buffers.Binary;
using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Igd;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Igd;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.Platform;

/// <summary>Three regions that the function itself has not (contract §7.3).</summary>
public sealed class IgdDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const int OpRegion = RegionIndex.Count;
    private const int HostBridge = RegionIndex.Count + 1;
    private const int LpcBridge = RegionIndex.Count + 2;

    [Fact]
    public async Task It_adds_three_regions_after_those_of_the_core()
    {
        using var device = await OpenAsync();

        Assert.Equal(RegionIndex.Count + 3, (await device.AskAsync<DeviceInfoRead>(new GetDeviceInfo(device.Session))).Info.Regions);
    }

    [Theory]
    [InlineData(OpRegion, IgdRegionType.OpRegion, 8192)]
    [InlineData(HostBridge, IgdRegionType.HostBridgeConfig, 256)]
    [InlineData(LpcBridge, IgdRegionType.LpcBridgeConfig, 256)]
    public async Task Each_has_its_type_and_size_and_can_only_be_read(int index, uint subtype, ulong size)
    {
        using var device = await OpenAsync();

        var info = (await device.AskAsync<RegionInfoRead>(new GetRegionInfo(device.Session, index))).Info;

        Assert.Equal((size, RegionFlags.Read), (info.Size, info.Flags));
        Assert.Equal(new RegionCapability.OfType(IgdRegionType.Type, subtype), Assert.Single(info.Caps));
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new WriteRegion(device.Session, index, 0, new byte[4])));
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new MapRegion(device.Session, index)));
    }

    [Fact]
    public async Task The_OpRegion_is_what_firmware_has_put_into_memory()
    {
        using var device = await OpenAsync();

        var start = await device.ReadAsync(OpRegion, 0, 20);

        Assert.Equal(IgdPlatform.OpRegionSignature, start.AsSpan(0, 16));
        Assert.Equal(8u, BinaryPrimitives.ReadUInt32LittleEndian(start.AsSpan(IgdPlatform.OpRegionSize)));
        Assert.Equal([0xfe, 0xff], await device.ReadAsync(OpRegion, 8190, 64));
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new ReadRegion(device.Session, OpRegion, 8192, 1)));
    }

    [Fact]
    public async Task The_bridges_config_spaces_are_shown()
    {
        using var device = await OpenAsync();

        Assert.Equal([0x86, 0x80, 0xc2, 0x3e], await device.ReadAsync(HostBridge, 0, 4));
        Assert.Equal([0x86, 0x80, 0x08, 0xa3], await device.ReadAsync(LpcBridge, 0, 4));
    }

    [Fact]
    public async Task A_driver_that_was_restarted_has_the_same_regions()
    {
        using var device = await OpenAsync();
        device.FailDriver();

        Assert.Equal([0x86, 0x80], await device.ReadAsync(LpcBridge, 0, 2));
    }

    [Fact]
    public async Task A_device_whose_driver_does_not_migrate_shows_no_migration_state()
    {
        using var device = await OpenAsync();

        var shown = await device.Host.Ask<DeviceList>(ListDevices.Instance, TimeSpan.FromSeconds(15), TestContext.Current.CancellationToken);

        Assert.Null(Assert.Single(shown.Devices).Migration);
    }

    [Fact]
    public async Task An_index_past_them_is_the_cores_to_refuse()
    {
        using var device = await OpenAsync();

        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new GetRegionInfo(device.Session, LpcBridge + 1)));
    }

    [Fact]
    public async Task Without_an_OpRegion_there_is_nothing_to_add()
    {
        using var device = await BoundDevice.OpenAsync(
            Sys, TestActor, EmulatedModels.NoFlr, IgdDriver.Registration with { Ids = [DriverId.Of(new PciIds(0x1b36, 0xfac2))] });

        Assert.Equal(RegionIndex.Count, (await device.AskAsync<DeviceInfoRead>(new GetDeviceInfo(device.Session))).Info.Regions);
    }

    private Task<BoundDevice> OpenAsync() => BoundDevice.OpenAsync(Sys, TestActor, EmulatedModels.Igd, IgdDriver.Registration);
}
