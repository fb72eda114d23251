using System.Runtime.InteropServices;

namespace Fabric.Hardware.Specs.Accelerator;

/// <summary>
/// What the accelerator does, as arithmetic: device state is an array of u64 counters, step k adds one to a counter and writes a record
/// of it by DMA. All of it is a function of the number of steps, so that a lost, repeated or torn step can be seen in state and in memory.
/// </summary>
public static class AcceleratorState
{
    /// <summary>Bytes of a counter.</summary>
    public const int CellBytes = 8;

    /// <summary>Grain of the state log, bytes.</summary>
    public const int BlockBytes = 4096;

    /// <summary>Steps walk this many tracks through the state at once, so that changes are spread and still local.</summary>
    public const int Tracks = 64;

    /// <summary>Smallest state: one block a track. Sizes are multiples of it.</summary>
    public const long Granule = (long)Tracks * BlockBytes;

    /// <summary>What a counter holds before its first step.</summary>
    public static ulong InitialValue(long cell) => Mix((ulong)cell + 1);

    /// <summary>Which counter a step adds to.</summary>
    public static long CellOf(ulong step, long cells)
    {
        var trackCells = cells / Tracks;
        return ((long)(step % Tracks) * trackCells) + (long)(step / Tracks % (ulong)trackCells);
    }

    /// <summary>What a counter holds after a number of steps.</summary>
    public static ulong ValueAfter(ulong steps, long cell, long cells)
    {
        var trackCells = (ulong)(cells / Tracks);
        var track = (ulong)cell / trackCells;
        var position = (ulong)cell % trackCells;
        var stepsOfTrack = steps > track ? ((steps - track - 1) / Tracks) + 1 : 0;
        var passes = (stepsOfTrack / trackCells) + (stepsOfTrack % trackCells > position ? 1UL : 0);
        return InitialValue(cell) + passes;
    }

    /// <summary>What a counter adds to the state digest.</summary>
    public static ulong Digest(long cell, ulong value) => Mix(value ^ ((ulong)cell << 20));

    /// <summary>A bijection that leaves no pattern (the finaliser of SplitMix64).</summary>
    public static ulong Mix(ulong value)
    {
        value += 0x9e3779b97f4a7c15;
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return value ^ (value >> 31);
    }
}

/// <summary>What one step writes to memory: 32 bytes, little-endian.</summary>
/// <param name="Step">Number of the step, from 0.</param>
/// <param name="Cell">The counter it added to.</param>
/// <param name="Value">What the counter holds now.</param>
/// <param name="Check">A mix of the other three: a record put together from two does not have it.</param>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public readonly record struct AcceleratorRecord(ulong Step, ulong Cell, ulong Value, ulong Check)
{
    public const int Bytes = 32;

    public static AcceleratorRecord Of(ulong step, long cell, ulong value) => new(step, (ulong)cell, value, CheckOf(step, (ulong)cell, value));

    public bool IsWhole => Check == CheckOf(Step, Cell, Value);

    private static ulong CheckOf(ulong step, ulong cell, ulong value) => AcceleratorState.Mix(step ^ AcceleratorState.Mix(cell ^ AcceleratorState.Mix(value)));
}
