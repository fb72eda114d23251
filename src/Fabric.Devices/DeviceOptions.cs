using System.Collections.Immutable;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>How a host treats its devices.</summary>
public sealed record DeviceOptions
{
    public static DeviceOptions Default { get; } = new();

    /// <summary>Module parameters of the core.</summary>
    public CoreOptions Core { get; init; } = CoreOptions.Default;

    /// <summary>A call that a device's own mailbox makes: a register access, a driver's command.</summary>
    public TimeSpan CallDeadline { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A call on the lane: probe, open, close, reset, VFs. The kernel polls for 60 s after an FLR.</summary>
    public TimeSpan SlowCallDeadline { get; init; } = TimeSpan.FromSeconds(70);

    /// <summary>How long a request waits for its device set or IOMMU group.</summary>
    public TimeSpan TurnDeadline { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A driver that has not voted by then counts as having no handler.</summary>
    public TimeSpan VoteDeadline { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Failures of driver and core that a device survives within <see cref="BudgetWindow"/>.</summary>
    public int RestartBudget { get; init; } = 5;

    /// <summary>Recoveries from uncorrectable errors that a device gets within <see cref="BudgetWindow"/>, as EEH counts freezes.</summary>
    public int FreezeBudget { get; init; } = 5;

    public TimeSpan BudgetWindow { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Whether opens and resets that meet contention are tried again here, and not only by who asked. Null, the default: not.</summary>
    public RetryPolicy? RetryContention { get; init; }

    /// <summary>How a rung of the reset ladder that meets contention is tried again.</summary>
    public RetryPolicy LadderRetries { get; init; } = new(8, TimeSpan.FromMilliseconds(10), Factor: 2);

    /// <summary>Reset methods in the order in which they are tried, of those that a function has; null keeps the function's own.</summary>
    public ImmutableArray<string>? ResetOrder { get; init; }

    /// <summary>Errors of one device are told of at most once in this time.</summary>
    public TimeSpan ErrorInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Functions that are probed at the same time.</summary>
    public int ConcurrentProbes { get; init; } = 16;
}

/// <summary>Trying again after EAGAIN.</summary>
/// <param name="Tries">At most so many more.</param>
/// <param name="Delay">Before the first of them.</param>
/// <param name="Factor">By which the delay grows.</param>
public sealed record RetryPolicy(int Tries, TimeSpan Delay, int Factor = 1)
{
    /// <summary>Null when there is no further try.</summary>
    /// <param name="tried">Further tries that were made.</param>
    public TimeSpan? DelayAfter(int tried) => tried < Tries ? Delay * Math.Pow(Factor, tried) : null;
}
