using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary>A migration under way, as a row of a board.</summary>
internal static class MigrationProgress
{
    public static void Set(IBoard board, MigrationResource migration)
    {
        var row = $"{migration.Id}  {migration.From} → {migration.To}";
        var detail = $"{Units.Bytes(migration.Bytes)}, {Units.Rate(migration.MibPerS)}, {Units.Rounds(migration.Rounds)}";
        if (migration.DowntimeMs is { } downtime and > 0)
            detail += $", downtime {Units.Time(downtime)}";
        else if (migration.Outcome is null)
            detail += $", {Units.Bytes(migration.RemainingBytes)} to go";
        board.Set(row, Fraction(migration), migration.Outcome ?? migration.Phase, detail, ended: migration.Outcome is not null);
    }

    /// <summary>0 to 1 by bytes; null before anything is known. One that was rolled back stays where it was.</summary>
    public static double? Fraction(MigrationResource migration)
    {
        if (migration.Outcome == "committed")
            return 1;
        var whole = migration.Bytes + migration.RemainingBytes;
        return whole > 0 && migration.Bytes > 0 ? (double)migration.Bytes / whole : null;
    }
}
