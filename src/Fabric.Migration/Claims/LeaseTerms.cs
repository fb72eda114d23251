namespace Fabric.Migration.Claims;

/// <summary>What becomes of a claim whose host is lost. The numbers are in journals.</summary>
public enum HostLossPolicy
{
    /// <summary>The claim waits for its host: that may well be running it. It has no lease.</summary>
    Wait = 0,

    /// <summary>Its host runs it under a lease; the claim starts afresh elsewhere when that has ended for certain (L1).</summary>
    Restart = 1,
}

/// <summary>
/// What a lease of a length means to both ends. The host counts it from when it asked, the claim from when it wrote down that it granted: a
/// message that was slow makes it shorter for the one and longer for the other, and clocks are compared with themselves only.
/// </summary>
/// <param name="Length">From <see cref="Least"/> to <see cref="Most"/>.</param>
public readonly record struct LeaseTerms(TimeSpan Length)
{
    /// <summary>Longer than control nodes take to be replaced: their failover alone must not end leases.</summary>
    public static readonly TimeSpan Default = TimeSpan.FromSeconds(60);

    public static readonly TimeSpan Least = TimeSpan.FromSeconds(10);

    public static readonly TimeSpan Most = TimeSpan.FromHours(1);

    /// <summary>The host asks anew so often: several requests may be lost.</summary>
    public TimeSpan RenewEvery => Length / 6;

    /// <summary>With less than this left the host stops and closes the function by itself.</summary>
    public TimeSpan StopBefore => Length / 5;

    /// <summary>What the claim waits for after it granted: a clock may be slower than another by a twentieth.</summary>
    public TimeSpan Wait => Length + (Length / 20);

    /// <summary>Of a claim that is leased for so many milliseconds.</summary>
    public static LeaseTerms OfMs(int ms) => new(TimeSpan.FromMilliseconds(ms));
}
