using System.Buffers;
using System.Buffers.Binary;
using Fabric.Hardware.Specs.Xe;
using Fabric.Vfio;

namespace Fabric.Drivers.Xe;

/// <summary>
/// How a VF's PF is told: its driver does all the work (VD-XE-1). Knows nothing of the uAPI. Errors of all: ENOTCONN when that driver has
/// gone, EBUSY while it clears up after a reset, EPERM for a VF that it has stopped, EINVAL out of turn, and what it says.
/// </summary>
internal sealed class XeCommands(IPfChannel channel)
{
    /// <summary>Bytes of state that one command carries, at most.</summary>
    private const int MaxData = 64 << 10;

    public VfioResult Call(XeCall call)
    {
        var told = Query(call);
        return told.IsOk ? VfioResult.Ok : told.Error;
    }

    public VfioResult<ulong> GetStopCopySize() => Query(XeCall.StopCopySize);

    public VfioResult<XeVfState> GetState()
    {
        var told = Query(XeCall.QueryState);
        return told.IsOk ? (XeVfState)told.Value : told.Error;
    }

    /// <summary>Reads what comes next of the state. Returns how much it is; 0 at the end.</summary>
    public VfioResult<int> ReadData(Span<byte> destination)
    {
        var most = Math.Min(destination.Length, MaxData);
        var reply = ArrayPool<byte>.Shared.Rent(XeReply.Bytes + most);
        try
        {
            Span<byte> command = stackalloc byte[XeCommand.Bytes];
            Write(command, XeCall.ReadData, most);
            var told = Tell(command, reply);
            if (!told.IsOk)
                return told.Error;
            var length = BinaryPrimitives.ReadInt32LittleEndian(reply.AsSpan(XeReply.Length));
            if (length < 0 || length > most)
                return new VfioError(Errno.EIO, "The PF's driver gave more than it was asked for; reset the device.");
            reply.AsSpan(XeReply.Bytes, length).CopyTo(destination);
            return length;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(reply);
        }
    }

    public VfioResult WriteData(ReadOnlySpan<byte> source)
    {
        var command = ArrayPool<byte>.Shared.Rent(XeCommand.Bytes + Math.Min(source.Length, MaxData));
        try
        {
            Span<byte> reply = stackalloc byte[XeReply.Bytes];
            while (!source.IsEmpty)
            {
                var part = Math.Min(source.Length, MaxData);
                Write(command, XeCall.WriteData, part);
                source[..part].CopyTo(command.AsSpan(XeCommand.Bytes));
                var told = Tell(command.AsSpan(0, XeCommand.Bytes + part), reply);
                if (!told.IsOk)
                    return told;
                source = source[part..];
            }

            return VfioResult.Ok;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(command);
        }
    }

    private VfioResult<ulong> Query(XeCall call)
    {
        Span<byte> command = stackalloc byte[XeCommand.Bytes];
        Span<byte> reply = stackalloc byte[XeReply.Bytes];
        Write(command, call, 0);
        var told = Tell(command, reply);
        return told.IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(reply[XeReply.Value..]) : told.Error;
    }

    private VfioResult Tell(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        var told = channel.Execute(command, reply);
        if (!told.IsOk)
            return told.Error;
        return (Errno)BinaryPrimitives.ReadUInt32LittleEndian(reply[XeReply.Errno..]) switch
        {
            Errno.None => VfioResult.Ok,
            Errno.EBUSY => VfioResult.Fail(Errno.EBUSY, "The PF still clears up after a reset of the device; try again a little later."),
            Errno.EPERM => VfioResult.Fail(Errno.EPERM, "The PF has stopped the device, after an illegal request or a loss; reset the device."),
            Errno.ENODEV => VfioResult.Fail(Errno.ENODEV, "The migration stream is of another device; choose a target like its source."),
            Errno.EIO => VfioResult.Fail(Errno.EIO, "The migration stream ends before the state is whole; reset the device, and send it whole."),
            var errno => new VfioError(errno, "The PF's driver refuses this: it is out of turn, or no state of this version; reset the device."),
        };
    }

    private static void Write(Span<byte> command, XeCall call, int length)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(command, (uint)call);
        BinaryPrimitives.WriteInt32LittleEndian(command[XeCommand.Length..], length);
    }
}
