namespace Fabric.Migration.DataPlane;

/// <summary>
/// An expected connection: good for one peer, until it is disposed. Disposing withdraws it, and closes a connection that came but was
/// never taken.
/// </summary>
public sealed class InboundStream : IAsyncDisposable
{
    private readonly DataPlaneListener _listener;
    private readonly DataPlaneOptions _options;
    private readonly TaskCompletionSource<MigrationReader> _arrival = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _accepted;

    internal InboundStream(DataPlaneListener listener, string migrationId, DataPlaneToken token, DataPlaneOptions options)
    {
        _listener = listener;
        _options = options;
        MigrationId = migrationId;
        Token = token;
    }

    public string MigrationId { get; }

    internal DataPlaneToken Token { get; }

    /// <summary>The reader of the peer that presented id and token; the caller owns it. Cancelling withdraws the expectation.</summary>
    /// <exception cref="DataPlaneException">
    /// No peer came within <see cref="DataPlaneOptions.AcceptTimeout"/>, it was lost while it was greeted, or is no longer expected.
    /// </exception>
    /// <exception cref="InvalidOperationException">Called before: there is one reader.</exception>
    public async Task<MigrationReader> AcceptAsync(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _accepted, 1) != 0)
            throw new InvalidOperationException("An expected stream is accepted once.");
        try
        {
            return await _arrival.Task.WaitAsync(_options.AcceptTimeout, _options.Time, cancellationToken);
        }
        catch (TimeoutException)
        {
            await WithdrawAsync();
            throw new DataPlaneException(FormattableString.Invariant(
                $"No source connected for migration {MigrationId} within {_options.AcceptTimeout.TotalSeconds:0.###} seconds."));
        }
        catch (OperationCanceledException)
        {
            await WithdrawAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _accepted, 1) == 0)
            await WithdrawAsync();
        else
            Withdraw();
    }

    /// <summary>Hands over the reader; false when nobody expects it any more, and the caller keeps it.</summary>
    internal bool Arrive(MigrationReader reader) => _arrival.TrySetResult(reader);

    internal void Fail(string sentence)
    {
        if (_arrival.TrySetException(new DataPlaneException(sentence)))
        {
            // Nobody may ever ask, and then this is not an unobserved fault.
            _ = _arrival.Task.Exception;
        }
    }

    private void Withdraw()
    {
        _listener.Withdraw(this);
        Fail($"Migration {MigrationId} is no longer expected.");
    }

    private async ValueTask WithdrawAsync()
    {
        Withdraw();
        if (_arrival.Task.IsCompletedSuccessfully)
            await (await _arrival.Task).DisposeAsync();
    }
}
