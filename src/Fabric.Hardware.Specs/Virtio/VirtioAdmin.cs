namespace Fabric.Hardware.Specs.Virtio;

/// <summary>
/// Administration commands about one VF, given to its PF (VIRTIO 1.3, 2.12, and the device parts that come after it). A command is a header
/// and its data; a reply is a status and its result. Little-endian.
/// </summary>
public static class VirtioAdmin
{
    /// <summary>What a channel to such a PF takes.</summary>
    public const string Protocol = "virtio-admin";

    /// <summary>
    /// u16 opcode, u16 group type, 12 bytes of 0, u64 group member. Group (1: SR-IOV) and member (the VF's number) the PF's driver fills in, who
    /// knows which VF it is asked for; they are 0 in what it is given.
    /// </summary>
    public const int HeaderBytes = 24;

    /// <summary>u16 status: 0, or one of Linux's errnos (2.12.1); u16 qualifier, 4 bytes of 0.</summary>
    public const int StatusBytes = 8;

    /// <summary>u16 type of object (<see cref="DeviceParts"/>), u16 of 0, u32 id, chosen by who makes it.</summary>
    public const int ObjectBytes = 8;
    public const ushort DeviceParts = 0;

    /// <summary>Behind the object, to make one: u64 flags (0), then u8 what it is for, 7 bytes of 0.</summary>
    public const int CreateBytes = ObjectBytes + 16;
    public const int CreateFor = ObjectBytes + 8;

    /// <summary>To read parts, or what is known of them: the object, u8 what of them, 7 bytes of 0.</summary>
    public const int QueryBytes = ObjectBytes + 8;

    /// <summary>Of the metadata: u32 bytes of all parts, u32 of 0.</summary>
    public const byte MetadataSize = 0;

    /// <summary>All parts that there are.</summary>
    public const byte AllParts = 1;

    /// <summary>u8 of <see cref="VirtioOpcode.SetDeviceMode"/>, bit 0.</summary>
    public const byte ModeStopped = 1;

    /// <summary>To write legacy registers: u8 offset, 7 bytes of 0, the bytes. To read them: u8 offset; the reply is as long as asked for.</summary>
    public const int LegacyWriteBytes = 8;

    /// <summary>Where a VF takes legacy notifications: 4 of u8 whose BAR it is (0 ends the list), u8 BAR, 6 bytes of 0, u64 offset.</summary>
    public const int NotifyInfoBytes = 16;
    public const int NotifyInfos = 4;
    public const byte NotifyInMember = 2;

    /// <summary>Bit of an opcode in the list of <see cref="VirtioOpcode.ListQuery"/>.</summary>
    public static ulong Bit(VirtioOpcode opcode) => 1UL << (int)opcode;

    /// <summary>What legacy emulation needs.</summary>
    public static ulong LegacyCommands { get; } =
        Bit(VirtioOpcode.WriteLegacyCommon) | Bit(VirtioOpcode.ReadLegacyCommon) | Bit(VirtioOpcode.WriteLegacyDevice) |
        Bit(VirtioOpcode.ReadLegacyDevice) | Bit(VirtioOpcode.GetLegacyNotifyInfo);

    /// <summary>What migration needs.</summary>
    public static ulong PartsCommands { get; } =
        Bit(VirtioOpcode.CreateObject) | Bit(VirtioOpcode.DestroyObject) | Bit(VirtioOpcode.GetPartsMetadata) | Bit(VirtioOpcode.GetParts) |
        Bit(VirtioOpcode.SetParts) | Bit(VirtioOpcode.SetDeviceMode);
}

public enum VirtioOpcode
{
    /// <summary>Result: u64, a bit for each command that the PF takes.</summary>
    ListQuery = 0x0,
    WriteLegacyCommon = 0x2,
    ReadLegacyCommon = 0x3,
    WriteLegacyDevice = 0x4,
    ReadLegacyDevice = 0x5,
    GetLegacyNotifyInfo = 0x6,
    CreateObject = 0xa,
    DestroyObject = 0xd,
    GetPartsMetadata = 0xe,

    /// <summary>By an object for getting, at any time. Result: <see cref="VirtioPart"/>s.</summary>
    GetParts = 0xf,

    /// <summary>By an object for setting, of a stopped VF: all of the parts are taken over, or none.</summary>
    SetParts = 0x10,

    /// <summary>Stopped: it leaves its queues alone, and takes up what came meanwhile when it goes on. Its registers answer all the same.</summary>
    SetDeviceMode = 0x11,
}

/// <summary>What an object for device parts is for.</summary>
public enum VirtioObjectFor : byte
{
    Getting = 0,
    Setting = 1,
}
