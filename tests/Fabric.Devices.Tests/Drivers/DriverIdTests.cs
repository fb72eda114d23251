using CsCheck;
using Fabric.Devices.Drivers;
using Fabric.Pci;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>Entries of a table of ids: as they are written, and what they match.</summary>
public sealed class DriverIdTests
{
    private static readonly PciIds Nvme = new(0x144d, 0xa808, 0x1d0f, 0xcd01, 0x01_08_02);

    [Theory]
    [InlineData("144d:a808")]
    [InlineData("144d:*")]
    [InlineData("*:*")]
    [InlineData("144d:a808:1d0f:*")]
    [InlineData("144d:a808:1d0f:cd01")]
    [InlineData("*:*/010802")]
    [InlineData("*:*/0108xx")]
    [InlineData("*:*/xxxx02")]
    [InlineData("*:*/010800&fffc00")]
    [InlineData("vfio_pci:144d:a808:*:cd01/01xxxx")]
    public void What_is_written_is_read_as_it_was_and_matches(string text)
    {
        Assert.True(DriverId.TryParse(text, out var id));

        Assert.Equal(text, id.ToString());
        Assert.True(id.Matches(Nvme));
    }

    [Theory]
    [InlineData("144d:a809")]
    [InlineData("144e:*")]
    [InlineData("144d:a808:1d10:*")]
    [InlineData("144d:a808:1d0f:cd02")]
    [InlineData("*:*/010803")]
    [InlineData("*:*/0107xx")]
    [InlineData("*:*/010c00&fffc00")]
    public void What_differs_in_a_field_that_counts_does_not_match(string text)
    {
        Assert.True(DriverId.TryParse(text, out var id));

        Assert.False(id.Matches(Nvme));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("144d")]
    [InlineData("144d:")]
    [InlineData("144D:A808")]
    [InlineData("144d:a808 ")]
    [InlineData("144d:a808\n")]
    [InlineData("144d:a808:1d0f")]
    [InlineData("144d:a808/")]
    [InlineData("144d:a808/0108")]
    [InlineData("144d:a808/0108xx&ffff00")]
    [InlineData("0x144d:0xa808")]
    [InlineData("vfio-pci:144d:a808")]
    [InlineData("\u0661\u0664\u0664d:a808")]
    public void What_is_no_id_is_told_apart(string? text) => Assert.False(DriverId.TryParse(text, out _));

    [Theory]
    [InlineData("*:*", 0)]
    [InlineData("144d:*", 1)]
    [InlineData("144d:a808", 2)]
    [InlineData("144d:a808:*:cd01", 3)]
    [InlineData("144d:a808:1d0f:cd01", 4)]
    [InlineData("*:*/01xxxx", 1)]
    [InlineData("*:*/010802", 3)]
    [InlineData("*:*/010xxx", 1)]
    [InlineData("vfio_pci:144d:a808", 2)]
    public void The_more_fields_of_its_alias_are_no_wildcard_the_more_specific_it_is_VD_0(string text, int fields)
    {
        Assert.True(DriverId.TryParse(text, out var id));

        Assert.Equal(fields, id.Specificity);
    }

    [Fact]
    public void Any_id_is_read_back_from_what_it_prints() => DriverIds.Any.Sample(id =>
    {
        Assert.True(DriverId.TryParse(id.ToString(), out var read), id.ToString());
        Assert.Equal(id, read);
    });
}

/// <summary>Ids at random, from so few values that they meet.</summary>
internal static class DriverIds
{
    private static readonly Gen<ushort> Number = Of<ushort>(1, 0xffff);

    private static readonly Gen<ushort?> Field =
        Gen.Int[0, 2].SelectMany(static any => any > 0 ? Gen.Const((ushort?)null) : Number.Select(static n => (ushort?)n));

    private static readonly Gen<uint> Masks = Of(0u, 0xff0000u, 0xffff00u, 0xffffffu, 0x00ff00u, 0xf00000u, 0xfffc00u);

    private static readonly Gen<uint> Classes = Of(0x010802u, 0x010801u, 0x030000u);

    public static Gen<DriverId> Any { get; } = Gen.Select(Field, Field, Field, Field, Gen.Select(Classes, Masks), Gen.Int[0, 3]).Select(
        static (vendor, device, subvendor, subdevice, of, kind) => new DriverId(vendor, device, subvendor, subdevice)
        {
            Class = of.Item1 & of.Item2,
            ClassMask = of.Item2,
            OverrideOnly = kind == 0,
        });

    public static Gen<PciIds> Functions { get; } = Gen.Select(Number, Number, Number, Number, Classes).Select(
        static (vendor, device, subvendor, subdevice, of) => new PciIds(vendor, device, subvendor, subdevice, of));

    private static Gen<T> Of<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(at => values[at]);
}
