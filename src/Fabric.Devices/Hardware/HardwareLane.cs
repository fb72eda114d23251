using Akka.Actor;

namespace Fabric.Devices.Hardware;

/// <summary>A call on a device's lane has come back, in time or not.</summary>
/// <param name="Failure">What it threw; null where it returned.</param>
internal sealed record LaneReturned(long Number, object? Result, Exception? Failure, TimeSpan Took) : INoSerializationVerificationNeeded;

/// <summary>The way to the hardware of one device for what takes long: one call at a time, by the device's own mailbox, which hears of its end.</summary>
/// <param name="hardware">Held for each call: one of an earlier incarnation of the mailbox is waited for.</param>
internal sealed class HardwareLane(LaneThreads threads, TimeProvider time, Lock hardware)
{
    /// <summary>Of all lanes: a restarted mailbox must not take what comes back to its forerunner for an answer to its own call.</summary>
    private static long last;

    /// <summary>Starts a call; <see cref="LaneReturned"/> with the number that this returns comes when it is back.</summary>
    public long Start<T>(Func<T> call, IActorRef mailbox)
    {
        var number = Interlocked.Increment(ref last);
        var began = time.GetTimestamp();
        threads.Run(() =>
        {
            LaneReturned returned;
            try
            {
                lock (hardware)
                    returned = new LaneReturned(number, call(), null, time.GetElapsedTime(began));
            }
            catch (Exception failure)
            {
                returned = new LaneReturned(number, null, failure, time.GetElapsedTime(began));
            }

            mailbox.Tell(returned);
        });
        return number;
    }
}
