using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>Kinds of reset, from the gentlest to the harshest.</summary>
[Flags]
public enum ResetRungs
{
    None = 0,

    /// <summary>The function's own, by whatever method.</summary>
    Function = 1 << 0,

    /// <summary>Of its slot or bus, and of its link.</summary>
    Bus = 1 << 1,

    /// <summary>Its slot turned off and on.</summary>
    Power = 1 << 2,

    All = Function | Bus | Power,
}

/// <summary>What is wrong with the resets of a function.</summary>
/// <param name="Rungs">Which of them.</param>
/// <param name="Times">How many of them; after that they work.</param>
public abstract record ResetFault(ResetRungs Rungs, int Times)
{
    /// <summary>The reset does not take place and fails.</summary>
    public sealed record Fails(int Times = int.MaxValue, Errno Errno = Errno.EIO, ResetRungs Rungs = ResetRungs.Function) : ResetFault(Rungs, Times);

    /// <summary>The reset works, it is said, and the function answers nothing after it, until a harsher reset works.</summary>
    public sealed record Dies(int Times = int.MaxValue, ResetRungs Rungs = ResetRungs.Function) : ResetFault(Rungs, Times);

    /// <summary>
    /// The reset works, and the function answers nothing for a time. The kernel polls a function that is not ready for a minute and gives up;
    /// here nobody waits: the reset returns at once with what the poll would have come to, ETIMEDOUT where the function takes longer than the
    /// limit. Where it takes no longer it is success: the function has answered the first poll, and is away all the same.
    /// </summary>
    /// <param name="For">By the bus's clock; <see cref="Timeout.InfiniteTimeSpan"/> for ever.</param>
    public sealed record NotReady(
        TimeSpan For, NotReadyAnswer Answer = NotReadyAnswer.AllOnes, int Times = int.MaxValue, ResetRungs Rungs = ResetRungs.Function)
        : ResetFault(Rungs, Times)
    {
        /// <summary>How long the kernel polls (PCIE_RESET_READY_POLL_MS).</summary>
        public TimeSpan PollLimit { get; init; } = TimeSpan.FromSeconds(60);

        public bool OutlastsPoll => For == Timeout.InfiniteTimeSpan || For > PollLimit;
    }
}

/// <summary>What config reads of a function that is not ready come to.</summary>
public enum NotReadyAnswer
{
    AllOnes,

    /// <summary>Configuration request retry status, made visible to software: vendor id 0x0001, else all ones (PCIe 6.0, 2.3.1).</summary>
    RetryStatus,
}
