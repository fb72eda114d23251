using Fabric.Hardware.Specs.Mtty;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Migration.Streams;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The serial card's arcs (contract §7.2, §8.4). It starts no DMA, so that P2P states are the running ones; stopped is suspended. Before and after
/// each arc it is looked whether the card is where it was put: one that is not was reset behind its driver (ER-10), and is lost (MG-31).
/// </summary>
internal sealed class MttyMigrationOps(IRegisters card, int ports, MigrationFlags flags) : IMigrationOps
{
    public const MigrationFlags Everything = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    /// <summary>Of its streams: others are not taken.</summary>
    public const int Major = 1;

    private readonly ImageFormat format = new(magic: 0x3154_5359_5454_4d46, Major, minor: 0, ports, MttyPortState.Bytes);   // "FMTTYST1"
    private SaveBuffer? saving;
    private LoadBuffer? loading;
    private bool isLetGo;

    public MigrationFlags Flags => flags;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        if (Check(from) is { IsOk: false } lost)
            return lost;
        var done = Tell(from, to);
        return done.IsOk && Check(to) is { IsOk: false } lostMeanwhile ? lostMeanwhile : done;
    }

    public VfioResult<ulong> GetDataSize() => (ulong)format.Bytes;

    /// <summary>After a reset the card runs, whatever an arc that was under way then may have told it last (MG-34).</summary>
    public void Forget()
    {
        if (!isLetGo)
            Execute(MttyCommand.Resume);
    }

    public void LetGo() => isLetGo = true;

    private ArcResult Tell(MigrationState from, MigrationState to) => (from, to) switch
    {
        (Running or RunningP2P, Stop) => Of(Execute(MttyCommand.Suspend)),
        (Stop, Running or RunningP2P) => Of(Execute(MttyCommand.Resume)),
        (Running, PreCopy) or (RunningP2P, PreCopyP2P) => ArcResult.Opens(saving = format.StartSaving()),
        (PreCopy or PreCopyP2P, StopCopy) => Of(Execute(MttyCommand.Suspend) is { IsOk: false } failed ? failed : format.Save(saving!, ReadPort)),
        (Stop, StopCopy) => format.Save(saving = format.StartSaving(), ReadPort) is { IsOk: false } failed ? Of(failed) : ArcResult.Opens(saving),
        (Stop, Resuming) => ArcResult.Opens(loading = format.StartLoading()),
        (Resuming, Stop) => Of(format.Load(loading!, WritePort) is { IsOk: false } refused ? refused : Load()),
        _ => ArcResult.Done,
    };

    private VfioResult ReadPort(int port, Span<byte> state) => card.Read(StateOf(port), state);

    private VfioResult WritePort(int port, ReadOnlySpan<byte> state) => card.Write(StateOf(port), state);

    /// <summary>All ports become what was written, or none does.</summary>
    private VfioResult Load()
    {
        if (Execute(MttyCommand.Load) is { IsOk: false } failed)
            return failed;
        var status = card.Read32(MttyMigration.Status);
        return status.IsOk && (MttyStatus)status.Value == (MttyStatus.LoadRefused | MttyStatus.Suspended)
            ? VfioResult.Fail(Errno.EINVAL, "The migration stream holds a state that no port can be in; reset the device, and send another.")
            : status.Error;
    }

    private ArcResult Check(MigrationState state)
    {
        var status = card.Read32(MttyMigration.Status);
        if (!status.IsOk)
            return Of(status.Error);
        return (status.Value & (uint)MttyStatus.Suspended) != 0 == state is Stop or StopCopy or Resuming
            ? ArcResult.Done
            : ArcResult.Breaks(new VfioError(Errno.EIO, "The serial card was reset behind its driver's back, and what it held is lost; reset the device."));
    }

    private VfioResult Execute(MttyCommand command) => card.Write32(MttyMigration.Command, (uint)command);

    private static ulong StateOf(int port) => MttyMigration.PortStates + ((ulong)port * MttyPortState.Bytes);

    /// <summary>EIO is a card that does not answer; other errors are the stream's, or of a session that has ended.</summary>
    private static ArcResult Of(VfioResult result) => result.Error.Errno == Errno.EIO ? ArcResult.Breaks(result.Error) : result;
}
