using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.HisiAcc;

/// <summary>Which of HiSilicon's accelerators a card is.</summary>
internal sealed record HisiAccKind(ushort Physical, ushort Virtual, uint Class)
{
    public static HisiAccKind Sec { get; } =
        new(HisiAccIds.SecPhysicalFunction, HisiAccIds.SecVirtualFunction, HisiAccIds.EncryptionClass);

    public static HisiAccKind Hpre { get; } =
        new(HisiAccIds.HprePhysicalFunction, HisiAccIds.HpreVirtualFunction, HisiAccIds.EncryptionClass);

    public static HisiAccKind Zip { get; } =
        new(HisiAccIds.ZipPhysicalFunction, HisiAccIds.ZipVirtualFunction, HisiAccIds.ProcessingClass);
}

/// <summary>The PF of a HiSilicon accelerator: what its queue manager holds for all of its VFs.</summary>
public sealed class HisiAccPhysicalFunction : CommandedPhysicalFunction
{
    /// <summary>Queues of a VF.</summary>
    public const int QueuesPerVf = 8;

    private readonly HisiAccKind kind;
    private int resetting;

    internal HisiAccPhysicalFunction(PciAddress address, HisiAccKind kind, uint version, int totalVfs, TimeProvider time)
        : base(
            address,
            CommandedModels.Physical(
                new PciIds(HisiAccIds.Vendor, kind.Physical, HisiAccIds.Vendor, 0, kind.Class), totalVfs, kind.Virtual,
                HisiAccVirtualFunction.BarsOf),
            totalVfs, time) => (this.kind, Version) = (kind, version);

    public override string Protocol => HisiAccPf.Protocol;

    public uint Version { get; }

    /// <summary>An error of the queue manager, where it is not 0.</summary>
    public uint AbnormalStatus { get; set; }

    /// <summary>How queues are isolated.</summary>
    public uint QueueIsolation { get; set; } = 1;

    /// <summary>How long the contexts of a VF take from its cache to memory.</summary>
    public TimeSpan WriteBackTime { get; set; } = TimeSpan.FromMicroseconds(50);

    /// <summary>The resetting bit of its queue manager: set by a reset of its own, and by that of a VF.</summary>
    public bool IsResetting
    {
        get => Volatile.Read(ref resetting) != 0;
        set => Volatile.Write(ref resetting, value ? 1 : 0);
    }

    internal bool HasControl => Version >= HisiAccPf.VersionWithControl;

    /// <summary>Carries out what the driver of one VF asks of the PF's driver.</summary>
    internal VfioResult<int> Execute(HisiAccVirtualFunction function, ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (command.Length != HisiAccPf.CommandBytes || reply.Length < HisiAccPf.ReplyBytes)
            return new VfioError(Errno.EINVAL, "A command is three words, and its reply one.");
        var operation = (HisiAccPfOperation)BinaryPrimitives.ReadUInt32LittleEndian(command);
        var register = BinaryPrimitives.ReadUInt32LittleEndian(command[4..]);
        var value = BinaryPrimitives.ReadUInt32LittleEndian(command[8..]);
        BinaryPrimitives.WriteUInt32LittleEndian(reply, operation switch
        {
            HisiAccPfOperation.ReadVersion => Version,
            HisiAccPfOperation.ReadRegister => ReadRegister(register),
            HisiAccPfOperation.WriteRegister => WriteRegister(function, register, value),
            HisiAccPfOperation.ClaimReset => Interlocked.Exchange(ref resetting, 1) == 0 ? 1u : 0,
            HisiAccPfOperation.ReleaseReset => (uint)Interlocked.Exchange(ref resetting, 0),
            _ => 0,
        });
        return HisiAccPf.ReplyBytes;
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        // Its own queues are its driver's.
    }

    private protected override EmulatedFunction CreateVirtualFunction(PciAddress address) => new HisiAccVirtualFunction(address, kind, this);

    internal override EmulatedFunction Renew() => new HisiAccPhysicalFunction(Address, kind, Version, TotalVirtualFunctions, Time);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination) => CommandedModels.NoBars;

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => CommandedModels.NoBars;

    private uint ReadRegister(uint register) => register switch
    {
        HisiAccPf.AbnormalInterruptStatus => AbnormalStatus,
        HisiAccPf.QueueIsolation => QueueIsolation,
        _ => 0,
    };

    private uint WriteRegister(HisiAccVirtualFunction function, uint register, uint value)
    {
        if (register == HisiAccPf.MigrationRegionSelect && HasControl)
            function.SelectContexts(value != 0);
        return value;
    }
}
