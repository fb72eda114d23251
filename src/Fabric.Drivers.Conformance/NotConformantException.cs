namespace Fabric.Drivers.Conformance;

/// <summary>A driver, or the device under it, does not keep a rule. Says how to run the same again.</summary>
public sealed class NotConformantException(string message, Exception cause) : Exception(message, cause);
