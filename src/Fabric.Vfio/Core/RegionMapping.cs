namespace Fabric.Vfio.Core;

/// <summary>Whose mapping it is, and what it is to withstand.</summary>
[Flags]
public enum MapOptions
{
    /// <summary>A shared mapping of the device's holder.</summary>
    None = 0,

    /// <summary>A private mapping, which copies on write: no device memory can be (IO-114).</summary>
    Private = 1 << 0,

    /// <summary>A driver's own mapping of what it hides from the holder: works on while the holder has memory decode off.</summary>
    DriverOwned = 1 << 1,
}

/// <summary>
/// A mapped BAR: direct access with no message, as through mmap(2). Its holder may use it from its own thread for as long as the session
/// that mapped it is open; after that it reaches nothing, whoever has the device by then (INV-3). While memory is unusable every access is
/// refused (INV-1); while the function is reset, accesses wait.
/// </summary>
public sealed class RegionMapping : IRegisters
{
    private readonly IPciFunction function;
    private readonly int bar;
    private readonly ulong start;
    private readonly MemoryGate gate;
    private readonly MemoryBlocks despite;
    private readonly IRegisters? instead;

    internal RegionMapping(
        IPciFunction function, int bar, ulong start, ulong length, MemoryGate gate, MemoryBlocks despite, IRegisters? instead = null)
    {
        this.instead = instead;
        this.function = function;
        this.bar = bar;
        this.start = start;
        this.gate = gate;
        this.despite = despite;
        Length = length;
    }

    /// <summary>Bytes.</summary>
    public ulong Length { get; }

    /// <summary>
    /// A mapping of other memory of the device's, such as a driver shows in place of a BAR: it can be used for as long as this one, and when this
    /// one can.
    /// </summary>
    /// <param name="memory">Used from any thread. Its errors are the mapping's.</param>
    public RegionMapping To(IRegisters memory, ulong length) => new(function, bar, start, length, gate, despite, memory);

    /// <summary>
    /// Errors: EFAULT outside the mapping, EIO when memory is unusable or the function does not answer (SIGBUS in the kernel), ENODEV after
    /// its session.
    /// </summary>
    public VfioResult Read(ulong offset, Span<byte> destination)
    {
        if (!InRange(offset, destination.Length))
            return Outside;
        var forbidding = gate.TryEnter(despite);
        if (forbidding != MemoryBlocks.None)
            return Refusal(forbidding);
        try
        {
            return Reach(offset, destination);
        }
        finally
        {
            gate.Leave();
        }
    }

    /// <summary>
    /// Errors: EFAULT outside the mapping, EIO when memory is unusable or the function does not answer (SIGBUS in the kernel), ENODEV after
    /// its session.
    /// </summary>
    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (!InRange(offset, source.Length))
            return Outside;
        var forbidding = gate.TryEnter(despite);
        if (forbidding != MemoryBlocks.None)
            return Refusal(forbidding);
        try
        {
            return Reach(offset, source);
        }
        finally
        {
            gate.Leave();
        }
    }

    /// <summary>The first bytes of this mapping: for a user who must not see the rest.</summary>
    public RegionMapping Narrow(ulong length) => new(function, bar, start, Math.Min(length, Length), gate, despite, instead);

    /// <summary>
    /// Another device's DMA. It waits for nothing, as what it would wait for may wait for that DMA: while memory is held for a reset it fails.
    /// False for that, and for all that is an error of <see cref="Read"/>.
    /// </summary>
    internal bool TryReadAtOnce(ulong offset, Span<byte> destination)
    {
        if (!InRange(offset, destination.Length) || !gate.TryEnterAtOnce(despite))
            return false;
        try
        {
            return Reach(offset, destination).IsOk;
        }
        finally
        {
            gate.Leave();
        }
    }

    /// <summary>The same for a write.</summary>
    internal bool TryWriteAtOnce(ulong offset, ReadOnlySpan<byte> source)
    {
        if (!InRange(offset, source.Length) || !gate.TryEnterAtOnce(despite))
            return false;
        try
        {
            return Reach(offset, source).IsOk;
        }
        finally
        {
            gate.Leave();
        }
    }

    private VfioResult Reach(ulong offset, Span<byte> destination) =>
        instead is null ? function.ReadRegion(bar, start + offset, destination) : instead.Read(offset, destination);

    private VfioResult Reach(ulong offset, ReadOnlySpan<byte> source) =>
        instead is null ? function.WriteRegion(bar, start + offset, source) : instead.Write(offset, source);

    private static VfioResult Outside => VfioResult.Fail(Errno.EFAULT, "The access lies outside the mapping.");

    private static VfioResult Refusal(MemoryBlocks forbidding) => (forbidding & MemoryBlocks.Session) != 0
        ? VfioResult.Fail(Errno.ENODEV, "The session that mapped this region is closed; open the device again.")
        : VfioResult.Fail(Errno.EIO, "The function's memory is off: turn on memory decode, and take the device out of D3 and of low power.");

    private bool InRange(ulong offset, int length) => offset <= Length && (ulong)length <= Length - offset;
}
