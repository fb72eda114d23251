using System.Buffers.Binary;
using Fabric.Hardware.Specs.Qat;
using Fabric.Vfio;

namespace Fabric.Drivers.Qat;

/// <summary>
/// What the PF's driver is asked to do with one VF. Errors of all: ENOTCONN when it has gone, EIO when the PF does not answer, and what each
/// operation says.
/// </summary>
internal sealed class QatCommands(IPfChannel channel)
{
    private readonly byte[] command = new byte[QatMigration.HeaderBytes + QatMigration.StateBytes];
    private readonly byte[] reply = new byte[QatMigration.HeaderBytes + QatMigration.StateBytes];

    /// <summary>Takes the VF, and tells whether it was found suspended.</summary>
    public VfioResult<bool> Open()
    {
        var opened = Ask(QatOperation.Open, sizeof(uint));
        return opened.IsOk ? BinaryPrimitives.ReadUInt32LittleEndian(opened.Value.Span) != 0 : opened.Error;
    }

    public VfioResult Close() => Tell(QatOperation.Close);

    public VfioResult Reset() => Tell(QatOperation.Reset);

    public VfioResult Suspend() => Tell(QatOperation.Suspend);

    public VfioResult Resume() => Tell(QatOperation.Resume);

    /// <summary>What is given is good until the next operation.</summary>
    public VfioResult<ReadOnlyMemory<byte>> SaveSetup() => Ask(QatOperation.SaveSetup, QatMigration.SetupBytes);

    /// <summary>All of the state, the set-up first; good until the next operation. Errors also: EBUSY unless it is suspended.</summary>
    public VfioResult<ReadOnlyMemory<byte>> SaveState() => Ask(QatOperation.SaveState, QatMigration.StateBytes);

    /// <summary>What has come of a state so far. Errors also: EAGAIN while its set-up is not complete, EINVAL for one the VF cannot take.</summary>
    public VfioResult LoadSetup(ReadOnlySpan<byte> state) => Tell(QatOperation.LoadSetup, state);

    /// <summary>All of a state, or nothing. Errors also: EINVAL, EBUSY unless it is suspended.</summary>
    public VfioResult LoadState(ReadOnlySpan<byte> state) => Tell(QatOperation.LoadState, state);

    private VfioResult<ReadOnlyMemory<byte>> Ask(QatOperation operation, int bytes)
    {
        var told = Tell(operation);
        if (!told.IsOk)
            return told.Error;
        return BinaryPrimitives.ReadInt32LittleEndian(reply.AsSpan(4)) == bytes
            ? new ReadOnlyMemory<byte>(reply, QatMigration.HeaderBytes, bytes)
            : new VfioError(Errno.EIO, "The driver of the PF has another size of state than is migrated; update one of the two.");
    }

    private VfioResult Tell(QatOperation operation, ReadOnlySpan<byte> input = default)
    {
        var whole = command.AsSpan(0, QatMigration.HeaderBytes + input.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(whole, (uint)operation);
        BinaryPrimitives.WriteInt32LittleEndian(whole[4..], input.Length);
        input.CopyTo(whole[QatMigration.HeaderBytes..]);
        var executed = channel.Execute(whole, reply);
        return executed.IsOk ? Of((Errno)BinaryPrimitives.ReadUInt32LittleEndian(reply)) : executed.Error;
    }

    private static VfioResult Of(Errno status) => status switch
    {
        Errno.None => VfioResult.Ok,
        Errno.EAGAIN => VfioResult.Fail(Errno.EAGAIN, "The set-up of the VF is not complete yet; write the rest of it."),
        Errno.EINVAL => VfioResult.Fail(Errno.EINVAL, "The migration stream is not of a VF that this one can become; choose another target."),
        Errno.EBUSY => VfioResult.Fail(Errno.EBUSY, "The VF runs; suspend it first."),
        _ => VfioResult.Fail(Errno.EIO, "The driver of the PF failed; reset the device."),
    };
}
