using System.Collections.Immutable;

namespace Fabric.Devices.Drivers;

/// <summary>Which driver a function has, and why that one.</summary>
/// <param name="Override">Its driver_override; null where there is none.</param>
/// <param name="Why">One sentence without a full stop.</param>
/// <param name="PassedOver">The other drivers that match it, the best first.</param>
public sealed record DriverChoice(string? Override, string Why, ImmutableArray<DriverPassedOver> PassedOver)
{
    /// <summary>Nothing matches it: what most functions of a large host share.</summary>
    internal static DriverChoice CoreAlone { get; } = new(null, "no driver matches it", []);

    /// <summary>See <see cref="DriverRegistration.StateFormat"/>.</summary>
    public string? StateFormat { get; init; }

    internal bool IsSameAs(DriverChoice? other) =>
        other is not null && other.StateFormat == StateFormat && other.Override == Override && other.Why == Why && other.PassedOver.SequenceEqual(PassedOver);
}

/// <param name="Reason">Why it was not taken.</param>
/// <param name="Refused">It, or its making, refused the function; else others came before it.</param>
public sealed record DriverPassedOver(string Driver, string Reason, bool Refused);
