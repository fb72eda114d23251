using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;

namespace Fabric.Migration.Tests.Simulation.Engine;

/// <summary>The timers of an actor system, on virtual time.</summary>
internal sealed class VirtualScheduler(Config config, ILoggingAdapter log) : SchedulerBase(config, log)
{
    public VirtualClock Clock { get; } = new();

    public override TimeSpan MonotonicClock => Clock.Now;

    public override TimeSpan HighResMonotonicClock => Clock.Now;

    protected override DateTimeOffset TimeNow => Clock.UtcNow;

    protected override void InternalScheduleTellOnce(TimeSpan delay, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Once(delay, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleTellRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Repeatedly(initialDelay, interval, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, Action action, ICancelable cancelable) => Once(delay, action, cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, IRunnable action, ICancelable cancelable) => Once(delay, action.Run, cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, Action action, ICancelable cancelable) =>
        Repeatedly(initialDelay, interval, action, cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, IRunnable action, ICancelable cancelable) =>
        Repeatedly(initialDelay, interval, action.Run, cancelable);

    private void Once(TimeSpan delay, Action what, ICancelable? cancelable) => Clock.After(delay, () =>
    {
        if (cancelable is not { IsCancellationRequested: true })
            what();
    });

    private void Repeatedly(TimeSpan delay, TimeSpan interval, Action what, ICancelable? cancelable) => Clock.After(delay, () =>
    {
        if (cancelable is { IsCancellationRequested: true })
            return;
        what();
        Repeatedly(interval, interval, what, cancelable);
    });
}
