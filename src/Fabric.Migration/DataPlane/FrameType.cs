namespace Fabric.Migration.DataPlane;

/// <summary>First byte of a frame. The numbers are the wire format: never reuse one.</summary>
internal enum FrameType : byte
{
    None = 0,

    // Source to target.
    DeviceState = 1,
    Memory = 2,
    ConsumerState = 3,
    RoundEnd = 4,
    End = 5,
    Abort = 6,

    // Either way: nothing to say yet, but alive.
    KeepAlive = 7,

    // Target to source.
    Accepted = 0x81,
    Refused = 0x82,
    RoundAcknowledged = 0x83,
    Finished = 0x84,
    AbortNoted = 0x85,
    Consumed = 0x86,
}

internal static class FrameTypeExtensions
{
    /// <summary>Whether the frame is part of what is transferred, and so of the stream's hash.</summary>
    public static bool IsState(this FrameType type) =>
        type is FrameType.DeviceState or FrameType.Memory or FrameType.ConsumerState or FrameType.RoundEnd;
}
