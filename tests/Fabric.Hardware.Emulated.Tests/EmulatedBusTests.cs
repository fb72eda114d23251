using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Hardware.Emulated.Tests;

public sealed class EmulatedBusTests : IDisposable
{
    private readonly EmulatedBus bus = new(
        new EmulatedBusOptions(Accelerators: 2, FunctionsPerAccelerator: 3, AcceleratorState.Granule), new FakeTimeProvider());
    private readonly List<BusEvent> reported = [];

    public EmulatedBusTests() => bus.ReportTo(reported.Add);

    [Fact]
    public void Every_card_has_its_bus_and_its_functions_are_in_walk_order() => Assert.Equal(
        ["fab0:01:00.0", "fab0:01:00.1", "fab0:01:00.2", "fab0:01:00.3", "fab0:02:00.0", "fab0:02:00.1", "fab0:02:00.2", "fab0:02:00.3"],
        bus.Functions.Select(function => function.Address.ToString()));

    [Fact]
    public void Function_0_of_a_card_is_physical_and_the_others_are_virtual() => Assert.Equal(
        [false, true, true, true],
        bus.Functions.Take(4).Select(function => function.IsVirtualFunction));

    [Theory]
    [InlineData(17, 1)]
    [InlineData(1, 8)]
    public void More_cards_or_functions_than_addresses_are_refused(int cards, int functions) => Assert.Throws<ArgumentOutOfRangeException>(
        () => new EmulatedBus(new EmulatedBusOptions(cards, functions, AcceleratorState.Granule), TimeProvider.System).Dispose());

    [Fact]
    public void The_scope_of_a_recovery_is_the_card_of_the_function() => Assert.Equal(
        ["fab0:02:00.0", "fab0:02:00.1", "fab0:02:00.2", "fab0:02:00.3"],
        bus.RecoveryScope(At("fab0:02:00.2")).Select(address => address.ToString()));

    [Fact]
    public void A_link_reset_resets_every_function_of_the_card_and_none_of_another_ER_10()
    {
        foreach (var function in bus.Functions)
            function.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.BusMaster]);

        Assert.True(bus.ResetLink(At("fab0:01:00.2")).IsOk);

        Assert.Equal([0, 0, 0, 0, 4, 4, 4, 4], bus.Functions.Select(Command));
    }

    [Fact]
    public void A_reset_of_the_physical_function_clears_its_scratch_registers()
    {
        using var physical = new AcceleratorPhysicalFunction(At("fab0:01:00.0"));
        physical.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.MemorySpace]);
        physical.WriteRegion(0, 8, [1, 2, 3, 4]);
        var read = new byte[4];

        physical.Reset(ResetMethod.FunctionLevel);
        physical.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.MemorySpace]);

        Assert.True(physical.ReadRegion(0, 8, read).IsOk);
        Assert.Equal(new byte[4], read);
    }

    [Theory]
    [InlineData(AerSeverity.Correctable, 0x1u)]
    [InlineData(AerSeverity.NonFatal, 0x1000u)]
    [InlineData(AerSeverity.Fatal, 0x4_0000u)]
    public void An_injected_error_is_reported_as_the_function_would(AerSeverity severity, uint status)
    {
        Assert.True(bus.InjectAer(At("fab0:01:00.1"), severity).IsOk);

        var record = Assert.IsType<AerReported>(Assert.Single(reported)).Record;
        Assert.Equal((At("fab0:01:00.1"), severity, status), (record.Source, record.Severity, record.Status));
    }

    [Fact]
    public void An_error_of_a_function_that_is_not_there_is_ENODEV_and_not_reported()
    {
        Assert.Equal(Errno.ENODEV, bus.InjectAer(At("0000:3b:00.2"), AerSeverity.Fatal).Error.Errno);
        Assert.Empty(reported);
    }

    [Fact]
    public void A_physical_function_can_have_an_error()
    {
        Assert.True(bus.InjectAer(At("fab0:01:00.0"), AerSeverity.Fatal).IsOk);

        Assert.Single(reported);
    }

    [Theory]
    [InlineData(AerSeverity.NonFatal, AcceleratorStatus.InternalError)]
    [InlineData(AerSeverity.Fatal, AcceleratorStatus.InternalError)]
    [InlineData(AerSeverity.Correctable, AcceleratorStatus.None)]
    public void An_uncorrectable_error_shows_in_the_status_of_its_function(AerSeverity severity, AcceleratorStatus expected)
    {
        bus.InjectAer(At("fab0:01:00.1"), severity);

        Assert.Equal(expected, StatusOf(bus.Functions[1]));
    }

    [Fact]
    public void An_error_of_one_function_is_none_of_its_neighbour()
    {
        bus.InjectAer(At("fab0:01:00.1"), AerSeverity.Fatal);

        Assert.Equal(AcceleratorStatus.None, StatusOf(bus.Functions[2]));
    }

    [Fact]
    public void An_engine_with_an_error_stands_until_it_is_cleared_and_owes_nothing_then()
    {
        var time = new FakeTimeProvider();
        using var failing = new EmulatedBus(new EmulatedBusOptions(1, 1, AcceleratorState.Granule), time);
        var function = (AcceleratorVirtualFunction)failing.Functions[1];
        var memory = new HolderMemory(0x4000);
        var dma = new DmaMap();
        dma.Map(0, memory);
        function.ConnectDma(dma);
        function.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.BusMaster]);
        function.WriteRegion(0, AcceleratorRegister.RingIova, BitConverter.GetBytes(0x1000UL));
        function.WriteRegion(0, AcceleratorRegister.RingSlots, BitConverter.GetBytes(16UL));
        function.WriteRegion(0, AcceleratorRegister.Control, BitConverter.GetBytes(AcceleratorRegister.ControlRun));
        failing.InjectAer(function.Address, AerSeverity.NonFatal);
        for (var tick = 0; tick < 5; tick++)
            time.Advance(TimeSpan.FromMilliseconds(2));
        Assert.Equal(0UL, BitConverter.ToUInt64(memory.Bytes));

        function.WriteRegion(0, AcceleratorRegister.Status, BitConverter.GetBytes((uint)AcceleratorStatus.InternalError));
        time.Advance(TimeSpan.FromMilliseconds(2));

        Assert.Equal(2UL, BitConverter.ToUInt64(memory.Bytes));
    }

    public void Dispose() => bus.Dispose();

    private static PciAddress At(string address) => PciAddress.Parse(address);

    private static byte Command(IPciFunction function)
    {
        var command = new byte[1];
        function.ReadConfig(ConfigOffset.Command, command);
        return command[0];
    }

    private static AcceleratorStatus StatusOf(IPciFunction function)
    {
        var status = new byte[4];
        Assert.True(function.ReadRegion(AcceleratorBar.Registers, AcceleratorRegister.Status, status).IsOk);
        return (AcceleratorStatus)BitConverter.ToUInt32(status);
    }
}
