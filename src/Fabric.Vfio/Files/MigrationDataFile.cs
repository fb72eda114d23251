using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>The data fd of a migration (contract §6.4). It may be used from a thread of its own while the device goes on.</summary>
public sealed class MigrationDataFile : VfioFile
{
    private readonly IMigrationStream stream;

    public MigrationDataFile(IMigrationStream stream) => this.stream = stream;

    /// <summary>In the order of MG-25: ENOTTY for anything but MIG_GET_PRECOPY_INFO of a stream that saves, EFAULT, EINVAL, its own.</summary>
    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files)
    {
        if (stream.Ioctl(number, argsz: 0).Error is { Errno: Errno.ENOTTY } unknown)
            return unknown;
        var fetched = memory.Fetch<VfioPrecopyInfo>(argument);
        if (!fetched.IsOk)
            return fetched.Error;
        var info = stream.Ioctl(number, fetched.Value.Argsz);
        return info.IsOk
            ? memory.Respond(
                argument,
                VfioPrecopyInfo.Of(info.Value, fetched.Value.Argsz, info.Value.Reinit ? PrecopyFlags.Reinit : PrecopyFlags.None),
                fetched.Value.Argsz)
            : info.Error;
    }

    private protected override VfioResult<int> OnRead(Span<byte> destination) => stream.Read(destination);

    private protected override VfioResult<int> OnReadAt(ulong position, Span<byte> destination) => stream.ReadAt(position, destination);

    private protected override VfioResult<int> OnWrite(ReadOnlySpan<byte> source)
    {
        var written = stream.Write(source);
        return written.IsOk ? source.Length : written.Error;
    }

    private protected override VfioResult<int> OnWriteAt(ulong position, ReadOnlySpan<byte> source)
    {
        var written = stream.WriteAt(position, source);
        return written.IsOk ? source.Length : written.Error;
    }

    private protected override void OnClose() => stream.Close();
}
