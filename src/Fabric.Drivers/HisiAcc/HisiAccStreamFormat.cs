using System.Buffers.Binary;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Vfio;

namespace Fabric.Drivers.HisiAcc;

/// <summary>What two VFs must have in common for one to become the other (VD-HIS-1).</summary>
internal readonly record struct HisiAccMatch(uint Queues, uint DeviceId, uint Isolation);

/// <summary>
/// The stream: one structure of 176 bytes, little-endian, as the kernel's acc_vf_data. Its first 40 are the match data: magic u64, queues u32,
/// device id u32, isolation u32, first queue u32, VF state u32, major version u16, minor version u16, 8 reserved.
/// </summary>
internal static class HisiAccStreamFormat
{
    public const int MatchBytes = 40;
    public const int Bytes = 176;

    // Offsets of what follows the match data.
    public const int AeqInterruptMask = 40;
    public const int EqInterruptMask = 44;
    public const int IfcInterruptSource = 48;
    public const int IfcInterruptMask = 52;
    public const int IfcInterruptSet = 56;
    public const int PageSize = 60;
    public const int EventQueueContext = 64;
    public const int AsyncEventQueueContext = 92;
    public const int EventQueue = 144;
    public const int AsyncEventQueue = 152;
    public const int SubmissionTable = 160;
    public const int CompletionTable = 168;

    /// <summary>Streams without a version: their event queues' addresses are wrong, those in the contexts are right.</summary>
    public const ulong MagicV1 = 0xcdcd_cdcd_feed_aacc;
    public const ulong MagicV2 = 0xaacc_feed_deca_dede;
    public const ushort Major = 1;
    public const ushort Minor = 0;

    public static void WriteMatch(Span<byte> destination, HisiAccMatch match, uint firstQueue, uint state)
    {
        destination[..MatchBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(destination, MagicV2);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], match.Queues);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], match.DeviceId);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[16..], match.Isolation);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[20..], firstQueue);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[24..], state);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[28..], Major);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[30..], Minor);
    }

    /// <summary>The match data is that of a VF that no guest had set up: nothing follows (VD-HIS-3).</summary>
    public static bool IsOfIdleVf(ReadOnlySpan<byte> match) => BinaryPrimitives.ReadUInt32LittleEndian(match[24..]) == (uint)HisiAccVfState.NotReady;

    /// <summary>Whether match data is that of a VF like this one. Errors: EFAULT.</summary>
    public static VfioResult Check(ReadOnlySpan<byte> match, HisiAccMatch own)
    {
        var magic = BinaryPrimitives.ReadUInt64LittleEndian(match);
        if (magic != MagicV1 && (magic != MagicV2 || BinaryPrimitives.ReadUInt16LittleEndian(match[28..]) != Major))
            return VfioResult.Fail(Errno.EFAULT, "The migration stream is not of an accelerator in a version that is known; choose another target.");
        if (BinaryPrimitives.ReadUInt32LittleEndian(match[12..]) != own.DeviceId)
            return VfioResult.Fail(Errno.EFAULT, "The migration stream is that of another kind of accelerator; choose a target with its device id.");
        if (BinaryPrimitives.ReadUInt32LittleEndian(match[8..]) != own.Queues)
            return VfioResult.Fail(Errno.EFAULT, "The VF has another number of queues than the stream's source; choose a target with as many.");
        return BinaryPrimitives.ReadUInt32LittleEndian(match[16..]) == own.Isolation
            ? VfioResult.Ok
            : VfioResult.Fail(Errno.EFAULT, "The PF isolates queues in another way than that of the stream's source; configure both alike.");
    }
}
