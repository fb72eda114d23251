using Fabric.Vfio.Migration;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>A row of mig-arcs.tsv: what the kernel answers to a SET, and the way it takes.</summary>
/// <param name="Path">Empty where it is refused.</param>
internal sealed record ArcRow(MigrationState Current, MigrationState Target, MigrationFlags Flags, bool IsRefused, MigrationState[] Path)
{
    /// <summary>Its last hop gives the user a stream (MG-20).</summary>
    public bool OpensStream => Path.Length > 1 && MigrationArcs.OpensStream(Path[^2], Path[^1]) != StreamDirection.None;

    public override string ToString() => $"{Current} to {Target} with {Flags}";
}

internal static class ArcTable
{
    private static string Table => Path.Combine(AppContext.BaseDirectory, "Contract", "mig-arcs.tsv");

    public static ArcRow[] Rows { get; } =
    [
        .. File.ReadLines(Table).Skip(1).Select(line => Read(line.Split('\t'))),
    ];

    private static ArcRow Read(string[] columns) => new(
        State(columns[0]), State(columns[1]),
        MigrationFlags.StopCopy | (columns[2] == "1" ? MigrationFlags.P2P : 0) | (columns[3] == "1" ? MigrationFlags.PreCopy : 0),
        columns[4] != "0",
        [.. columns[11] is "-" ? [] : columns[11].Split('>').Select(State)]);

    private static MigrationState State(string name) => Enum.Parse<MigrationState>(name.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
}
