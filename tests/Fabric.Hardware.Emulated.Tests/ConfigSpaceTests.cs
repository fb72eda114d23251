using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>Raw config space, as a host sees it that has no core in between.</summary>
public sealed class ConfigSpaceTests
{
    [Theory]
    [InlineData(EmulatedModels.Accelerator, "PciExpress Msix", "Aer AlternativeRoutingId Sriov")]
    [InlineData(EmulatedModels.MultiFunction, "PowerManagement PciExpress Msix VitalProductData VendorSpecific", "Aer DeviceSerialNumber")]
    [InlineData(EmulatedModels.Conventional, "PowerManagement AdvancedFeatures", "")]
    [InlineData(EmulatedModels.NoFlr, "PowerManagement PciExpress Msi", "Aer AccessControl")]
    [InlineData(EmulatedModels.Null, "", "")]
    public void The_chains_name_what_the_model_has(string model, string standard, string extended)
    {
        using var zoo = Zoo.With(model);
        var raw = new byte[zoo.First.ConfigSize];
        zoo.First.ReadConfig(0, raw);

        Assert.Equal(standard, string.Join(' ', CapabilityWalk.Standard(raw).Select(entry => entry.Id)));
        Assert.Equal(extended, raw.Length == 256 ? "" : string.Join(' ', CapabilityWalk.Extended(raw).Select(entry => entry.Id)));
    }

    public static TheoryData<string> Models() => [.. EmulatedModels.All.Select(model => model.Name)];

    [Theory]
    [MemberData(nameof(Models))]
    public void All_ones_written_to_a_BAR_read_back_as_its_size_and_type(string model)
    {
        using var zoo = Zoo.With(model);
        foreach (var function in zoo.Bus.Functions)
        {
            for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
            {
                var (kind, size, prefetchable, _) = function.Bars[bar];
                var at = ConfigOffset.Bar0 + (4 * bar);
                function.Config32(at, uint.MaxValue);
                function.Config32(at + 4, uint.MaxValue);
                var read = function.Config32(at);
                Assert.Equal(kind == BarKind.None ? 0 : ~(size - 1), Sized(kind, read, function.Config32(at + 4)));
                Assert.Equal(
                    kind switch { BarKind.Io => 1u, BarKind.Memory64 => 4u, _ => 0u } | (prefetchable ? 8u : 0),
                    read & (kind == BarKind.Io ? 3u : 0xf));
                if (kind == BarKind.Memory64)
                    bar++;
            }
        }
    }

    /// <summary>All but the one that the FLR bit among all the ones puts out of reach.</summary>
    public static TheoryData<string> WritableModels() =>
        [.. EmulatedModels.All.Select(model => model.Name).Where(name => name != EmulatedModels.NotReady)];

    [Theory]
    [MemberData(nameof(WritableModels))]
    public void Whatever_is_written_the_ids_the_header_type_and_the_chains_stay(string model)
    {
        using var zoo = Zoo.With(model);
        foreach (EmulatedFunction function in zoo.Bus.Functions)
        {
            var (before, after) = (new byte[function.ConfigSize], new byte[function.ConfigSize]);
            function.ReadConfig(0, before);
            for (var at = 0; at < function.ConfigSize; at += 4)
                function.Config32(at, 0xffff_ffff);
            function.ReadConfig(0, after);

            Assert.Equal(before[..4], after[..4]);
            Assert.Equal(before[8..12], after[8..12]);
            Assert.Equal(before[ConfigOffset.HeaderType], after[ConfigOffset.HeaderType]);
            Assert.Equal(CapabilityWalk.Standard(before).AsEnumerable(), CapabilityWalk.Standard(after));
        }
    }

    [Fact]
    public void An_error_status_is_cleared_by_a_one_and_by_nothing_else()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        zoo.Bus.InjectAer(zoo.First.Address, AerSeverity.NonFatal);
        var status = 0x100 + AerRegister.UncorrectableStatus;

        zoo.First.Config32(status, 0);
        var afterZero = zoo.First.Config32(status);
        zoo.First.Config32(status, uint.MaxValue);

