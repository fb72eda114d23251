namespace Fabric.Vfio.Core;

/// <summary>
/// A mapped BAR: direct access with no message, as through mmap(2). Its holder may use it from its own thread for as long as the session
/// that mapped it is open; after that it reaches nothing, whoever has the device by then (INV-3).
/// </summary>
public sealed class RegionMapping
{
    private readonly IPciFunction function;
    private readonly int bar;
    private readonly MappingLife life;

    internal RegionMapping(IPciFunction function, int bar, MappingLife life)
    {
        this.function = function;
        this.bar = bar;
        this.life = life;
        Length = function.Bars[bar].Size;
    }

    /// <summary>Bytes.</summary>
    public ulong Length { get; }

    /// <summary>Errors: EFAULT outside the mapping, EIO when the function does not answer (SIGBUS in the kernel), ENODEV after its session.</summary>
    public VfioResult Read(ulong offset, Span<byte> destination)
    {
        if (!InRange(offset, destination.Length))
            return Outside;
        if (!life.TryEnter())
            return Ended;
        try
        {
            return function.ReadRegion(bar, offset, destination);
        }
        finally
        {
            life.Leave();
        }
    }

    /// <summary>Errors: EFAULT outside the mapping, EIO when the function does not answer (SIGBUS in the kernel), ENODEV after its session.</summary>
    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (!InRange(offset, source.Length))
            return Outside;
        if (!life.TryEnter())
            return Ended;
        try
        {
            return function.WriteRegion(bar, offset, source);
        }
        finally
        {
            life.Leave();
        }
    }

    private static VfioResult Outside => VfioResult.Fail(Errno.EFAULT, "The access lies outside the mapping.");

    private static VfioResult Ended => VfioResult.Fail(Errno.ENODEV, "The session that mapped this region is closed; open the device again.");

    private bool InRange(ulong offset, int length) => offset <= Length && (ulong)length <= Length - offset;
}

/// <summary>
/// How long the mappings of one session may be used. Its end waits for the accesses under way: none may arrive after the reset that closes
/// the session, in a device that somebody else holds by then.
/// </summary>
internal sealed class MappingLife
{
    private readonly ReaderWriterLockSlim gate = new();
    private bool ended;

    /// <summary>Whether an access may be made; if so it ends with <see cref="Leave"/>.</summary>
    public bool TryEnter()
    {
        gate.EnterReadLock();
        if (!ended)
            return true;
        gate.ExitReadLock();
        return false;
    }

    public void Leave() => gate.ExitReadLock();

    public void End()
    {
        gate.EnterWriteLock();
        ended = true;
        gate.ExitWriteLock();
    }
}
