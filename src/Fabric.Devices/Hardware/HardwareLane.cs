using Akka.Actor;

namespace Fabric.Devices.Hardware;

/// <summary>A call on a device's lane has come back, in time or not.</summary>
/// <param name="Failure">What it threw; null where it returned.</param>
internal sealed record LaneReturned(long Number, object? Result, Exception? Failure, TimeSpan Took) : INoSerializationVerificationNeeded;

/// <summary>The way to the hardware of one device for what takes long: one call at a time, by the device's own mailbox, which hears of its end.</summary>
/// <param name="hardware">Held for each call: one of an earlier incarnation of the mailbox is waited for.</param>
internal readonly struct HardwareLane(LaneThreads threads, TimeProvider time, Lock hardware)
{
    /// <summary>Of all lanes: a restarted mailbox must not take what comes back to its forerunner for an answer to its own call.</summary>
    private static long last;

    /// <summary>The number of the next call.</summary>
    public static long NextNumber() => Interlocked.Increment(ref last);

    /// <summary>Starts a call; <see cref="LaneReturned"/> with its number comes when it is back.</summary>
    public void Start<T>(long number, Func<T> call, IActorRef mailbox)
    {
        var (clock, gate, began) = (time, hardware, time.GetTimestamp());
        threads.Run(() =>
        {
            LaneReturned returned;
            try
            {
                lock (gate)
                    returned = new LaneReturned(number, call(), null, clock.GetElapsedTime(began));
            }
            catch (Exception failure)
            {
                returned = new LaneReturned(number, null, failure, clock.GetElapsedTime(began));
            }

            mailbox.Tell(returned);
        });
    }
}
