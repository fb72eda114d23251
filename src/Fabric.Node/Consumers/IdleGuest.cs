using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Node.Consumers;

/// <summary>
/// The program that holds a device and does not drive it: for devices that no program here knows. Its memory is filled once and
/// looked at after a move; it counts the time that it runs.
/// </summary>
internal sealed class IdleGuest : IGuestProgram
{
    private const int Word = sizeof(ulong);

    private readonly Lock cpu = new();
    private readonly GuestMemory memory;
    private readonly TimeProvider time;
    private readonly int stepsPerSecond;
    private long stepped;

    /// <summary>A timestamp; null while it is paused.</summary>
    private long? runsSince;

    public IdleGuest(GuestMemory memory, int stepsPerSecond, TimeProvider time) =>
        (this.memory, this.stepsPerSecond, this.time) = (memory, stepsPerSecond, time);

    public WorkloadCounters Counters
    {
        get
        {
            lock (cpu)
                return WorkloadCounters.None with { Steps = Steps };
        }
    }

    private long Steps => stepped + (runsSince is { } since ? (long)(time.GetElapsedTime(since).TotalSeconds * stepsPerSecond) : 0);

    private Span<ulong> Words => MemoryMarshal.Cast<byte, ulong>(memory.Window(0, (int)memory.Length));

    public async Task<VfioResult> StartAsync(DeviceClient device)
    {
        var words = Words;
        for (var index = 0; index < words.Length; index++)
            words[index] = PatternAt(index);
        var done = await RestoreConfigAsync(device);
        if (done.IsOk)
            Resume();
        return done;
    }

    /// <summary>What its firmware does: decoding and bus mastering on.</summary>
    public Task<VfioResult> RestoreConfigAsync(DeviceClient device)
    {
        var command = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)(PciCommand.IoSpace | PciCommand.MemorySpace | PciCommand.BusMaster));
        return device.WriteAsync(RegionIndex.Config, ConfigOffset.Command, command);
    }

    public void Resume()
    {
        lock (cpu)
            runsSince ??= time.GetTimestamp();
    }

    public void Pause()
    {
        lock (cpu)
            (stepped, runsSince) = (Steps, null);
    }

    public void ForgetGaps()
    {
    }

    public byte[] SaveState()
    {
        var saved = new byte[Word];
        lock (cpu)
            BinaryPrimitives.WriteInt64LittleEndian(saved, stepped);
        return saved;
    }

    public VfioResult LoadState(ReadOnlySpan<byte> saved)
    {
        if (saved.Length != Word)
            return VfioResult.Fail(Errno.EINVAL, "What came is not the state of this guest; run the same version on both hosts.");
        lock (cpu)
            stepped = BinaryPrimitives.ReadInt64LittleEndian(saved);
        return VfioResult.Ok;
    }

    public Task<VfioResult<VerificationResult>> VerifyAsync(DeviceClient device) => Task.Run<VfioResult<VerificationResult>>(() =>
    {
        var damaged = 0L;
        var words = Words;
        for (var index = 0; index < words.Length; index++)
            damaged += words[index] == PatternAt(index) ? 0 : 1;
        return new VerificationResult(Counters.Steps, words.Length, DeviceCells: 0, damaged);
    });

    public void Dispose()
    {
    }

    private static ulong PatternAt(int index) => (ulong)index * 0x9e37_79b9_7f4a_7c15;
}
