using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Accelerator;

/// <summary>
/// The accelerator's physical function: the parent of its virtual ones. It has scratch registers, MSI-X and AER, and no engine; and, where
/// the card has VFs, SR-IOV.
/// </summary>
public sealed class AcceleratorPhysicalFunction : SriovPhysicalFunction
{
    public const int MsixVectors = 8;

    private const uint MsixTable = AcceleratorRegister.Bytes;
    private const uint MsixPending = MsixTable + 0x800;
    private const ulong BarBytes = 2 * AcceleratorRegister.Bytes;

    private static readonly PciIds FunctionIds =
        new(AcceleratorIds.Vendor, AcceleratorIds.PhysicalFunction, AcceleratorIds.Vendor, 1, AcceleratorIds.ClassCode);

    private static readonly PciBar[] FunctionBars =
        [new(BarKind.Memory64, BarBytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private static readonly string[] Resets = [ResetMethod.FunctionLevel, ResetMethod.Bus];

    private readonly long stateBytes;
    private readonly TimeProvider time;

    /// <summary>A function by itself, without VFs.</summary>
    public AcceleratorPhysicalFunction(PciAddress address)
        : this(address, totalVfs: 0, isStatic: true, AcceleratorState.Granule, TimeProvider.System)
    {
    }

    /// <param name="totalVfs">Without any it has no SR-IOV capability.</param>
    /// <param name="isStatic">The VFs were there at the start and stay.</param>
    internal AcceleratorPhysicalFunction(PciAddress address, int totalVfs, bool isStatic, long stateBytes, TimeProvider time)
        : base(address, ModelOf(totalVfs, stateBytes), totalVfs, isStatic) =>
        (this.stateBytes, this.time) = (stateBytes, time);

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) =>
        new AcceleratorVirtualFunction(address, stateBytes, time, this);

    internal override EmulatedFunction Renew() => new AcceleratorPhysicalFunction(
        Address, TotalVirtualFunctions, HasStaticVirtualFunctions, stateBytes, time);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
            Memory!.Read(region, offset, destination);
        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
            Memory!.Write(region, offset, source);
        return VfioResult.Ok;
    }

    private static FunctionModel ModelOf(int totalVfs, long stateBytes)
    {
        CapabilityLayout[] capabilities =
        [
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            StandardCapabilities.Msix(MsixVectors, bar: 0, MsixTable, MsixPending),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.AlternativeRoutingId(),
            .. totalVfs == 0
                ? Array.Empty<CapabilityLayout>()
                : [ExtendedCapabilities.Sriov((ushort)totalVfs, AcceleratorIds.VirtualFunction, AcceleratorVirtualFunction.BarsOf(stateBytes))],
        ];
        var header = HeaderLayout.Endpoint(FunctionIds, FunctionBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        return new FunctionModel(FunctionIds, ConfigLayout.Of(header, [.. capabilities]))
        {
            Bars = FunctionBars,
            ResetMethods = Resets,
            CanGrowMsix = true,
        };
    }
}
