using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;

namespace Fabric.Drivers.Tests.Conformance;

/// <summary>The driver that takes nothing over, in front of a serial card.</summary>
public sealed class PassthroughConformanceTests : DriverConformance
{
    protected override DriverRegistration Registration { get; } =
        new("passthrough", new PciIds(MttyIds.Vendor, MttyIds.Device), null, PassthroughDriver.Props);

    protected override bool TakesNothingOver => true;

    protected override TestedDevice Create(TimeProvider time) => MttyConformanceTests.Card(ports: 2);

    protected override Task WorkAsync(GuestDevice guest, Random random) => Uart.WorkAsync(guest, 0, random);

    protected override Task<byte[]> ReadStateAsync(GuestDevice guest) => Uart.ReadStateAsync(guest, 0);
}
