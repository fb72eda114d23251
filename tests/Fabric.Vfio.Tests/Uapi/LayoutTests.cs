using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>The structures against the kernel's, as ioctls.tsv has them.</summary>
public sealed class LayoutTests
{
    /// <summary>Fields that share their bytes with another and so have one name here.</summary>
    private static readonly Dictionary<string, string> Unions = new() { ["InDataType"] = "DataType", ["OutDataType"] = "DataType" };

    public static IEnumerable<TheoryDataRow<UapiRow>> Structures() =>
        UapiRow.All.Where(row => row.Size > 0).Select(row => new TheoryDataRow<UapiRow>(row));

    public static IEnumerable<TheoryDataRow<UapiRow>> Requests() => UapiRow.OfKind("ioctl", "iommufd");

    public static IEnumerable<TheoryDataRow<UapiRow>> Features() => UapiRow.OfKind("feature");

    [Fact]
    public void The_contract_has_76_rows() => Assert.Equal(76, UapiRow.All.Count);

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_request_has_the_number_name_and_sizes_of_the_table_IO_1(UapiRow row)
    {
        var found = IoctlTable.Find(FdKindOf(row.Fd), row.Number);

        Assert.Equal((row.Name, row.Size, row.MinSize), (found?.Name, found?.Size, found?.MinSize));
    }

    [Fact]
    public void There_is_no_request_that_the_table_lacks() =>
        Assert.Equal(
            UapiRow.All.Where(row => row.Kind is "ioctl" or "iommufd").Select(row => row.Name).Order(),
            IoctlTable.All.Select(row => row.Name).Order());

    [Theory]
    [MemberData(nameof(Features))]
    public void A_feature_has_the_number_name_operations_and_payload_of_the_table_IO_81(UapiRow row)
    {
        var found = FeatureTable.Find((DeviceFeature)row.Number);

        Assert.Equal((row.Name, OpsOf(row.Fd), row.MinSize), (found?.Name, found?.Ops, found?.PayloadSize));
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void A_structure_has_the_size_of_the_table(UapiRow row) => Assert.Equal(row.Size, CodecOf(row).Size);

    [Theory]
    [MemberData(nameof(Structures))]
    public void Every_field_lies_where_the_table_says(UapiRow row)
    {
        var codec = CodecOf(row);
        var bytes = DistinctBytes(codec.Size);
        var value = codec.Read(bytes)!;

        foreach (var field in row.Fields.Where(field => !field.IsTail && codec.Name != nameof(VfToken)))
            Assert.Equal(Named(field, bytes.AsSpan(field.Offset, field.Size)), Named(field, codec.BytesOf(value, PropertyOf(field))));
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void A_structure_put_together_from_its_fields_is_byte_for_byte_the_one_they_were_read_from(UapiRow row)
    {
        var codec = CodecOf(row);
        var bytes = DistinctBytes(codec.Size);
        var encoded = new byte[codec.Size];

        Assert.True(codec.Encode(codec.Rebuild(codec.Read(bytes)!), encoded).IsOk);

        Assert.Equal(bytes, encoded);
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void Data_without_a_fixed_size_starts_where_the_structure_ends(UapiRow row) =>
        Assert.All(row.Fields.Where(field => field.IsTail), field => Assert.Equal(CodecOf(row).Size, field.Offset));

    [Fact]
    public void There_is_no_structure_that_the_table_lacks_but_arguments_without_a_size()
    {
        var known = UapiRow.All.Where(row => row.Size > 0).Select(row => CodecOf(row).Name);
        string[] bare =
        [
            nameof(VfioCheckExtension), nameof(VfioSetIommu), nameof(VfioGroupSetContainer), nameof(VfioDeviceGetGfxDmabuf), nameof(VfioEehPeErr),
        ];

        Assert.Equal(known.Concat(bare).Order(), StructCodec.All.Select(codec => codec.Name).Order());
    }

    [Fact]
    public void A_request_says_its_size_in_its_first_four_bytes() => Assert.All(StructCodec.Requests, codec =>
    {
        var bytes = DistinctBytes(codec.Size);

        Assert.Equal(bytes[..4], codec.BytesOf(codec.Read(bytes)!, codec.Name.StartsWith("Iommu", StringComparison.Ordinal) ? "Size" : "Argsz"));
    });

    private static string Named(UapiField field, ReadOnlySpan<byte> bytes) => $"{field.Name} {Convert.ToHexString(bytes)}";

    private static byte[] DistinctBytes(int size) => [.. Enumerable.Range(1, size).Select(i => (byte)i)];

    private static StructCodec CodecOf(UapiRow row)
    {
        var name = row.Struct == "u8[16]" ? nameof(VfToken) : StructCodec.Pascal(row.Struct);
        return StructCodec.All.SingleOrDefault(codec => codec.Name == name) ?? throw new InvalidOperationException($"There is no {name}.");
    }

    private static string PropertyOf(UapiField field)
    {
        var name = StructCodec.Pascal(field.Name);
        return Unions.GetValueOrDefault(name, name);
    }

    private static FdKind FdKindOf(string fd) => fd switch
    {
        "container" => FdKind.Container,
        "group" => FdKind.Group,
        "device" or "device(cdev)" => FdKind.Device,
        "migration data_fd" => FdKind.MigrationData,
        "iommufd" => FdKind.Iommufd,
        _ => throw new InvalidOperationException($"{fd} is no kind of file."),
    };

    private static FeatureOps OpsOf(string text) =>
        (text.Contains("GET") ? FeatureOps.Get : FeatureOps.None) | (text.Contains("SET") ? FeatureOps.Set : FeatureOps.None);
}
