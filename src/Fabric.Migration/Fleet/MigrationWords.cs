using Fabric.Vfio.Migration;

namespace Fabric.Migration.Fleet;

/// <summary>Migration states as the kernel's documentation spells them.</summary>
internal static class MigrationWords
{
    public static string Of(MigrationState state) => state switch
    {
        MigrationState.Error => "ERROR",
        MigrationState.Stop => "STOP",
        MigrationState.Running => "RUNNING",
        MigrationState.StopCopy => "STOP_COPY",
        MigrationState.Resuming => "RESUMING",
        MigrationState.RunningP2P => "RUNNING_P2P",
        MigrationState.PreCopy => "PRE_COPY",
        MigrationState.PreCopyP2P => "PRE_COPY_P2P",
        _ => "?",
    };
}
