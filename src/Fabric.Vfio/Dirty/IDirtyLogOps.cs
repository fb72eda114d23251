namespace Fabric.Vfio.Dirty;

/// <summary>What a driver implements so that its device logs its DMA (the kernel's log_ops, all three: LC-3).</summary>
public interface IDirtyLogOps
{
    /// <summary>As many ranges as the device can watch at once; 1 or more.</summary>
    int MaxRanges { get; }

    /// <summary>The page sizes that the device can log by: bit n stands for 2^n bytes. At least one.</summary>
    ulong PageSizes { get; }

    /// <summary>
    /// Starts with nothing marked. Errors: E2BIG for more than the device can watch, EEXIST where it is tracking already, EOPNOTSUPP where it
    /// cannot.
    /// </summary>
    /// <param name="ranges">In ascending order, whole pages, none touching another's; at most <see cref="MaxRanges"/>.</param>
    VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize);

    VfioResult Stop();

    /// <summary>The device's log has ended by itself since its last start, as if it had been stopped.</summary>
    bool HasEnded => false;

    /// <summary>
    /// Marks what DMA wrote within a range since this was last asked, and clears just that in the device (MG-41). Errors: EIO where the device
    /// has lost the log.
    /// </summary>
    VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty);
}
