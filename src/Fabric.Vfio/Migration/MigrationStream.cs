using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Migration;

/// <summary>The holder's half of a data stream: the rules of contract §6.4, in front of what the driver makes or takes.</summary>
internal sealed class MigrationStream(MigrationMachine machine, IMigrationData data, StreamDirection direction) : IMigrationStream
{
    /// <summary>_IO(';', 121).</summary>
    private const uint MigGetPrecopyInfo = 0x3b79;

    private const uint PrecopyInfoBytes = 24;

    private bool disabled;
    private bool closed;

    /// <summary>A fresh start-up set that the holder has not been told of (MG-26).</summary>
    private bool reinit;

    public StreamDirection Direction => direction;

    public VfioResult<int> Read(Span<byte> destination)
    {
        using var turn = machine.Take();
        if (Refusal(turn, StreamDirection.Readable) is { Errno: not Errno.None } refused)
            return refused;
        var read = data.Read(destination);
        return read is { IsOk: true, Value: 0 } && turn.State != StopCopy
            ? new VfioError(Errno.ENOMSG, "Nothing more to read for now; read again later, or stop the device.")
            : read;
    }

    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        using var turn = machine.Take();
        return Refusal(turn, StreamDirection.Writable) is { Errno: not Errno.None } refused ? refused : data.Write(source);
    }

    public VfioResult<PrecopyInfo> Ioctl(uint request, uint argsz)
    {
        if (request != MigGetPrecopyInfo || direction != StreamDirection.Readable)
            return new VfioError(Errno.ENOTTY, "A stream that saves knows MIG_GET_PRECOPY_INFO, and no stream knows anything else.");
        return argsz < PrecopyInfoBytes
            ? new VfioError(Errno.EINVAL, "MIG_GET_PRECOPY_INFO: argsz is less than the 24 bytes of the structure.")
            : GetPrecopyInfo();
    }

    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        using var turn = machine.Take();
        if (closed)
            return Closed;
        if (disabled)
            return Disabled;
        if (turn.State is not (PreCopy or PreCopyP2P))
            return new VfioError(Errno.EINVAL, "PRECOPY_INFO is for PRE_COPY and PRE_COPY_P2P; the device is in another state.");
        if (Refusal(turn, StreamDirection.Readable) is { Errno: not Errno.None } refused)
            return refused;
        var info = data.GetPrecopyInfo();
        return info.IsOk ? Told(info.Value, turn.PrecopyInfoV2) : info;
    }

    public void Close()
    {
        using var turn = machine.Take();
        closed = true;
    }

    /// <summary>The device left the states that the stream is for (MG-21). The machine's turn.</summary>
    public void Disable()
    {
        disabled = true;
        data.Close();
    }

    /// <summary>
    /// Who has not opted in was told that the start-up set only shrinks: a fresh one is more dirt to them, until they opt in and are told (MG-26).
    /// </summary>
    private PrecopyInfo Told(PrecopyInfo info, bool v2)
    {
        reinit |= info.Reinit;
        if (!v2)
            return reinit ? new PrecopyInfo(0, info.InitialBytes + info.DirtyBytes) : info;
        var told = info with { Reinit = reinit };
        reinit = false;
        return told;
    }

    private VfioError Refusal(MigrationMachine.Turn turn, StreamDirection wanted)
    {
        if (closed)
            return Closed;
        if (direction != wanted)
            return new VfioError(Errno.EINVAL, "A stream that saves is read, and one that loads is written; this is the other one.");
        if (disabled)
            return Disabled;
        if (turn.Resetting)
            return new VfioError(Errno.EAGAIN, "The device is being reset; what becomes of the stream is known when that is done.");
        if (turn.IsOnItsWay)
            return new VfioError(Errno.EAGAIN, "The device is on its way to another state; what becomes of the stream is known when it is there.");
        return turn.State == Error
            ? new VfioError(Errno.EIO, "The device is in migration state ERROR, and its state is lost; reset the device.")
            : default;
    }

    private static VfioError Disabled => new(Errno.ENODEV, "The migration stream is closed: the device left the states that it was for.");

    private static VfioError Closed => new(Errno.EBADF, "The migration stream was closed by its holder.");
}
