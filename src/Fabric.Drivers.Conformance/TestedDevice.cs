using Fabric.Vfio;

namespace Fabric.Drivers.Conformance;

/// <summary>A device that a driver is tried on.</summary>
/// <param name="Function">Disposed of with the test, if it can be.</param>
public sealed record TestedDevice(IPciFunction Function)
{
    /// <summary>The bus that it is on, with whatever else is there, such as its PF; disposed of too. Null for one of its own.</summary>
    public IPciBus? Bus { get; init; }
}

/// <summary>What is wrong with a migration stream.</summary>
public enum BadStream
{
    /// <summary>It ends early, after its first byte at the least.</summary>
    Truncated,

    /// <summary>A later part of it comes first.</summary>
    Reordered,

    /// <summary>It comes twice, one after the other.</summary>
    Duplicated,

    /// <summary>Something follows its end.</summary>
    Oversized,

    /// <summary>A bit of its header is another one.</summary>
    OtherVersion,

    /// <summary>It is another device's, or noise.</summary>
    OtherDevice,
}
