namespace Fabric.Migration.DataPlane;

/// <summary>
/// How many bytes of a stream are worth having under way: twice what the path holds at the rate that the target takes them, and what keeps the
/// target busy until its next acknowledgement. More would only lie in the kernel's buffers, where it gets there no sooner and is out of every
/// cache by the time it is read.
/// </summary>
/// <param name="most">Never more than this, in bytes.</param>
internal sealed class FlightLimit(long most, TimeProvider time)
{
    /// <summary>Shorter times say little about a rate.</summary>
    private static readonly TimeSpan Sample = TimeSpan.FromMilliseconds(5);

    /// <summary>One is at the target or on its way back as an acknowledgement; of the next one slice is under way and one being composed.</summary>
    private const double StepsUnderWay = 1.25;

    private long _step;
    private double _rate;
    private long _acknowledged;
    private (long At, long Position) _sampled;

    public long Bytes { get; private set; }

    /// <summary>A connection begins.</summary>
    /// <param name="position">What the target has, in bytes from the stream's beginning.</param>
    /// <param name="step">How many bytes it takes before it acknowledges them; 0 if it does not tell, and then nothing is held back.</param>
    public void Restart(long position, long step)
    {
        (_step, _rate, _acknowledged) = (step, 0, position);
        _sampled = (time.GetTimestamp(), position);
        Bytes = step == 0 ? most : Math.Min(most, (long)(StepsUnderWay * step));
    }

    /// <summary>The target has everything before <paramref name="position"/>; true when it is time to <see cref="Look"/>.</summary>
    public bool Acknowledged(long position)
    {
        _acknowledged = position;
        return _step > 0 && time.GetElapsedTime(_sampled.At) >= Sample;
    }

    /// <summary>Judges anew.</summary>
    /// <param name="roundTrip">The shortest that the path has shown.</param>
    public void Look(TimeSpan roundTrip)
    {
        var now = time.GetTimestamp();
        var rate = (_acknowledged - _sampled.Position) / time.GetElapsedTime(_sampled.At, now).TotalSeconds;

        // A source that had little to send says nothing of its path, so what was known fades slowly.
        _rate = Math.Max(rate, _rate * 7 / 8);
        _sampled = (now, _acknowledged);
        Bytes = (long)Math.Min(most, (StepsUnderWay * _step) + (2 * _rate * roundTrip.TotalSeconds));
    }
}
