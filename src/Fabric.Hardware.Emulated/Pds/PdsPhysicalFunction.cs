using System.Collections.Concurrent;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Pds;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Pds;

/// <summary>The PF of a Pensando card: its firmware, which migrates VFs.</summary>
public sealed class PdsPhysicalFunction : CommandedPhysicalFunction
{
    private readonly ConcurrentDictionary<PdsOpcode, PdsStatus> failing = [];

    internal PdsPhysicalFunction(PciAddress address, int totalVfs, TimeProvider time)
        : base(
            address,
            CommandedModels.Physical(
                new PciIds(PdsIds.Vendor, PdsIds.PhysicalFunction, PdsIds.Vendor, 0, PdsIds.ClassCode), totalVfs, PdsIds.VirtualFunction,
                PdsVirtualFunction.BarsOf),
            totalVfs, time)
    {
    }

    public override string Protocol => PdsAdminQueue.Protocol;

    /// <summary>How long a VF takes until it stands.</summary>
    public TimeSpan SuspendTime { get; set; } = TimeSpan.FromMilliseconds(3);

    /// <summary>Bytes that firmware says a VF's state has.</summary>
    public ulong StateSize { get; set; } = PdsAdminQueue.StateBytes;

    /// <summary>Regions of memory that a VF can watch at once.</summary>
    public byte MaxRegions { get; set; } = 4;

    /// <summary>From now on firmware answers a command with this, and does nothing; with Success it works again.</summary>
    public void Fail(PdsOpcode opcode, PdsStatus status) => failing[opcode] = status;

    internal PdsStatus FailureOf(PdsOpcode opcode) => failing.GetValueOrDefault(opcode);

    public override void ConnectDma(IDmaSpace? space)
    {
        // Its own queues are its driver's.
    }

    /// <summary>What firmware knew of suspensions, logs and hosts is lost; VFs run on.</summary>
    private protected override void OnFirmwareRestart()
    {
        foreach (var function in (Bus?.VirtualFunctionsOf(this) ?? []).OfType<PdsVirtualFunction>())
            function.ForgetMigration();
    }

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) => new PdsVirtualFunction(address, this);

    internal override EmulatedFunction Renew() => new PdsPhysicalFunction(Address, TotalVirtualFunctions, Time);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination) => CommandedModels.NoBars;

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => CommandedModels.NoBars;
}
