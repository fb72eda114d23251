using System.Diagnostics;

namespace Fabric.Migration.Tracing;

/// <summary>
/// One trace for each migration. The claim's span is in the journal (<c>MigrationStarted.traceparent</c>) and goes to the hosts with the commands
/// that begin a transfer, as a W3C traceparent. A context that is derived from the claim's id would need neither, but the runtime chooses span
/// ids by itself, and nothing could be a child of, or linked to, a span that is only guessed.
/// </summary>
public static class MigrationTracing
{
    public const string SourceName = "Fabric.Migration";

    private static readonly ActivitySource Source = new(SourceName);

    internal static bool IsHeard => Source.HasListeners();

    /// <summary>Starts a span that is nobody's surroundings: an actor's thread goes on to other actors.</summary>
    internal static Activity? Start(string name, ActivityContext parent, ActivityContext linked = default)
    {
        var around = Activity.Current;
        Activity.Current = null;
        try
        {
            return Source.StartActivity(name, ActivityKind.Internal, parent, links: linked == default ? null : [new ActivityLink(linked)]);
        }
        finally
        {
            Activity.Current = around;
        }
    }

    internal static void End(Activity? span)
    {
        var around = Activity.Current;
        span?.Dispose();
        Activity.Current = around;
    }

    internal static ActivityContext ContextOf(string? traceparent) =>
        ActivityContext.TryParse(traceparent, null, isRemote: true, out var context) ? context : default;

    /// <summary>A host's part of a migration, in the trace that its claim named; as it is where there is none, or nobody listens.</summary>
    internal static Func<CancellationToken, Task<T>> Around<T>(
        string name, string? traceparent, string claimId, int number, string host, Func<CancellationToken, Task<T>> run, Func<T, long> bytes)
    {
        if (traceparent is null || !IsHeard || ContextOf(traceparent) is var parent && parent == default)
            return run;
        return async cancellation =>
        {
            using var span = Source.StartActivity(name, ActivityKind.Internal, parent);
            span?.SetTag("fabric.claim", claimId).SetTag("fabric.migration", number).SetTag("fabric.host", host);
            try
            {
                var done = await run(cancellation);
                span?.SetTag("outcome", "done").SetTag("bytes", bytes(done));
                return done;
            }
            catch (Exception ended)
            {
                var cancelled = ended is OperationCanceledException;
                span?.SetTag("outcome", cancelled ? "cancelled" : "failed").SetStatus(ActivityStatusCode.Error, ended.Message);
                throw;
            }
        };
    }
}
