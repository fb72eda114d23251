using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Claims;

/// <summary>
/// The lease of a claim that is started afresh elsewhere when its host is lost. A grant is in the journal before the host hears of it, so an
/// incarnation that lost its shard cannot grant any more when another has written; one that is taken up waits as if all had been granted then.
/// </summary>
public sealed partial class ClaimActor
{
    /// <summary>When the last grant was written down, or may have been: what it granted has ended when the terms' wait is over.</summary>
    private long leasedAt;

    private bool IsLeased => state.OnHostLoss == HostLossPolicy.Restart;

    private LeaseTerms Terms => LeaseTerms.OfMs(state.LeaseMs);

    /// <summary>Only where the claim runs, or is about to, and only while nothing is closed there.</summary>
    private void OnRenew(RenewLease asked)
    {
        if (!IsLeased || state.Phase is not (ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating)
            || (asked.Host, asked.Device) != (state.Host, state.Device) || asked.Generation < state.RunnerGeneration)
        {
            return;
        }

        Keep(new HostLeased { Host = asked.Host, Device = asked.Device, Generation = state.Generation, At = Now }, () =>
        {
            leasedAt = time.GetTimestamp();
            Send(asked.Host, new LeaseGranted(ClaimId, state.Generation, asked.Device, asked.Request));
        });
    }

    /// <summary>Nothing was heard from the host for so long that it has stopped and closed the function by itself.</summary>
    private void CheckLease()
    {
        if (!IsLeased || time.GetElapsedTime(leasedAt) < Terms.Wait)
            return;
        var over = $"{state.Host} did not renew the lease of {state.Device} for {Terms.Wait.TotalSeconds:0.#} s, and has closed it by itself";
        switch (state.Phase)
        {
            case ClaimPhase.Migrating when loaded is not null && state.Migration is { Step: MigrationStep.StopCopy } m:
                // What ran there has stopped, and the target has all of it.
                sourceLost = over;
                Compare(m);
                break;
            case ClaimPhase.Placing or ClaimPhase.Running or ClaimPhase.Migrating:
                EndPlanningBecause(over);
                Restart(over, Attempts, closed: true);
                break;
            case ClaimPhase.Restarting when !state.RunnerIsClosed:
                Record(new RunnerClosed { At = Now }, "claim.closed", over);
                break;
        }
    }

    private LeaseView? LeaseView() => !IsLeased
        ? null
        : new LeaseView(
            state.LeaseMs,
            state.LeasedAt == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(state.LeasedAt),
            state.LeasedAt == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(state.LeasedAt) + Terms.Length);
}
