namespace Fabric.Cli.Demo;

/// <summary>A daemon that is up.</summary>
internal sealed record DaemonStatus(string Name, int Pid, string Api);
