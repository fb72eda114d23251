using System.Buffers.Binary;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Zpci;
using Fabric.Hardware.Emulated;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.Platform;

/// <summary>What an s390 host's firmware tells, and errors that wait to be fetched (contract §7.3).</summary>
public sealed class ZpciDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    [Fact]
    public async Task GET_INFO_has_the_four_capabilities_of_such_a_function_IO_10()
    {
        using var device = await OpenAsync();

        var info = (await device.AskAsync<DeviceInfoRead>(new GetDeviceInfo(device.Session))).Info;

        Assert.True((info.Flags & DeviceFlags.Caps) != 0);
        Assert.Equal([1, 2, 3, 4], info.Caps.Select(static capability => (int)capability.Id));
    }

    [Fact]
    public async Task The_base_capability_tells_DMA_range_channel_and_handle()
    {
        using var device = await OpenAsync();

        var body = (await CapabilityAsync(device, DeviceCapabilityIds.ZpciBase)).Body.Span;

        Assert.Equal(0x1_0000_0000UL, BinaryPrimitives.ReadUInt64LittleEndian(body));
        Assert.Equal(0x1ff_ffff_ffffUL, BinaryPrimitives.ReadUInt64LittleEndian(body[8..]));
        Assert.Equal(0x13c, BinaryPrimitives.ReadUInt16LittleEndian(body[16..]));
        Assert.Equal(0x8000_0042u, BinaryPrimitives.ReadUInt32LittleEndian(body[24..]));
    }

    [Fact]
    public async Task The_utility_string_comes_with_its_length()
    {
        using var device = await OpenAsync();

        var body = (await CapabilityAsync(device, DeviceCapabilityIds.ZpciUtil)).Body.Span;

        Assert.Equal(8, BinaryPrimitives.ReadInt32LittleEndian(body));
        Assert.Equal("10.13.0c"u8, body[4..]);
    }

    [Fact]
    public async Task Its_error_feature_is_found_and_can_only_be_got()
    {
        using var device = await OpenAsync();

        var found = await device.AskAsync<FeatureFound>(new FindFeature(device.Session, CoreFeature.ZpciError));

        Assert.Equal(FeatureOperations.Get, found.Operations);
        Assert.Equal(Errno.EINVAL, await device.RefusedAsync(new UseFeature(device.Session, 13, FeatureOperations.Set, new byte[8])));
    }

    [Fact]
    public async Task Errors_are_fetched_one_by_one_and_ENOMSG_when_there_is_none_left_ER_31()
    {
        using var device = await OpenAsync();
        Assert.Equal(Errno.ENOMSG, await device.RefusedAsync(Get(device)));
        await device.AskAsync<RecoveryVoted>(Detected(device, 0x10));
        await device.AskAsync<RecoveryVoted>(Detected(device, 0x20));

        Assert.Equal(0x10u, await FetchAsync(device));
        Assert.Equal(0x20u, await FetchAsync(device));
        Assert.Equal(Errno.ENOMSG, await device.RefusedAsync(Get(device)));
    }

    [Fact]
    public async Task The_error_is_looked_at_only_and_the_core_votes()
    {
        using var device = await OpenAsync();

        Assert.Equal(RecoveryVote.CanRecover, (await device.AskAsync<RecoveryVoted>(Detected(device, 1))).Vote);
    }

    [Fact]
    public async Task On_a_host_of_another_kind_the_feature_is_not_there_IO_82()
    {
        using var device = await BoundDevice.OpenAsync(
            Sys, TestActor, EmulatedModels.NoFlr, ZpciDriver.Registration with { Ids = [DriverId.Of(new PciIds(0x1b36, 0xfac2))] });

        Assert.Equal(Errno.ENOTTY, await device.RefusedAsync(new FindFeature(device.Session, CoreFeature.ZpciError)));
        Assert.Equal(Errno.ENOTTY, await device.RefusedAsync(Get(device)));
    }

    private static UseFeature Get(BoundDevice device) => new(device.Session, 13, FeatureOperations.Get, default);

    private static ErrorDetected Detected(BoundDevice device, uint status) =>
        new(ChannelState.Normal, new AerRecord(device.Address, AerSeverity.NonFatal, status, default));

    private static async Task<uint> FetchAsync(BoundDevice device) =>
        BinaryPrimitives.ReadUInt32LittleEndian((await device.AskAsync<FeatureUsed>(Get(device))).Payload.Span);

    private static async Task<RawCapability> CapabilityAsync(BoundDevice device, ushort id) =>
        (await device.AskAsync<DeviceInfoRead>(new GetDeviceInfo(device.Session))).Info.Caps.OfType<RawCapability>().Single(capability => capability.Id == id);

    private Task<BoundDevice> OpenAsync() => BoundDevice.OpenAsync(Sys, TestActor, EmulatedModels.Zpci, ZpciDriver.Registration);
}
