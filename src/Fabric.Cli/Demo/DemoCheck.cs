namespace Fabric.Cli.Demo;

/// <summary>One thing that must hold, and what was seen.</summary>
internal sealed record DemoCheck(string Name, bool Ok, string Detail);
