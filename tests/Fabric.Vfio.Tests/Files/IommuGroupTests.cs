using CsCheck;
using Fabric.Pci;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Files;

/// <summary>The rules of exclusion by themselves, as an actor of the group uses them.</summary>
public sealed class IommuGroupTests
{
    private static readonly PciAddress Device = Card.At(1);

    private readonly IommuGroup group = new(5);

    [Fact]
    public void A_group_is_open_by_its_node_or_by_cdevs_never_both_INV_4()
    {
        Assert.True(group.Open().IsOk);
        Assert.Equal(OpenKind.Group, group.Kind);
        Assert.Equal(Errno.EBUSY, group.Block().Error.Errno);
        group.Close();

        Assert.True(group.Block().IsOk);
        Assert.Equal(OpenKind.Cdev, group.Kind);
        Assert.Equal(Errno.EBUSY, group.Open().Error.Errno);
        group.Unblock();

        Assert.Equal(OpenKind.None, group.Kind);
    }

    [Fact]
    public void A_device_is_used_through_the_open_group_as_often_as_one_likes_LC_12()
    {
        Assert.Equal(Errno.EINVAL, group.Use(Device).Error.Errno);
        group.Open();

        Assert.Equal([1, 2, 3], [group.Use(Device).Value, group.Use(Device).Value, group.Use(Device).Value]);
        Assert.Equal([2, 1, 0], [group.Unuse(Device), group.Unuse(Device), group.Unuse(Device)]);
    }

    [Fact]
    public void A_device_is_bound_once_LC_12()
    {
        group.Block();
        Assert.True(group.Bind(Device).IsOk);
        group.Block();

        Assert.Equal(Errno.EINVAL, group.Bind(Device).Error.Errno);
        group.Unbind(Device);
        Assert.True(group.Bind(Device).IsOk);
    }

    [Fact]
    public void An_owner_may_claim_again_and_another_may_not_LC_16()
    {
        var (owner, other) = (new object(), new object());
        Assert.True(group.Claim(owner).IsOk);
        Assert.True(group.Claim(owner).IsOk);
        group.Unclaim();
        Assert.Equal(Errno.EPERM, group.Claim(other).Error.Errno);

        group.Unclaim();

        Assert.True(group.Claim(other).IsOk);
    }

    /// <summary>A seeded fault: a bind without the block that guards it.</summary>
    [Fact]
    public void A_device_that_is_open_in_no_way_is_seen_INV_4()
    {
        group.Bind(Device);

        Assert.Equal(["INV-4"], group.CheckInvariants());
    }

    [Fact]
    public void Whatever_opens_and_closes_come_the_kinds_are_not_mixed_INV_4() => Gen.Int[0, 5].Array[0, 60].Sample(steps =>
    {
        var walked = new IommuGroup(1);
        var used = 0;
        foreach (var step in steps)
        {
            switch (step)
            {
                case 0:
                    walked.Open();
                    break;
                case 1 when walked.IsOpen && used == 0:
                    walked.Close();
                    break;
                case 2 when walked.Use(Device).IsOk:
                    used++;
                    break;
                case 3 when used > 0:
                    Assert.Equal(--used, walked.Unuse(Device));
                    break;
                case 4 when walked.Block().IsOk && !walked.Bind(Device).IsOk:
                    walked.Unblock();
                    break;
                case 5 when walked.Cdevs > 0:
                    walked.Unbind(Device);
                    walked.Unblock();
                    break;
                default:
                    break;
            }

            Assert.Empty(walked.CheckInvariants());
        }
    });
}
