using Fabric.Devices;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Hosts;

/// <summary>A function that an attachment has open.</summary>
/// <param name="Status">As its host described it when it was opened.</param>
/// <param name="Flags">What it migrates with; null where it does not.</param>
/// <param name="LogsDma">It can tell which pages it wrote.</param>
internal sealed record HeldDevice(string Address, DeviceStatus Status, DeviceClient Client, MigrationFlags? Flags, bool LogsDma)
{
    /// <summary>Where its state is written to, at the target.</summary>
    public IMigrationStream? Inbound { get; init; }

    /// <summary>Where it runs and leaves its peers alone; null where it has no such state.</summary>
    public MigrationState? Quiet => Has(MigrationFlags.P2P) ? MigrationState.RunningP2P : null;

    public bool Has(MigrationFlags flag) => Flags is { } flags && (flags & flag) != 0;
}
