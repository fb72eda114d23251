using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests;

public sealed class TopologyTests : IDisposable
{
    private readonly Zoo zoo = new(
        new EmulatedCard(EmulatedModels.MultiFunction),
        new EmulatedCard(EmulatedModels.Conventional),
        new EmulatedCard(EmulatedModels.NoFlr));

    private EmulatedBus Bus => zoo.Bus;

    [Fact]
    public void Functions_are_in_bus_walk_order_and_ports_are_none_of_them()
    {
        Assert.Equal(["fab0:01:00.0", "fab0:01:00.1", "fab0:01:00.2", "fab0:01:00.3", "fab0:03:00.0", "fab0:04:00.0"], zoo.Addresses);
        Assert.Equal(["fab0:00:01.0", "fab0:00:01.1", "fab0:00:01.2", "fab0:02:00.0"], Bus.Ports.Select(port => port.Address.ToString()));
    }

    [Fact]
    public void A_port_knows_the_buses_below_it()
    {
        var aboveBridge = Bus.Ports[1];

        Assert.Equal((0, 2, 3), (aboveBridge.Config8(0x18), aboveBridge.Config8(0x19), aboveBridge.Config8(0x1a)));
        Assert.Equal(1, aboveBridge.Config8(ConfigOffset.HeaderType) & 0x7f);
    }

    [Theory]
    [InlineData("fab0:01:00.2", "fab0:01:00.0 fab0:01:00.1 fab0:01:00.2 fab0:01:00.3")]
    [InlineData("fab0:00:01.0", "fab0:00:01.0 fab0:01:00.0 fab0:01:00.1 fab0:01:00.2 fab0:01:00.3")]
    [InlineData("fab0:03:00.0", "fab0:03:00.0")]
    [InlineData("fab0:02:00.0", "fab0:02:00.0 fab0:03:00.0")]
    [InlineData("fab0:00:01.1", "fab0:00:01.1 fab0:02:00.0 fab0:03:00.0")]
    [InlineData("0000:3b:00.0", "")]
    public void Recovery_goes_to_what_is_under_the_port_of_an_endpoint_and_to_a_port_and_all_below_it(string source, string scope) =>
        Assert.Equal(scope, string.Join(' ', Bus.RecoveryScope(Zoo.At(source))));

    [Theory]
    [InlineData("fab0:01:00.3", HotResetKind.Slot, 4)]
    [InlineData("fab0:03:00.0", HotResetKind.Bus, 1)]
    [InlineData("fab0:04:00.0", HotResetKind.Bus, 1)]
    public void A_slot_or_a_bus_is_reset_as_one_LC_50(string function, HotResetKind kind, int affected)
    {
        var scope = Bus.HotResetScopeOf(Zoo.At(function));

        Assert.Equal((kind, affected), (scope!.Kind, scope.Affected.Length));
    }

    [Fact]
    public void A_VF_is_a_set_by_itself_LC_50()
    {
        using var accelerators = new EmulatedBus(new EmulatedBusOptions(1, 1, AcceleratorState.Granule), zoo.Time);

        Assert.Null(accelerators.HotResetScopeOf(Zoo.At("fab0:01:00.1")));
        Assert.Equal(2, accelerators.HotResetScopeOf(Zoo.At("fab0:01:00.0"))!.Affected.Length);
        Assert.Equal(Errno.ENODEV, accelerators.HotReset(Zoo.At("fab0:01:00.1")).Error.Errno);
    }

    [Theory]
    [InlineData("fab0:01:00.3", 4)]
    [InlineData("fab0:03:00.0", 1)]
    [InlineData("fab0:04:00.0", 0)]
    [InlineData("fab0:09:00.0", 0)]
    public void Only_a_slot_has_a_power_controller_and_it_turns_off_all_that_is_in_it(string function, int scope)
    {
        var address = Zoo.At(function);

        Assert.Equal(scope, Bus.PowerScopeOf(address).Length);
        Assert.Equal(scope == 0 ? Errno.ENOTTY : Errno.None, Bus.CyclePower(address).Error.Errno);
    }

    [Fact]
    public void Functions_of_a_card_without_ACS_share_an_IOMMU_group_and_a_conventional_device_shares_its_bridges()
    {
        Assert.Single(Bus.Functions.Take(4).Select(function => function.IommuGroup).Distinct());
        Assert.Equal(Bus.Ports[3].IommuGroup, zoo["fab0:03:00.0"].IommuGroup);
        Assert.Equal(3, Bus.Functions.Select(function => function.IommuGroup).Distinct().Count());
    }

    [Fact]
    public void Accelerators_have_a_group_each()
    {
        using var accelerators = new Zoo(new EmulatedBusOptions(1, 3, AcceleratorState.Granule));

        Assert.Equal(4, accelerators.Bus.Functions.Select(function => function.IommuGroup).Distinct().Count());
    }

