using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Fabric.Node.Api;

/// <summary>Requests that reach no endpoint, or that one cannot read, and endpoints that throw: problem documents too (RFC 9457).</summary>
internal static class Failures
{
    public static void UseFabricFailures(this WebApplication app)
    {
        app.UseExceptionHandler(new ExceptionHandlerOptions
        {
            ExceptionHandler = http => Thrown(http).ExecuteAsync(http),
            AllowStatusCode404Response = true,

            // What a caller did wrong is the caller's to know, not for the daemon's log.
            SuppressDiagnosticsCallback = context => context.Exception is BadHttpRequestException,
        });
        app.UseStatusCodePages(context => Unmatched(context.HttpContext).ExecuteAsync(context.HttpContext));
    }

    private static IResult Thrown(HttpContext http) => http.Features.GetRequiredFeature<IExceptionHandlerFeature>().Error switch
    {
        BadHttpRequestException { InnerException: JsonException json } => Problems.Invalid(
            $"The request's body is not the JSON it should be, at {json.Path ?? "$"}, line {Line(json)}; /openapi/v1.json has what it should be."),
        BadHttpRequestException { StatusCode: StatusCodes.Status400BadRequest } => Problems.Invalid(
            "The request has no body, or one that cannot be read; /openapi/v1.json has what it should be."),
        BadHttpRequestException refused => Refused(refused.StatusCode, refused.Message),
        _ => Problems.Of(
            StatusCodes.Status500InternalServerError, "Internal error", "internal", "The request failed inside the daemon; its log says why."),
    };

    private static string Line(JsonException json) => ((json.LineNumber ?? 0) + 1).ToString(CultureInfo.InvariantCulture);

    private static IResult Unmatched(HttpContext http) => http.Response.StatusCode switch
    {
        StatusCodes.Status404NotFound => Problems.NotFound($"There is no {http.Request.Path}; the API is described at /openapi/v1.json."),
        StatusCodes.Status405MethodNotAllowed => Refused(
            StatusCodes.Status405MethodNotAllowed, $"{http.Request.Path} does not take {http.Request.Method}; /openapi/v1.json has what it takes."),
        StatusCodes.Status415UnsupportedMediaType => Refused(
            StatusCodes.Status415UnsupportedMediaType, "The request's body must be JSON, with the content type application/json."),
        var status => Refused(status, $"The request was refused: {ReasonPhrases.GetReasonPhrase(status)}."),
    };

    private static IResult Refused(int status, string sentence) =>
        Problems.Of(status, ReasonPhrases.GetReasonPhrase(status), ProblemCode.InvalidRequest, sentence);
}
