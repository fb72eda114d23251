using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Microsoft.Extensions.Logging;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// One per host: takes the streams that migrations towards this host expect, and nothing else. A stranger learns no more than one sentence,
/// the same one whether the id or the token is wrong.
/// </summary>
public sealed class DataPlaneListener : IAsyncDisposable
{
    // A refusal is a courtesy to the peer: it fits in any socket buffer, so a second is generous.
    private static readonly TimeSpan RefusalTimeout = TimeSpan.FromSeconds(1);

    // After a failed accept (no descriptors left, say) trying again at once would only burn a core.
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);

    private readonly ILogger _logger;
    private readonly Socket _socket;
    private readonly DataPlaneOptions _options;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, InboundMigration> _expected = new(StringComparer.Ordinal);
    private readonly Dictionary<InboundMigration, ITimer> _lingering = [];
    private readonly SemaphoreSlim _strangers;
    private readonly CancellationTokenSource _closing = new();
    private readonly Task _accepting;
    private bool _closed;

    /// <param name="logger">Where refused and broken connections are told.</param>
    /// <param name="options">Deadlines, bounds and TLS of everything that arrives here.</param>
    /// <param name="endPoint">Where to listen; loopback on a free port if not given.</param>
    /// <exception cref="SocketException">The end point cannot be listened on.</exception>
    public DataPlaneListener(ILogger logger, DataPlaneOptions? options = null, IPEndPoint? endPoint = null)
    {
        _logger = logger;
        _options = options ?? new DataPlaneOptions();
        _strangers = new SemaphoreSlim(_options.MaxUnauthenticated);
        endPoint ??= new IPEndPoint(IPAddress.Loopback, 0);
        _socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _socket.Bind(endPoint);
            _socket.Listen();
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        EndPoint = (IPEndPoint)_socket.LocalEndPoint!;
        _accepting = AcceptLoopAsync();
    }

    /// <summary>As it was given them; a source of this host connects with the same.</summary>
    public DataPlaneOptions Options => _options;

    /// <summary>Where this listens, with the port the system chose.</summary>
    public IPEndPoint EndPoint { get; }

    /// <summary>Expects a migration: a connection for each of its streams, that presents this id, its stream's number and this token.</summary>
    /// <exception cref="ArgumentException">
    /// The id is empty or longer than 256 bytes of UTF-8, or there are less than 1 or more than <see cref="InboundMigration.MaxStreams"/> streams.
    /// </exception>
    /// <exception cref="InvalidOperationException">The id is already expected.</exception>
    /// <exception cref="ObjectDisposedException">The listener is closed.</exception>
    public InboundMigration Expect(string migrationId, DataPlaneToken token, int streams = 1)
    {
        Hello.CheckId(migrationId);
        var inbound = new InboundMigration(this, migrationId, token, streams, _options);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (_expected.TryGetValue(migrationId, out var former) && !_lingering.ContainsKey(former))
                throw new InvalidOperationException($"Migration {migrationId} is already expected.");
            _expected[migrationId] = inbound;
        }

        return inbound;
    }

    public async ValueTask DisposeAsync()
    {
        InboundMigration[] withdrawn;
        lock (_gate)
        {
            if (_closed)
                return;
            _closed = true;
            withdrawn = [.. _expected.Values];
            _expected.Clear();
            foreach (var timer in _lingering.Values)
                timer.Dispose();
            _lingering.Clear();
        }

        await _closing.CancelAsync();
        _socket.Dispose();
        await _accepting;

        // Every greeting holds one place until it is over.
        for (var place = 0; place < _options.MaxUnauthenticated; place++)
            await _strangers.WaitAsync();
        foreach (var inbound in withdrawn)
            inbound.Fail("The data plane of this host is closed.");
        _strangers.Dispose();
        _closing.Dispose();
    }

    internal void Withdraw(InboundMigration inbound)
    {
        lock (_gate)
        {
            if (_lingering.Remove(inbound, out var timer))
                timer.Dispose();

            // The id may be expected anew by now, and that one stays.
            if (_expected.TryGetValue(inbound.MigrationId, out var current) && ReferenceEquals(current, inbound))
                _expected.Remove(inbound.MigrationId);
        }
    }

    /// <summary>Withdraws it when no source can come for its last word any more.</summary>
    internal void Linger(InboundMigration inbound)
    {
        lock (_gate)
        {
            if (!_closed)
                _lingering[inbound] = _options.Time.CreateTimer(_ => Withdraw(inbound), null, _options.ResumeTimeout, Timeout.InfiniteTimeSpan);
        }
    }

    private async Task AcceptLoopAsync()
    {
        // Off the constructor's thread before anything else: a full backlog is not the caller's to serve.
        await Task.Yield();
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                await TakePlaceAsync();
                Socket socket;
                try
                {
                    socket = await _socket.AcceptAsync(_closing.Token);
                }
                catch
                {
                    _strangers.Release();
                    throw;
                }

                _ = StreamThread.RunAsync(() => GreetAsync(socket));
            }
            catch (Exception) when (_closing.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                _logger.LogError(e, "Accepting a data plane connection on {EndPoint} failed; trying again", EndPoint);
                await PauseAsync();
            }
        }
    }

    private async ValueTask TakePlaceAsync()
    {
        if (_strangers.CurrentCount == 0)
        {
            _logger.LogWarning(
                "{Count} connections to {EndPoint} have not said who they are; the next one waits", _options.MaxUnauthenticated, EndPoint);
        }

        await _strangers.WaitAsync(_closing.Token);
    }

    private async Task PauseAsync()
    {
        try
        {
            await Task.Delay(AcceptPause, _options.Time, _closing.Token);
        }
        catch (OperationCanceledException)
        {
            // Closing: the loop's condition says so too.
        }
    }

    /// <summary>Gives one connection its chance; never throws, since nobody waits for it.</summary>
    private async Task GreetAsync(Socket socket)
    {
        EndPoint? peer = null;
        Stream? stream = null;
        try
        {
            peer = socket.RemoteEndPoint;
            using var deadline = new CancellationTokenSource(_options.HelloTimeout, _options.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _closing.Token);
            stream = await Transport.AcceptAsync(socket, _options, either.Token);
            string? refusal;
            try
            {
                refusal = await AdmitAsync(stream, peer, either.Token);
            }
            catch (OperationCanceledException) when (deadline.IsCancellationRequested)
            {
                refusal = FormattableString.Invariant(
                    $"No complete hello came within {_options.HelloTimeout.TotalSeconds:0.###} seconds.");
            }

            if (refusal is null)
                stream = null;
            else
                await RefuseAsync(stream, peer, refusal);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException or AuthenticationException)
        {
            _logger.LogWarning("Greeting {Peer} failed: {Reason}", peer, e.Message);
        }
        catch (Exception e)
        {
            _logger.LogError(e, "Greeting {Peer} failed", peer);
        }
        finally
        {
            if (stream is not null)
                await stream.DisposeAsync();
            _strangers.Release();
        }
    }

    /// <summary>Hears the hello. Null: the connection now belongs to its reader; otherwise why it has to be refused.</summary>
    private async Task<string?> AdmitAsync(Stream stream, EndPoint? peer, CancellationToken cancellationToken)
    {
        var hello = new byte[Hello.FixedSize + Hello.MaxIdBytes];
        await stream.ReadExactlyAsync(hello.AsMemory(0, Hello.FixedSize), cancellationToken);
        if (Hello.Judge(hello.AsSpan(0, Hello.FixedSize), out var idLength) is { } refusal)
            return refusal;
        await stream.ReadExactlyAsync(hello.AsMemory(Hello.FixedSize, idLength), cancellationToken);
        var id = Encoding.UTF8.GetString(hello.AsSpan(Hello.FixedSize, idLength));
        if (Claim(id, hello) is not { } inbound)
            return "No stream of this migration with this token is expected here.";

        if (Hello.Connection(hello) > 0)
            return await ReplaceAsync(stream, peer, inbound, Hello.Replies(hello), cancellationToken);
        var reader = new MigrationReader(stream, id, _options);
        try
        {
            await reader.WelcomeAsync(cancellationToken);
            if (!inbound.Arrive(reader))
            {
                await reader.ReplyFinishedAsync(false, "The migration was withdrawn.", cancellationToken);
                await reader.DisposeAsync();
                return null;
            }
        }
        catch (Exception e) when (e is DataPlaneException or OperationCanceledException)
        {
            inbound.Fail($"The source of migration {id} was lost while it was greeted: {e.Message}");
            await reader.DisposeAsync();
            return null;
        }

        _logger.LogInformation("{Peer} has stream {Stream} of migration {MigrationId}", peer, Hello.Stream(hello), id);
        return null;
    }

    private async Task<string?> ReplaceAsync(
        Stream stream, EndPoint? peer, InboundStream inbound, uint repliesHeard, CancellationToken cancellationToken)
    {
        try
        {
            var reader = await inbound.ReaderAsync(cancellationToken);
            if (await reader.ReplaceAsync(stream, repliesHeard, cancellationToken) is { } refusal)
                return refusal;
        }
        catch (DataPlaneException e)
        {
            return e.Message;
        }

        _logger.LogInformation("{Peer} has come back for {Stream}", peer, inbound.Name);
        return null;
    }

    /// <summary>Takes the stream that id, number and token fit, so that it fits nobody else; a wrong token leaves it as it was.</summary>
    private InboundStream? Claim(string id, ReadOnlySpan<byte> hello)
    {
        InboundMigration? inbound;
        lock (_gate)
            _ = _expected.TryGetValue(id, out inbound);
        return inbound?.Claim(Hello.Stream(hello), Hello.Connection(hello), Hello.Token(hello));
    }

    private async Task RefuseAsync(Stream stream, EndPoint? peer, string refusal)
    {
        _logger.LogWarning("Refused {Peer}: {Reason}", peer, refusal);
        var sentence = PeerText.Encode(refusal);
        var frame = new byte[FrameHeader.Size + sentence.Length];
        new FrameHeader(FrameType.Refused, sentence.Length, 0, StreamHash.Check(FrameType.Refused, 0, sentence)).Write(frame);
        sentence.CopyTo(frame, FrameHeader.Size);
        using var deadline = new CancellationTokenSource(RefusalTimeout, _options.Time);
        await stream.WriteAsync(frame, deadline.Token);
    }
}
