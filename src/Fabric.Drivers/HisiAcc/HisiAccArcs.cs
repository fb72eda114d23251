using System.Buffers.Binary;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.HisiAcc;

/// <summary>
/// The accelerator's primitive arcs (contract §7.2): pre-copy is the match data, so that a target that does not fit is found before anything stops
/// (VD-HIS-1). There is no state in which it only stops to initiate DMA (VD-HIS-5).
/// </summary>
internal sealed class HisiAccArcs(HisiAccCommands device, TimeProvider time) : IMigrationOps
{
    /// <summary>How often it is looked whether the queues' contexts are in memory, and for how long.</summary>
    private static readonly TimeSpan LookEvery = TimeSpan.FromMicroseconds(10);
    private static readonly TimeSpan LookFor = TimeSpan.FromMilliseconds(1);

    private SaveBuffer? saving;
    private LoadBuffer? loading;
    private long? stoppingSince;
    private bool isStopped;
    private bool isLetGo;

    public MigrationFlags Flags => MigrationFlags.StopCopy | MigrationFlags.PreCopy;

    public ArcResult Perform(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running, Stop) => StopQueues(),
        (Stop, Running) => StartQueues(),
        (Running, PreCopy) => Open(),
        (PreCopy, StopCopy) => StopToSave(),
        (Stop, StopCopy) => Save(),
        (PreCopy, Running) or (StopCopy, Stop) => ArcResult.Done,
        (Stop, Resuming) => ArcResult.Opens(loading = new LoadBuffer(HisiAccStreamFormat.Bytes, CheckMatch)),
        (Resuming, Stop) => Of(Load(loading!)),
        _ => VfioResult.Fail(Errno.EINVAL, "The accelerator has no such transition."),
    };

    /// <summary>The whole structure, whatever there will be of it (MG-27).</summary>
    public VfioResult<ulong> GetDataSize() => (ulong)HisiAccStreamFormat.Bytes;

    /// <summary>After a reset the queues run, whatever an arc that was under way then may have told them last (MG-34).</summary>
    public void Forget()
    {
        (saving, loading, stoppingSince) = (null, null, null);
        if (isStopped && !isLetGo)
            device.Start();
        isStopped = false;
    }

    public void LetGo() => isLetGo = true;

    /// <summary>A VF that no guest has set up has nothing to stop (VD-HIS-3).</summary>
    private ArcResult StopQueues()
    {
        if (stoppingSince is null)
        {
            var ready = device.IsReady();
            if (ready is not { IsOk: true, Value: true })
                return Of(ready.Error);
            isStopped = true;
            var stopped = device.Stop();
            if (!stopped.IsOk)
                return Of(stopped);
            stoppingSince = time.GetTimestamp();
        }

        var done = device.IsWrittenBack();
        if (done is { IsOk: true, Value: false } && time.GetElapsedTime(stoppingSince.Value) < LookFor)
            return ArcResult.OnItsWay(LookEvery);
        stoppingSince = null;
        return done is { IsOk: true, Value: false } ? GiveUp() : Of(done.Error);
    }

    /// <summary>It stays where it was, and that is running.</summary>
    private ArcResult GiveUp()
    {
        isStopped = false;
        var started = device.Start();
        return started.IsOk
            ? VfioResult.Fail(Errno.ETIMEDOUT, "The accelerator did not write its queues back in 1 ms, and goes on; try again, or reset the device.")
            : Of(started);
    }

    private ArcResult StartQueues()
    {
        isStopped = false;
        var ready = device.IsReady();
        return ready is { IsOk: true, Value: true } ? Of(device.Start()) : Of(ready.Error);
    }

    private ArcResult Open()
    {
        var opened = new SaveBuffer(HisiAccStreamFormat.Bytes);
        var read = device.ReadMatch(opened.Reserve(HisiAccStreamFormat.MatchBytes));
        opened.EndStartUpSet();
        saving = opened;
        return read.IsOk ? ArcResult.Opens(opened) : Of(read);
    }

    private ArcResult StopToSave()
    {
        var stopped = StopQueues();
        return stopped is { IsOk: true, LooksAgainAfter: null } ? Of(Append(saving!)) : stopped;
    }

    private ArcResult Save()
    {
        var opened = Open();
        var appended = opened.IsOk ? Append(saving!) : opened.Error;
        return appended.IsOk ? opened : Of(appended);
    }

    /// <summary>What follows the match data, of a VF that is set up (VD-HIS-3).</summary>
    private VfioResult Append(SaveBuffer stream)
    {
        var ready = device.IsReady();
        if (ready is not { IsOk: true, Value: true })
            return ready.Error;
        Span<byte> whole = stackalloc byte[HisiAccStreamFormat.Bytes];
        var read = device.ReadState(whole);
        return read.IsOk ? stream.Append(whole[HisiAccStreamFormat.MatchBytes..]) : read;
    }

    private VfioResult CheckMatch(ReadOnlySpan<byte> content, int before) =>
        before < HisiAccStreamFormat.MatchBytes && content.Length >= HisiAccStreamFormat.MatchBytes
            ? HisiAccStreamFormat.Check(content, device.Match)
            : VfioResult.Ok;

    /// <summary>
    /// Match data alone is the stream of a VF that was not set up, and says so; this one is left as it is (VD-HIS-3). Of any other it is the beginning,
    /// and taken for the whole would lose the rest. Errors: what a write was refused with; EINVAL for a stream of any other length, which may be
    /// gone on with, and for queues that are nowhere.
    /// </summary>
    private VfioResult Load(LoadBuffer stream)
    {
        if (!stream.Standing.IsOk || (stream.Content.Length == HisiAccStreamFormat.MatchBytes && HisiAccStreamFormat.IsOfIdleVf(stream.Content)))
            return stream.Standing;
        if (stream.Content.Length < HisiAccStreamFormat.Bytes)
            return VfioResult.Fail(Errno.EINVAL, "The migration stream is shorter than the device's state; write the rest of it.");
        if (HasNoQueues(stream.Content))
            return VfioResult.Fail(Errno.EINVAL, "The migration stream says of no memory where the queues are; reset the device, and send another.");
        isStopped = true;
        return device.WriteState(stream.Content);
    }

    /// <summary>Streams without a version have those of event queues in their contexts alone (VD-HIS-1).</summary>
    private static bool HasNoQueues(ReadOnlySpan<byte> stream)
    {
        var isOld = BinaryPrimitives.ReadUInt64LittleEndian(stream) == HisiAccStreamFormat.MagicV1;
        return BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.SubmissionTable..]) == 0
            || BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.CompletionTable..]) == 0
            || (!isOld && BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.EventQueue..]) == 0)
            || (!isOld && BinaryPrimitives.ReadUInt64LittleEndian(stream[HisiAccStreamFormat.AsyncEventQueue..]) == 0);
    }

    /// <summary>EIO is a VF that does not answer: lost until a reset (MG-31). Whatever else, it stayed where it was (MG-33).</summary>
    private static ArcResult Of(VfioResult result) => result.Error.Errno == Errno.EIO ? ArcResult.Breaks(result.Error) : result;
}
