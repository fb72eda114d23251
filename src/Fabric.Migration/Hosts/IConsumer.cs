using Fabric.Devices;
using Fabric.Vfio;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Who uses a claimed device: stands for a virtual machine. Its memory and its own small state move with the claim; the pages that the
/// device writes are known from the device's dirty log.
/// </summary>
public interface IConsumer : IDisposable
{
    /// <summary>What the device reaches by DMA, at <see cref="MemoryIova"/>.</summary>
    IDmaMemory Memory { get; }

    ulong MemoryIova { get; }

    WorkloadCounters Counters { get; }

    /// <summary>Programs an open device, whose memory is mapped, and starts to work with it.</summary>
    Task<VfioResult> StartAsync(DeviceClient device);

    /// <summary>Stands: touches neither memory nor device until <see cref="Resume"/>.</summary>
    void Pause();

    /// <summary>Goes on where it stood.</summary>
    void Resume();

    /// <summary>Measures its longest gap anew: a migration begins, and what was before says nothing of it.</summary>
    void ForgetGaps();

    /// <summary>What is not in its memory; a few KiB at most. Paused.</summary>
    byte[] SaveState();

    /// <summary>Takes on what another saved, before it is resumed on a device that has its state. Errors: EINVAL for what it did not save.</summary>
    VfioResult LoadState(ReadOnlySpan<byte> saved);

    /// <summary>Restores what the VMM keeps of the device's config space, such as bus mastering, on a device that is about to run.</summary>
    Task<VfioResult> RestoreConfigAsync(DeviceClient device);

    /// <summary>Compares all of memory and device state with the step count. Paused, and the device stands.</summary>
    Task<VfioResult<VerificationResult>> VerifyAsync(DeviceClient device);
}

/// <summary>Makes consumers; the node chooses which kind.</summary>
public interface IConsumerFactory
{
    IConsumer Create(string claimId, long memoryBytes, int stepsPerSecond);
}
