namespace Fabric.Migration.DataPlane;

/// <summary>One stream of an expected migration: good for one peer, and for one reader.</summary>
internal sealed class InboundStream(string name, DataPlaneOptions options)
{
    private readonly TaskCompletionSource<MigrationReader> _arrival = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private bool _withdrawn;
    private long _connection = -1;
    private int _accepted;

    public string Name => name;

    /// <summary>
    /// Takes the place for a source's connection of this number: the first, as long as nobody came, and after that one with a higher number
    /// than all before. So neither a copy of an older hello nor another source that has the token by accident can take it.
    /// </summary>
    public bool TryClaim(uint connection)
    {
        lock (_gate)
        {
            if (_withdrawn || connection <= _connection || connection > 0 != _connection >= 0)
                return false;
            _connection = connection;
            return true;
        }
    }

    /// <summary>The reader of the source that came first, for one of its later connections.</summary>
    /// <exception cref="DataPlaneException">It was lost before there was one.</exception>
    public Task<MigrationReader> ReaderAsync(CancellationToken cancellationToken) => _arrival.Task.WaitAsync(cancellationToken);

    /// <summary>The stream has ended, and its source may not have heard so.</summary>
    public bool HasLastWord => _arrival.Task is { IsCompletedSuccessfully: true, Result.HasLastWord: true };

    /// <inheritdoc cref="InboundMigration.AcceptAsync"/>
    public async Task<MigrationReader> AcceptAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _accepted, 1) != 0)
            throw new InvalidOperationException("An expected stream is accepted once.");
        try
        {
            return await _arrival.Task.WaitAsync(options.AcceptTimeout, options.Time, cancellationToken);
        }
        catch (TimeoutException)
        {
            await WithdrawAsync();
            throw new DataPlaneException(FormattableString.Invariant(
                $"No source connected for {name} within {options.AcceptTimeout.TotalSeconds:0.###} seconds."));
        }
        catch (OperationCanceledException)
        {
            await WithdrawAsync();
            throw;
        }
    }

    /// <summary>Admits nobody from here on, and closes a connection that came but was never taken.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _accepted, 1) == 0)
            await WithdrawAsync();
        else
            Withdraw();
    }

    /// <summary>Hands over the reader; false when nobody expects it any more, and the caller keeps it.</summary>
    public bool Arrive(MigrationReader reader) => _arrival.TrySetResult(reader);

    public void Fail(string sentence)
    {
        if (_arrival.TrySetException(new DataPlaneException(sentence)))
        {
            // Nobody may ever ask, and then this is not an unobserved fault.
            _ = _arrival.Task.Exception;
        }
    }

    private void Withdraw()
    {
        lock (_gate)
            _withdrawn |= !HasLastWord;
        Fail($"A source for {name} is no longer expected.");
    }

    private async ValueTask WithdrawAsync()
    {
        Withdraw();
        if (_arrival.Task.IsCompletedSuccessfully)
            await (await _arrival.Task).DisposeAsync();
    }
}
