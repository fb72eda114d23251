using Fabric.Hardware.Emulated.Sriov;

namespace Fabric.Hardware.Emulated.Tests;

public sealed class EmulatedModelTests
{
    public static TheoryData<string> Models => [.. EmulatedModels.All.Select(static model => model.Name)];

    /// <summary>The accelerator's VFs are settings of their own.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void A_model_says_how_many_VFs_its_card_can_have_from_the_start(string name)
    {
        using var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(name)] }, TimeProvider.System);
        var physical = bus.Functions.OfType<SriovPhysicalFunction>().FirstOrDefault();

        var expected = name == EmulatedModels.Accelerator ? 0 : physical?.TotalVirtualFunctions ?? 0;

        Assert.Equal(expected, EmulatedModels.All.Single(model => model.Name == name).TotalVirtualFunctions);
    }
}
