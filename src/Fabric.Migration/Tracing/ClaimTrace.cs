using System.Diagnostics;
using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Fabric.Migration.Journal;

namespace Fabric.Migration.Tracing;

/// <summary>
/// The spans of one incarnation of a claim: <c>migration</c>, and below it the step under way. One that takes a migration up has a
/// <c>migration</c> span of its own, a child of the first and linked to it.
/// </summary>
internal sealed class ClaimTrace(string claimId)
{
    private Activity? root;
    private Activity? step;

    /// <summary>What a host's part is a child of; null where nobody listens.</summary>
    public string? Traceparent => (step ?? root)?.Id;

    /// <summary>Of a migration that is about to be journaled.</summary>
    /// <param name="requester">The traceparent of the request, which is linked; null for none.</param>
    /// <returns>What goes into the journal; empty where nobody listens.</returns>
    public string Begin(MigrationStarted started, string? requester)
    {
        if (!MigrationTracing.IsHeard)
            return "";
        Leave("abandoned");
        root = Tag(
            MigrationTracing.Start("migration", default, MigrationTracing.ContextOf(requester)),
            started.Number, started.FromHost, started.ToHost, started.Generation, started.RequestedBy);
        return root?.Id ?? "";
    }

    /// <summary>What the journal says now; an incarnation that is new to a migration begins its span here.</summary>
    public void Follow(ClaimMigration? migration, long generation)
    {
        if (migration is null || (root is null && !MigrationTracing.IsHeard))
            return;
        if (migration.Step == MigrationStep.Done)
        {
            if (root is null)
                return;
            root.SetTag("bytes", migration.Bytes);
            if (migration.Outcome != "committed")
                root.SetStatus(ActivityStatusCode.Error, migration.Reason);
            Leave(migration.Outcome ?? "");
            return;
        }

        if (root is null)
        {
            var first = MigrationTracing.ContextOf(migration.Traceparent);
            root = Tag(
                MigrationTracing.Start("migration", first, first),
                migration.Number, migration.FromHost, migration.ToHost, generation, migration.RequestedBy);
        }

        Enter(NameOf(migration.Step));
    }

    /// <summary>Ends the step before.</summary>
    public void Enter(string name)
    {
        if (root is null || step?.OperationName == name)
            return;
        MigrationTracing.End(step);
        step = MigrationTracing.Start(name, root.Context)?.SetTag("fabric.claim", claimId);
    }

    /// <summary>A round of the pre-copy has ended.</summary>
    public void Round(PreCopyProgress told)
    {
        if (step is not null && told.RoundEnded)
            step.AddEvent(new ActivityEvent("round", tags: new() { ["round"] = told.Rounds, ["bytes"] = told.Bytes, ["remaining"] = told.RemainingBytes }));
    }

    /// <summary>Nothing more comes from here; another incarnation may go on.</summary>
    public void Leave(string outcome)
    {
        MigrationTracing.End(step);
        root?.SetTag("outcome", outcome);
        MigrationTracing.End(root);
        (root, step) = (null, null);
    }

    private Activity? Tag(Activity? span, int number, string from, string to, long generation, string requestedBy) => span?
        .SetTag("fabric.claim", claimId)
        .SetTag("fabric.migration", number)
        .SetTag("fabric.from", from)
        .SetTag("fabric.to", to)
        .SetTag("fabric.generation", generation)
        .SetTag("fabric.requested_by", requestedBy);

    private static string NameOf(MigrationStep step) => step switch
    {
        MigrationStep.Reserve => "reserve",
        MigrationStep.PreCopy => "pre-copy",
        MigrationStep.StopCopy => "stop-copy",
        MigrationStep.Run => "run",
        MigrationStep.Release => "release",
        MigrationStep.Rollback => "rollback",
        _ => throw new ArgumentOutOfRangeException(nameof(step), step, "A migration that is done has no step."),
    };
}
