using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Protocol;

/// <summary>Commands by their numbers (vfio-user, "Header"). 14, DIRTY_PAGES, went with migration v1.</summary>
public enum Command : ushort
{
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetRegionIoFds = 6,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DmaRead = 11,
    DmaWrite = 12,
    DeviceReset = 13,
    RegionWriteMulti = 15,
    DeviceFeature = 16,
    MigDataRead = 17,
    MigDataWrite = 18,
}

/// <summary>Bits 0 to 3 are the type of the message; the rest stand alone (vfio-user, "Header").</summary>
[Flags]
public enum MessageFlags : uint
{
    Command = 0,
    Reply = 1,
    TypeMask = 0xf,

    /// <summary>Execute, and answer nothing, not even an error.</summary>
    NoReply = 1 << 4,
    Error = 1 << 5,
}

/// <summary>The 16 bytes that every message begins with (vfio-user, "Header"), in the host's byte order.</summary>
/// <param name="Id">Its sender's choice, echoed in the reply; it may be used again, even while in flight.</param>
/// <param name="Size">Bytes of the whole message, these included.</param>
/// <param name="Error">A Linux errno in an error reply; reserved in a command.</param>
public readonly record struct MessageHeader(ushort Id, Command Command, uint Size, MessageFlags Flags, uint Error) : IUapiStruct<MessageHeader>
{
    public const int Bytes = 16;

    public bool IsCommand => (Flags & MessageFlags.TypeMask) == MessageFlags.Command;

    public bool IsReply => (Flags & MessageFlags.TypeMask) == MessageFlags.Reply;

    public bool WantsReply => (Flags & MessageFlags.NoReply) == 0;

    public static MessageHeader Request(ushort id, Command command, int payload, MessageFlags flags = MessageFlags.Command) =>
        new(id, command, (uint)(Bytes + payload), flags, 0);

    /// <summary>The head of the answer to this command.</summary>
    public MessageHeader Answer(int payload) => new(Id, Command, (uint)(Bytes + payload), MessageFlags.Reply, 0);

    /// <summary>The answer to this command where it failed: a head alone.</summary>
    public MessageHeader Refusal(Errno errno) => new(Id, Command, Bytes, MessageFlags.Reply | MessageFlags.Error, (uint)errno);
}
