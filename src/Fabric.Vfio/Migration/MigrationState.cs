namespace Fabric.Vfio.Migration;

/// <summary>States of the migration v2 protocol, with the kernel's numbers (MG-1).</summary>
public enum MigrationState
{
    Error = 0,
    Stop = 1,
    Running = 2,
    StopCopy = 3,
    Resuming = 4,
    RunningP2P = 5,
    PreCopy = 6,
    PreCopyP2P = 7,
}

/// <summary>What a device's migration can do, as feature MIGRATION reports it (MG-5). StopCopy is mandatory.</summary>
[Flags]
public enum MigrationFlags
{
    None = 0,
    StopCopy = 1,
    P2P = 2,
    PreCopy = 4,
}
