using Fabric.Cli.Api;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Cli.Tests.Api;

public sealed class PatienceTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Past_its_limit_it_says_what_it_waited_for_and_what_it_heard_last()
    {
        var time = new FakeTimeProvider { AutoAdvanceAmount = Limit };
        var patience = new Patience(time, TimeSpan.FromMilliseconds(100), Limit);

        var failure = await Assert.ThrowsAsync<CommandFailure>(() => patience.UntilAsync<int>(
            _ => throw new ApiUnreachable("No fabricd answers.", ExitCode.Failed, new IOException()),
            _ => true,
            "Claim db-1 is not running",
            TestContext.Current.CancellationToken));

        Assert.Equal(ExitCode.Timeout, failure.ExitCode);
        Assert.Equal("Claim db-1 is not running after 60 s. Last answer: No fabricd answers.", failure.Message);
    }

    [Fact]
    public async Task A_definite_no_is_not_asked_again()
    {
        var patience = new Patience(new FakeTimeProvider(), TimeSpan.FromMilliseconds(100), Limit);

        await Assert.ThrowsAsync<ApiProblem>(() => patience.UntilAsync<int>(
            _ => throw new ApiProblem(Sample.Problem(404, Node.Api.ProblemCode.NotFound, "There is no claim db-1.")),
            _ => true,
            "Claim db-1 is not running",
            TestContext.Current.CancellationToken));
    }
}
