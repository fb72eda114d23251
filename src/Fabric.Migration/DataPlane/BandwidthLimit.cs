namespace Fabric.Migration.DataPlane;

/// <summary>The most payload a writer sends, in bytes per second; 0 is no limit.</summary>
public readonly record struct BandwidthLimit
{
    /// <exception cref="ArgumentOutOfRangeException">A negative rate.</exception>
    public BandwidthLimit(long bytesPerSecond)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytesPerSecond);
        BytesPerSecond = bytesPerSecond;
    }

    public static BandwidthLimit None => default;

    public long BytesPerSecond { get; }

    public bool IsNone => BytesPerSecond == 0;
}
