using System.Collections.Immutable;
using System.Globalization;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>When so much misbehaves that moving claims about by itself would make it worse.</summary>
/// <param name="Share">Of the hosts, or of the devices of one model, 0 to 1: more than that trips it.</param>
/// <param name="Window">In which they began to.</param>
/// <param name="Least">Fewer never trip it, however small the fabric.</param>
public sealed record BreakerLimits(double Share, TimeSpan Window, int Least)
{
    public static BreakerLimits Default { get; } = new(0.5, TimeSpan.FromMinutes(5), 2);
}

/// <summary>
/// What misbehaves, and since when: a host that was lost, a device that is Unhealthy though nobody took it out of service. Counted once, when it
/// begins; again only after it was well in between. Pure.
/// </summary>
public sealed record BreakerWatch
{
    /// <summary>When each began to misbehave, milliseconds since 1970-01-01 UTC; 0 for what a person knows of.</summary>
    private ImmutableDictionary<string, (string Kind, long At)> Known { get; init; } = ImmutableDictionary<string, (string, long)>.Empty;

    /// <summary>What misbehaves at the moment.</summary>
    private ImmutableHashSet<string> Now { get; init; } = [];

    public static BreakerWatch After(BreakerState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return new BreakerWatch { Known = state.Acknowledged.ToImmutableDictionary(static subject => subject, static _ => ("", 0L)) };
    }

    /// <summary>What a person who resets the breaker takes note of.</summary>
    public IReadOnlyCollection<string> Misbehaving => Now;

    /// <summary>How many of each kind began to misbehave within the window.</summary>
    public int Count(string kind, BreakerLimits limits, long now)
    {
        ArgumentNullException.ThrowIfNull(limits);
        return Known.Values.Count(one => one.Kind == kind && one.At > now - limits.Window.TotalMilliseconds);
    }

    /// <param name="why">Why the breaker must trip; null where it need not.</param>
    public BreakerWatch Look(FleetSnapshot fleet, BreakerLimits limits, long now, out string? why)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        ArgumentNullException.ThrowIfNull(limits);
        var seen = Misbehaviours(fleet).ToDictionary(static one => one.Subject, static one => one.Kind);
        var over = Known.Where(one => !seen.ContainsKey(one.Key) && one.Value.At <= now - limits.Window.TotalMilliseconds);
        var known = Known.RemoveRange(over.Select(static one => one.Key));
        foreach (var (subject, kind) in seen)
        {
            // What was well at the last look begins again.
            if (!known.TryGetValue(subject, out var before) || (!Now.Contains(subject) && before.At != 0))
                known = known.SetItem(subject, (kind, now));
        }

        var watch = this with { Known = known, Now = [.. seen.Keys] };
        why = Kinds(fleet).Select(kind => watch.Why(kind.Kind, kind.Count, limits, now)).FirstOrDefault(static reason => reason is not null);
        return watch;
    }

    private string? Why(string kind, int all, BreakerLimits limits, long now)
    {
        var count = Count(kind, limits, now);
        return count >= limits.Least && count > limits.Share * all
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"{count} of {all} {kind} began to misbehave within {limits.Window.TotalSeconds:0} s, more than {limits.Share * 100:0.#} %")
            : null;
    }

    private static IEnumerable<(string Subject, string Kind)> Misbehaviours(FleetSnapshot fleet)
    {
        foreach (var host in fleet.Hosts)
        {
            // One that is drained goes and comes as somebody means it to.
            if (host is { Answers: false, Left: false, DrainedBy: null })
                yield return (host.Name, "hosts");
            if (!host.Answers || !host.HasTold)
                continue;
            foreach (var device in host.Devices.Where(static device => device.Sick))
                yield return ($"{host.Name}/{device.Address}", KindOf(device.Model));
        }
    }

    private static IEnumerable<(string Kind, int Count)> Kinds(FleetSnapshot fleet) =>
        fleet.Hosts.Where(static host => host.HasTold).SelectMany(static host => host.Devices).CountBy(static device => device.Model)
            .Select(static model => (KindOf(model.Key), model.Value))
            .Prepend(("hosts", fleet.Hosts.Count(static host => !host.Left)));

    private static string KindOf(string model) => $"devices of model {model}";
}
