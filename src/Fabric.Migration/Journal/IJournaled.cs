using Google.Protobuf;

namespace Fabric.Migration.Journal;

/// <summary>What is kept in the journal or the snapshot store, of claims unless it says otherwise; the layouts are in claims.proto.</summary>
public interface IJournaled : IMessage;

/// <summary>What is kept of moves that the fabric makes by itself; the layouts are in moves.proto.</summary>
public interface IMovesJournaled : IJournaled;

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

public sealed partial class DeviceFoundSick : IJournaled;

public sealed partial class RestartStarted : IJournaled;

public sealed partial class RunnerClosed : IJournaled;

public sealed partial class ClaimTakenUp : IJournaled;

public sealed partial class HostLeased : IJournaled;

public sealed partial class PlacedAfresh : IJournaled;

public sealed partial class ClaimSnapshot : IJournaled;

public sealed partial class DrainStarted : IMovesJournaled;

public sealed partial class HostEmptied : IMovesJournaled;

public sealed partial class DrainEnded : IMovesJournaled;

public sealed partial class MoveStarted : IMovesJournaled;

public sealed partial class MoveEnded : IMovesJournaled;

public sealed partial class RebalanceStarted : IMovesJournaled;

public sealed partial class RebalanceEnded : IMovesJournaled;

public sealed partial class BreakerTripped : IMovesJournaled;

public sealed partial class BreakerReset : IMovesJournaled;

public sealed partial class MovesSnapshot : IMovesJournaled;
