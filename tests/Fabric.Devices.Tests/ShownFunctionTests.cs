using Akka.Actor;
using Fabric.Pci;

namespace Fabric.Devices.Tests;

/// <summary>Functions that a host shows and does not hand out, as they come, go and change.</summary>
public sealed class ShownFunctionTests : SlotTest
{
    [Fact]
    public async Task One_that_comes_is_shown_and_told()
    {
        var host = Host();

        host.Tell(new ShowFunctions([Shown(Other, "iavf")]));

        Assert.Equal("iavf", (await StateAsync(Other, DeviceState.Inventory)).Driver);
        Assert.Equal("iavf", (await StatusAsync(host, Other)).Driver);
    }

    [Fact]
    public async Task One_whose_driver_changes_is_told_once()
    {
        var host = Host();
        host.Tell(new ShowFunctions([Shown(Other, "iavf")]));
        await StateAsync(Other, DeviceState.Inventory);

        host.Tell(new ShowFunctions([Shown(Other, "iavf")]));
        host.Tell(new ShowFunctions([Shown(Other, "pci-stub")]));

        Assert.Equal("pci-stub", (await StateAsync(Other, DeviceState.Inventory)).Driver);
    }

    [Fact]
    public async Task One_that_goes_is_gone()
    {
        var host = Host();
        host.Tell(new ShowFunctions([Shown(Other, "iavf")]));
        await StateAsync(Other, DeviceState.Inventory);

        host.Tell(new ShowFunctions([]));

        await UntilAsync<DeviceGone>(Events, static gone => gone.Address == Other);
        Assert.Empty((await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices);
    }

    [Fact]
    public async Task One_that_is_handed_out_is_not_theirs_to_show()
    {
        Bus.Add(One);
        var host = Host();
        await FrontAsync(host, One);

        host.Tell(new ShowFunctions([Shown(One, "iavf")]));
        host.Tell(new ShowFunctions([]));

        Assert.NotEqual(DeviceState.Inventory, (await StatusAsync(host, One)).State);
        Assert.NotNull(await FrontAsync(host, One));
    }

    private static DeviceStatus Shown(PciAddress address, string driver) =>
        StatusOf(new FakeFunction { Address = address }, null) with
        {
            Physical = true, Driver = driver, State = DeviceState.Inventory, Health = DeviceHealth.Unknown, ResetMethods = ["flr"],
        };
}
