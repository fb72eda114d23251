using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

public sealed class FeatureTests
{
    private const FeatureOps Both = FeatureOps.Get | FeatureOps.Set;

    private static readonly FeatureRow State = FeatureTable.Find(DeviceFeature.MigDeviceState)!;

    [Theory]
    [InlineData(7, 0x1_0002u, Errno.EINVAL)]
    [InlineData(8, 0x8_0002u, Errno.EINVAL)]
    [InlineData(8, 0x8001_0002u, Errno.EINVAL)]
    [InlineData(8, 0x3_0002u, Errno.EINVAL)]
    [InlineData(8, 0x7_0002u, Errno.None)]
    [InlineData(8, 0x1_0002u, Errno.None)]
    [InlineData(8, 0x2_0002u, Errno.None)]
    [InlineData(8, 0x4_0002u, Errno.None)]
    [InlineData(8, 0x0_0002u, Errno.None)]
    [InlineData(8, 0x4_ffffu, Errno.None)]
    public void A_head_is_refused_for_its_size_unknown_flags_and_GET_with_SET_IO_80(uint argsz, uint flags, Errno errno)
    {
        var request = new byte[8];
        new VfioDeviceFeature(argsz, flags).Encode(request);

        Assert.Equal(errno, VfioDeviceFeature.Decode(request).Error.Errno);
    }

    /// <summary>Each row is right in all that the rows above it fail in, and wrong in all below: so the order is what is tested.</summary>
    [Fact]
    public void Checks_of_a_feature_come_in_their_order_IO_81()
    {
        Assert.Equal(Errno.ENOTTY, Plan(FeatureOps.Set, argsz: 8, feature: null));
        Assert.Equal(Errno.ENOTTY, Plan(FeatureOps.Probe, argsz: 8, feature: null));
        Assert.Equal(Errno.EINVAL, Plan(FeatureOps.Probe | Both, argsz: 8, State with { Ops = FeatureOps.Get }));
        Assert.Equal(Errno.None, Plan(FeatureOps.Probe, argsz: 8, State));
        Assert.Equal(Errno.EINVAL, Plan(FeatureOps.None, argsz: 16, State));
        Assert.Equal(Errno.EINVAL, Plan(FeatureOps.Get, argsz: 15, State));
        Assert.Equal(Errno.None, Plan(FeatureOps.Get, argsz: 16, State));
    }

