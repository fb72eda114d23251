using Fabric.Migration.Claims;

namespace Fabric.Node.Api;

/// <summary>What went wrong, as RFC 9457 has it: one sentence that names the thing, the cause and the remedy.</summary>
internal static class Problems
{
    public static IResult NotFound(string sentence) => Of(StatusCodes.Status404NotFound, "Not found", ProblemCode.NotFound, sentence);

    public static IResult Invalid(string sentence) => Of(StatusCodes.Status400BadRequest, "Invalid request", ProblemCode.InvalidRequest, sentence);

    public static IResult NotJoined(string sentence) => Of(StatusCodes.Status503ServiceUnavailable, "Not joined", ProblemCode.NotJoined, sentence);

    public static IResult Timeout(string sentence) => Of(StatusCodes.Status504GatewayTimeout, "Timed out", ProblemCode.Timeout, sentence);

    public static IResult Conflict(string sentence) => Of(StatusCodes.Status409Conflict, "Conflict", ProblemCode.Conflict, sentence);

    public static IResult JournalUnavailable(string sentence) =>
        Of(StatusCodes.Status503ServiceUnavailable, "Journal unavailable", ProblemCode.JournalUnavailable, sentence);

    public static IResult From(ClaimRefused refused) => refused.Code switch
    {
        RefusalCode.NotFound => NotFound(refused.Sentence),
        RefusalCode.Plan => Of(StatusCodes.Status409Conflict, "Refused by plan", ProblemCode.RefusedByPlan, refused.Sentence),
        RefusalCode.Conflict => Conflict(refused.Sentence),
        RefusalCode.JournalUnavailable => JournalUnavailable(refused.Sentence),
        _ => Timeout(refused.Sentence),
    };

    public static IResult Of(int status, string title, string code, string sentence) => Results.Json(
        new ProblemResource($"urn:fabric:problem:{code}", title, status, sentence, code),
        ApiJson.Options,
        "application/problem+json",
        status);
}