        Assert.Equal((0x1000u, 0u), (afterZero, zoo.First.Config32(status)));
    }

    [Theory]
    [InlineData(PciPowerState.D1, PciPowerState.D1)]
    [InlineData(PciPowerState.D2, PciPowerState.D0)]
    [InlineData(PciPowerState.D3Hot, PciPowerState.D3Hot)]
    public void A_power_state_that_the_function_has_not_leaves_it_where_it_was(PciPowerState written, PciPowerState read)
    {
        using var zoo = Zoo.With(EmulatedModels.NoFlr);

        zoo.First.Config16(0x44, (int)written);

        Assert.Equal(read, (PciPowerState)(zoo.First.Config16(0x44) & 3));
    }

    [Theory]
    [InlineData(EmulatedModels.NoFlr, 0u, PciCommand.None)]
    [InlineData(EmulatedModels.MultiFunction, 7u, PciCommand.BusMaster)]
    public void D3hot_takes_its_registers_from_a_function_without_No_Soft_Reset_alone_LC_65(string model, uint scratch, PciCommand command)
    {
        using var zoo = Zoo.With(model);
        zoo.First.Command(PciCommand.MemorySpace | PciCommand.BusMaster);
        zoo.First.WriteRegion(0, 4, [7, 0, 0, 0]);
        var bars = zoo.First.Config32(ConfigOffset.Bar0);

        zoo.First.Config16(0x44, 3);
        Assert.Equal(Errno.EIO, zoo.First.Read(0));
        zoo.First.Config16(0x44, 0);

        Assert.Equal(command, zoo.First.Command() & PciCommand.BusMaster);
        zoo.First.Config32(ConfigOffset.Bar0, bars);
        zoo.First.Command(PciCommand.MemorySpace);
        var read = new byte[4];
        Assert.True(zoo.First.ReadRegion(0, 4, read).IsOk);
        Assert.Equal(scratch, BitConverter.ToUInt32(read));
    }

    [Theory]
    [InlineData(EmulatedModels.MultiFunction, 0x48 + PciExpressCapability.DeviceControl, 2)]
    [InlineData(EmulatedModels.Conventional, 0x48 + AdvancedFeaturesCapability.Control, 1)]
    public void A_function_level_reset_is_asked_for_in_config_space_and_reads_0_CF_33_CF_35(string model, int register, int width)
    {
        using var zoo = Zoo.With(model);
        zoo.First.Command(PciCommand.BusMaster);

        zoo.First.WriteConfig(register, width == 2 ? [0, 0x80] : [1]);

        Assert.Equal(PciCommand.None, zoo.First.Command());
        Assert.Equal(0, zoo.First.Config8(register + width - 1) & (width == 2 ? 0x80 : 1));
    }

    [Fact]
    public void A_function_without_FLR_is_not_reset_by_the_bit()
    {
        using var zoo = Zoo.With(EmulatedModels.NoFlr);
        zoo.First.Command(PciCommand.BusMaster);

        zoo.First.WriteConfig(0x48 + PciExpressCapability.DeviceControl, [0, 0x80]);

        Assert.Equal(PciCommand.BusMaster, zoo.First.Command());
    }

    [Fact]
    public void Vital_product_data_is_read_and_written_through_its_two_registers()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var vpd = CapabilityOffset(zoo.First, StandardCapability.VitalProductData);

        zoo.First.Config16(vpd + VitalProductData.Address, 0);
        Assert.Equal((0x8000, 0x82), (zoo.First.Config16(vpd + VitalProductData.Address), zoo.First.Config8(vpd + VitalProductData.Data)));
        zoo.First.Config32(vpd + VitalProductData.Data, 0x1234_5678);
        zoo.First.Config16(vpd + VitalProductData.Address, 0x8004);
        Assert.Equal(0x0004, zoo.First.Config16(vpd + VitalProductData.Address));
        zoo.First.Config16(vpd + VitalProductData.Address, 0x0004);

        Assert.Equal(0x1234_5678u, zoo.First.Config32(vpd + VitalProductData.Data));
    }

    [Fact]
    public void A_BAR_answers_only_where_it_is_decoded_and_where_the_host_has_placed_it()
    {
        using var zoo = Zoo.With(EmulatedModels.Conventional);
        var port = zoo.First.Config32(ConfigOffset.Bar0);
        Assert.Equal((Errno.EIO, Errno.EIO), (zoo.First.Read(0), zoo.First.Read(1)));

        zoo.First.Command(PciCommand.IoSpace);
        Assert.Equal((Errno.None, Errno.EIO), (zoo.First.Read(0), zoo.First.Read(1)));
        zoo.First.Command(PciCommand.MemorySpace);
        Assert.Equal((Errno.EIO, Errno.None), (zoo.First.Read(0), zoo.First.Read(1)));
        zoo.First.Command(PciCommand.IoSpace);
        zoo.First.Config32(ConfigOffset.Bar0, port + 0x20);
        Assert.Equal(Errno.EIO, zoo.First.Read(0));
    }

    [Fact]
    public void No_two_BARs_are_placed_over_each_other()
    {
        using var zoo = new Zoo(new EmulatedCard(EmulatedModels.MultiFunction, 2), new EmulatedCard(EmulatedModels.NoFlr, 2));
        var ranges = zoo.Bus.Functions.SelectMany(function => Enumerable.Range(0, 6).Where(bar => function.Bars[bar].Size != 0).Select(bar => (
            Start: Sized(function.Bars[bar].Kind, function.Config32(0x10 + (4 * bar)), function.Config32(0x14 + (4 * bar))),
            function.Bars[bar].Size))).Order().ToArray();

        Assert.All(ranges.Zip(ranges.Skip(1)), pair => Assert.True(pair.First.Start + pair.First.Size <= pair.Second.Start));
        Assert.All(ranges, range => Assert.Equal(0UL, range.Start % range.Size));
    }

    [Theory]
    [InlineData(EmulatedModels.NoFlr, ResetMethod.PowerManagement)]
    [InlineData(EmulatedModels.NoFlr, ResetMethod.Bus)]
    [InlineData(EmulatedModels.Conventional, ResetMethod.AdvancedFeatures)]
    [InlineData(EmulatedModels.Conventional, ResetMethod.Bus)]
    [InlineData(EmulatedModels.MultiFunction, ResetMethod.FunctionLevel)]
    public void Every_method_of_a_function_resets_it_and_it_alone(string model, string method)
    {
        using var zoo = Zoo.With(model);
        foreach (var function in zoo.Bus.Functions)
            function.Command(PciCommand.BusMaster);

        Assert.Contains(method, zoo.First.ResetMethods);
        Assert.True(zoo.First.Reset(method).IsOk);

        Assert.Equal(PciCommand.None, zoo.First.Command());
        Assert.All(zoo.Bus.Functions.Skip(1), sibling => Assert.Equal(PciCommand.BusMaster, sibling.Command()));
    }

    [Fact]
    public void A_bus_is_not_reset_for_a_function_that_is_not_alone_on_it()
    {
        using var zoo = new Zoo(new EmulatedBusOptions(1, 1, 1 << 18));

        Assert.Equal(Errno.ENOTTY, zoo.First.Reset(ResetMethod.Bus).Error.Errno);
        Assert.Equal(Errno.ENOTTY, zoo.First.Reset(ResetMethod.PowerManagement).Error.Errno);
    }

    [Fact]
    public void A_VF_has_of_COMMAND_bus_mastering_alone()
    {
        using var function = new AcceleratorVirtualFunction(default, 1 << 18, TimeProvider.System);

        function.Config16(ConfigOffset.Command, 0xffff);

        Assert.Equal(PciCommand.BusMaster, function.Command());
    }

    private static int CapabilityOffset(EmulatedFunction function, StandardCapability id)
    {
        var raw = new byte[function.ConfigSize];
        function.ReadConfig(0, raw);
        return CapabilityWalk.Standard(raw).Single(entry => entry.Id == id).Offset;
    }

    private static ulong Sized(BarKind kind, uint low, uint high) => kind switch
    {
        BarKind.None => 0,
        BarKind.Io => low & BarBits.IoAddress | 0xffff_ffff_0000_0000,
        BarKind.Memory32 => low & BarBits.MemoryAddress | 0xffff_ffff_0000_0000,
        _ => (low & BarBits.MemoryAddress) | ((ulong)high << 32),
    };
}
