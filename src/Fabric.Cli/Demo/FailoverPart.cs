namespace Fabric.Cli.Demo;

/// <summary>The time up to one milestone of a failover, since the one before.</summary>
internal sealed record FailoverPart(string Name, double Seconds);
