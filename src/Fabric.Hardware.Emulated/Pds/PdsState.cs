using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Pds;

namespace Fabric.Hardware.Emulated.Pds;

/// <summary>Registers of a VF.</summary>
internal record struct PdsRegisters(ulong RingIova, uint RingSlots, uint Producer, uint Consumer);

/// <summary>
/// A VF as its firmware saves it, which is the firmware's alone to know: magic u32, version u32, checksum u32 (CRC-32C of all that follows), 4
/// reserved, registers, and in the upper half the device's memory; zeros between.
/// </summary>
internal static class PdsState
{
    private const uint Magic = 0x5644_5350;
    private const uint Version = 1;
    private const int Covered = 16;
    private const int Memory = PdsAdminQueue.StateBytes - PdsBar.MemoryBytes;

    public static void Write(Span<byte> state, PdsRegisters registers, ReadOnlySpan<byte> memory)
    {
        state.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(state, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(state[4..], Version);
        BinaryPrimitives.WriteUInt64LittleEndian(state[16..], registers.RingIova);
        BinaryPrimitives.WriteUInt32LittleEndian(state[24..], registers.RingSlots);
        BinaryPrimitives.WriteUInt32LittleEndian(state[28..], registers.Producer);
        BinaryPrimitives.WriteUInt32LittleEndian(state[32..], registers.Consumer);
        memory.CopyTo(state[Memory..]);
        BinaryPrimitives.WriteUInt32LittleEndian(state[8..], Checksum(state));
    }

    /// <summary>False, with nothing taken, for what no firmware of this version saved.</summary>
    public static bool TryRead(ReadOnlySpan<byte> state, out PdsRegisters registers, Span<byte> memory)
    {
        registers = default;
        if (state.Length != PdsAdminQueue.StateBytes
            || BinaryPrimitives.ReadUInt32LittleEndian(state) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(state[4..]) != Version
            || BinaryPrimitives.ReadUInt32LittleEndian(state[8..]) != Checksum(state)
            || BinaryPrimitives.ReadUInt32LittleEndian(state[12..]) != 0)
            return false;
        registers = new PdsRegisters(
            BinaryPrimitives.ReadUInt64LittleEndian(state[16..]), BinaryPrimitives.ReadUInt32LittleEndian(state[24..]),
            BinaryPrimitives.ReadUInt32LittleEndian(state[28..]), BinaryPrimitives.ReadUInt32LittleEndian(state[32..]));
        state[Memory..].CopyTo(memory);
        return true;
    }

    private static uint Checksum(ReadOnlySpan<byte> state)
    {
        var checksum = uint.MaxValue;
        for (var at = Covered; at < state.Length; at += sizeof(ulong))
            checksum = BitOperations.Crc32C(checksum, BinaryPrimitives.ReadUInt64LittleEndian(state[at..]));
        return checksum;
    }
}
