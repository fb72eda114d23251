using System.Net;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>
/// A listener and both ends of one stream, if wanted through a proxy that meddles with it. A connection that breaks ends the stream unless it
/// is said that it resumes.
/// </summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly InboundMigration _inbound;
    private readonly MeddlingProxy? _proxy;

    private Link(DataPlaneListener listener, InboundMigration inbound, DataPlaneToken token, MeddlingProxy? proxy, MigrationWriter writer, MigrationReader reader)
    {
        Listener = listener;
        _inbound = inbound;
        Token = token;
        _proxy = proxy;
        Writer = writer;
        Reader = reader;
    }

    public DataPlaneListener Listener { get; }

    public DataPlaneToken Token { get; }

    public MigrationWriter Writer { get; }

    public MigrationReader Reader { get; }

    public MeddlingProxy Proxy => _proxy ?? throw new InvalidOperationException("This link has no proxy.");

    public static async Task<Link> OpenAsync(
        DataPlaneOptions? writerOptions = null,
        DataPlaneOptions? readerOptions = null,
        Func<IPEndPoint, MeddlingProxy>? through = null,
        bool resumes = false)
    {
        var ct = TestContext.Current.CancellationToken;
        var listener = new DataPlaneListener(NullLogger.Instance, Resuming(readerOptions, resumes));
        var token = DataPlaneToken.New();
        var expected = listener.Expect("m-1", token);
        var accepting = expected.AcceptAsync(0, ct);
        var proxy = through?.Invoke(listener.EndPoint);
        try
        {
            var writer = await StreamThread.RunAsync(() => MigrationWriter.ConnectAsync(
                proxy?.EndPoint ?? listener.EndPoint, "m-1", 0, token, Resuming(writerOptions, resumes), ct));
            return new Link(listener, expected, token, proxy, writer, await accepting);
        }
        catch
        {
            await listener.DisposeAsync();
            await Assert.ThrowsAsync<DataPlaneException>(() => accepting);
            throw;
        }
    }

    /// <summary>As a target does that has said its last word.</summary>
    public async ValueTask CloseTargetAsync()
    {
        await Reader.DisposeAsync();
        await _inbound.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Writer.DisposeAsync();
        await CloseTargetAsync();
        if (_proxy is not null)
            await _proxy.DisposeAsync();
        await Listener.DisposeAsync();
    }

    internal static DataPlaneOptions Resuming(DataPlaneOptions? options, bool resumes)
    {
        options ??= new DataPlaneOptions();
        return resumes ? options : options with { ResumeTimeout = TimeSpan.Zero };
    }
}
