using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Migration;

namespace Fabric.Vfio.Tests.Core.Cards;

/// <summary>A variant driver with migration: it is told of the resets of its device and passes them on to its machine, as drivers do.</summary>
internal sealed class MigratingDriver : IResetObserver
{
    private readonly FakeMigration device = new(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy);

    public MigratingDriver() => Machine = MigrationMachine.Register(device).Value;

    public MigrationMachine Machine { get; }

    public int LiveStreams => device.Opened.Count(data => !data.IsClosed);

    public DriverDeclaration Declaration => new("migrating")
    {
        Migration = MigrationCallbacks.All, MigrationFlags = device.Flags, ConfiguresSriov = true, Resets = this,
    };

    public void ResetPrepare() => Machine.BeginReset();

    public void ResetDone(VfioResult outcome) => Machine.EndReset(outcome.IsOk);
}
