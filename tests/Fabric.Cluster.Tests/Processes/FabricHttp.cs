using System.Text;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>What a daemon answered.</summary>
internal sealed record Reply(int Status, string? MediaType, string Body)
{
    public override string ToString() => $"{Status} {MediaType} {Body}";

    public T As<T>() => JsonSerializer.Deserialize<T>(Body, ApiJson.Options)!;

    /// <summary>The problem document (RFC 9457); anything else fails the test.</summary>
    public ProblemResource Problem
    {
        get
        {
            Assert.Equal("application/problem+json", MediaType);
            var problem = As<ProblemResource>();
            Assert.Equal(Status, problem.Status);
            return problem;
        }
    }
}

/// <summary>A daemon's HTTP API, spoken to without the command line.</summary>
internal sealed class FabricHttp(string api) : IDisposable
{
    private readonly HttpClient client = new(new SocketsHttpHandler { UseProxy = false })
    {
        BaseAddress = new Uri(api.TrimEnd('/') + "/"),
        Timeout = TimeSpan.FromSeconds(40),
    };

    public Task<Reply> GetAsync(string path) => SendAsync(HttpMethod.Get, path, null);

    public Task<Reply> PostAsync(string path, string? json = null) => SendAsync(HttpMethod.Post, path, json);

    public Task<Reply> DeleteAsync(string path) => SendAsync(HttpMethod.Delete, path, null);

    public void Dispose() => client.Dispose();

    private async Task<Reply> SendAsync(HttpMethod method, string path, string? json)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        using var response = await client.SendAsync(request, TestContext.Current.CancellationToken);
        var body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return new Reply((int)response.StatusCode, response.Content.Headers.ContentType?.MediaType, body);
    }
}
