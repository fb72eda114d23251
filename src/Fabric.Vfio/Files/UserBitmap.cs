using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>Bits in a caller's memory: bit 0 of the first byte is page 0.</summary>
internal static class UserBitmap
{
    private const int ChunkBytes = 256;

    /// <summary>Sets the bits of two pages and of all between them, and leaves every other as it is. False: the memory is not there.</summary>
    public static bool TrySet(IUserMemory memory, ulong bitmap, ulong first, ulong last)
    {
        Span<byte> chunk = stackalloc byte[ChunkBytes];
        for (var at = first >> 3; at <= last >> 3;)
        {
            var part = chunk[..(int)Math.Min((last >> 3) - at + 1, ChunkBytes)];
            if (!memory.TryRead(bitmap + at, part))
                return false;
            for (var i = 0; i < part.Length; i++)
                part[i] |= Mask(at + (ulong)i, first, last);
            if (!memory.TryWrite(bitmap + at, part))
                return false;
            at += (ulong)part.Length;
        }

        return true;
    }

    private static byte Mask(ulong index, ulong first, ulong last)
    {
        var mask = 0xff;
        if (index == first >> 3)
            mask &= 0xff << (int)(first & 7);
        if (index == last >> 3)
            mask &= 0xff >> (7 - (int)(last & 7));
        return (byte)mask;
    }
}
