using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Vfio;
using Microsoft.Extensions.Primitives;

namespace Fabric.Node.Api;

/// <summary>
/// <c>?plan=true</c> of changing requests: the checks that the request itself makes answer what it would do, and nothing is changed. Where a
/// route does not say that it plans, such a request is refused before it reaches it: it must never be carried out by mistake.
/// </summary>
internal static class Plans
{
    private sealed record PlansItself;

    /// <summary>The route answers a plan.</summary>
    public static RouteHandlerBuilder Planned(this RouteHandlerBuilder route) => route.WithMetadata(new PlansItself());

    public static void UsePlans(this WebApplication app) => app.Use(static (http, next) =>
        http.Request.Query.TryGetValue("plan", out var plan) && !HttpMethods.IsGet(http.Request.Method) && http.GetEndpoint() is { } endpoint
        && WhyNot(http, endpoint, plan) is { } wrong
            ? Problems.Invalid(wrong).ExecuteAsync(http)
            : next(http));

    /// <summary>An empty word would be taken for none, and the request be carried out.</summary>
    private static string? WhyNot(HttpContext http, Endpoint endpoint, StringValues plan) =>
        plan == "false" ? null
        : endpoint.Metadata.GetMetadata<PlansItself>() is null ? $"{http.Request.Method} {http.Request.Path} cannot be planned; nothing was done."
        : plan == "true" ? null
        : $"'plan' is '{Endpoints.Shown(plan.ToString())}'; it must be true or false. Nothing was done.";

    /// <summary>The plan with its digest: the same facts give the same.</summary>
    public static IResult Answer(
        bool possible, string would, IReadOnlyList<string> reasons, IReadOnlyList<string> affects, IReadOnlyList<MovingClaimResource>? moves = null,
        int? moreMoves = null)
    {
        var plan = new PlanResource("", possible, would, reasons, affects, moves, moreMoves);
        return Endpoints.Json(plan with { Id = DigestOf(JsonSerializer.SerializeToUtf8Bytes(plan, ApiJson.Options)) });
    }

    public static IResult Answer(MigrationPlanned plan)
    {
        string[] reasons = plan.Id is null ? [.. plan.Reasons, .. plan.Targets.SelectMany(static target => target.Reasons)] : [];
        var would = plan.Id is null
            ? $"claim {plan.ClaimId} would stay on {plan.From}"
            : $"claim {plan.ClaimId} would move from {plan.From}/{string.Join(", ", plan.FromDevices)} "
                + $"to {plan.Targets[0].Host}/{string.Join(", ", plan.Targets[0].Devices)}";
        return Endpoints.Json(new PlanResource(plan.Id ?? "none", plan.Id is not null, would, reasons, [], Migration: Mapping.ToResource(plan)));
    }

    /// <summary>What is there is in the way, so that the plan's answer is no. A thing that is not there, or does not answer, has none.</summary>
    public static bool IsAnAnswer(OperationRefused refused) =>
        refused.Errno is not (nameof(Errno.ENODEV) or nameof(Errno.ETIMEDOUT));

    /// <summary>Of a request that would be refused.</summary>
    public static IResult Refused(string sentence) => Answer(possible: false, "nothing would be done", [sentence], []);

    private static string DigestOf(byte[] facts) => Convert.ToHexString(SHA256.HashData(facts).AsSpan(0, 8)).ToLower(CultureInfo.InvariantCulture);
}
