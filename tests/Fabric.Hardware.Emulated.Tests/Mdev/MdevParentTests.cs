using Fabric.Hardware.Emulated.Mdev;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests.Mdev;

/// <summary>What each emulated parent has to give, and that it gives no more (contract §8.4).</summary>
public sealed class MdevParentTests
{
    public static TheoryData<string, string, int> Types => new()
    {
        { "mtty", "mtty-1", 24 },
        { "mtty", "mtty-2", 12 },
        { "mdpy", "mdpy-vga", 4 },
        { "mdpy", "mdpy-xga", 4 },
        { "mdpy", "mdpy-hd", 4 },
        { "mbochs", "mbochs-small", 64 },
        { "mbochs", "mbochs-medium", 16 },
        { "mbochs", "mbochs-large", 4 },
    };

    public static TheoryData<string> Names => [.. EmulatedMdevParents.Names];

    [Fact]
    public void Every_type_there_is_is_tested_here() => Assert.Equal(
        EmulatedMdevParents.Names.SelectMany(name => EmulatedMdevParents.Create(name).Types.Select(type => type.Id)).Order(),
        Types.Select(row => row.Data.Item2).Order());

    [Theory, MemberData(nameof(Types))]
    public void It_says_how_many_more_there_could_be_and_makes_so_many(string parent, string type, int most)
    {
        var all = EmulatedMdevParents.Create(parent);
        for (var made = 0; made < most; made++)
        {
            Assert.Equal(most - made, Available(all, type));
            var address = new PciAddress(0xfabd, (byte)made, 0, 0);
            Assert.Equal(address, all.Create(type, Guid.NewGuid(), address).Value.Address);
        }

        Assert.Equal(0, Available(all, type));
        Assert.Equal(Errno.ENOSPC, all.Create(type, Guid.NewGuid(), default).Error.Errno);
    }

    [Theory, MemberData(nameof(Types))]
    public void What_is_taken_back_can_be_given_again(string parent, string type, int most)
    {
        var all = EmulatedMdevParents.Create(parent);
        for (var round = 0; round < 2; round++)
        {
            var made = Enumerable.Range(0, most).Select(_ => Guid.NewGuid()).ToArray();
            Assert.All(made, uuid => Assert.True(all.Create(type, uuid, default).IsOk));
            Assert.All(made, uuid => Assert.True(all.Remove(uuid).IsOk));
        }

        Assert.Equal(most, Available(all, type));
    }

    [Fact]
    public void Types_of_one_parent_share_what_it_has_and_a_refusal_says_what_is_left()
    {
        var mtty = EmulatedMdevParents.Create("mtty");
        for (var made = 0; made < 11; made++)
            mtty.Create("mtty-2", Guid.NewGuid(), default);
        mtty.Create("mtty-1", Guid.NewGuid(), default);

        Assert.Equal((1, 0), (Available(mtty, "mtty-1"), Available(mtty, "mtty-2")));
        Assert.Equal(
            "mtty-2 takes 2 of the 24 serial ports of mtty, and 1 is left; stop another first.",
            mtty.Create("mtty-2", Guid.NewGuid(), default).Error.Sentence);
        Assert.True(mtty.Create("mtty-1", Guid.NewGuid(), default).IsOk);
    }

    [Fact]
    public void Two_hosts_share_nothing()
    {
        var (here, there) = (EmulatedMdevParents.Create("mdpy"), EmulatedMdevParents.Create("mdpy"));
        here.Create("mdpy-vga", Guid.NewGuid(), default);

        Assert.Equal((3, 4), (Available(here, "mdpy-vga"), Available(there, "mdpy-vga")));
    }

    [Theory, MemberData(nameof(Names))]
    public void What_it_has_not_it_names(string parent)
    {
        var all = EmulatedMdevParents.Create(parent);
        var refused = all.Create("mill-1", Guid.NewGuid(), default).Error;

        Assert.Equal(Errno.EINVAL, refused.Errno);
        Assert.All(all.Types, type => Assert.Contains(type.Id, refused.Sentence, StringComparison.Ordinal));
        Assert.Equal(Errno.ENODEV, all.Remove(Guid.NewGuid()).Error.Errno);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_UUID_is_made_once(string parent)
    {
        var all = EmulatedMdevParents.Create(parent);
        var (uuid, type) = (Guid.NewGuid(), all.Types[0]);
        all.Create(type.Id, uuid, default);

        Assert.Equal(Errno.EEXIST, all.Create(type.Id, uuid, default).Error.Errno);

        Assert.Equal(type.AvailableInstances - 1, Available(all, type.Id));
    }

    [Fact]
    public void A_parent_that_there_is_not_is_refused_by_name()
    {
        var refused = Assert.Throws<ArgumentException>(() => EmulatedMdevParents.Create("mill"));

        Assert.Contains("mtty, mdpy, mbochs", refused.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Types))]
    public void Each_has_an_IOMMU_group_to_itself(string parent, string type, int most)
    {
        var all = EmulatedMdevParents.Create(parent);
        var groups = Enumerable.Range(0, most)
            .Select(number => all.Create(type, Guid.NewGuid(), PciAddress.FromRoutingId(0xfabd, (ushort)(0x100 + number))).Value.IommuGroup);
        using var bus = new EmulatedBus(new EmulatedBusOptions(1, 1, 1 << 18), TimeProvider.System);

        var taken = groups.Concat(bus.Functions.Select(function => function.IommuGroup)).ToArray();
        Assert.Equal(taken.Length, taken.Distinct().Count());
        Assert.All(taken, group => Assert.True(group >= 0));
    }

    private static int Available(IMdevParent parent, string type) => parent.Types.Single(known => known.Id == type).AvailableInstances;
}
