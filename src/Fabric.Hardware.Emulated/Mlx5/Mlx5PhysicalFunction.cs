using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>The physical function of a ConnectX card: its firmware takes the commands that migrate the VFs (<see cref="Mlx5Command"/>).</summary>
public sealed class Mlx5PhysicalFunction : CommandedPhysicalFunction
{
    private static readonly PciIds FunctionIds =
        new(Mlx5Ids.Vendor, Mlx5Ids.PhysicalFunction, Mlx5Ids.Vendor, 1, Mlx5Ids.ClassCode);

    private static readonly PciBar[] FunctionBars =
        [new(BarKind.Memory64, Mlx5Register.Bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private readonly int memoryBytes;
    private int firmwareStarts;
    private int driverLosses;

    /// <param name="memoryBytes">Of each VF; a power of two, a page or more.</param>
    public Mlx5PhysicalFunction(PciAddress address, TimeProvider time, int totalVfs, int memoryBytes)
        : base(address, ModelOf(totalVfs, memoryBytes), totalVfs, time) => this.memoryBytes = memoryBytes;

    public override string Protocol => Mlx5Command.Protocol;

    /// <summary>How often the firmware has restarted, and how often the PF's driver has gone: VFs look for it at the next command.</summary>
    internal (int Firmware, int Driver) Losses => (Volatile.Read(ref firmwareStarts), Volatile.Read(ref driverLosses));

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    private protected override void OnFirmwareRestart() => Interlocked.Increment(ref firmwareStarts);

    private protected override void OnDriverDetached() => Interlocked.Increment(ref driverLosses);

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) => new Mlx5VirtualFunction(address, memoryBytes, this);

    internal override EmulatedFunction Renew() => new Mlx5PhysicalFunction(Address, Time, TotalVirtualFunctions, memoryBytes);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        destination.Clear();
        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

    private static FunctionModel ModelOf(int totalVfs, int memoryBytes)
    {
        var header = HeaderLayout.Endpoint(FunctionIds, FunctionBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        var layout = ConfigLayout.Of(
            header,
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            ExtendedCapabilities.Aer(),
            ExtendedCapabilities.AlternativeRoutingId(),
            ExtendedCapabilities.Sriov((ushort)totalVfs, Mlx5Ids.VirtualFunction, Mlx5VirtualFunction.BarsOf(memoryBytes)));
        return new FunctionModel(FunctionIds, layout) { Bars = FunctionBars, ResetMethods = [ResetMethod.FunctionLevel, ResetMethod.Bus] };
    }
}
