namespace Fabric.Cli.Demo;

/// <summary>The cast.</summary>
internal static class DemoNames
{
    public const string HostA = "host-a";
    public const string HostB = "host-b";
    public const string HostC = "host-c";

    public static readonly IReadOnlyList<string> Hosts = [HostA, HostB, HostC];

    /// <summary>One control node writes a SQLite journal; a PostgreSQL takes several.</summary>
    public static IReadOnlyList<string> Controls(string? journal) =>
        journal is null ? ["control"] : ["control-1", "control-2", "control-3"];
}
