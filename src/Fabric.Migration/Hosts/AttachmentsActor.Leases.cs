using Akka.Actor;
using Akka.Event;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Leases of the claims that start afresh elsewhere when their host is lost. What lets a consumer run waits here until the lease holds; a lease
/// that is not renewed ends with its function closed, before its end.
/// </summary>
public sealed partial class AttachmentsActor
{
    private readonly Dictionary<Place, Leased> leases = [];
    private long requests;

    private sealed class Leased(Lease lease, LeaseTerms terms)
    {
        public Lease Lease { get; } = lease;

        public LeaseTerms Terms { get; } = terms;

        /// <summary>What lets the consumer run, when the lease holds.</summary>
        public IAttachmentCommand? Waiting { get; set; }

        /// <summary>The request that was made by telling that everything has come: the commit answers it.</summary>
        public long Loaded { get; set; }

        /// <summary>When it was last told to close, by the monotonic clock; null while it is renewed.</summary>
        public long? EndingAt { get; set; }
    }

    /// <summary>What is to hold at a function that is opened.</summary>
    private Lease LeaseFor(Place place, IAttachmentCommand opening)
    {
        if (opening is not IOpeningCommand { LeaseMs: > 0 and var ms })
            return Lease.None;
        if (!leases.TryGetValue(place, out var leased))
            leases[place] = leased = new Leased(new Lease(time), LeaseTerms.OfMs(ms));
        return leased.Lease;
    }

    /// <summary>Whether what lets a consumer run has to wait for a lease; it is asked for then.</summary>
    private bool MustWait(Place place, IAttachmentCommand command)
    {
        if (command is Attach)
            LeaseFor(place, command);
        if (command is not (Attach or RunTarget or ResumeSource) || !leases.TryGetValue(place, out var leased))
            return false;
        if (command is RunTarget && leased.Loaded != 0)
            leased.Lease.Grant(leased.Loaded, leased.Terms.Length);
        if (leased.Lease.WasGranted && leased.Lease.Left > leased.Terms.StopBefore)
            return false;
        leased.Waiting = command;
        if (leased.EndingAt is null)
            Ask(place, leased);
        return true;
    }

    private void Ask(Place place, Leased leased)
    {
        var request = life + ++requests;
        leased.Lease.Ask(request);
        uplink.Tell(new RenewLease(place.Claim, host, newestOf.GetValueOrDefault(place.Claim), place.Device, request));
    }

    /// <summary>One that is not waited for any more, or belongs to another life, changes nothing.</summary>
    private void OnGranted(LeaseGranted granted)
    {
        var place = new Place(granted.ClaimId, granted.Device);
        if (granted.Generation < newestOf.GetValueOrDefault(granted.ClaimId) || !leases.TryGetValue(place, out var leased))
            return;
        leased.Lease.Grant(granted.Request, leased.Terms.Length);
        if (leased.Waiting is { } waiting)
        {
            leased.Waiting = null;
            Route(waiting);
        }
    }

    /// <summary>The first time that a target tells that it has everything, it asks with that: the lease of a claim that moves costs no message.</summary>
    private void OnLoaded(TargetLoaded loaded, string device)
    {
        if (!leases.TryGetValue(new Place(loaded.ClaimId, device), out var leased) || leased.Loaded != 0)
            return;
        leased.Loaded = life + ++requests;
        leased.Lease.Ask(leased.Loaded);
    }

    /// <summary>A lease that is granted after all changes nothing any more; a function that did not close is told again.</summary>
    private void Close(Place place, Leased leased)
    {
        if (leased.EndingAt is { } told && time.GetElapsedTime(told) < leased.Terms.RenewEvery)
            return;
        leased.EndingAt = time.GetTimestamp();
        Context.GetLogger().Warning(
            "Claim {0}: the lease at {1} was not renewed, and ends in {2} s; the function is closed", place.Claim, place.Device, leased.Lease.Left.TotalSeconds);
        Route(new Detach(place.Claim, newestOf.GetValueOrDefault(place.Claim), place.Device));
    }

    /// <summary>Renews in time, and closes what could not be renewed in time.</summary>
    private void KeepLeases()
    {
        foreach (var (place, leased) in leases)
        {
            if (!leased.Lease.WasGranted)
                continue;
            if (leased.EndingAt is not null || leased.Lease.Left <= leased.Terms.StopBefore)
                Close(place, leased);
            else if (leased.Lease.Unasked >= leased.Terms.RenewEvery)
                Ask(place, leased);
        }
    }
}
