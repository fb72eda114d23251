using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Tests.Core.ConfigSpace;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class RegistrationTests
{
    private static readonly DriverDeclaration Variant = new("variant");

    /// <summary>A driver, and whether the core takes it.</summary>
    public static TheoryData<string, DriverDeclaration, Errno> Drivers() => new()
    {
        { "no name", Variant with { Name = "" }, Errno.EINVAL },
        { "whole migration", Variant with { Migration = MigrationCallbacks.All, MigrationFlags = MigrationFlags.StopCopy }, Errno.None },
        { "no STOP_COPY", Variant with { Migration = MigrationCallbacks.All, MigrationFlags = MigrationFlags.P2P }, Errno.EINVAL },
        { "no set_state", Variant with { Migration = MigrationCallbacks.All & ~MigrationCallbacks.SetState, MigrationFlags = MigrationFlags.StopCopy }, Errno.EINVAL },
        { "no get_state", Variant with { Migration = MigrationCallbacks.All & ~MigrationCallbacks.GetState, MigrationFlags = MigrationFlags.StopCopy }, Errno.EINVAL },
        { "no size", Variant with { Migration = MigrationCallbacks.All & ~MigrationCallbacks.GetDataSize, MigrationFlags = MigrationFlags.StopCopy }, Errno.EINVAL },
        { "whole logging", Variant with { Logging = LoggingCallbacks.All }, Errno.None },
        { "no log stop", Variant with { Logging = LoggingCallbacks.Start | LoggingCallbacks.ReadAndClear }, Errno.EINVAL },
        { "no log start", Variant with { Logging = LoggingCallbacks.Stop | LoggingCallbacks.ReadAndClear }, Errno.EINVAL },
        { "no log report", Variant with { Logging = LoggingCallbacks.Start | LoggingCallbacks.Stop }, Errno.EINVAL },
        { "neither", Variant, Errno.None },
    };

    [Theory]
    [MemberData(nameof(Drivers))]
    public void A_driver_names_itself_and_has_all_callbacks_of_what_it_has_LC_3(string driver, DriverDeclaration declaration, Errno expected) =>
        Assert.Equal((driver, expected), (driver, VfioPciCore.Register(Card.Physical(), declaration).Error.Errno));

    [Fact]
    public void A_bridge_is_refused_before_what_its_driver_lacks_is_looked_at_LC_3()
    {
        var bridge = Card.Physical();
        bridge.Put16(ConfigOffset.HeaderType, 1);

        Assert.Contains("bridge", VfioPciCore.Register(bridge, Variant with { Logging = LoggingCallbacks.Start }).Error.Sentence);
    }

    [Fact]
    public void A_PF_whose_capability_says_that_VFs_are_enabled_is_EBUSY_LC_3_SV_22()
    {
        var function = Card.Physical();
        function.Put16(CardFunction.Sriov + SriovCapability.Control, 1);

        Assert.Equal(Errno.EBUSY, VfioPciCore.Register(function).Error.Errno);
    }

    [Fact]
    public void A_PF_whose_VFs_are_on_the_bus_already_is_EBUSY_LC_3_SV_22()
    {
        var function = Card.Physical();
        var bus = new CardBus(function);
        bus.SetVirtualFunctions(function, 1);

        Assert.Equal(Errno.EBUSY, new VfioPciDevices(bus).Register(function).Error.Errno);
    }

    [Fact]
    public void A_device_starts_without_interrupts_events_and_buffers_and_without_a_known_reset_LC_1()
    {
        var core = Card.Closed(Card.Physical());

        Assert.Equal((false, false, 0), (core.ResetWorks, core.IsOpen, core.References));
        Assert.Equal("none", core.Inspect()["session"]!.Value);
        Assert.True(core.Open().IsOk);
        Assert.Equal("none", core.Inspect()["session"]!["irq type"]!.Value);
        Assert.Equal("0", core.Inspect()["session"]!["ioeventfds"]!.Value);
    }

    [Theory]
    [InlineData(false, Errno.EINVAL)]
    [InlineData(true, Errno.None)]
    public void Plain_vfio_pci_refuses_its_denylist_unless_that_is_off_LC_2(bool disabled, Errno expected) =>
        Assert.Equal(expected, VfioPciCore.Register(
            new CardFunction(Card.At(0), FunctionTraits.Denied), options: new CoreOptions(DisableDenylist: disabled)).Error.Errno);

    [Fact]
    public void A_variant_driver_has_no_denylist_LC_2() =>
        Assert.True(VfioPciCore.Register(new CardFunction(Card.At(0), FunctionTraits.Denied), Variant).IsOk);

    [Fact]
    public void A_device_keeps_the_options_that_it_was_registered_with_LC_2()
    {
        var options = new CoreOptions(DisableVga: true);
        var function = new CardFunction(Card.At(0), FunctionTraits.Vga);
        var core = Card.Open(function, options: options);
        _ = options with { DisableVga = false };
        core.Close();
        core.Open();

        Assert.Equal(Errno.EINVAL, core.GetRegionInfo(RegionIndex.Vga).Error.Errno);
    }

    [Fact]
    public void Registering_puts_the_device_in_its_set_forces_D0_and_lets_it_sleep_LC_4()
    {
        var function = Card.Physical();
        function.Put16(CardFunction.Pmcsr, (ushort)PciPowerState.D1);
        var core = Card.Closed(function);

        Assert.Equal([core], core.Set.Members);
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
    }

    [Fact]
    public void Without_idle_D3_a_device_stays_in_D0_LC_4()
    {
        var function = Card.Physical();

        Card.Closed(function, options: new CoreOptions(DisableIdleD3: true));

        Assert.Equal(PciPowerState.D0, function.PowerState);
    }

    [Fact]
    public void A_device_that_loses_its_registers_in_D3_is_seen_to_LC_4()
    {
        Assert.Equal("yes", Card.Closed(Card.Physical()).Inspect()["power"]!["loses config in D3hot"]!.Value);
        Assert.Equal("no", Card.Closed(new CardFunction(Card.At(0), noSoftReset: true)).Inspect()["power"]!["loses config in D3hot"]!.Value);
    }

    [Theory]
    [InlineData(false, Errno.EINVAL)]
    [InlineData(true, Errno.None)]
    public void A_device_without_IOMMU_group_is_refused_unless_that_is_allowed_LC_5(bool allowed, Errno expected) =>
        Assert.Equal(expected, VfioPciCore.Register(
            new CardFunction(Card.At(0)) { IommuGroup = null }, options: new CoreOptions(AllowNoIommu: allowed)).Error.Errno);

    [Fact]
    public void Opening_a_device_without_IOMMU_takes_raw_IO_LC_5()
    {
        var core = Card.Closed(new CardFunction(Card.At(0)) { IommuGroup = null }, options: new CoreOptions(AllowNoIommu: true));

        Assert.Equal(Errno.EPERM, core.Open(hasRawIo: false).Error.Errno);
        Assert.True(core.Open().IsOk);
    }

    [Fact]
    public void A_device_whose_DMA_is_not_coherent_is_refused_LC_5() =>
        Assert.Equal(Errno.EINVAL, VfioPciCore.Register(new CardFunction(Card.At(0), FunctionTraits.NonCoherentDma)).Error.Errno);

    [Fact]
    public void A_registration_that_fails_leaves_nothing_behind_LC_6()
    {
        var devices = new VfioPciDevices();
        var function = new CardFunction(Card.At(0), FunctionTraits.NonCoherentDma);
        devices.Register(function);

        Assert.Empty(devices.Devices);
        Assert.True(devices.Register(new CardFunction(function.Address)).IsOk);
        Assert.Single(devices.Devices[0].Set.Members);
    }

    [Fact]
    public void A_function_is_registered_once()
    {
        var devices = new VfioPciDevices();
        devices.Register(Card.Physical());

        Assert.Equal(Errno.EBUSY, devices.Register(Card.Physical()).Error.Errno);
    }

    [Theory]
    [InlineData(ConfigOffset.ConventionalSize)]
    [InlineData(ConfigOffset.ExtendedSize)]
    public void A_capability_that_config_space_cuts_off_is_none(int configSize)
    {
        var config = new byte[configSize];
        config[ConfigOffset.Status] = (byte)PciStatus.CapabilitiesList;
        config[ConfigOffset.CapabilitiesPointer] = 0xfc;
        config[0xfc] = (byte)StandardCapability.PowerManagement;
        var options = new CoreOptions(AllowNoIommu: true);

        var core = VfioPciCore.Register(new ConfigFunction(config), options: options).Value;

        Assert.True(core.Open().IsOk);
        core.Close();
        Assert.All(config[ConfigOffset.ConventionalSize..], value => Assert.Equal(0, value));
    }

    [Fact]
    public void An_SRIOV_capability_that_config_space_cuts_off_is_none()
    {
        const int at = ConfigOffset.ExtendedSize - 8;
        var config = new byte[ConfigOffset.ExtendedSize];
        BitConverter.TryWriteBytes(config.AsSpan(ConfigOffset.ConventionalSize), (uint)(1 << 16) | (at << 20));
        BitConverter.TryWriteBytes(config.AsSpan(at), (uint)ExtendedCapability.Sriov | (1 << 16));

        var registered = VfioPciCore.Register(new ConfigFunction(config), options: new CoreOptions(AllowNoIommu: true));

        Assert.Equal(Errno.EINVAL, registered.Value.Match(Guid.Empty).Error.Errno);
    }
}
