using System.Buffers.Binary;
using Fabric.Hardware.Specs.Xe;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>All that a VF holds. The VF's clock is held.</summary>
internal sealed class XeVfMemory(int vramBytes)
{
    public const int GucBytes = 16;

    public byte[] Vram { get; } = new byte[vramBytes];

    public ulong[] Ggtt { get; } = new ulong[XeRegister.GgttEntries];

    public uint[] Scratch { get; } = new uint[XeRegister.ScratchCount];

    public ulong Done { get; private set; }

    public ulong Pending { get; set; }

    /// <summary>What firmware knows of it.</summary>
    public byte[] Guc()
    {
        var bytes = new byte[GucBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Done);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), Pending);
        return bytes;
    }

    public void RestoreGuc(ReadOnlySpan<byte> saved)
    {
        Done = BinaryPrimitives.ReadUInt64LittleEndian(saved);
        Pending = BinaryPrimitives.ReadUInt64LittleEndian(saved[8..]);
    }

    public void DoJobs()
    {
        for (; Pending > 0; Pending--, Done++)
        {
            var page = Ggtt[Done % XeRegister.GgttEntries] % (ulong)(Vram.Length / XeBar.PageBytes);
            var cell = Vram.AsSpan((int)page * XeBar.PageBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(cell, BinaryPrimitives.ReadUInt64LittleEndian(cell) + Done + 1);
        }
    }

    /// <summary>What a reset itself clears.</summary>
    public void ResetRegisters()
    {
        Array.Clear(Scratch);
        (Done, Pending) = (0, 0);
    }

    /// <summary>What the PF clears after a reset.</summary>
    public void Clear()
    {
        Array.Clear(Vram);
        Array.Clear(Ggtt);
    }
}
