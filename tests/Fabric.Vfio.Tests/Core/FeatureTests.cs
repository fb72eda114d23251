using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Core;

public sealed class FeatureTests
{
    /// <summary>The core's rows of contract §2.9: on a PF with SR-IOV, and on a VF.</summary>
    public static TheoryData<CoreFeature, string, string> Features() => new()
    {
        { CoreFeature.VfToken, "Set", "ENOTTY" },
        { CoreFeature.LowPowerEntry, "Set", "Set" },
        { CoreFeature.LowPowerEntryWithWakeup, "Set", "Set" },
        { CoreFeature.LowPowerExit, "Set", "Set" },
        { CoreFeature.BusMaster, "ENOTTY", "ENOTTY" },
        { CoreFeature.DmaBuf, "Get", "Get" },
        { CoreFeature.ZpciError, "ENOTTY", "ENOTTY" },
        { (CoreFeature)1, "ENOTTY", "ENOTTY" },
        { (CoreFeature)99, "ENOTTY", "ENOTTY" },
    };

    [Theory]
    [MemberData(nameof(Features))]
    public void A_feature_has_the_operations_of_the_contract_or_is_ENOTTY_IO_81_IO_82(CoreFeature feature, string onPf, string onVf)
    {
        Assert.Equal(onPf, Ask(Card.Open(Card.Physical()), feature));
        Assert.Equal(onVf, Ask(Card.Open(new CardFunction(Card.At(0), FunctionTraits.VirtualFunction)), feature));
    }

    [Fact]
    public void Asking_what_a_feature_can_do_leaves_a_sleeping_device_asleep_IO_81()
    {
        var function = Card.Physical();
        var core = Card.Open(function);
        core.EnterLowPower();

        core.FindFeature(CoreFeature.LowPowerExit);

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
    }

    private static string Ask(VfioPciCore core, CoreFeature feature)
    {
        var found = core.FindFeature(feature);
        return found.IsOk ? found.Value.ToString() : found.Error.Errno.ToString();
    }
}
