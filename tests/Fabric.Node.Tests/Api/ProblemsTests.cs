using System.Text.Json;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Node.Api;
using Fabric.Vfio;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Fabric.Node.Tests.Api;

public sealed class ProblemsTests
{
    [Theory]
    [InlineData(RefusalCode.NotFound, 404, "not-found")]
    [InlineData(RefusalCode.Plan, 409, "refused-by-plan")]
    [InlineData(RefusalCode.Conflict, 409, "conflict")]
    [InlineData(RefusalCode.JournalUnavailable, 503, "journal-unavailable")]
    [InlineData(RefusalCode.Timeout, 504, "timeout")]
    public async Task A_claims_refusal_becomes_a_problem_with_its_sentence(RefusalCode refusal, int status, string code)
    {
        var (http, problem) = await ShownAsync(Problems.From(new ClaimRefused(refusal, "No; because.")));

        Assert.Equal((status, status, code, "No; because."), (http.Response.StatusCode, problem.Status, problem.Code, problem.Detail));
    }

    [Fact]
    public void Every_refusal_of_a_claim_is_tested_above() => Assert.Equal(5, Enum.GetValues<RefusalCode>().Length);

    [Theory]
    [InlineData(Errno.ENODEV, 404, "not-found")]
    [InlineData(Errno.ENOENT, 404, "not-found")]
    [InlineData(Errno.EBUSY, 409, "conflict")]
    [InlineData(Errno.EAGAIN, 409, "conflict")]
    [InlineData(Errno.EEXIST, 409, "conflict")]
    [InlineData(Errno.EINVAL, 422, "device-refused")]
    [InlineData(Errno.ENOTTY, 422, "device-refused")]
    [InlineData(Errno.EOPNOTSUPP, 422, "device-refused")]
    [InlineData(Errno.ERANGE, 422, "device-refused")]
    [InlineData(Errno.E2BIG, 422, "device-refused")]
    [InlineData(Errno.ENOSPC, 422, "device-refused")]
    [InlineData(Errno.EPERM, 403, "device-refused")]
    [InlineData(Errno.EACCES, 403, "device-refused")]
    [InlineData(Errno.ETIMEDOUT, 504, "timeout")]
    [InlineData(Errno.ETIME, 504, "timeout")]
    [InlineData(Errno.EIO, 502, "device-failed")]
    [InlineData(Errno.ENOMEM, 502, "device-failed")]
    public async Task A_devices_refusal_becomes_a_problem_with_its_errno_and_its_sentence(Errno errno, int status, string code)
    {
        var (http, problem) = await ShownAsync(Problems.From(new OperationRefused("fab0:01:00.1", $"{errno}", "No; because.")));

        Assert.Equal(
            (status, status, code, "No; because.", $"{errno}"),
            (http.Response.StatusCode, problem.Status, problem.Code, problem.Detail, problem.Errno));
    }

    [Fact]
    public async Task A_problem_is_written_as_RFC_9457_has_it()
    {
        var (http, problem) = await ShownAsync(Problems.Invalid("It is wrong."));

        Assert.Equal("application/problem+json", http.Response.ContentType);
        Assert.Equal(new ProblemResource("urn:fabric:problem:invalid-request", "Invalid request", 400, "It is wrong.", "invalid-request"), problem);
    }

    private static async Task<(HttpContext Http, ProblemResource Problem)> ShownAsync(IResult result)
    {
        using var body = new MemoryStream();
        var http = new DefaultHttpContext { RequestServices = new ServiceCollection().AddLogging().BuildServiceProvider() };
        http.Response.Body = body;
        await result.ExecuteAsync(http);
        return (http, JsonSerializer.Deserialize<ProblemResource>(body.ToArray(), ApiJson.Options)!);
    }
}
