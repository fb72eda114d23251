using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// One connection of a stream. It turns every way a connection can fail into a <see cref="DataPlaneException"/> with a sentence, and keeps the
/// first of them for all later calls.
/// </summary>
internal sealed class Wire(Stream stream, PeerWatch watch) : IAsyncDisposable
{
    // A write is handed to the kernel in pieces so that a slow peer counts as progress. The longest slice leaves with its header in one: what is
    // left over would be a segment and a wake-up of its own.
    private const int PieceBytes = MigrationWriter.SliceBytes + FrameHeader.Size;

    private Breakage? _breakage;

    public bool IsBroken => Volatile.Read(ref _breakage) is not null;

    /// <summary>The stream came further by this connection. One that is silent from the beginning is not worth another.</summary>
    public bool GotSomewhere { get; set; }

    /// <summary>
    /// What reads the peer's replies while the other direction writes. A failed write waits for it to end before it explains itself: the
    /// peer's last words say more than "connection reset".
    /// </summary>
    public Task LastWords { get; set; } = Task.CompletedTask;

    /// <summary>Reads at least one byte.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        ThrowIfBroken();
        int read;
        try
        {
            read = await stream.ReadAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (IsLoss(e))
        {
            throw Lose($"The connection was lost while reading: {Cause(e)}.", e);
        }
        catch (OperationCanceledException)
        {
            Break("This side cancelled a read, and the stream with it.");
            throw;
        }

        if (read == 0)
            throw Lose("The peer closed the connection.");
        watch.Progressed();
        return read;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        ThrowIfBroken();
        try
        {
            while (!bytes.IsEmpty)
            {
                var piece = bytes[..Math.Min(bytes.Length, PieceBytes)];
                await stream.WriteAsync(piece, cancellationToken);
                watch.Progressed();
                bytes = bytes[piece.Length..];
            }
        }
        catch (Exception e) when (IsLoss(e))
        {
            await LastWords;
            throw Lose($"The connection was lost while writing: {Cause(e)}.", e);
        }
        catch (OperationCanceledException)
        {
            // Part of a frame may be gone, and nothing can follow half a frame.
            Break("This side cancelled a write, and the stream with it.");
            throw;
        }
    }

    /// <summary>Ends the connection and its stream, unless it already is ended, and returns the exception that says why it first did.</summary>
    public DataPlaneException Break(string sentence, Exception? cause = null) => Break(new Breakage(sentence, cause, IsLoss: false));

    /// <summary>As <see cref="Break(string, Exception?)"/>, but the stream may go on by another connection.</summary>
    public DataPlaneException Lose(string sentence, Exception? cause = null) => Break(new Breakage(sentence, cause, IsLoss: true));

    public ValueTask DisposeAsync()
    {
        Break("This side closed the connection.");
        return stream.DisposeAsync();
    }

    private static bool IsLoss(Exception e) => e is IOException or SocketException or ObjectDisposedException;

    private static string Cause(Exception e) => (e.InnerException ?? e).Message.TrimEnd('.');

    private DataPlaneException Break(Breakage mine)
    {
        var first = Interlocked.CompareExchange(ref _breakage, mine, null) ?? mine;

        // Closing is what wakes whoever waits in a read or a write.
        if (ReferenceEquals(first, mine))
            stream.Dispose();
        return first.ToException();
    }

    private void ThrowIfBroken()
    {
        if (Volatile.Read(ref _breakage) is { } breakage)
            throw breakage.ToException();
    }

    private sealed record Breakage(string Sentence, Exception? Cause, bool IsLoss)
    {
        public DataPlaneException ToException() => new(Sentence, Cause) { IsLoss = IsLoss };
    }
}
