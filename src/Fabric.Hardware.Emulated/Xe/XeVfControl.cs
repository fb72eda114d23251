using System.Buffers.Binary;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>
/// Where the PF's driver has one VF, and what it takes there (the kernel's xe_gt_sriov_pf_control.c): what does not fit is refused, whatever is
/// asked. The VF's clock is held.
/// </summary>
internal sealed class XeVfControl(XeVfMemory memory)
{
    private XeSave? saving;
    private XeRestore? restoring;
    private bool isResetComing;

    public XeVfState State { get; private set; }

    public bool TakesWrites => State is not (XeVfState.Saving or XeVfState.Restoring or XeVfState.Stopped);

    /// <summary>The VF was reset: what it held is still there, and nobody's.</summary>
    public void BeginCleanUp()
    {
        (saving, restoring, isResetComing) = (null, null, false);
        State = XeVfState.CleaningUp;
    }

    public void EndCleanUp()
    {
        if (State != XeVfState.CleaningUp)
            return;
        memory.Clear();
        State = XeVfState.Running;
    }

    /// <summary>Firmware has restarted: a VF that runs runs on, one in mid-migration is lost.</summary>
    public void LoseMigration()
    {
        if (State is not (XeVfState.Running or XeVfState.CleaningUp))
            Stop();
    }

    /// <summary>Returns the reply's bytes.</summary>
    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        reply[..XeReply.Bytes].Clear();
        var (length, value) = (0, 0ul);
        var errno = command.Length < XeCommand.Bytes
            ? Errno.EINVAL
            : Execute(
                (XeCall)BinaryPrimitives.ReadUInt32LittleEndian(command), command[XeCommand.Bytes..],
                (int)Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(command[XeCommand.Length..]), int.MaxValue), reply[XeReply.Bytes..],
                ref length, ref value);
        BinaryPrimitives.WriteInt32LittleEndian(reply[XeReply.Errno..], (int)errno);
        BinaryPrimitives.WriteInt32LittleEndian(reply[XeReply.Length..], length);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[XeReply.Value..], value);
        return XeReply.Bytes + length;
    }

    private Errno Execute(XeCall call, ReadOnlySpan<byte> data, int most, Span<byte> room, ref int length, ref ulong value)
    {
        switch (call)
        {
            case XeCall.QueryState:
                value = (uint)(isResetComing ? XeVfState.CleaningUp : State);
                return Errno.None;
            case XeCall.PrepareReset:
                isResetComing = State != XeVfState.CleaningUp;
                return Errno.None;
            case XeCall.StopCopySize:
                value = (ulong)XeSave.BytesOf(memory);
                return Errno.None;
            case XeCall.StopForGood:
                if (State != XeVfState.CleaningUp)
                    Stop();
                return Errno.None;
            case XeCall.Suspend:
                return Go(XeVfState.Running, XeVfState.Paused);
            case XeCall.Resume:
                return Go(XeVfState.Paused, XeVfState.Running);
            case XeCall.EnterStopCopy:
                saving = State == XeVfState.Paused ? new XeSave(memory) : saving;
                return Go(XeVfState.Paused, XeVfState.Saving);
            case XeCall.ExitStopCopy:
                return Go(XeVfState.Saving, XeVfState.Paused);
            case XeCall.EnterResumeData:
                restoring = State == XeVfState.Paused ? new XeRestore(memory) : restoring;
                return Go(XeVfState.Paused, XeVfState.Restoring);
            case XeCall.ExitResumeData:
                return State == XeVfState.Restoring && !restoring!.IsWhole ? Errno.EIO : Go(XeVfState.Restoring, XeVfState.Paused);
            case XeCall.ReadData:
                if (Check(XeVfState.Saving) is var notSaving and not Errno.None)
                    return notSaving;
                length = saving!.Read(room[..Math.Min(most, room.Length)]);
                return Errno.None;
            case XeCall.WriteData:
                if (Check(XeVfState.Restoring) is var notRestoring and not Errno.None)
                    return notRestoring;
                return data.Length == most ? restoring!.Write(data).Error.Errno : Errno.EINVAL;
            default:
                return Errno.EOPNOTSUPP;
        }
    }

    private Errno Go(XeVfState from, XeVfState to)
    {
        var checkedState = Check(from);
        if (checkedState == Errno.None)
            State = to;
        return checkedState;
    }

    private Errno Check(XeVfState wanted) => State switch
    {
        XeVfState.Stopped => Errno.EPERM,
        XeVfState.CleaningUp => Errno.EBUSY,
        _ => State == wanted ? Errno.None : Errno.EINVAL,
    };

    private void Stop()
    {
        (saving, restoring) = (null, null);
        State = XeVfState.Stopped;
    }
}
