using System.Buffers.Binary;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;

namespace Fabric.Drivers.HisiAcc;

/// <summary>What is asked of the PF about one VF. Errors of all: ENOTCONN when the PF's driver has gone, EIO when the PF does not answer.</summary>
internal sealed class HisiAccPfCommands(IPfChannel channel)
{
    public VfioResult<uint> ReadVersion() => Execute(HisiAccPfOperation.ReadVersion);

    public VfioResult<uint> ReadRegister(uint register) => Execute(HisiAccPfOperation.ReadRegister, register);

    public VfioResult<uint> WriteRegister(uint register, uint value) => Execute(HisiAccPfOperation.WriteRegister, register, value);

    /// <summary>Takes the resetting bit of the PF's queue manager; false where it is somebody's (VD-HIS-4).</summary>
    public VfioResult<bool> ClaimReset()
    {
        var claimed = Execute(HisiAccPfOperation.ClaimReset);
        return claimed.IsOk ? claimed.Value != 0 : claimed.Error;
    }

    public VfioResult<uint> ReleaseReset() => Execute(HisiAccPfOperation.ReleaseReset);

    private VfioResult<uint> Execute(HisiAccPfOperation operation, uint register = 0, uint value = 0)
    {
        Span<byte> command = stackalloc byte[HisiAccPf.CommandBytes];
        Span<byte> reply = stackalloc byte[HisiAccPf.ReplyBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(command, (uint)operation);
        BinaryPrimitives.WriteUInt32LittleEndian(command[4..], register);
        BinaryPrimitives.WriteUInt32LittleEndian(command[8..], value);
        var executed = channel.Execute(command, reply);
        return executed.IsOk ? BinaryPrimitives.ReadUInt32LittleEndian(reply) : executed.Error;
    }
}
