using System.Net;
using Fabric.Node.Api;

namespace Fabric.Cli.Api;

/// <summary>The daemon answered with a problem document (RFC 9457).</summary>
internal sealed class ApiProblem(ProblemResource problem) : CommandFailure(Sentence(problem), Exit(problem)), IApiFailure
{
    public ProblemResource Problem { get; } = problem;

    public bool MayPass => Problem.Status is (int)HttpStatusCode.ServiceUnavailable or (int)HttpStatusCode.GatewayTimeout;

    private static string Sentence(ProblemResource problem) =>
        string.IsNullOrWhiteSpace(problem.Detail) ? $"{problem.Title} ({problem.Status})." : problem.Detail;

    private static int Exit(ProblemResource problem) => problem switch
    {
        { Code: ProblemCode.RefusedByPlan } => Cli.ExitCode.RefusedByPlan,
        { Code: ProblemCode.Timeout } or { Status: (int)HttpStatusCode.GatewayTimeout } => Cli.ExitCode.Timeout,
        { Code: ProblemCode.InvalidRequest } => Cli.ExitCode.Usage,
        _ => Cli.ExitCode.Failed,
    };
}
