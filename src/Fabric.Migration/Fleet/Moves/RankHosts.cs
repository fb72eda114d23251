using System.Collections.Immutable;
using Akka.Actor;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>
/// Asks this control node's fleet where a claim may be. Answered with <see cref="HostsRanked"/> once it has heard of the fabric's moves; it is asked
/// again until then.
/// </summary>
/// <param name="Only">The one host that is meant; null for any.</param>
/// <param name="Current">Where the claim is; null where it is new. Of a claim that moves by itself, the last to be tried.</param>
/// <param name="Automatic">The claim asks by itself: the breaker may hold it.</param>
/// <param name="Spread">See <see cref="Placement.Rank"/>.</param>
public sealed record RankHosts(PlacementNeeds Needs, string? Only, string? Current, bool Automatic, int Spread) : INoSerializationVerificationNeeded
{
    /// <summary>The claim is to leave a host by itself, when it is its turn; null where it leaves none.</summary>
    public AskEvacuation? Leaves { get; init; }
}

/// <param name="Migration">Its id.</param>
/// <param name="At">When it began.</param>
public sealed record MeasuredRate(string Migration, long BytesPerSecond, DateTimeOffset At);

/// <param name="Hosts">In the order in which they are to be tried.</param>
/// <param name="Reasons">Why others are not among them: of the first few.</param>
/// <param name="Held">Why nothing is to be tried at all.</param>
public sealed record HostsRanked(ImmutableArray<string> Hosts, ImmutableArray<string> Reasons, string? Held) : INoSerializationVerificationNeeded
{
    /// <summary>Others of which no reason is told.</summary>
    public int More { get; init; }

    /// <summary>What the fabric's last migration measured; null where there is none.</summary>
    public MeasuredRate? Rate { get; init; }

    /// <summary>Hosts of which each is as good as any other.</summary>
    public static HostsRanked OfEquals(IEnumerable<string> hosts, RankHosts question)
    {
        ArgumentNullException.ThrowIfNull(question);
        if (question.Only is { } only)
            return new HostsRanked([only], [], null);
        string[] others = [.. hosts.Where(host => host != question.Current).Order(StringComparer.Ordinal)];
        string[] own = question is { Automatic: true, Current: { } current } ? [current] : [];
        return new HostsRanked([.. Placement.Turned(others, question.Spread), .. own], [], null);
    }
}
