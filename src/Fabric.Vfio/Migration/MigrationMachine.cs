using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Migration;

/// <summary>Feature MIG_DEVICE_STATE, answered (IO-83).</summary>
/// <param name="Stream">The data fd, where the transition opened one (MG-20); null is the kernel's data_fd of -1.</param>
/// <param name="ContinuesAfter">
/// The device is on its way still, and got as far as this state: <see cref="MigrationMachine.Continue"/> so much later. Null where it is there.
/// </param>
public readonly record struct MigrationDeviceState(MigrationState State, IMigrationStream? Stream, TimeSpan? ContinuesAfter = null);

/// <summary>All that a machine holds, for people and for invariants (contract §11.1).</summary>
/// <param name="Stream">Which way the live stream goes.</param>
/// <param name="ResetDeferred">A reset waits for the arc or the stream's call that is under way (MG-35).</param>
public readonly record struct MigrationView(MigrationState State, StreamDirection Stream, bool PrecopyInfoV2, bool Resetting, bool ResetDeferred);

/// <summary>
/// Migration v2 of one device: its state, its one stream, the walk along primitive arcs (contract §6). The driver behind
/// <see cref="IMigrationOps"/> performs the arcs. Transitions, streams' calls and resets take turns; nobody waits for a turn but who asks for
/// something of the device, and a reset never does (MG-35).
/// </summary>
public sealed class MigrationMachine
{
    private readonly Lock gate = new();
    private readonly IMigrationOps ops;
    private int depth;
    private volatile bool resetDeferred;
    private MigrationState state = Running;
    private MigrationStream? stream;
    private bool precopyInfoV2;
    private bool resetting;

    /// <summary>Where a transition leads that is under way; null between transitions.</summary>
    private MigrationState? goal;

    /// <summary>What every transition out of ERROR is refused with, where the driver has said that; else the default.</summary>
    private VfioError standing;

    /// <summary>A stream that the transition under way has opened on its way.</summary>
    private MigrationStream? opened;

    private MigrationMachine(IMigrationOps ops) => (this.ops, Flags) = (ops, ops.Flags);

    /// <summary>Registers a driver's migration. Errors: EINVAL without flag STOP_COPY (LC-3, MG-5).</summary>
    public static VfioResult<MigrationMachine> Register(IMigrationOps ops)
    {
        ArgumentNullException.ThrowIfNull(ops);
        return (ops.Flags & MigrationFlags.StopCopy) == 0
            ? new VfioError(Errno.EINVAL, "A driver that migrates has the flag STOP_COPY; this is a fault of the driver.")
            : new MigrationMachine(ops);
    }

    /// <summary>Feature MIGRATION.</summary>
    public MigrationFlags Flags { get; }

    /// <summary>Feature MIG_DEVICE_STATE, GET: never fails (MG-32).</summary>
    public MigrationState State
    {
        get
        {
            using var turn = Take();
            return state;
        }
    }

    public MigrationView View
    {
        get
        {
            using var turn = Take();
            return new MigrationView(state, stream?.Direction ?? StreamDirection.None, precopyInfoV2, resetting, resetDeferred);
        }
    }

    /// <summary>
    /// Feature MIG_DEVICE_STATE, SET: walks to the target, one primitive arc at a time (MG-3); nothing is done for the state that the device is
    /// in (MG-4). A caller who cannot be given the stream closes it, and the transition stands (IO-83). On failure the device is where it got to,
    /// or in ERROR: ask for it (MG-30).
    /// </summary>
    /// <returns>
    /// EINVAL where no way leads to the target (MG-10, MG-11) and for a driver's stream out of place (MG-20), EIO for a device that is lost or
    /// was reset on the way, EAGAIN while it is being reset, EBUSY from within an arc and while it is on its way to another state, and the driver's
    /// own errors.
    /// </returns>
    public VfioResult<MigrationDeviceState> Set(MigrationState target)
    {
        if (gate.IsHeldByCurrentThread)
            return new VfioError(Errno.EBUSY, "A transition was asked for from within one; this is a fault of the driver.");
        using var turn = Take();
        if (resetting)
            return new VfioError(Errno.EAGAIN, "The device is being reset; ask again when that is done.");
        if (goal is { } other && other != target)
            return new VfioError(Errno.EBUSY, "The device is on its way to another state; wait until it is there, or reset it.");
        return Walk(target);
    }

    /// <summary>Goes on with a transition that was on its way. Errors: EIO where a reset or a failure ended it, and those of <see cref="Set"/>.</summary>
    public VfioResult<MigrationDeviceState> Continue()
    {
        using var turn = Take();
        if (resetting)
            return new VfioError(Errno.EAGAIN, "The device is being reset; ask again when that is done.");
        return goal is { } target ? Walk(target) : (state == Error ? FailedMeanwhile : ResetMeanwhile).Error;
    }

    /// <summary>Feature MIG_DATA_SIZE (MG-27), in bytes. Errors: the driver's own.</summary>
    public VfioResult<ulong> GetDataSize()
    {
        using var turn = Take();
        return ops.GetDataSize();
    }

