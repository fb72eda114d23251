using System.IO.Hashing;
using System.Runtime.InteropServices;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Claims;

/// <summary>What went over all streams of a migration together.</summary>
/// <param name="Checksum">Of a single stream its own; of several a hash over theirs, in order, with their lengths.</param>
public sealed record TransferSum(long Bytes, string Checksum)
{
    public static TransferSum Of(IReadOnlyList<StreamSum> streams)
    {
        ArgumentNullException.ThrowIfNull(streams);
        if (streams.Count == 1)
            return new TransferSum(streams[0].Bytes, streams[0].Checksum);
        var hash = new XxHash128();
        foreach (var stream in streams)
            hash.Append(MemoryMarshal.AsBytes($"{stream.Bytes} {stream.Checksum}\n".AsSpan()));
        return new TransferSum(streams.Sum(static stream => stream.Bytes), $"{hash.GetCurrentHashAsUInt128():x32}");
    }

    public override string ToString() => $"{Bytes} bytes, {Checksum}";
}
