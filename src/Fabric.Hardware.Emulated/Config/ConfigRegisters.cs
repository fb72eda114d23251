using System.Buffers.Binary;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>
/// The config space of one function: its layout's until a write changes something, a copy of its own from then on. Not safe to use from two
/// threads at once. A field of the function, not an object: an untouched function pays one reference for it.
/// </summary>
internal struct ConfigRegisters(ConfigLayout layout)
{
    private byte[]? own;

    public readonly ConfigLayout Layout => layout;

    /// <summary>Whether anything was ever written that is not as at power-on.</summary>
    public readonly bool IsOwn => own is not null;

    private readonly ReadOnlySpan<byte> Bytes => own is null ? layout.PowerOn : own;

    public readonly void Read(int offset, Span<byte> destination) => Bytes.Slice(offset, destination.Length).CopyTo(destination);

    public readonly byte Byte(int offset) => Bytes[offset];

    public readonly ushort Word(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(Bytes[offset..]);

    public readonly uint Dword(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(Bytes[offset..]);

    /// <summary>A write from outside: what each bit makes of it is the layout's to say.</summary>
    public void Write(int offset, ReadOnlySpan<byte> source)
    {
        for (var i = 0; i < source.Length; i++)
        {
            var before = Bytes[offset + i];
            var after = layout.Write(offset + i, before, source[i]);
            if (after != before)
                Own()[offset + i] = after;
        }
    }

    /// <summary>The function's own doing, whatever can be written from outside.</summary>
    public void Put16(int offset, int value)
    {
        if (Word(offset) != (ushort)value)
            BinaryPrimitives.WriteUInt16LittleEndian(Own().AsSpan(offset), (ushort)value);
    }

    /// <summary>The function's own doing, whatever can be written from outside.</summary>
    public void Put32(int offset, uint value)
    {
        if (Dword(offset) != value)
            BinaryPrimitives.WriteUInt32LittleEndian(Own().AsSpan(offset), value);
    }

    /// <summary>As after a reset; without power, sticky bits go as well.</summary>
    public void Reset(bool keepsPower)
    {
        if (own is null)
            return;
        for (var at = 0; at < own.Length; at++)
            own[at] = keepsPower ? layout.Reset(at, own[at]) : layout.PowerOn[at];
    }

    private byte[] Own() => own ??= layout.PowerOn.ToArray();
}
