using System.Buffers.Binary;

namespace Fabric.Migration.DataPlane;

/// <summary>
/// Payload of <see cref="FrameType.Accepted"/>: u32 little-endian, how many bytes the target takes before it acknowledges them. A target
/// may tell nothing.
/// </summary>
internal static class Acceptance
{
    public static byte[] Compose(uint acknowledgeBytes)
    {
        var payload = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(payload, acknowledgeBytes);
        return payload;
    }

    /// <summary>0 if it does not tell.</summary>
    public static uint Read(ReadOnlySpan<byte> payload) => BinaryPrimitives.TryReadUInt32LittleEndian(payload, out var bytes) ? bytes : 0;
}
