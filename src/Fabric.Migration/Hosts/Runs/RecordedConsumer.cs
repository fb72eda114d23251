using System.IO.Hashing;
using Fabric.Devices;
using Fabric.Vfio;

namespace Fabric.Migration.Hosts.Runs;

/// <summary>
/// Tells of each start, stop, save and load of a consumer. A start is told before the first step and a stop after the last: two runners that
/// overlap are never told as if they did not.
/// </summary>
/// <param name="place">Claim, host and function; the rest is filled in.</param>
/// <param name="generation">Of the last command that was carried out.</param>
internal sealed class RecordedConsumer(IConsumer consumer, RunRecord place, Func<long> generation, IRunLog log, TimeProvider time) : IConsumer
{
    private const int HashedAtOnce = 1 << 20;
    private bool runs;

    public IDmaMemory Memory => consumer.Memory;

    public ulong MemoryIova => consumer.MemoryIova;

    public WorkloadCounters Counters => consumer.Counters;

    public async Task<VfioResult> StartAsync(IReadOnlyList<DeviceClient> devices)
    {
        Tell(RunEvent.Afresh);
        runs = true;
        return await consumer.StartAsync(devices);
    }

    /// <summary>Its devices end what they were given: only when they have stopped too, and it is saved, has it made its last step.</summary>
    public void Pause() => consumer.Pause();

    public void Resume()
    {
        if (!runs)
            Tell(RunEvent.Started);
        runs = true;
        consumer.Resume();
    }

    public void ForgetGaps() => consumer.ForgetGaps();

    public byte[] SaveState()
    {
        var saved = consumer.SaveState();
        if (runs)
            Tell(RunEvent.Stopped);
        runs = false;
        Tell(RunEvent.Saved, HashOf(saved));
        return saved;
    }

    public VfioResult LoadState(ReadOnlySpan<byte> saved)
    {
        var loaded = consumer.LoadState(saved);
        if (loaded.IsOk)
            Tell(RunEvent.Loaded, HashOf(saved));
        return loaded;
    }

    public Task<VfioResult> RestoreConfigAsync(IReadOnlyList<DeviceClient> devices) => consumer.RestoreConfigAsync(devices);

    public Task<VfioResult<VerificationResult>> VerifyAsync(IReadOnlyList<DeviceClient> devices) => consumer.VerifyAsync(devices);

    public void Dispose()
    {
        consumer.Dispose();
        runs = false;
        log.Tell(Record(RunEvent.Lost) with { Reason = "closed" });
    }

    private void Tell(RunEvent what, string? hash = null) => log.Tell(Record(what) with { Hash = hash });

    private RunRecord Record(RunEvent what) => place with
    {
        At = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond,
        What = what,
        Generation = generation(),
        Step = consumer.Counters.Steps,
    };

    /// <summary>Of its own state and of all its memory.</summary>
    private string HashOf(ReadOnlySpan<byte> saved)
    {
        var hash = new XxHash128();
        hash.Append(saved);
        for (ulong at = 0; at < consumer.Memory.Length; at += HashedAtOnce)
            hash.Append(consumer.Memory.Window(at, (int)Math.Min(HashedAtOnce, consumer.Memory.Length - at)));
        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }
}
