using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>
/// A virtio function with SR-IOV that takes administration commands about its VFs. Of its own it has plain memory where the modern interface
/// would be: its queues, the administration queue among them, are its driver's.
/// </summary>
public sealed class VirtioPhysicalFunction : CommandedPhysicalFunction
{
    /// <summary>VFs that it can have.</summary>
    public const int Vfs = 7;

    /// <summary>All that a driver of its VFs could ask for.</summary>
    public static ulong AllCommands { get; } =
        VirtioAdmin.Bit(VirtioOpcode.ListQuery) | VirtioAdmin.LegacyCommands | VirtioAdmin.PartsCommands;

    private readonly VirtioKind kind;

    private VirtioPhysicalFunction(PciAddress address, VirtioKind kind, TimeProvider time)
        : base(address, ModelOf(kind), Vfs, time) => this.kind = kind;

    public static VirtioPhysicalFunction Net(PciAddress address, TimeProvider time) => new(address, VirtioKind.Net, time);

    public static VirtioPhysicalFunction Block(PciAddress address, TimeProvider time) => new(address, VirtioKind.Block, time);

    public override string Protocol => VirtioAdmin.Protocol;

    /// <summary>Commands that it takes, a bit for each, as <see cref="VirtioOpcode.ListQuery"/> tells them.</summary>
    public ulong Commands { get; set; } = AllCommands;

    /// <summary>Restarts of its firmware so far: what it held for a migration is of one of them.</summary>
    internal int FirmwareRestarts { get; private set; }

    public override void ConnectDma(IDmaSpace? space)
    {
        // Its queues are its driver's, which is part of the card: nothing of them is its holder's memory.
    }

    internal override EmulatedFunction Renew() => new VirtioPhysicalFunction(Address, kind, Time) { Commands = Commands };

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) => new VirtioVirtualFunction(address, kind, this);

    private protected override void OnFirmwareRestart() => FirmwareRestarts++;

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

    private static FunctionModel ModelOf(VirtioKind kind)
    {
        var header = HeaderLayout.Endpoint(
            kind.Ids, VirtioVirtualFunction.FunctionBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        return new FunctionModel(
            kind.Ids,
            ConfigLayout.Of(
                [.. header, new RegisterRow(ConfigOffset.Revision, 1, VirtioIds.ModernRevision)],
                StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
                StandardCapabilities.Msix(VirtioBar.MsixVectors, VirtioBar.Modern, VirtioBar.MsixTable, VirtioBar.MsixPending),
                ExtendedCapabilities.Aer(),
                ExtendedCapabilities.AlternativeRoutingId(),
                ExtendedCapabilities.Sriov(Vfs, kind.Ids.Device, VirtioVirtualFunction.FunctionBars)))
        {
            Bars = VirtioVirtualFunction.FunctionBars,
            ResetMethods = [ResetMethod.FunctionLevel, ResetMethod.Bus],
        };
    }
}
