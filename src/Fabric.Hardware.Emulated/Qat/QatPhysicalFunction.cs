using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Qat;

/// <summary>The PF of a QuickAssist card, with its driver, which migrates VFs: what VFs of it are set up to.</summary>
public sealed class QatPhysicalFunction : CommandedPhysicalFunction
{
    private readonly ushort device;

    /// <param name="device">The PF's device id.</param>
    internal QatPhysicalFunction(PciAddress address, ushort device, int totalVfs, TimeProvider time)
        : base(
            address,
            CommandedModels.Physical(
                new PciIds(QatIds.Vendor, device, QatIds.Vendor, 0, QatIds.ClassCode), totalVfs, (ushort)(device + 1), QatVirtualFunction.BarsOf),
            totalVfs, time)
    {
        this.device = device;
        Capabilities = device == QatIds.Gen6PhysicalFunction ? 0x7fu : 0x3f;
    }

    public override string Protocol => QatMigration.Protocol;

    /// <summary>What its engines can do: a VF goes where they can do as much.</summary>
    public uint Capabilities { get; set; }

    /// <summary>What its rings are for: the same where a VF goes.</summary>
    public uint Services { get; set; } = 0x21;

    /// <summary>What its VFs are promised, thousands of jobs a second: as much where a VF goes.</summary>
    public uint ServiceLevel { get; set; } = 100;

    public override void ConnectDma(IDmaSpace? space)
    {
        // Its own rings are its driver's.
    }

    /// <summary>The set-up of a VF, as it is saved.</summary>
    internal byte[] SaveSetup()
    {
        var content = new byte[QatState.SetupPayload];
        BinaryPrimitives.WriteUInt32LittleEndian(content, Capabilities);
        BinaryPrimitives.WriteUInt32LittleEndian(content.AsSpan(4), Services);
        BinaryPrimitives.WriteUInt32LittleEndian(content.AsSpan(8), ServiceLevel);
        BinaryPrimitives.WriteUInt16LittleEndian(content.AsSpan(12), QatBank.Count);
        var setup = new byte[QatMigration.SetupBytes];
        QatBlock.Of((QatState.Setup, content)).CopyTo(setup, 0);
        return setup;
    }

    /// <summary>Whether a VF with this set-up could run here. EAGAIN while there is too little to say; EINVAL.</summary>
    internal Errno Check(ReadOnlySpan<byte> state)
    {
        if (!QatBlock.CanBegin(state))
            return Errno.EINVAL;
        if (state.Length < QatMigration.SetupBytes)
            return Errno.EAGAIN;
        if (QatBlock.Read(state[..QatMigration.SetupBytes], (QatState.Setup, QatState.SetupPayload)) is not [var content])
            return Errno.EINVAL;
        return (BinaryPrimitives.ReadUInt32LittleEndian(content) & ~Capabilities) == 0
            && BinaryPrimitives.ReadUInt32LittleEndian(content.AsSpan(4)) == Services
            && BinaryPrimitives.ReadUInt32LittleEndian(content.AsSpan(8)) <= ServiceLevel
            && BinaryPrimitives.ReadUInt16LittleEndian(content.AsSpan(12)) == QatBank.Count
                ? Errno.None
                : Errno.EINVAL;
    }

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) =>
        new QatVirtualFunction(address, (ushort)(device + 1), this);

    internal override EmulatedFunction Renew() => new QatPhysicalFunction(Address, device, TotalVirtualFunctions, Time);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination) => CommandedModels.NoBars;

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => CommandedModels.NoBars;
}
