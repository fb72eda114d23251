using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Core;

public sealed class VfTokenTests
{
    private static readonly Guid First = new("11111111-1111-1111-1111-111111111111");
    private static readonly Guid Right = new("22222222-2222-2222-2222-222222222222");
    private static readonly Guid Wrong = new("33333333-3333-3333-3333-333333333333");

    private readonly CardBus bus = new(Card.Physical());
    private readonly VfioPciDevices devices;
    private readonly VfioPciCore physical;

    public VfTokenTests()
    {
        devices = new VfioPciDevices(bus, () => First);
        physical = devices.Register(bus.Cards.Single(), options: new CoreOptions(EnableSriov: true)).Value;
        physical.SetVfTokenOpen(Right);
    }

    public enum Who
    {
        FreeVf,
        Vf,
        Pf,
        PfWithUsers,
        Neither,
    }

    public enum Offer
    {
        None,
        Right,
        Wrong,
    }

    /// <summary>The table of contract §1.5.</summary>
    public static TheoryData<Who, Offer, Errno> Table() => new()
    {
        { Who.FreeVf, Offer.None, Errno.None },
        { Who.FreeVf, Offer.Right, Errno.EINVAL },
        { Who.Vf, Offer.None, Errno.EACCES },
        { Who.Vf, Offer.Wrong, Errno.EACCES },
        { Who.Vf, Offer.Right, Errno.None },
        { Who.PfWithUsers, Offer.None, Errno.EACCES },
        { Who.PfWithUsers, Offer.Wrong, Errno.EACCES },
        { Who.PfWithUsers, Offer.Right, Errno.None },
        { Who.Pf, Offer.Right, Errno.None },
        { Who.Pf, Offer.Wrong, Errno.None },
        { Who.Pf, Offer.None, Errno.None },
        { Who.Neither, Offer.None, Errno.None },
        { Who.Neither, Offer.Right, Errno.EINVAL },
    };

    [Theory]
    [MemberData(nameof(Table))]
    public void Who_may_open_with_which_token_is_the_table_of_the_contract_LC_40_LC_41(Who who, Offer offer, Errno expected) =>
        Assert.Equal(expected, DeviceOf(who).Match(Token(offer)).Error.Errno);

    [Fact]
    public void A_PF_without_open_VFs_takes_the_token_that_it_is_offered_LC_40()
    {
        var virtualFunction = NewVf();

        physical.Match(Wrong);

        Assert.Equal(Errno.EACCES, virtualFunction.Match(Right).Error.Errno);
        Assert.True(virtualFunction.Match(Wrong).IsOk);
    }

    [Fact]
    public void A_PF_that_is_offered_no_token_keeps_its_own_LC_40()
    {
        var virtualFunction = NewVf();

        physical.Match(null);

        Assert.True(virtualFunction.Match(Right).IsOk);
    }

    [Fact]
    public void A_PF_with_open_VFs_does_not_take_a_token_that_it_is_offered_LC_40()
    {
        var virtualFunction = NewVf();
        virtualFunction.Open();

        physical.Match(Wrong);

        Assert.True(virtualFunction.Match(Right).IsOk);
    }

    [Fact]
    public void The_first_token_is_drawn_LC_40()
    {
        var card = Card.Physical();
        var bus = new CardBus(card);
        var devices = new VfioPciDevices(bus, () => First);
        var physical = devices.Register(card, options: new CoreOptions(EnableSriov: true)).Value;
        physical.WriteNumVfs("1");
        var virtualFunction = devices.Register(bus.Functions[1]).Value;

        Assert.True(virtualFunction.Match(First).IsOk);
        Assert.Equal(Errno.EACCES, virtualFunction.Match(Right).Error.Errno);
    }

    [Fact]
    public void Two_PFs_draw_two_tokens_LC_40()
    {
        var (one, other) = (NewPair(), NewPair());
        one.Physical.SetVfTokenOpen(Right);

        Assert.Equal(Errno.EACCES, other.Virtual.Match(Right).Error.Errno);
    }

    [Fact]
    public void The_token_outlives_the_close_of_the_PF_LC_40()
    {
        var virtualFunction = NewVf();
        physical.Open();
        physical.Close();

        Assert.True(virtualFunction.Match(Right).IsOk);
    }

    [Fact]
    public void The_feature_sets_the_token_though_VFs_are_open_LC_40()
    {
        var virtualFunction = NewVf();
        virtualFunction.Open();

        Assert.True(physical.SetVfTokenOpen(Wrong));

        Assert.True(virtualFunction.Match(Wrong).IsOk);
        Assert.Equal(Errno.EACCES, virtualFunction.Match(Right).Error.Errno);
    }

    [Fact]
    public void The_feature_is_ENOTTY_but_on_a_PF_with_SR_IOV_LC_40()
    {
        var virtualFunction = NewVf();
        virtualFunction.Open();

        Assert.Equal(Errno.ENOTTY, virtualFunction.SetVfToken(Right).Error.Errno);
    }

    [Fact]
    public void Users_are_VFs_that_are_open_LC_42_LC_30_INV_5()
    {
        var virtualFunction = NewVf();
        Assert.Equal(0, physical.TokenUsers);
        virtualFunction.Open();
        Assert.Equal(1, physical.TokenUsers);
        physical.Healthy();

        virtualFunction.Close();

        Assert.Equal(0, physical.TokenUsers);
        physical.Healthy();
    }

    [Fact]
    public void A_VF_counts_from_the_second_phase_on_LC_23_LC_42()
    {
        var virtualFunction = NewVf();
        virtualFunction.Enable();
        Assert.Equal(0, physical.TokenUsers);
        virtualFunction.Disable();

        Assert.Equal(0, physical.TokenUsers);
    }

    private VfioPciCore DeviceOf(Who who)
    {
        switch (who)
        {
            case Who.FreeVf:
                return devices.Register(new CardFunction(Card.At(9, 1), FunctionTraits.VirtualFunction) { PhysicalFunction = Card.At(9) }).Value;
            case Who.Vf:
                return NewVf();
            case Who.PfWithUsers:
                NewVf().Open();
                return physical;
            case Who.Pf:
                return physical;
            default:
                return devices.Register(new FakeFunction(isVirtual: false)).Value;
        }
    }

    private VfioPciCore NewVf()
    {
        Assert.True(physical.WriteNumVfs("1").IsOk);
        return devices.Register(bus.Functions[1]).Value;
    }

    private static (VfioPciCore Physical, VfioPciCore Virtual) NewPair()
    {
        var bus = new CardBus(Card.Physical());
        var devices = new VfioPciDevices(bus);
        var physical = devices.Register(bus.Functions[0], options: new CoreOptions(EnableSriov: true)).Value;
        physical.WriteNumVfs("1");
        return (physical, devices.Register(bus.Functions[1]).Value);
    }

    private static Guid? Token(Offer offer) => offer switch
    {
        Offer.None => null,
        Offer.Right => Right,
        _ => Wrong,
    };
}

internal static class VfTokenExtensions
{
    /// <summary>Feature VF_TOKEN, on a device that is opened for it if it is not open.</summary>
    public static bool SetVfTokenOpen(this VfioPciCore physical, Guid token)
    {
        var opened = physical.Open().IsOk;
        var set = physical.SetVfToken(token);
        if (opened)
            physical.Close();
        return set.IsOk;
    }
}
