using System.Buffers.Binary;
using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Vfio;

namespace Fabric.Node.Consumers;

/// <summary>
/// An emulated virtual machine with one memory, which every device of it reaches, and a program for each device, in a part of that memory each.
/// </summary>
internal sealed class Guest : IConsumer
{
    private const int PageSize = 4096;
    private const ulong Base = 0x4000_0000;

    private readonly GuestMemory memory;
    private readonly IGuestProgram[] programs;

    /// <param name="write">Makes the program of each device, in this memory, which the device finds at this address.</param>
    public Guest(long memoryBytes, IReadOnlyList<Func<GuestMemory, ulong, IGuestProgram>> write)
    {
        memory = new GuestMemory(memoryBytes);
        var part = checked((int)(memoryBytes / write.Count / PageSize * PageSize));
        programs = write.Count == 1
            ? [write[0](memory, Base)]
            : [.. write.Select((make, index) => make(memory.Part(index * part, part), Base + (ulong)(index * part)))];
    }

    public IReadOnlyList<IGuestProgram> Programs => programs;

    public IDmaMemory Memory => memory;

    public ulong MemoryIova => Base;

    public WorkloadCounters Counters => programs.Select(static program => program.Counters).Aggregate(static (all, one) => new WorkloadCounters(
        all.Steps + one.Steps, all.Lost + one.Lost, all.Repeated + one.Repeated, all.Torn + one.Torn, Math.Max(all.LongestGapMs, one.LongestGapMs)));

    public Task<VfioResult> StartAsync(IReadOnlyList<DeviceClient> devices) => EachAsync(devices, static (program, device) => program.StartAsync(device));

    public Task<VfioResult> RestoreConfigAsync(IReadOnlyList<DeviceClient> devices) =>
        EachAsync(devices, static (program, device) => program.RestoreConfigAsync(device));

    public void Pause() => Array.ForEach(programs, static program => program.Pause());

    public void Resume() => Array.ForEach(programs, static program => program.Resume());

    public void ForgetGaps() => Array.ForEach(programs, static program => program.ForgetGaps());

    /// <summary>What each program saved, after its length.</summary>
    public byte[] SaveState()
    {
        var saved = new MemoryStream();
        Span<byte> length = stackalloc byte[sizeof(int)];
        foreach (var program in programs)
        {
            var own = program.SaveState();
            BinaryPrimitives.WriteInt32LittleEndian(length, own.Length);
            saved.Write(length);
            saved.Write(own);
        }

        return saved.ToArray();
    }

    public VfioResult LoadState(ReadOnlySpan<byte> saved)
    {
        foreach (var program in programs)
        {
            if (!TryTake(ref saved, out var own))
                return NotOfThisGuest();
            var loaded = program.LoadState(own);
            if (!loaded.IsOk)
                return loaded;
        }

        return saved.IsEmpty ? VfioResult.Ok : NotOfThisGuest();
    }

    public async Task<VfioResult<VerificationResult>> VerifyAsync(IReadOnlyList<DeviceClient> devices)
    {
        var all = new VerificationResult(0, 0, 0, 0);
        foreach (var (program, device) in programs.Zip(devices))
        {
            var verified = await program.VerifyAsync(device);
            if (!verified.IsOk)
                return verified.Error;
            var one = verified.Value;
            all = new VerificationResult(
                all.Steps + one.Steps, all.MemoryRecords + one.MemoryRecords, all.DeviceCells + one.DeviceCells, all.Damaged + one.Damaged);
        }

        return all;
    }

    public void Dispose() => Array.ForEach(programs, static program => program.Dispose());

    private async Task<VfioResult> EachAsync(IReadOnlyList<DeviceClient> devices, Func<IGuestProgram, DeviceClient, Task<VfioResult>> act)
    {
        foreach (var (program, device) in programs.Zip(devices))
        {
            var done = await act(program, device);
            if (!done.IsOk)
                return done;
        }

        return VfioResult.Ok;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> saved, out ReadOnlySpan<byte> own)
    {
        own = default;
        if (!BinaryPrimitives.TryReadInt32LittleEndian(saved, out var length) || length < 0 || length > saved.Length - sizeof(int))
            return false;
        own = saved.Slice(sizeof(int), length);
        saved = saved[(sizeof(int) + length)..];
        return true;
    }

    private static VfioResult NotOfThisGuest() =>
        VfioResult.Fail(Errno.EINVAL, "What came is not the state of this guest; run the same version on both hosts.");
}
