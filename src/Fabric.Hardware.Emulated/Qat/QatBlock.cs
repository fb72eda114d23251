using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Fabric.Hardware.Specs.Qat;

namespace Fabric.Hardware.Emulated.Qat;

/// <summary>A block of a VF's state: preamble and sections (<see cref="QatState"/>).</summary>
internal static class QatBlock
{
    /// <summary>The block of sections with these names and contents.</summary>
    public static byte[] Of(params (string Name, byte[] Content)[] sections)
    {
        var body = sections.SelectMany(static section => Section(section.Name, section.Content)).ToArray();
        var block = new byte[QatState.PreambleBytes + body.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(block, QatState.Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(4), QatState.Version);
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(6), QatState.PreambleBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(8), (ushort)sections.Length);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(12), body.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(16), Checksum(body));
        body.CopyTo(block.AsSpan(QatState.PreambleBytes));
        return block;
    }

    /// <summary>Whether bytes can be how a block begins that this version reads; with fewer than a preamble, as far as one can tell.</summary>
    public static bool CanBegin(ReadOnlySpan<byte> bytes)
    {
        Span<byte> expected = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(expected, QatState.Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(expected[4..], QatState.Version);
        BinaryPrimitives.WriteUInt16LittleEndian(expected[6..], QatState.PreambleBytes);
        var known = Math.Min(bytes.Length, expected.Length);
        return bytes[..known].SequenceEqual(expected[..known]);
    }

    /// <summary>The contents of a whole block's sections; null where it has not exactly these, is damaged, or has anything behind it.</summary>
    public static byte[][]? Read(ReadOnlySpan<byte> block, params (string Name, int Bytes)[] sections)
    {
        var bytes = sections.Sum(static section => QatState.SectionBytes + section.Bytes);
        if (block.Length < QatState.PreambleBytes + bytes || !CanBegin(block))
            return null;
        var (preamble, body) = (block[..QatState.PreambleBytes].ToArray(), block.Slice(QatState.PreambleBytes, bytes).ToArray());
        var contents = sections.Select(static section => new byte[section.Bytes]).ToArray();
        for (int at = 0, index = 0; index < sections.Length; at += QatState.SectionBytes + sections[index++].Bytes)
            body.AsSpan(at + QatState.SectionBytes, sections[index].Bytes).CopyTo(contents[index]);
        var expected = Of([.. sections.Zip(contents, static (section, content) => (section.Name, content))]);
        return expected.AsSpan().SequenceEqual([.. preamble, .. body]) && !block[(QatState.PreambleBytes + bytes)..].ContainsAnyExcept((byte)0)
            ? contents
            : null;
    }

    private static byte[] Section(string name, byte[] content)
    {
        var section = new byte[QatState.SectionBytes + content.Length];
        Encoding.ASCII.GetBytes(name, section);
        BinaryPrimitives.WriteInt32LittleEndian(section.AsSpan(8), content.Length);
        content.CopyTo(section.AsSpan(QatState.SectionBytes));
        return section;
    }

    private static uint Checksum(ReadOnlySpan<byte> body)
    {
        var checksum = uint.MaxValue;
        foreach (var value in body)
            checksum = BitOperations.Crc32C(checksum, value);
        return checksum;
    }
}
