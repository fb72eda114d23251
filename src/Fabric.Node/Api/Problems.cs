using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;
using Fabric.Vfio;

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

    public static IResult From(ClaimRefused refused) => From(refused.Code, refused.Sentence);

    public static IResult From(MovesRefused refused) => From(refused.Code, refused.Sentence);

    private static IResult From(RefusalCode code, string sentence) => code switch
    {
        RefusalCode.NotFound => NotFound(sentence),
        RefusalCode.Plan => Of(StatusCodes.Status409Conflict, "Refused by plan", ProblemCode.RefusedByPlan, sentence),
        RefusalCode.Conflict => Conflict(sentence),
        RefusalCode.JournalUnavailable => JournalUnavailable(sentence),
        _ => Timeout(sentence),
    };

    /// <summary>What a device, its core or its host said no to. The errno stays what it is; the status is what HTTP has nearest to it.</summary>
    public static IResult From(OperationRefused refused)
    {
        var (status, title, code) = refused.Errno switch
        {
            nameof(Errno.ENODEV) or nameof(Errno.ENOENT) => (StatusCodes.Status404NotFound, "Not found", ProblemCode.NotFound),
            nameof(Errno.EBUSY) or nameof(Errno.EAGAIN) or nameof(Errno.EEXIST) =>
                (StatusCodes.Status409Conflict, "Conflict", ProblemCode.Conflict),
            nameof(Errno.EINVAL) or nameof(Errno.ENOTTY) or nameof(Errno.EOPNOTSUPP)
                or nameof(Errno.ERANGE) or nameof(Errno.E2BIG) or nameof(Errno.ENOSPC) =>
                (StatusCodes.Status422UnprocessableEntity, "Refused by the device", ProblemCode.DeviceRefused),
            nameof(Errno.EPERM) or nameof(Errno.EACCES) => (StatusCodes.Status403Forbidden, "Refused by the device", ProblemCode.DeviceRefused),
            nameof(Errno.ETIMEDOUT) or nameof(Errno.ETIME) => (StatusCodes.Status504GatewayTimeout, "Timed out", ProblemCode.Timeout),
            _ => (StatusCodes.Status502BadGateway, "The device failed", ProblemCode.DeviceFailed),
        };
        return Of(status, title, code, refused.Sentence, refused.Errno);
    }

    public static IResult Of(int status, string title, string code, string sentence, string? errno = null) => Results.Json(
        new ProblemResource($"urn:fabric:problem:{code}", title, status, sentence, code, Errno: errno),
        ApiJson.Options,
        "application/problem+json",
        status);
}
