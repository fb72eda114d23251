using System.Buffers.Binary;
using System.Text;

namespace Fabric.Migration.Wire;

/// <summary>
/// Proves that bytes are one whole message of the contract before Hyperion sees them. Hyperion itself believes the bytes: it
/// allocates any length they claim, resolves any type they name, and follows nesting until the stack ends, which kills the process.
/// </summary>
internal sealed class WireProof(WireContract contract)
{
    private const byte Null = 0;
    private const byte ByteManifest = 4;
    private const byte ByteArray = 9;
    private const byte VersionedTypeName = 251;
    private const byte ScalarArray = 252;
    private const byte TypeNumber = 254;
    private const byte TypeName = 255;

    private readonly WireType[] types = [.. contract.Types];

    /// <param name="bytes">What Hyperion wrote, without the contract's hash in front.</param>
    /// <exception cref="WireRefusedException">They are anything else.</exception>
    public void Prove(ReadOnlySpan<byte> bytes)
    {
        var cursor = new Cursor(bytes);
        var manifest = cursor.Byte("the message");
        if (manifest != TypeNumber)
            throw Unlisted("The message", manifest, ref cursor);
        var type = Numbered(ref cursor, "The message");
        if (!WireContract.IsMessage(type.Type))
            throw new WireRefusedException($"{type.Name} is part of messages but is not a message itself.");
        Body(type, ref cursor);
        if (cursor.Remaining != 0)
            throw new WireRefusedException($"{cursor.Remaining} bytes are left over after a whole {type.Name}.");
    }

    private void Body(WireType type, ref Cursor cursor)
    {
        switch (type)
        {
            case WireRecord record:
                foreach (var member in record.Members)
                {
                    if (member.Shape is ScalarShape scalar)
                        Bare(scalar, ref cursor, member.Path);
                    else
                        Tagged(member.Shape, ref cursor, member.Path);
                }

                break;
            case WireEnum e:
                cursor.Skip(e.Underlying.Size, e.Name);
                break;
            case WireTimeSpan:
                cursor.Skip(sizeof(long), type.Name);
                break;
            case WireArray array:
                for (var left = cursor.Length(1, array.Name); left > 0; left--)
                    Tagged(array.Element, ref cursor, array.Name);
                break;
        }
    }

    private static void Bare(ScalarShape scalar, ref Cursor cursor, string where)
    {
        if (scalar.Size > 0)
            cursor.Skip(scalar.Size, where);
        else
            cursor.SkipString(where);
    }

    private void Tagged(WireShape shape, ref Cursor cursor, string where)
    {
        var manifest = cursor.Byte(where);
        switch (shape)
        {
            case OptionalShape when manifest == Null:
            case ArrayShape when manifest == Null:
            case NamedShape { CanBeNull: true } when manifest == Null:
                return;
            case OptionalShape { Of: ScalarShape scalar } when manifest == scalar.Manifest:
                Bare(scalar, ref cursor, where);
                return;
            case ScalarShape scalar when manifest == scalar.Manifest:
                Bare(scalar, ref cursor, where);
                return;
            case ArrayShape { Element: ScalarShape { Manifest: ByteManifest } } when manifest == ByteArray:
                cursor.Skip(cursor.Length(1, where), where);
                return;
            case ArrayShape { Element: ScalarShape { Manifest: not ByteManifest } scalar } when manifest == ScalarArray:
                Scalars(scalar, ref cursor, where);
                return;
        }

        if (manifest != TypeNumber)
            throw Unlisted(where, manifest, ref cursor);
        var type = Numbered(ref cursor, where);
        if (!Fits(shape, type))
            throw new WireRefusedException($"{where} holds a {type.Name} where the contract has {shape.Text}.");
        Body(type, ref cursor);
    }

    private static void Scalars(ScalarShape scalar, ref Cursor cursor, string where)
    {
        if (cursor.Byte(where) != scalar.Manifest)
            throw new WireRefusedException($"{where} holds an array of something other than {scalar.Text}.");
        var length = cursor.Length(Math.Max(scalar.Size, 1), where);
        if (scalar.Size > 0)
        {
            cursor.Skip(length * scalar.Size, where);
            return;
        }

        for (; length > 0; length--)
            cursor.SkipString(where);
    }

    private static bool Fits(WireShape shape, WireType type) => shape switch
    {
        NamedShape named => named.Cases.Contains(type.Type),
        OptionalShape { Of: NamedShape named } => named.Type == type.Type,
        ArrayShape array => array.Type == type.Type,
        _ => false,
    };

    private WireType Numbered(ref Cursor cursor, string where)
    {
        var number = cursor.UInt16(where);
        return number < types.Length
            ? types[number]
            : throw new WireRefusedException($"{where} holds type number {number}; the contract ends at {types.Length - 1}.");
    }

    private static WireRefusedException Unlisted(string where, byte manifest, ref Cursor cursor) => new(
        manifest is TypeName or VersionedTypeName
            ? $"{where} names the type '{cursor.Name(where)}'; types are numbered by the contract, never named."
            : $"{where} starts with {manifest}, which the contract does not have there.");

    private ref struct Cursor(ReadOnlySpan<byte> bytes)
    {
        private const int LongestNameShown = 128;

        private readonly ReadOnlySpan<byte> bytes = bytes;
        private int position;

        public readonly int Remaining => bytes.Length - position;

        public void Skip(int count, string where) => Take(count, where);

        public byte Byte(string where) => Take(1, where)[0];

        public ushort UInt16(string where) => BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort), where));

        /// <summary>A length whose items, of at least <paramref name="size"/> bytes each, can be there.</summary>
        public int Length(int size, string where)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int), where));
            return length >= 0 && length <= Remaining / size
                ? length
                : throw new WireRefusedException($"{where} claims {length} items of {size} bytes or more; {Remaining} bytes are left.");
        }

        // 0 is null, 255 says that a 32-bit length follows, anything else is the length plus one.
        public void SkipString(string where)
        {
            var first = Byte(where);
            if (first != 0)
                Skip(first == byte.MaxValue ? Length(1, where) : first - 1, where);
        }

        /// <summary>A type's name as found, for a sentence: cut short, and without anything that could forge a line of a log.</summary>
        public string Name(string where)
        {
            var name = Take(Length(1, where), where);
            var text = new StringBuilder();
            foreach (var c in name[..Math.Min(name.Length, LongestNameShown)])
                text.Append(c is >= 0x20 and < 0x7f ? (char)c : '?');
            return text.ToString();
        }

        private ReadOnlySpan<byte> Take(int count, string where)
        {
            if (count > Remaining)
                throw new WireRefusedException($"The bytes end inside {where}: {count} more are needed, {Remaining} are left.");
            var taken = bytes.Slice(position, count);
            position += count;
            return taken;
        }
    }
}
