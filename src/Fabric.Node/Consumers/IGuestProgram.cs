using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Vfio;

namespace Fabric.Node.Consumers;

/// <summary>A program of an emulated virtual machine: uses one device, in a part of the machine's memory. As <see cref="IConsumer"/>, of one device.</summary>
internal interface IGuestProgram : IDisposable
{
    WorkloadCounters Counters { get; }

    Task<VfioResult> StartAsync(DeviceClient device);

    void Pause();

    void Resume();

    void ForgetGaps();

    byte[] SaveState();

    VfioResult LoadState(ReadOnlySpan<byte> saved);

    Task<VfioResult> RestoreConfigAsync(DeviceClient device);

    Task<VfioResult<VerificationResult>> VerifyAsync(DeviceClient device);
}
