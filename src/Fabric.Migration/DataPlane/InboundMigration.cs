namespace Fabric.Migration.DataPlane;

/// <summary>
/// The streams of a migration that is expected: each is good for one peer, until this is disposed. Disposing withdraws those that have not
/// come, and closes those that came but were never taken; a source whose connection broke just when the target said its last word can hear it
/// for <see cref="DataPlaneOptions.ResumeTimeout"/> more.
/// </summary>
public sealed class InboundMigration : IAsyncDisposable
{
    /// <summary>The most streams that one migration has.</summary>
    public const int MaxStreams = 256;

    private readonly DataPlaneListener _listener;
    private readonly DataPlaneToken _token;
    private readonly InboundStream[] _streams;
    private int _disposed;

    internal InboundMigration(DataPlaneListener listener, string migrationId, DataPlaneToken token, int streams, DataPlaneOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(streams);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(streams, MaxStreams);
        _listener = listener;
        _token = token;
        MigrationId = migrationId;
        _streams = [.. Enumerable.Range(0, streams).Select(stream => new InboundStream($"stream {stream} of migration {migrationId}", options))];
    }

    public string MigrationId { get; }

    /// <summary>How many streams; they are numbered from 0.</summary>
    public int Streams => _streams.Length;

    /// <summary>The reader of the peer that presented id, stream and token; the caller owns it. Cancelling withdraws the stream.</summary>
    /// <exception cref="DataPlaneException">
    /// No peer came within <see cref="DataPlaneOptions.AcceptTimeout"/>, it was lost while it was greeted, or is no longer expected.
    /// </exception>
    /// <exception cref="InvalidOperationException">The stream was accepted before: it has one reader.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The migration has no such stream.</exception>
    public Task<MigrationReader> AcceptAsync(int stream, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(stream);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(stream, _streams.Length);
        return _streams[stream].AcceptAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        foreach (var stream in _streams)
            await stream.DisposeAsync();
        if (_streams.Any(stream => stream.HasLastWord))
            _listener.Linger(this);
        else
            _listener.Withdraw(this);
    }

    /// <summary>The stream that the peer may have by this connection, which nobody else can have then; null if there is none for it.</summary>
    internal InboundStream? Claim(uint stream, uint connection, ReadOnlySpan<byte> token) =>
        _token.Matches(token) && stream < _streams.Length && _streams[stream].TryClaim(connection) ? _streams[stream] : null;

    internal void Fail(string sentence)
    {
        foreach (var stream in _streams)
            stream.Fail(sentence);
    }
}
