namespace Fabric.Migration.DataPlane;

/// <summary>A frame as it came: whole and checked, not yet understood. The payload is valid until the next frame.</summary>
internal readonly record struct Frame(FrameType Type, ulong Value, ReadOnlyMemory<byte> Payload);