    /// <summary>Feature MIG_PRECOPY_INFOv2, until the last close (MG-26). Errors: EINVAL where the device has no PRE_COPY.</summary>
    public VfioResult OptIntoPrecopyInfoV2()
    {
        if ((Flags & MigrationFlags.PreCopy) == 0)
            return VfioResult.Fail(Errno.EINVAL, "The device has no PRE_COPY, so there is no PRECOPY_INFO of it; ask feature MIGRATION for its flags.");
        using var turn = Take();
        precopyInfoV2 = true;
        return VfioResult.Ok;
    }

    /// <summary>
    /// The device failed for good, as its firmware or a check told: ERROR, until a reset (MG-31). What holds its stream gets EIO there.
    /// </summary>
    /// <param name="standing">
    /// What transitions are refused with until the reset, one to the state that it is in as well; default leaves that to MG-4 and MG-10.
    /// </param>
    public void Fail(VfioError standing = default)
    {
        using var turn = Take();
        (state, this.standing) = (Error, standing);
        (goal, opened) = (null, null);
    }

    /// <summary>A reset is about to be tried: until <see cref="EndReset"/> neither streams nor transitions reach the device.</summary>
    public void BeginReset()
    {
        using var turn = Take();
        resetting = true;
    }

    /// <param name="done">Whether the device was reset; if not, everything is as it was.</param>
    public void EndReset(bool done)
    {
        using var turn = Take();
        resetting = false;
        if (done)
            resetDeferred = true;
    }

    /// <summary>
    /// The device was reset (the kernel's reset_done): RUNNING, and no stream (MG-34). Never waits: a reset that finds an arc or a stream's call
    /// under way, in this thread or another, is applied as soon as that has ended, and before anything else (MG-35, MG-36).
    /// </summary>
    public void Reset()
    {
        resetDeferred = true;
        if (gate.IsHeldByCurrentThread || !gate.TryEnter())
            return;
        depth++;
        Leave();
    }

    /// <summary>Last close (LC-30): no stream, no opt-in, and RUNNING for the next open (MG-1).</summary>
    public void Close()
    {
        using var turn = Take();
        precopyInfoV2 = resetting = false;
        ApplyReset();
    }

    /// <summary>Waits for its turn with the device; disposing of it ends the turn.</summary>
    internal Turn Take()
    {
        gate.Enter();
        depth++;
        return new Turn(this);
    }

    internal readonly ref struct Turn(MigrationMachine machine)
    {
        public MigrationState State => machine.state;

        public bool PrecopyInfoV2 => machine.precopyInfoV2;

        public bool Resetting => machine.resetting;

        /// <summary>An arc is under way.</summary>
        public bool IsOnItsWay => machine.goal is not null;

        public void Dispose() => machine.Leave();
    }

    private VfioResult<MigrationDeviceState> Walk(MigrationState target)
    {
        if (standing.Errno != Errno.None)
            return standing;
        while (state != target)
        {
            var next = MigrationArcs.Next(state, target, Flags);
            if (!next.IsOk)
                ops.Refused();
            TimeSpan? after = null;
            VfioResult done = next.IsOk ? Perform(next.Value, out after) : next.Error;
            if (!done.IsOk)
            {
                (goal, opened) = (null, null);
                return done.Error;
            }

            if (after is not null)
            {
                goal = target;
                return new MigrationDeviceState(state, null, after);
            }
        }

        var given = opened;
        (goal, opened) = (null, null);
        return new MigrationDeviceState(state, given);
    }

    private VfioResult Perform(MigrationState next, out TimeSpan? after)
    {
        var from = state;
        var done = ops.Perform(from, next);
        after = null;
        if (done.IsUnrecoverable || state == Error)
        {
            done.Opened?.Close();
            state = Error;
            return done.IsOk ? FailedMeanwhile : done.Error;
        }

        if (!done.IsOk)
            return done.Error;
        if (done.LooksAgainAfter is not null)
        {
            after = done.LooksAgainAfter;
            return resetDeferred ? ResetMeanwhile : VfioResult.Ok;
        }

        state = next;
        if (MigrationArcs.ClosesStream(from, next))
            DisableStream();
        var opens = MigrationArcs.OpensStream(from, next);
        if ((done.Opened is null) != (opens == StreamDirection.None))
        {
            done.Opened?.Close();
            return VfioResult.Fail(Errno.EINVAL, "A stream comes of the arcs into saving and into RESUMING and of no others; this is a fault of the driver.");
        }

        if (done.Opened is not null)
            opened = stream = new MigrationStream(this, done.Opened, opens);
        return resetDeferred ? ResetMeanwhile : VfioResult.Ok;
    }

    private static VfioResult FailedMeanwhile => VfioResult.Fail(Errno.EIO, "The device failed during the transition; reset it.");

    private static VfioResult ResetMeanwhile =>
        VfioResult.Fail(Errno.EIO, "The device was reset during the transition, and is RUNNING; ask for its state.");

    /// <summary>
    /// Ends a turn. A reset may be put down at any moment, so it is looked for once more after the gate is open: whoever put it down then either
    /// found the gate open, or is found here.
    /// </summary>
    private void Leave()
    {
        var outermost = --depth == 0;
        do
        {
            if (outermost && resetDeferred)
                ApplyReset();
            gate.Exit();
        }
        while (outermost && resetDeferred && gate.TryEnter());
    }

    private void ApplyReset()
    {
        resetDeferred = false;
        DisableStream();
        (state, standing) = (Running, default);
        goal = null;
        ops.Forget();
    }

    private void DisableStream()
    {
        stream?.Disable();
        stream = opened = null;
    }
}
