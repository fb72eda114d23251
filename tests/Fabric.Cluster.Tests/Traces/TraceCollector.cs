using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Fabric.Cluster.Tests.Traces;

/// <summary>A span, and the daemon that sent it.</summary>
internal sealed record ReceivedSpan(string Daemon, ExportedSpan Span);

/// <summary>Takes what daemons export, as a collector does: OTLP over gRPC, in the clear.</summary>
internal sealed class TraceCollector : IAsyncDisposable
{
    private const int FramePrefix = 5;

    private readonly ConcurrentQueue<ReceivedSpan> spans = [];
    private readonly WebApplication server;

    private TraceCollector()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        // gRPC in the clear is HTTP/2 from the first byte.
        builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0, static listen => listen.Protocols = HttpProtocols.Http2));
        server = builder.Build();
        server.MapPost("/opentelemetry.proto.collector.trace.v1.TraceService/Export", TakeAsync);
    }

    public string Endpoint => server.Urls.Single();

    public IReadOnlyCollection<ReceivedSpan> Spans => spans;

    public static async Task<TraceCollector> StartAsync()
    {
        var collector = new TraceCollector();
        await collector.server.StartAsync(TestContext.Current.CancellationToken);
        return collector;
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    /// <summary>One message, and an empty one for an answer.</summary>
    private async Task TakeAsync(HttpContext call)
    {
        using var body = new MemoryStream();
        await call.Request.Body.CopyToAsync(body, call.RequestAborted);
        var frame = body.ToArray();
        Assert.Equal(frame.Length - FramePrefix, BinaryPrimitives.ReadInt32BigEndian(frame.AsSpan(1)));
        foreach (var from in ExportTraceServiceRequest.Parser.ParseFrom(frame.AsSpan(FramePrefix)).ResourceSpans)
        {
            var daemon = from.Resource.Attributes.Single(static attribute => attribute.Key == "service.instance.id").Value.StringValue;
            foreach (var span in from.ScopeSpans.SelectMany(static scope => scope.Spans))
                spans.Enqueue(new ReceivedSpan(daemon, span));
        }

        call.Response.ContentType = "application/grpc";
        await call.Response.BodyWriter.WriteAsync(new byte[FramePrefix], call.RequestAborted);
        call.Response.AppendTrailer("grpc-status", "0");
    }
}
