using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.VfioUser.Client;

/// <summary>The arcs of a served device: each is told to the server, which has the same machine of states (facts §8).</summary>
internal sealed class RemoteArcs(RemoteMigration device, MigrationFlags flags) : IMigrationOps
{
    private bool isLetGo;

    public MigrationFlags Flags => flags;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        var set = device.SetState(to);
        if (!set.IsOk)
            return Failed(from, set.Error);
        return (from, to) switch
        {
            (Running, PreCopy) or (RunningP2P, PreCopyP2P) or (Stop, StopCopy) => ArcResult.Opens(new RemoteSaveStream(device)),
            (Stop, Resuming) => ArcResult.Opens(new RemoteLoadStream(device)),
            _ => ArcResult.Done,
        };
    }

    /// <summary>A server need not have this feature; then nothing is known of the size, and 0 is what is there at least.</summary>
    public VfioResult<ulong> GetDataSize()
    {
        var size = device.GetDataSize();
        return size.IsOk || size.Error.Errno is Errno.EIO or Errno.ETIMEDOUT ? size : 0UL;
    }

    /// <summary>
    /// After a reset the device runs, also where its server keeps a migration state over a reset (facts §8). One that cannot be told is found at the
    /// next arc.
    /// </summary>
    public void Forget()
    {
        if (!isLetGo && device.GetState() is { IsOk: true, Value: not Running })
            device.SetState(Running);
    }

    public void LetGo() => isLetGo = true;

    /// <summary>It stayed where it was (MG-33), or it is lost until it is reset (MG-31).</summary>
    private ArcResult Failed(MigrationState from, VfioError error) =>
        device.GetState() is { IsOk: true } now && now.Value == from ? ArcResult.Fails(error) : ArcResult.Breaks(error);
}

/// <summary>The state of a served device as it is read: MIG_DATA_READ.</summary>
internal sealed class RemoteSaveStream(RemoteMigration device) : IMigrationData
{
    /// <summary>What a server is asked for at once where a reader has not said.</summary>
    private const int Ahead = 64 << 10;

    private readonly byte[] ahead = new byte[Ahead];
    private int position;
    private int filled;

    public VfioResult<int> Read(Span<byte> destination)
    {
        if (position == filled)
            return device.ReadData(destination[..Math.Min(destination.Length, device.MostData)]);
        var part = Math.Min(destination.Length, filled - position);
        ahead.AsSpan(position, part).CopyTo(destination);
        position += part;
        return part;
    }

    /// <summary>
    /// The protocol does not tell how much is left (PRECOPY_INFO is not of it): some of it is read ahead, and that much there is at least. Nothing
    /// ahead is nothing left for now.
    /// </summary>
    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        if (position == filled)
        {
            var read = device.ReadData(ahead.AsSpan(0, Math.Min(Ahead, device.MostData)));
            if (!read.IsOk)
                return read.Error;
            (position, filled) = (0, read.Value);
        }

        return new PrecopyInfo(0, (ulong)(filled - position));
    }
}

/// <summary>The state of a served device as it is written: MIG_DATA_WRITE.</summary>
internal sealed class RemoteLoadStream(RemoteMigration device) : IMigrationData
{
    public VfioResult Write(ReadOnlySpan<byte> source) => device.WriteData(source);
}
