using System.Diagnostics.Metrics;
using Akka.Event;

namespace Fabric.Migration.Wire;

/// <summary>
/// Counts what the wire refused. Each refusal also goes to the counter <c>fabric.wire.refusals</c> of the meter
/// <c>Fabric.Migration.Wire</c>, tagged <c>direction</c> = <c>in</c>, <c>out</c> or <c>join</c>.
/// </summary>
public sealed class WireRefusals
{
    public const string MeterName = "Fabric.Migration.Wire";

    private static readonly Meter Meter = new(MeterName);

    private static readonly Counter<long> Counter =
        Meter.CreateCounter<long>("fabric.wire.refusals", "{refusal}", "Messages and joins refused by the wire contract");

    private long total;

    /// <summary>Refusals of one actor system since its start, in all directions.</summary>
    public long Total => Interlocked.Read(ref total);

    /// <summary>Counts and logs a refusal, and gives the exception to throw.</summary>
    internal WireRefusedException Refuse(ILoggingAdapter log, string direction, string sentence, Exception? cause = null)
    {
        Interlocked.Increment(ref total);
        Counter.Add(1, new KeyValuePair<string, object?>("direction", direction));
        log.Warning("{0}", sentence);
        return new WireRefusedException(sentence, cause);
    }
}
