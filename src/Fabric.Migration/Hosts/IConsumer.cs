using Fabric.Devices;
using Fabric.Vfio;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Who uses the devices of a claim: stands for a virtual machine. Its memory and its own small state move with the claim; the pages that the
/// devices write are known from their dirty logs. Where it is given devices, they are those it was made for, in that order.
/// </summary>
public interface IConsumer : IDisposable
{
    /// <summary>What each device reaches by DMA, at <see cref="MemoryIova"/>.</summary>
    IDmaMemory Memory { get; }

    ulong MemoryIova { get; }

    WorkloadCounters Counters { get; }

    /// <summary>Programs open devices, for which its memory is mapped, and starts to work with them.</summary>
    Task<VfioResult> StartAsync(IReadOnlyList<DeviceClient> devices);

    /// <summary>Stands: touches neither memory nor devices until <see cref="Resume"/>.</summary>
    void Pause();

    /// <summary>Goes on where it stood.</summary>
    void Resume();

    /// <summary>Measures its longest gap anew: a migration begins, and what was before says nothing of it.</summary>
    void ForgetGaps();

    /// <summary>What is not in its memory; a few KiB at most. Paused.</summary>
    byte[] SaveState();

    /// <summary>Takes on what another saved, before it is resumed on devices that have its state. Errors: EINVAL for what it did not save.</summary>
    VfioResult LoadState(ReadOnlySpan<byte> saved);

    /// <summary>Restores what the VMM keeps of the devices' config space, such as bus mastering, on devices that are about to run.</summary>
    Task<VfioResult> RestoreConfigAsync(IReadOnlyList<DeviceClient> devices);

    /// <summary>Compares all of memory and device state with the step count. Paused, and the devices stand.</summary>
    Task<VfioResult<VerificationResult>> VerifyAsync(IReadOnlyList<DeviceClient> devices);
}

/// <summary>Makes consumers; the node chooses which kind.</summary>
public interface IConsumerFactory
{
    /// <param name="models">Of the devices that it will use; never empty.</param>
    IConsumer Create(string claimId, IReadOnlyList<string?> models, long memoryBytes, int stepsPerSecond);
}
