using System.Text;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

public sealed class IoctlTableTests
{
    /// <summary>Numbers that mean one thing on a device or a migration stream, and another on a container (contract §2.12).</summary>
    public static TheoryData<uint, FdKind, Type?, Type?> SharedNumbers() => new()
    {
        { 0x3b70, FdKind.Device, typeof(VfioPciHotResetInfo), typeof(VfioIommuType1Info) },
        { 0x3b71, FdKind.Device, typeof(VfioPciHotReset), typeof(VfioIommuType1DmaMap) },
        { 0x3b72, FdKind.Device, typeof(VfioDeviceGfxPlaneInfo), typeof(VfioIommuType1DmaUnmap) },
        { 0x3b73, FdKind.Device, typeof(VfioDeviceGetGfxDmabuf), null },
        { 0x3b74, FdKind.Device, typeof(VfioDeviceIoeventfd), null },
        { 0x3b75, FdKind.Device, typeof(VfioDeviceFeature), typeof(VfioIommuType1DirtyBitmap) },
        { 0x3b79, FdKind.MigrationData, typeof(VfioPrecopyInfo), typeof(VfioEehPeOp) },
    };

    [Theory]
    [MemberData(nameof(SharedNumbers))]
    public void A_number_means_what_the_kind_of_file_says_IO_1(uint number, FdKind fd, Type? argument, Type? onContainer)
    {
        Assert.Equal(argument, IoctlTable.Find(fd, number)!.Argument);
        Assert.Equal(onContainer, IoctlTable.Find(FdKind.Container, number)!.Argument);
    }

    [Theory]
    [InlineData(FdKind.Device, 0x3b79u)]
    [InlineData(FdKind.Device, 0x3bffu)]
    [InlineData(FdKind.MigrationData, DeviceIoctls.GetInfo)]
    [InlineData(FdKind.Group, DeviceIoctls.GetInfo)]
    [InlineData(FdKind.Iommufd, 0x3b96u)]
    [InlineData(FdKind.Container, 0u)]
    public void A_number_that_a_file_does_not_have_keeps_its_bytes_for_a_driver_IO_2(FdKind fd, uint number)
    {
        var unknown = Assert.IsType<UnknownIoctl>(IoctlTable.Decode(fd, number, new byte[] { 1, 2, 3 }).Value);

        Assert.Equal((number, "010203"), (unknown.Number, Convert.ToHexString(unknown.Bytes.Span)));
    }

    [Fact]
    public void Every_request_of_the_table_is_decoded_to_its_own_structure() => Assert.All(IoctlTable.All, row =>
    {
        var bytes = StructCodec.Requests.SingleOrDefault(codec => codec.Name == row.Argument?.Name)?.Sample((uint)row.Size) ?? new byte[8];

        var decoded = IoctlTable.Decode(row.Fd, row.Number, bytes).Value;

        Assert.Equal(row.Number, decoded.Number);
        Assert.Equal(row.Argument, decoded.GetType().GenericTypeArguments.SingleOrDefault());
    });

    [Fact]
    public void A_request_of_the_table_is_refused_as_its_structure_is() =>
        Assert.Equal(Errno.EINVAL, IoctlTable.Decode(FdKind.Device, DeviceIoctls.GetInfo, new byte[24]).Error.Errno);

    [Fact]
    public void Data_behind_a_structure_comes_along_as_far_as_argsz_goes()
    {
        var request = new byte[16];
        VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, FeatureOps.Set, payloadSize: 4).Encode(request);
        request[8] = 3;
        request[12] = 9;

        var decoded = Assert.IsType<StructIoctl<VfioDeviceFeature>>(IoctlTable.Decode(FdKind.Device, DeviceIoctls.Feature, request).Value);

        Assert.Equal("03000000", Convert.ToHexString(decoded.Tail.Span));
    }

    [Fact]
    public void An_argument_by_value_needs_its_four_bytes()
    {
        var decoded = IoctlTable.Decode(FdKind.Container, ContainerIoctls.SetIommu, new byte[] { 3, 0, 0, 0 }).Value;

        Assert.Equal(new VfioSetIommu(3), Assert.IsType<StructIoctl<VfioSetIommu>>(decoded).Argument);
        Assert.Equal(Errno.EFAULT, IoctlTable.Decode(FdKind.Container, ContainerIoctls.SetIommu, new byte[3]).Error.Errno);
    }

    [Fact]
    public void A_request_without_an_argument_ignores_what_comes_with_it() =>
        Assert.Equal(new BareIoctl(DeviceIoctls.Reset), IoctlTable.Decode(FdKind.Device, DeviceIoctls.Reset, new byte[] { 1 }).Value);

    [Fact]
    public void A_device_of_a_group_is_named_in_text_that_ends_with_a_zero_byte()
    {
        const string Name = "0000:3b:00.2 vf_token=2ab74924-c335-45f4-9b16-8569e5b08258";
        var bytes = new byte[80];

        Assert.True(new GetDeviceFdIoctl(Name).Encode(bytes).IsOk);

        Assert.Equal(Name, Encoding.ASCII.GetString(bytes).TrimEnd('\0'));
        Assert.Equal(new GetDeviceFdIoctl(Name), IoctlTable.Decode(FdKind.Group, GroupIoctls.GetDeviceFd, bytes).Value);
    }

    [Theory]
    [InlineData(3, Errno.EFAULT)]
    [InlineData(4095, Errno.EFAULT)]
    [InlineData(4096, Errno.EINVAL)]
    [InlineData(5000, Errno.EINVAL)]
    public void A_name_that_does_not_end_is_EFAULT_and_one_longer_than_a_page_EINVAL(int length, Errno errno)
    {
        var text = new byte[length];
        text.AsSpan().Fill((byte)'a');

        Assert.Equal(errno, GetDeviceFdIoctl.Decode(text).Error.Errno);
    }

    [Theory]
    [InlineData("a\0b", 8, Errno.EINVAL)]
    [InlineData("a\u0100", 8, Errno.EINVAL)]
    [InlineData("abcd", 4, Errno.EFAULT)]
    public void A_name_that_would_not_come_back_as_it_is_cannot_be_sent(string name, int room, Errno errno) =>
        Assert.Equal(errno, new GetDeviceFdIoctl(name).Encode(new byte[room]).Error.Errno);
}
