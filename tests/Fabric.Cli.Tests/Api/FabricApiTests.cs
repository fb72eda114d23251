using Fabric.Cli.Api;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Cli.Tests.Api;

public sealed class FabricApiTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_daemon_that_does_not_answer_in_time_is_a_timeout()
    {
        var time = new FakeTimeProvider();
        using var silent = new SilentHandler();
        using var api = new FabricApi(new Uri("http://127.0.0.1:8470"), time, Deadline, silent);

        var asking = api.HostsAsync(TestContext.Current.CancellationToken);
        await silent.Asked;
        time.Advance(Deadline);
        var failure = await Assert.ThrowsAsync<ApiUnreachable>(() => asking);

        Assert.Equal(ExitCode.Timeout, failure.ExitCode);
        Assert.StartsWith("fabricd at http://127.0.0.1:8470 did not answer within 30 s.", failure.Message);
    }

    [Fact]
    public async Task Being_interrupted_is_no_timeout()
    {
        using var interrupted = new CancellationTokenSource();
        using var silent = new SilentHandler();
        using var api = new FabricApi(new Uri("http://127.0.0.1:8470"), new FakeTimeProvider(), Deadline, silent);

        var asking = api.HostsAsync(interrupted.Token);
        await silent.Asked;
        await interrupted.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
    }

    [Fact]
    public async Task A_base_address_may_have_a_path()
    {
        await using var server = new FakeServer().On("GET /fabric/api/v1/hosts", Sample.List(Sample.Host()));
        using var api = new FabricApi(new Uri(server.Url + "/fabric"), TimeProvider.System, Deadline);

        var hosts = await api.HostsAsync(TestContext.Current.CancellationToken);

        Assert.Single(hosts.Value.Items);
    }

    private sealed class SilentHandler : HttpMessageHandler
    {
        private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Asked => _asked.Task;

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            _asked.SetResult();
            await Task.Delay(Timeout.Infinite, cancellationToken);
            return new HttpResponseMessage();
        }
    }
}
