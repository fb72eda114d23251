namespace Fabric.Cli.Demo;

/// <summary>A process that was killed, and how long the fabric took over it.</summary>
/// <param name="Seconds">From the kill until all was as it should be.</param>
/// <param name="Until">What ended the count.</param>
/// <param name="Parts">What the time is made of; the parts add up to <paramref name="Seconds"/>.</param>
internal sealed record Failover(string Killed, double Seconds, string Until, IReadOnlyList<FailoverPart> Parts);
