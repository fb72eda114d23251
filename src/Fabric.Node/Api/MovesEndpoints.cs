using Fabric.Migration.Fleet.Moves;

namespace Fabric.Node.Api;

/// <summary>What the fabric moves by itself: drains of hosts, rebalances, and the breaker that stops both.</summary>
internal static class MovesEndpoints
{
    private const int DefaultDowntimeMs = 300;

    public static void MapMoves(this RouteGroupBuilder api)
    {
        api.MapPost("/hosts/{name}/drain", DrainAsync)
            .Planned().Describe<DrainResource>("DrainHost", "Closes a host to claims, and moves those that it has away.");
        api.MapPost("/hosts/{name}/undrain", (string name, bool? plan, HttpContext http, FabricQueries fabric) => fabric.AskMovesAsync(
                new UndrainHost(name, Endpoints.Requester(http), plan == true),
                reply => reply switch
                {
                    MovesAccepted => Endpoints.Json(new OperationResource(name, "done")),
                    MovesPlanned planned => Plan($"{name} would take claims again", planned),
                    _ => null,
                }))
            .Planned().Describe<OperationResource>("UndrainHost", "Lets a host take claims again; moves that have begun end as they would have.");
        api.MapGet("/drains", (FabricQueries fabric) => fabric.AskMovesViewAsync(
                static moves => Endpoints.Json(Endpoints.List(moves.Drains.Select(Mapping.ToResource)))))
            .Describe<ListResource<DrainResource>>("ListDrains", "The hosts that are drained, and how far each is.");

        api.MapGet("/rebalance", (FabricQueries fabric) => fabric.AskMovesViewAsync(
                static moves => Endpoints.Json(Mapping.ToResource(moves.Rebalance))))
            .Describe<RebalanceResource>("GetRebalance", "The last rebalance, and how far it is.");
        api.MapPost("/rebalance", RebalanceAsync)
            .Planned().Describe<RebalanceResource>("Rebalance", "Evens claims over the hosts, model by model.");
        api.MapDelete("/rebalance", (bool? plan, HttpContext http, FabricQueries fabric) => fabric.AskMovesAsync(
                new StopRebalance(Endpoints.Requester(http), plan == true),
                static reply => reply switch
                {
                    MovesAccepted accepted => Endpoints.Json(Mapping.ToResource(accepted.Rebalance)),
                    MovesPlanned planned => Plan("these claims would stay where they are", planned),
                    _ => null,
                }))
            .Planned().Describe<RebalanceResource>("StopRebalance", "Ends a rebalance: what has not begun to move stays.");

        api.MapGet("/breaker", (FabricQueries fabric) => fabric.AskMovesViewAsync(static moves => Endpoints.Json(Mapping.ToResource(moves.Breaker))))
            .Describe<BreakerResource>("GetBreaker", "Whether automatic moves stand because too much misbehaves.");
        api.MapPost("/breaker/reset", (bool? plan, HttpContext http, FabricQueries fabric) => fabric.AskMovesAsync(
                new ResetBreaker(Endpoints.Requester(http), plan == true),
                static reply => reply switch
                {
                    MovesAccepted { Breaker: { } breaker } => Endpoints.Json(Mapping.ToResource(breaker)),
                    MovesPlanned planned => Plan("automatic moves would go on", planned),
                    _ => null,
                }))
            .Planned().Describe<BreakerResource>("ResetBreaker", "Lets automatic moves go on; what misbehaves now is not counted again.");
    }

    private static Task<IResult> DrainAsync(string name, bool? plan, DrainRequest? request, HttpContext http, FabricQueries fabric) =>
        WithDowntime(request?.DowntimeMs, downtime => fabric.AskMovesAsync(
            new DrainHost(name, downtime, Endpoints.Requester(http), plan == true),
            reply => reply switch
            {
                MovesAccepted { Drain: { } drain } => Endpoints.Json(Mapping.ToResource(drain)),
                MovesPlanned planned => Plan($"{name} would take no claims any more, and these would move away", planned),
                _ => null,
            }));

    private static Task<IResult> RebalanceAsync(bool? plan, RebalanceRequest? request, HttpContext http, FabricQueries fabric) =>
        WithDowntime(request?.DowntimeMs, downtime => fabric.AskMovesAsync(
            new RebalanceClaims(downtime, Endpoints.Requester(http), plan == true),
            reply => reply switch
            {
                MovesAccepted accepted => Endpoints.Json(Mapping.ToResource(accepted.Rebalance)),
                MovesPlanned planned when plan == true =>
                    Plan(planned.Claims.Length == 0 ? "the claims are even already" : "these claims would move, in this order", planned),
                MovesPlanned => Endpoints.Json(new RebalanceResource("even already", null, null, [])),
                _ => null,
            }));

    private static Task<IResult> WithDowntime(int? given, Func<int, Task<IResult>> then) => given is < 1 or > 600_000
        ? Task.FromResult(Problems.Invalid($"downtime_ms is {given}; it must be 1 to 600000."))
        : then(given ?? DefaultDowntimeMs);

    private static IResult Plan(string would, MovesPlanned planned) =>
        Plans.Answer(possible: true, would, [], [], [.. planned.Claims.Select(Mapping.ToResource)], Mapping.Some(planned.More));
}