    // ---- Resets from above -----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("link of an endpoint")]
    [InlineData("link of a port")]
    [InlineData("hot reset")]
    [InlineData("bridge control")]
    [InlineData("power")]
    public void A_reset_from_above_leaves_every_function_of_the_slot_as_at_power_on_and_others_alone_ER_10(string reset)
    {
        foreach (var function in Bus.Functions)
            function.Command(PciCommand.MemorySpace | PciCommand.IoSpace | PciCommand.BusMaster);
        var untouched = Bus.Functions.Skip(4).Select(function => (function.Command(), function.Config32(ConfigOffset.Bar0))).ToArray();

        var outcome = reset switch
        {
            "link of an endpoint" => Bus.ResetLink(Zoo.At("fab0:01:00.1")),
            "link of a port" => Bus.ResetLink(Zoo.At("fab0:00:01.0")),
            "hot reset" => Bus.HotReset(Zoo.At("fab0:01:00.1")),
            "power" => Bus.CyclePower(Zoo.At("fab0:01:00.1")),
            _ => Raise(Bus.Ports[0]),
        };

        Assert.True(outcome.IsOk);
        Assert.All(
            Bus.Functions.Take(4), function => Assert.Equal((PciCommand.None, 4u), (function.Command(), function.Config32(ConfigOffset.Bar0))));
        Assert.Equal(untouched, Bus.Functions.Skip(4).Select(function => (function.Command(), function.Config32(ConfigOffset.Bar0))));
    }

    [Fact]
    public void A_reset_of_the_root_port_reaches_the_device_behind_the_bridge_and_the_bridge_keeps_its_bus_numbers()
    {
        zoo["fab0:03:00.0"].Command(PciCommand.BusMaster);

        Bus.ResetLink(Zoo.At("fab0:00:01.1"));

        Assert.Equal(PciCommand.None, zoo["fab0:03:00.0"].Command());
        Assert.Equal((2, 3), (Bus.Ports[3].Config8(0x18), Bus.Ports[3].Config8(0x19)));
    }

    [Fact]
    public void A_reset_keeps_what_explains_an_error_and_loss_of_power_does_not()
    {
        var function = zoo["fab0:01:00.0"];
        Bus.InjectAer(function.Address, AerSeverity.Fatal);

        Bus.HotReset(function.Address);
        var afterReset = function.Config32(0x104);
        Bus.CyclePower(function.Address);

        Assert.Equal((0x4_0000u, 0u), (afterReset, function.Config32(0x104)));
    }

    // ---- Removal ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_attention_button_asks_and_removal_is_what_takes_the_function_out()
    {
        var (address, function) = (Zoo.At("fab0:04:00.0"), zoo["fab0:04:00.0"]);

        Assert.True(Bus.RequestRemoval(address).IsOk);
        Assert.True(Bus.Remove(address).IsOk);

        Assert.Equal([new RemovalRequested(address), new FunctionVanished(address)], zoo.Events);
        Assert.DoesNotContain(function, Bus.Functions);
        Assert.Equal(uint.MaxValue, function.Config32(0));
        Assert.Equal((Errno.ENODEV, Errno.ENODEV), (Bus.Remove(address).Error.Errno, Bus.RequestRemoval(address).Error.Errno));
    }

    [Fact]
    public void A_snapshot_of_the_functions_stays_what_it_was()
    {
        var before = Bus.Functions;

        Bus.Remove(Zoo.At("fab0:04:00.0"));

        Assert.Equal((6, 5), (before.Count, Bus.Functions.Count));
    }

    [Fact]
    public void A_listener_may_call_the_bus_and_is_told_of_what_came_of_it_in_order()
    {
        var address = Zoo.At("fab0:04:00.0");
        Bus.ReportTo(happened =>
        {
            zoo.Events.Add(happened);
            if (happened is RemovalRequested)
                Bus.Remove(address);
        });

        Bus.RequestRemoval(address);

        Assert.Equal([new RemovalRequested(address), new FunctionVanished(address)], zoo.Events);
    }

    // ---- Models ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Every_model_is_described_in_a_line_and_can_be_had()
    {
        foreach (var model in EmulatedModels.All)
        {
            using var one = Zoo.With(model.Name);
            Assert.NotEmpty(one.Bus.Functions);
            Assert.DoesNotContain('\n', model.Description);
        }
    }

    [Fact]
    public void A_model_that_there_is_not_is_refused_with_those_that_there_are() => Assert.Contains(
        EmulatedModels.MultiFunction,
        Assert.Throws<ArgumentException>(() => Zoo.With("unicorn")).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Cards_come_after_the_accelerators_on_buses_of_their_own()
    {
        using var both = new Zoo(new EmulatedBusOptions(1, 1, AcceleratorState.Granule) { Cards = [new EmulatedCard(EmulatedModels.NoFlr, 2)] });

        Assert.Equal(["fab0:01:00.0", "fab0:01:00.1", "fab0:02:00.0", "fab0:03:00.0"], both.Addresses);
        Assert.IsType<AcceleratorVirtualFunction>(both.Bus.Functions[1]);
    }

    public void Dispose() => zoo.Dispose();

    private static VfioResult Raise(IPciFunction port)
    {
        port.WriteConfig(0x3e, [0x40]);
        return VfioResult.Ok;
    }
}
