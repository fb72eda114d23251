using Google.Protobuf;

namespace Fabric.Migration.Journal;

/// <summary>What is kept in the journal or the snapshot store; the layouts are in claims.proto.</summary>
public interface IJournaled : IMessage;

public sealed partial class ClaimCreated : IJournaled;

public sealed partial class ClaimStarted : IJournaled;

public sealed partial class ClaimFailed : IJournaled;

public sealed partial class ReleaseStarted : IJournaled;

public sealed partial class ClaimReleased : IJournaled;

public sealed partial class MigrationStarted : IJournaled;

public sealed partial class TargetReserved : IJournaled;

public sealed partial class SwitchoverStarted : IJournaled;

public sealed partial class MigrationCommitted : IJournaled;

public sealed partial class TargetStarted : IJournaled;

public sealed partial class SourceReleased : IJournaled;

public sealed partial class RollbackStarted : IJournaled;

public sealed partial class MigrationRolledBack : IJournaled;

public sealed partial class ClaimSnapshot : IJournaled;
