using Fabric.Drivers.Accelerator;
using Fabric.Migration.Hosts;

namespace Fabric.Node.Consumers;

/// <summary>The consumers of a node without a VMM: emulated guests. One program drives accelerators, another holds whatever else is claimed.</summary>
internal sealed class GuestFactory(TimeProvider time) : IConsumerFactory
{
    public IConsumer Create(string claimId, IReadOnlyList<string?> models, long memoryBytes, int stepsPerSecond) => new Guest(
        memoryBytes,
        [.. models.Select<string?, Func<GuestMemory, ulong, IGuestProgram>>(model => model == AcceleratorDriver.Registration.Model
            ? (memory, iova) => new AcceleratorGuest(memory, iova, stepsPerSecond, time)
            : (memory, _) => new IdleGuest(memory, stepsPerSecond, time))]);
}
