using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Migration;

/// <summary>Which way the data stream of a migration arc goes, as its holder sees it.</summary>
public enum StreamDirection
{
    None,
    Readable,
    Writable,
}

/// <summary>
/// How a device gets from one migration state to another: one primitive arc at a time, as the kernel's framework walks it
/// (contract §6.2 to §6.4).
/// </summary>
public static class MigrationArcs
{
    private const int States = 8;

    /// <summary>
    /// The next hop of a device that supports everything: rows are the current state, columns the target, both in the order of the
    /// enum. Error marks what cannot be reached (MG-10, MG-11). An array, because unoptimised code allocates for a span of enums.
    /// </summary>
    private static readonly MigrationState[] Hops =
    [
        /* Error      */ Error, Error, Error, Error, Error, Error, Error, Error,
        /* Stop       */ Error, Stop, RunningP2P, StopCopy, Resuming, RunningP2P, RunningP2P, RunningP2P,
        /* Running    */ Error, RunningP2P, Running, RunningP2P, RunningP2P, RunningP2P, PreCopy, RunningP2P,
        /* StopCopy   */ Error, Stop, Stop, StopCopy, Stop, Stop, Error, Error,
        /* Resuming   */ Error, Stop, Stop, Stop, Resuming, Stop, Stop, Stop,
        /* RunningP2P */ Error, Stop, Running, Stop, Stop, RunningP2P, Running, PreCopyP2P,
        /* PreCopy    */ Error, Running, Running, PreCopyP2P, Running, Running, PreCopy, PreCopyP2P,
        /* PreCopyP2P */ Error, RunningP2P, RunningP2P, StopCopy, RunningP2P, RunningP2P, PreCopy, PreCopyP2P,
    ];

    /// <summary>The next state on the way to <paramref name="target"/>, or the target itself once it is reached (MG-4).</summary>
    /// <returns>EINVAL where no way leads there (MG-10, MG-11).</returns>
    public static VfioResult<MigrationState> Next(MigrationState current, MigrationState target, MigrationFlags flags)
    {
        if (current == Error)
            return Refuse("The device is in migration state ERROR, and only a reset leads out of it; reset the device.");
        if (!IsSupported(current, flags))
            return Refuse("The device is in a migration state that its flags do not support; this is a fault of its driver.");
        if (target == Error)
            return Refuse("Migration state ERROR cannot be asked for; ask for one of the other states.");
        if (!IsSupported(target, flags))
            return Refuse("The device does not support this migration state; ask feature MIGRATION for its flags.");

        // Every state on a way through the full table is nearer to the target, so a hop that is not supported is looked up past
        // (MG-13).
        var hop = Hop(current, target);
        while (hop != Error && !IsSupported(hop, flags))
            hop = Hop(hop, target);
        return hop == Error
            ? Refuse("A device in STOP_COPY cannot go back to pre-copy; take it to RUNNING first.")
            : hop;
    }

    /// <summary>Whether a device with these flags has this state at all (MG-5). Without StopCopy it has none; nothing has Error.</summary>
    public static bool IsSupported(MigrationState state, MigrationFlags flags)
    {
        var needed = state switch
        {
            RunningP2P => MigrationFlags.StopCopy | MigrationFlags.P2P,
            PreCopy => MigrationFlags.StopCopy | MigrationFlags.PreCopy,
            PreCopyP2P => MigrationFlags.StopCopy | MigrationFlags.PreCopy | MigrationFlags.P2P,
            _ => MigrationFlags.StopCopy,
        };
        return state is > Error and <= PreCopyP2P && (flags & needed) == needed;
    }

    /// <summary>
    /// Every state that a device enters on its way to <paramref name="target"/>, the target last: at most four, none if it is there
    /// already.
    /// </summary>
    /// <returns>The error of <see cref="Next"/>.</returns>
    public static VfioResult<IReadOnlyList<MigrationState>> Path(MigrationState current, MigrationState target, MigrationFlags flags)
    {
        var path = new List<MigrationState>(capacity: 4);
        while (true)
        {
            var next = Next(current, target, flags);
            if (!next.IsOk)
                return next.Error;
            if (next.Value == current)
                return path.AsReadOnly();
            current = next.Value;
            path.Add(current);
        }
    }

    /// <summary>The new data stream that the arc gives to the user (MG-20). None for what is not a primitive arc.</summary>
    public static StreamDirection OpensStream(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Stop, StopCopy) or (Running, PreCopy) or (RunningP2P, PreCopyP2P) => StreamDirection.Readable,
        (Stop, Resuming) => StreamDirection.Writable,
        _ => StreamDirection.None,
    };

    /// <summary>
    /// Whether the arc disables the data stream that is open (MG-21). Falling into Error is no arc: there the stream lasts until the
    /// reset (MG-34).
    /// </summary>
    public static bool ClosesStream(MigrationState from, MigrationState to) =>
        from is PreCopy or PreCopyP2P or StopCopy or Resuming && to is Stop or Running or RunningP2P;

    private static MigrationState Hop(MigrationState current, MigrationState target) => Hops[((int)current * States) + (int)target];

    private static VfioError Refuse(string sentence) => new(Errno.EINVAL, sentence);
}
