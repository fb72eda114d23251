using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Tests;

/// <summary>
/// An HTTP server that answers what it was told to: each route's answers in turn, the last one again and again. One request a
/// connection, which is all that the tests need.
/// </summary>
internal sealed class FakeServer : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, Queue<Answer>> _routes = new();
    private readonly CancellationTokenSource _end = new();
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Task _serving;

    public FakeServer()
    {
        _listener.Start();
        Url = $"http://{_listener.LocalEndpoint}";
        _serving = ServeAsync();
    }

    public string Url { get; }

    /// <summary>What was asked, as <c>GET /path</c>, with the body behind it where there was one.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>Who asked, of each request that said so.</summary>
    public ConcurrentQueue<string> Requesters { get; } = new();

    public static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public FakeServer On<T>(string route, T resource, int status = 200)
    {
        var type = resource is ProblemResource ? "application/problem+json" : "application/json";
        return Add(route, new Answer(status, type, JsonSerializer.Serialize(resource, ApiJson.Options), Task.CompletedTask));
    }

    public FakeServer On(string route, ProblemResource problem) => On(route, problem, problem.Status);

    public FakeServer OnText(string route, int status, string type, string body) =>
        Add(route, new Answer(status, type, body, Task.CompletedTask));

    /// <summary>Keeps the answer open after its body until <paramref name="end"/>.</summary>
    public FakeServer OnStream(string route, string body, Task end) => Add(route, new Answer(200, "text/event-stream", body, end));

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Dispose();
        await _serving;
        _end.Dispose();
    }

    private FakeServer Add(string route, Answer answer)
    {
        _routes.GetOrAdd(route, _ => new Queue<Answer>()).Enqueue(answer);
        return this;
    }

    private async Task ServeAsync()
    {
        var answering = new List<Task>();
        while (!_end.IsCancellationRequested)
        {
            try
            {
                answering.Add(AnswerAsync(await _listener.AcceptTcpClientAsync(_end.Token)));
            }
            catch (OperationCanceledException)
            {
                break;
            }
        }

        // Clients that went away leave broken connections behind.
        await Task.WhenAll(answering).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task AnswerAsync(TcpClient client)
    {
        using var connection = client;
        await using var stream = client.GetStream();
        using var reader = new StreamReader(stream, Encoding.UTF8, leaveOpen: true);
        if (await reader.ReadLineAsync(_end.Token) is not { } requestLine)
            return;
        var length = 0;
        while (await reader.ReadLineAsync(_end.Token) is { Length: > 0 } header)
        {
            if (header.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase))
                length = int.Parse(header["Content-Length:".Length..], CultureInfo.InvariantCulture);
            if (header.StartsWith("Fabric-Requester:", StringComparison.OrdinalIgnoreCase))
                Requesters.Enqueue(header["Fabric-Requester:".Length..].Trim());
        }

        var body = new char[length];
        // Reading nothing would still wait for something to be sent.
        if (length > 0)
            await reader.ReadBlockAsync(body, _end.Token);
        var words = requestLine.Split(' ');
        var route = $"{words[0]} {Uri.UnescapeDataString(words[1])}";
        Requests.Enqueue(length > 0 ? $"{route} {new string(body)}" : route);
        var answer = Next(route);
        var head = $"HTTP/1.1 {answer.Status} Told\r\nContent-Type: {answer.Type}\r\nConnection: close\r\n\r\n";
        await stream.WriteAsync(Encoding.UTF8.GetBytes(head + answer.Body), _end.Token);
        await answer.End.WaitAsync(_end.Token);
    }

    private Answer Next(string route)
    {
        if (!_routes.TryGetValue(route, out var answers))
            return new Answer(404, "text/plain", $"no such route: {route}", Task.CompletedTask);
        lock (answers)
            return answers.Count > 1 ? answers.Dequeue() : answers.Peek();
    }

    private sealed record Answer(int Status, string Type, string Body, Task End);
}
