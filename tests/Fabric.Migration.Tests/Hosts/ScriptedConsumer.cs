using System.Buffers.Binary;
using Fabric.Devices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A consumer that lets the accelerator write into its memory and looks at none of it; remembers what was done to it.</summary>
internal sealed class ScriptedConsumer(int memoryBytes, int stepsPerSecond) : IConsumer
{
    private const ulong Base = 0x4000_0000;
    private const int RingOffset = 4096;

    /// <summary>Many pages: a device that works fast writes some for the first time after any report of its log.</summary>
    private const int RingBytes = 64 << 10;

    private readonly PinnedMemory memory = new(memoryBytes);
    private readonly Lock gate = new();
    private byte[] own = [];
    private bool running;

    public IDmaMemory Memory => memory;

    public ulong MemoryIova => Base;

    public WorkloadCounters Counters => WorkloadCounters.None;

    /// <summary>What is not in its memory.</summary>
    public byte[] Own
    {
        get
        {
            lock (gate)
                return own;
        }

        set
        {
            lock (gate)
                own = value;
        }
    }

    public bool Running
    {
        get
        {
            lock (gate)
                return running;
        }
    }

    public int Starts { get; private set; }

    /// <summary>Whether it refuses what another saved.</summary>
    public bool RefusesState { get; init; }

    public TaskCompletionSource Disposed { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public byte[] MemoryCopy => memory.Window(0, memoryBytes).ToArray();

    public async Task<VfioResult> StartAsync(IReadOnlyList<DeviceClient> devices)
    {
        Starts++;
        memory.Window((ulong)memoryBytes - 16, 16).Fill(0x5a);
        var done = await RestoreConfigAsync(devices);
        foreach (var (index, device) in devices.Index())
            done = done.IsOk ? await ProgramAsync(device, (ulong)index) : done;
        if (done.IsOk)
            Resume();
        return done;
    }

    /// <summary>Each device has a head and a ring of its own.</summary>
    private async Task<VfioResult> ProgramAsync(DeviceClient device, ulong index)
    {
        var done = await WriteAsync(device, AcceleratorRegister.RingIova, Base + RingOffset + (RingBytes * index), 8);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.RingSlots, RingBytes / AcceleratorRecord.Bytes, 8);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.HeadIova, Base + (64 * index), 8);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.Pace, (ulong)stepsPerSecond, 4);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.Control, AcceleratorRegister.ControlRun, 4);
        return done;
    }

    public void Pause()
    {
        lock (gate)
            running = false;
    }

    public void Resume()
    {
        lock (gate)
            running = true;
    }

    public int GapsForgotten { get; private set; }

    public void ForgetGaps() => GapsForgotten++;

    public byte[] SaveState() => Own;

    public VfioResult LoadState(ReadOnlySpan<byte> saved)
    {
        if (RefusesState)
            return VfioResult.Fail(Errno.EINVAL, "not of this consumer");
        Own = saved.ToArray();
        return VfioResult.Ok;
    }

    public async Task<VfioResult> RestoreConfigAsync(IReadOnlyList<DeviceClient> devices)
    {
        var command = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)(PciCommand.MemorySpace | PciCommand.BusMaster));
        var done = VfioResult.Ok;
        foreach (var device in devices)
            done = done.IsOk ? await device.WriteAsync(RegionIndex.Config, ConfigOffset.Command, command) : done;
        return done;
    }

    public Task<VfioResult<VerificationResult>> VerifyAsync(IReadOnlyList<DeviceClient> devices) =>
        Task.FromResult<VfioResult<VerificationResult>>(new VerificationResult(1, 2, 3, Running ? 1 : 0));

    public void Dispose() => Disposed.TrySetResult();

    private static Task<VfioResult> WriteAsync(DeviceClient device, int register, ulong value, int width)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return device.WriteAsync(AcceleratorBar.Registers, (ulong)register, bytes.AsMemory(0, width));
    }

    private sealed class PinnedMemory(int bytes) : IDmaMemory
    {
        private readonly byte[] memory = GC.AllocateArray<byte>(bytes, pinned: true);

        public ulong Length => (ulong)memory.Length;

        public Span<byte> Window(ulong offset, int length) => memory.AsSpan(checked((int)offset), length);
    }
}
