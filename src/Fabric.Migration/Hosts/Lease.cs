using Fabric.Vfio;

namespace Fabric.Migration.Hosts;

/// <summary>
/// How long a host may let a claim run, by the host's monotonic clock, from when it asked. The fence asks and is granted; whoever makes steps
/// looks whether it holds, on any thread.
/// </summary>
public sealed class Lease(TimeProvider time)
{
    /// <summary>Requests that may still be answered.</summary>
    private const int Remembered = 16;

    private readonly Queue<(long Request, long At)> asked = new();
    private long ends = long.MinValue;

    /// <summary>Of a claim that waits for its host: it always holds.</summary>
    public static Lease None { get; } = new(TimeProvider.System) { ends = long.MaxValue };

    /// <summary>Compares two numbers; allocates nothing.</summary>
    public bool Holds => time.GetTimestamp() < Volatile.Read(ref ends);

    public bool WasGranted => Volatile.Read(ref ends) != long.MinValue;

    /// <summary>What is left of it; less than nothing when it has ended.</summary>
    public TimeSpan Left => WasGranted ? time.GetElapsedTime(time.GetTimestamp(), Volatile.Read(ref ends)) : TimeSpan.MinValue;

    /// <summary>Since it was last asked for.</summary>
    public TimeSpan Unasked => asked.Count == 0 ? TimeSpan.MaxValue : time.GetElapsedTime(asked.Last().At);

    /// <summary>From now on, if it is granted.</summary>
    public void Ask(long request)
    {
        asked.Enqueue((request, time.GetTimestamp()));
        if (asked.Count > Remembered)
            asked.Dequeue();
    }

    /// <summary>An answer that comes late gives no more than one in time.</summary>
    public void Grant(long request, TimeSpan length)
    {
        foreach (var (known, at) in asked)
        {
            if (known == request)
                Volatile.Write(ref ends, Math.Max(Volatile.Read(ref ends), at + (long)(length.TotalSeconds * time.TimestampFrequency)));
        }
    }
}

/// <summary>
/// A consumer's memory as its device sees it: past the end of the lease the device reaches none of it, and so makes no step that anybody sees,
/// even where the whole process was stopped and nobody had the time to stop the device.
/// </summary>
internal sealed class LeasedMemory(IDmaMemory memory, Lease lease) : IDmaMemory
{
    public ulong Length => memory.Length;

    public Span<byte> Window(ulong offset, int length) => memory.Window(offset, length);

    bool IDmaTarget.TryRead(ulong offset, Span<byte> destination) => lease.Holds && memory.TryRead(offset, destination);

    bool IDmaTarget.TryWrite(ulong offset, ReadOnlySpan<byte> source) => lease.Holds && memory.TryWrite(offset, source);
}
