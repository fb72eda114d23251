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

    public VfioResult<ulong> GetDataSize() => device.GetDataSize();

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
    private byte[] ahead = [];
    private int position;
    private int filled;
    private ulong passed;

    /// <summary>Bytes of the whole state where the server tells, until all of it has been read once.</summary>
    private ulong startUp = device.GetDataSize() is { IsOk: true, Value: var told } ? told : 0;

    public VfioResult<int> Read(Span<byte> destination)
    {
        if (position == filled)
            return Fetch(destination[..Math.Min(destination.Length, device.MostData)]);
        var part = Math.Min(destination.Length, filled - position);
        ahead.AsSpan(position, part).CopyTo(destination);
        position += part;
        return part;
    }

    /// <summary>
    /// The protocol does not tell how much is left (PRECOPY_INFO is not of it). The start-up set is what the state has and was not read; after that, some
    /// is read ahead, and so much there is at least: nothing ahead is nothing left for now.
    /// </summary>
    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        if (position == filled)
        {
            if (ahead.Length == 0)
                ahead = new byte[device.MostData];
            var read = Fetch(ahead);
            if (!read.IsOk)
                return read.Error;
            (position, filled) = (0, read.Value);
        }

        var known = (ulong)(filled - position);
        return startUp > passed ? new PrecopyInfo(startUp - passed + known, 0) : new PrecopyInfo(0, known);
    }

    /// <summary>Nothing is all there is for now, whatever was said of the size.</summary>
    private VfioResult<int> Fetch(Span<byte> destination)
    {
        var read = device.ReadData(destination);
        if (!read.IsOk)
            return read;
        passed += (ulong)read.Value;
        if (read.Value == 0)
            startUp = 0;
        return read;
    }
}

/// <summary>The state of a served device as it is written: MIG_DATA_WRITE.</summary>
internal sealed class RemoteLoadStream(RemoteMigration device) : IMigrationData
{
    public VfioResult Write(ReadOnlySpan<byte> source) => device.WriteData(source);
}
