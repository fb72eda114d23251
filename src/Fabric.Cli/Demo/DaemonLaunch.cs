namespace Fabric.Cli.Demo;

/// <summary>How one daemon is started.</summary>
/// <param name="Executable">Absolute path of <c>fabricd</c>.</param>
/// <param name="DataDirectory">Where it will write <c>endpoints.json</c>.</param>
/// <param name="Log">File that takes its standard output and error.</param>
/// <param name="Tied">Ends with this process, however that ends.</param>
internal sealed record DaemonLaunch(
    string Name, string Executable, string Configuration, string DataDirectory, string Log, bool Tied);
