using Akka.Actor;
using Akka.Event;
using Fabric.Migration.Fleet;

namespace Fabric.Node.Hosting;

/// <summary>
/// Ends the membership of a host whose cluster has no control node any more: all of them have left, or have put themselves out. What is left is a
/// cluster of hosts that nobody would join, since seeds are control nodes; a new membership finds those that found the fabric anew.
/// </summary>
internal sealed class ForsakenWatch : UntypedActor, IWithTimers
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);

    /// <summary>Looks in a row that see none: one that was killed and is back at once joins this membership within two or three tries, 2 s apart.</summary>
    private const int Patience = 14;

    private readonly FabricMembers members = new(Context.System);
    private readonly ILoggingAdapter log = Context.GetLogger();
    private int without;

    private sealed record Look
    {
        public static Look Instance { get; } = new();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Look), Look.Instance, Interval);

    protected override void OnReceive(object message)
    {
        if (message is not Look)
        {
            Unhandled(message);
            return;
        }

        without = members.HasControl ? 0 : without + 1;
        if (without != Patience)
            return;
        log.Warning("No control node is left in this membership; it ends, and the fabric is looked for anew");
        _ = CoordinatedShutdown.Get(Context.System).Run(CoordinatedShutdown.ClusterDowningReason.Instance);
    }
}
