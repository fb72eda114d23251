using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Xe;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>The physical function of a Battlemage card: its driver does all that migrates its VFs (<see cref="XeCommand"/>).</summary>
public sealed class XePhysicalFunction : CommandedPhysicalFunction
{
    internal static readonly PciIds FunctionIds = new(XeIds.Vendor, XeIds.Device, XeIds.Vendor, 1, XeIds.ClassCode);

    private static readonly PciBar[] FunctionBars =
        [new(BarKind.Memory64, XeRegister.Bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private readonly int vramBytes;
    private int firmwareStarts;

    /// <param name="vramBytes">Of each VF; a power of two, a page or more.</param>
    public XePhysicalFunction(PciAddress address, TimeProvider time, int totalVfs, int vramBytes)
        : base(address, ModelOf(totalVfs, vramBytes), totalVfs, time) => this.vramBytes = vramBytes;

    public override string Protocol => XeCommand.Protocol;

    /// <summary>How long the PF clears up after a VF that was reset.</summary>
    public TimeSpan CleanUpTime { get; set; }

    /// <summary>How often the firmware has restarted: VFs look for it at the next command.</summary>
    internal int FirmwareStarts => Volatile.Read(ref firmwareStarts);

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    private protected override void OnFirmwareRestart() => Interlocked.Increment(ref firmwareStarts);

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) => new XeVirtualFunction(address, vramBytes, this);

    internal override EmulatedFunction Renew() =>
        new XePhysicalFunction(Address, Time, TotalVirtualFunctions, vramBytes) { CleanUpTime = CleanUpTime };

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        destination.Clear();
        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

    private static FunctionModel ModelOf(int totalVfs, int vramBytes)
    {
        var header = HeaderLayout.Endpoint(FunctionIds, FunctionBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        var layout = ConfigLayout.Of(
            header,
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.AlternativeRoutingId(),
            ExtendedCapabilities.Sriov((ushort)totalVfs, XeIds.Device, XeVirtualFunction.BarsOf(vramBytes)));
        return new FunctionModel(FunctionIds, layout) { Bars = FunctionBars, ResetMethods = [ResetMethod.FunctionLevel, ResetMethod.Bus] };
    }
}