    [Theory]
    [InlineData(FeatureOps.Probe, FeatureAction.Probe)]
    [InlineData(FeatureOps.Probe | FeatureOps.Get, FeatureAction.Probe)]
    [InlineData(FeatureOps.Probe | Both, FeatureAction.Probe)]
    [InlineData(FeatureOps.Get, FeatureAction.Get)]
    [InlineData(FeatureOps.Set, FeatureAction.Set)]
    public void What_is_left_to_do_is_one_thing_IO_81(FeatureOps ops, FeatureAction action) =>
        Assert.Equal(action, VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, ops, 8).Plan(State).Value);

    [Fact]
    public void The_framework_answers_for_migration_and_logging_before_the_driver_IO_82() => Assert.Equal(
        [1, 2, 6, 7, 8, 9, 12],
        FeatureTable.All.Where(row => row.ByFramework).Select(row => (int)row.Feature));

    [Fact]
    public void A_feature_stands_in_the_table_at_its_number() =>
        Assert.Equal(Enum.GetValues<DeviceFeature>(), FeatureTable.All.Select(row => row.Feature));

    [Fact]
    public void A_number_that_is_no_feature_is_not_found() => Assert.Null(FeatureTable.Find((DeviceFeature)14));

    [Fact]
    public void A_state_without_a_stream_has_minus_1_for_a_descriptor_IO_83()
    {
        var buffer = new byte[16];

        Assert.True(new VfioDeviceFeatureMigState(MigrationState.PreCopyP2P).EncodePayload(buffer, 16).IsOk);

        Assert.Equal("0000000000000000" + "07000000FFFFFFFF", Convert.ToHexString(buffer));
    }

    [Fact]
    public void A_payload_is_not_written_where_argsz_does_not_cover_it_IO_2()
    {
        var buffer = new byte[16];

        Assert.Equal(Errno.EINVAL, new VfioDeviceFeatureMigDataSize(7).EncodePayload(buffer, 15).Error.Errno);
        Assert.Equal(Errno.EFAULT, new VfioDeviceFeatureMigDataSize(7).EncodePayload(buffer.AsSpan(0, 15), 16).Error.Errno);
        Assert.Equal(-1, buffer.AsSpan().IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void A_payload_that_the_buffer_lacks_is_EFAULT_IO_2() =>
        Assert.Equal(Errno.EFAULT, VfioDeviceFeatureMigDataSize.DecodePayload(new byte[15]).Error.Errno);

    [Fact]
    public void A_request_that_a_client_sends_is_head_and_payload()
    {
        var buffer = new byte[16];
        var stopCopy = new VfioDeviceFeatureMigState(MigrationState.StopCopy);

        Assert.True(stopCopy.EncodeRequest(buffer, FeatureOps.Set).IsOk);

        Assert.Equal("10000000" + "02000200" + "03000000FFFFFFFF", Convert.ToHexString(buffer));
        Assert.Equal(stopCopy, VfioDeviceFeatureMigState.DecodePayload(buffer).Value);
        Assert.Equal(Errno.EFAULT, stopCopy.EncodeRequest(buffer.AsSpan(0, 15), FeatureOps.Set).Error.Errno);
    }

    [Fact]
    public void A_token_is_sixteen_bytes_in_the_order_of_its_text_LC_41()
    {
        var uuid = Guid.Parse("2ab74924-c335-45f4-9b16-8569e5b08258");
        var bytes = new byte[16];

        new VfToken(uuid).Encode(bytes);

        Assert.Equal("2AB74924C33545F49B168569E5B08258", Convert.ToHexString(bytes));
        Assert.True(VfToken.TryRead(bytes, out var token));
        Assert.Equal(uuid, token.Uuid);
    }

    [Fact]
    public void Migration_flags_that_are_not_known_are_left_out_of_the_known_ones()
    {
        var newer = new VfioDeviceFeatureMigration(0x8000_0000_0000_000d);

        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.PreCopy, newer.Known);
        Assert.Equal(newer.Known, new VfioDeviceFeatureMigration(newer.Known).Known);
    }

    [Theory]
    [InlineData(-1, Errno.EINVAL)]
    [InlineData(0, Errno.None)]
    public void Low_power_with_wakeup_needs_a_descriptor(int fd, Errno errno) =>
        Assert.Equal(errno, DecodePayload(new VfioDeviceLowPowerEntryWithWakeup(fd)));

    [Theory]
    [InlineData(0, Errno.EINVAL)]
    [InlineData(1, Errno.None)]
    [InlineData(256, Errno.None)]
    [InlineData(257, Errno.E2BIG)]
    [InlineData(uint.MaxValue, Errno.E2BIG)]
    public void Logging_takes_1_to_256_ranges_MG_40(uint ranges, Errno errno) =>
        Assert.Equal(errno, DecodePayload(new VfioDeviceFeatureDmaLoggingControl(4096, ranges, 0, 0x1000)));

    [Theory]
    [InlineData(0, 0x1000, 0, Errno.EINVAL)]
    [InlineData(0, 0x1000, 2048, Errno.EINVAL)]
    [InlineData(0, 0x1000, 4097, Errno.EINVAL)]
    [InlineData(0, 0x1000, 0x3000, Errno.EINVAL)]
    [InlineData(ulong.MaxValue, 0x1000, 4095, Errno.EINVAL)]
    [InlineData(ulong.MaxValue, 0x1000, 4096, Errno.EOVERFLOW)]
    [InlineData(0, 0x1000, 4096, Errno.None)]
    [InlineData(0, 0x1000, 1UL << 63, Errno.None)]
    public void A_log_is_reported_in_pages_of_a_power_of_two_within_the_address_space_MG_41(ulong iova, ulong length, ulong page, Errno errno) =>
        Assert.Equal(errno, DecodePayload(new VfioDeviceFeatureDmaLoggingReport(iova, length, page, 0)));

    [Theory]
    [InlineData(0, 0, Errno.EINVAL)]
    [InlineData(1, 1, Errno.EINVAL)]
    [InlineData(0, 1, Errno.None)]
    public void A_buffer_has_a_range_and_no_flags_IO_90(uint flags, uint ranges, Errno errno) =>
        Assert.Equal(errno, DecodePayload(new VfioDeviceFeatureDmaBuf(0, 0, flags, ranges)));

    [Fact]
    public void The_ranges_of_a_buffer_are_those_that_the_request_has_IO_90()
    {
        var request = new byte[8 + 16 + 32];
        new VfioDeviceFeatureDmaBuf(2, 0, 0, 2).EncodeRequest(request, FeatureOps.Get);
        new VfioRegionDmaRange(0x1000, 0x2000).Encode(request.AsSpan(24));
        new VfioRegionDmaRange(0x8000, 0x1000).Encode(request.AsSpan(40));
        var payload = VfioDeviceFeatureDmaBuf.DecodePayload(request).Value;

        Assert.True(payload.TryRanges(request, out var ranges));
        Assert.Equal([new(0x1000, 0x2000), new(0x8000, 0x1000)], ranges.ToArray());
        Assert.False(payload.TryRanges(request.AsSpan(0, 55), out _));
        Assert.False((payload with { NrRanges = uint.MaxValue }).TryRanges(request, out _));
        Assert.False(payload.TryRanges(request.AsSpan(0, 23), out _));
    }

    private static Errno Plan(FeatureOps ops, uint argsz, FeatureRow? feature) =>
        new VfioDeviceFeature(argsz, (uint)ops | (uint)DeviceFeature.MigDeviceState).Plan(feature).Error.Errno;

    private static Errno DecodePayload<T>(T payload) where T : unmanaged, IFeaturePayload<T>
    {
        var request = new byte[64];
        payload.EncodeRequest(request, FeatureOps.Set);
        return FeatureCodec.DecodePayload<T>(request).Error.Errno;
    }
}
