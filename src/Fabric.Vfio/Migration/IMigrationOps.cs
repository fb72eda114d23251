namespace Fabric.Vfio.Migration;

/// <summary>
/// What a driver implements so that its device migrates (the kernel's mig_ops, all three: LC-3). It performs arcs; which arc comes next,
/// and what becomes of the streams, is <see cref="MigrationMachine"/>'s.
/// </summary>
public interface IMigrationOps
{
    /// <summary>Constant. StopCopy is mandatory (MG-5).</summary>
    MigrationFlags Flags { get; }

    /// <summary>
    /// Takes the device along one primitive arc (MG-3). Exactly the arcs of <see cref="MigrationArcs.OpensStream"/> give a stream (MG-20). It may
    /// ask the machine for its state, and for a reset, which comes when the arc has ended (MG-36); never for another transition.
    /// </summary>
    ArcResult Perform(MigrationState from, MigrationState to);

    /// <summary>
    /// A transition was asked for that there is no way to (MG-10, MG-11): it is refused, and no arc performed. For a device that takes that
    /// amiss (VD-XE-2).
    /// </summary>
    void Refused()
    {
    }

    /// <summary>Bytes of the STOP_COPY stream if the device were stopped now: an estimate (MG-27).</summary>
    VfioResult<ulong> GetDataSize();

    /// <summary>The device was reset, or closed: what is kept of arcs and streams is of no use any more (MG-34).</summary>
    void Forget();

    /// <summary>
    /// The device is not this driver's any more, and may run elsewhere by now: that its streams end, which follows, is no reason to tell it anything.
    /// </summary>
    void LetGo()
    {
    }
}

/// <summary>How a primitive arc ended.</summary>
public readonly record struct ArcResult
{
    private ArcResult(VfioError error, IMigrationData? opened, bool isUnrecoverable, TimeSpan? again = null) =>
        (Error, Opened, IsUnrecoverable, LooksAgainAfter) = (error, opened, isUnrecoverable, again);

    /// <summary>The device is where it should go, and there is no stream to give.</summary>
    public static ArcResult Done => default;

    public VfioError Error { get; }

    /// <summary>The driver's half of the stream that the arc opened.</summary>
    public IMigrationData? Opened { get; }

    /// <summary>The device is of no use until it is reset: ERROR (MG-31).</summary>
    public bool IsUnrecoverable { get; }

    /// <summary>The device is on its way still; null where the arc has ended.</summary>
    public TimeSpan? LooksAgainAfter { get; }

    public bool IsOk => Error.Errno == Errno.None;

    /// <summary>The device is where it should go, and this is its stream (MG-20).</summary>
    public static ArcResult Opens(IMigrationData data) => new(default, data, isUnrecoverable: false);

    /// <summary>The device stayed where it was (MG-33).</summary>
    public static ArcResult Fails(VfioError error) => new(error, null, isUnrecoverable: false);

    /// <summary>The device is lost until it is reset (MG-31).</summary>
    public static ArcResult Breaks(VfioError error) => new(error, null, isUnrecoverable: true);

    /// <summary>
    /// The device is told and on its way: the same arc is performed again so much later, to look. Meanwhile nothing else is asked of it. How
    /// often it looks, and when it gives up, is the driver's.
    /// </summary>
    public static ArcResult OnItsWay(TimeSpan lookAgainAfter) => new(default, null, isUnrecoverable: false, lookAgainAfter);

    /// <summary>An arc without a stream that is done, or stayed where it was.</summary>
    public static implicit operator ArcResult(VfioResult result) => Fails(result.Error);
}
