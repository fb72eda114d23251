using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Devices;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Node.Consumers;

/// <summary>
/// The program that drives an accelerator and checks every step that arrives in its memory: none may be lost,
/// repeated or torn, whatever the device and the memory went through meanwhile.
/// </summary>
internal sealed class AcceleratorGuest : IGuestProgram
{
    /// <summary>The head in the first page, the ring from the second on.</summary>
    private const int RingOffset = 4096;

    private static readonly TimeSpan CheckInterval = TimeSpan.FromMilliseconds(5);

    private readonly Lock cpu = new();
    private readonly GuestMemory memory;
    private readonly TimeProvider time;
    private readonly ITimer timer;
    private readonly ulong memoryIova;
    private readonly int stepsPerSecond;
    private readonly ulong slots;
    private Registers registers;
    private bool running;

    public AcceleratorGuest(GuestMemory memory, ulong memoryIova, int stepsPerSecond, TimeProvider time)
    {
        (this.memory, this.memoryIova) = (memory, memoryIova);
        slots = (memory.Length - RingOffset) / AcceleratorRecord.Bytes;
        this.stepsPerSecond = stepsPerSecond;
        this.time = time;
        timer = time.CreateTimer(_ => Check(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>The guest's CPU: what is not in its memory.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 8)]
    private struct Registers
    {
        public ulong Seen;
        public long Lost;
        public long Repeated;
        public long Torn;

        /// <summary>UTC ticks when the last step was seen: a gap is measured across hosts, by their clocks.</summary>
        public long SeenAt;
        public long LongestGapTicks;
    }

    public WorkloadCounters Counters
    {
        get
        {
            lock (cpu)
            {
                return new WorkloadCounters(
                    (long)registers.Seen, registers.Lost, registers.Repeated, registers.Torn, TimeSpan.FromTicks(registers.LongestGapTicks).TotalMilliseconds);
            }
        }
    }

    public async Task<VfioResult> StartAsync(DeviceClient device)
    {
        var magic = await device.ReadAsync(AcceleratorBar.Registers, AcceleratorRegister.Magic, 4);
        if (!magic.IsOk)
            return magic.Error;
        if (BinaryPrimitives.ReadUInt32LittleEndian(magic.Value.Span) != AcceleratorRegister.MagicValue)
            return VfioResult.Fail(Errno.ENODEV, "The guest's program drives accelerators; this device is none.");

        var done = await RestoreConfigAsync(device);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.RingIova, memoryIova + RingOffset);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.RingSlots, slots);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.HeadIova, memoryIova);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.Pace, (uint)stepsPerSecond);
        if (done.IsOk)
            done = await WriteAsync(device, AcceleratorRegister.Control, AcceleratorRegister.ControlRun);
        if (done.IsOk)
            Resume();
        return done;
    }

    public Task<VfioResult> RestoreConfigAsync(DeviceClient device)
    {
        var command = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)(PciCommand.MemorySpace | PciCommand.BusMaster));
        return device.WriteAsync(RegionIndex.Config, ConfigOffset.Command, command);
    }

    public void Resume()
    {
        lock (cpu)
            running = true;

        timer.Change(CheckInterval, CheckInterval);
    }

    public void Pause()
    {
        timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        lock (cpu)
            running = false;
    }

    public void ForgetGaps()
    {
        lock (cpu)
            registers.LongestGapTicks = 0;
    }

    public byte[] SaveState()
    {
        lock (cpu)
            return MemoryMarshal.AsBytes(new ReadOnlySpan<Registers>(in registers)).ToArray();
    }

    public VfioResult LoadState(ReadOnlySpan<byte> saved)
    {
        if (saved.Length != Marshal.SizeOf<Registers>())
            return VfioResult.Fail(Errno.EINVAL, "What came is not the state of this guest; run the same version on both hosts.");
        lock (cpu)
            registers = MemoryMarshal.Read<Registers>(saved);
        return VfioResult.Ok;
    }

    public async Task<VfioResult<VerificationResult>> VerifyAsync(DeviceClient device)
    {
        var steps = await ReadAsync(device, AcceleratorRegister.Steps);
        var stateBytes = await ReadAsync(device, AcceleratorRegister.StateBytes);
        var digest = await ReadAsync(device, AcceleratorRegister.StateDigest);
        if (!steps.IsOk || !stateBytes.IsOk || !digest.IsOk)
            return steps.IsOk ? stateBytes.IsOk ? digest.Error : stateBytes.Error : steps.Error;

        // Everything that was written before the pause is checked first.
        lock (cpu)
            CheckNew();
        var cells = (long)stateBytes.Value / AcceleratorState.CellBytes;
        return await Task.Run(() => Verify(steps.Value, cells, digest.Value));
    }

    public void Dispose() => timer.Dispose();

    private void Check()
    {
        lock (cpu)
        {
            if (running)
                CheckNew();
        }
    }

    /// <summary>Looks at every step between the last one seen and the head.</summary>
    private void CheckNew()
    {
        var head = Volatile.Read(ref MemoryMarshal.Cast<byte, ulong>(memory.Window(0, 8))[0]);
        if (head == registers.Seen)
            return;
        var now = time.GetUtcNow().UtcTicks;
        // What comes before the first step is the device starting, not standing.
        if (registers.Seen > 0)
            registers.LongestGapTicks = Math.Max(registers.LongestGapTicks, now - registers.SeenAt);
        registers.SeenAt = now;
        if (head < registers.Seen)
        {
            registers.Repeated += (long)(registers.Seen - head);
            registers.Seen = head;
            return;
        }

        // The ring holds no more than this: what was overwritten before it was looked at was never seen (and a damaged head ends here too).
        if (head - registers.Seen > slots)
        {
            registers.Lost += (long)(head - slots - registers.Seen);
            registers.Seen = head - slots;
        }

        for (; registers.Seen < head; registers.Seen++)
        {
            var record = RecordAt(registers.Seen % slots);
            if (record == default)
                registers.Lost++;
            else if (!record.IsWhole)
                registers.Torn++;
            else if (record.Step < registers.Seen)
                registers.Lost++;
            else if (record.Step > registers.Seen)
                registers.Repeated++;
        }
    }

    private VerificationResult Verify(ulong steps, long cells, ulong digest)
    {
        long records = 0;
        long damaged = 0;
        var first = steps > slots ? steps - slots : 0;
        for (var step = first; step < steps; step++, records++)
        {
            var cell = AcceleratorState.CellOf(step, cells);
            if (RecordAt(step % slots) != AcceleratorRecord.Of(step, cell, AcceleratorState.ValueAfter(step + 1, cell, cells)))
                damaged++;
        }

        ulong expected = 0;
        for (long cell = 0; cell < cells; cell++)
            expected += AcceleratorState.Digest(cell, AcceleratorState.ValueAfter(steps, cell, cells));
        if (expected != digest)
            damaged++;
        if (registers.Seen != steps)
            damaged++;
        return new VerificationResult((long)steps, records, cells, damaged);
    }

    private AcceleratorRecord RecordAt(ulong slot) =>
        MemoryMarshal.Read<AcceleratorRecord>(memory.Window(RingOffset + (slot * AcceleratorRecord.Bytes), AcceleratorRecord.Bytes));

    private static async Task<VfioResult<ulong>> ReadAsync(DeviceClient device, int register)
    {
        var read = await device.ReadAsync(AcceleratorBar.Registers, (ulong)register, 8);
        return read.IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(read.Value.Span) : read.Error;
    }

    private static Task<VfioResult> WriteAsync(DeviceClient device, int register, ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return device.WriteAsync(AcceleratorBar.Registers, (ulong)register, bytes);
    }

    private static Task<VfioResult> WriteAsync(DeviceClient device, int register, uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return device.WriteAsync(AcceleratorBar.Registers, (ulong)register, bytes);
    }
}
