using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;

namespace Fabric.Devices.History;

/// <summary>What a device must not forget when its supervisor, or the daemon, starts anew.</summary>
/// <param name="QuarantinedFor">Why it is out of service; null where it is not.</param>
/// <param name="QuarantinedBy">Who took it out.</param>
/// <param name="Restarts">When driver or core failed, within the budget's window.</param>
/// <param name="Freezes">When recoveries from uncorrectable errors began, within the budget's window.</param>
/// <param name="ResetMethods">As an operator chose them; default where nobody did.</param>
public sealed record DeviceStanding(
    string? QuarantinedFor,
    string? QuarantinedBy,
    ImmutableArray<DateTimeOffset> Restarts,
    ImmutableArray<DateTimeOffset> Freezes,
    ImmutableArray<string> ResetMethods)
{
    public static DeviceStanding None { get; } = new(null, null, [], [], default);

    /// <summary>The one driver that may be bound, by name; null for any.</summary>
    public string? DriverOverride { get; init; }
}

/// <summary>An entry for the history of a device.</summary>
internal sealed record NoteHistory(PciAddress Address, DeviceHistoryEntry Entry) : INoSerializationVerificationNeeded;

/// <summary>
/// The standing of a device has changed. Answered with <see cref="StandingKept"/> when it is in the journal, as what was noted before it, or with
/// <see cref="StandingNotKept"/>; in any case with one of them, in time.
/// </summary>
internal sealed record KeepStanding(PciAddress Address, DeviceStanding Standing) : INoSerializationVerificationNeeded;

internal sealed record StandingKept(PciAddress Address, DeviceStanding Standing) : INoSerializationVerificationNeeded;

/// <summary>The standing could not be written down so far. It stays in memory, and is written when the journal can be.</summary>
internal sealed record StandingNotKept(PciAddress Address, string Why) : INoSerializationVerificationNeeded;

/// <summary>
/// Asks for every device's standing, answered when the journal has been read with <see cref="StandingsRead"/>. Where it cannot be read in time the
/// answer is what is known, none; and there is a second one when it has been read after all.
/// </summary>
internal sealed record ReadStandings : INoSerializationVerificationNeeded
{
    public static ReadStandings Instance { get; } = new();
}

/// <param name="Standings">Of every device that has a history.</param>
internal sealed record StandingsRead(ImmutableDictionary<PciAddress, DeviceStanding> Standings) : INoSerializationVerificationNeeded;
