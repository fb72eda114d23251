using System.Net.ServerSentEvents;

namespace Fabric.Cli.Api;

/// <summary>Server-sent events, down to the data of each.</summary>
internal static class EventStream
{
    /// <summary>Each event's data, in order; comments and keep-alives are passed over.</summary>
    public static async IAsyncEnumerable<ReadOnlyMemory<byte>> ReadAsync(
        Stream stream, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        var parser = SseParser.Create(stream, (_, data) => data.ToArray());
        await foreach (var item in parser.EnumerateAsync(cancellation))
        {
            if (item.Data.Length > 0)
                yield return item.Data;
        }
    }
}
