using System.Net;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>A listener and both ends of one connection, if wanted through a proxy that meddles with it.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly DataPlaneListener _listener;

    private readonly MeddlingProxy? _proxy;

    private Link(DataPlaneListener listener, MeddlingProxy? proxy, MigrationWriter writer, MigrationReader reader)
    {
        _listener = listener;
        _proxy = proxy;
        Writer = writer;
        Reader = reader;
    }

    public MigrationWriter Writer { get; }

    public MigrationReader Reader { get; }

    public static async Task<Link> OpenAsync(
        DataPlaneOptions? writerOptions = null,
        DataPlaneOptions? readerOptions = null,
        Func<IPEndPoint, MeddlingProxy>? through = null)
    {
        var ct = TestContext.Current.CancellationToken;
        var listener = new DataPlaneListener(NullLogger.Instance, readerOptions);
        var token = DataPlaneToken.New();
        await using var expected = listener.Expect("m-1", token);
        var accepting = expected.AcceptAsync(ct);
        var proxy = through?.Invoke(listener.EndPoint);
        try
        {
            var writer = await MigrationWriter.ConnectAsync(proxy?.EndPoint ?? listener.EndPoint, "m-1", token, writerOptions, ct);
            return new Link(listener, proxy, writer, await accepting);
        }
        catch
        {
            await listener.DisposeAsync();
            await Assert.ThrowsAsync<DataPlaneException>(() => accepting);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Writer.DisposeAsync();
        await Reader.DisposeAsync();
        if (_proxy is not null)
            await _proxy.DisposeAsync();
        await _listener.DisposeAsync();
    }
}
