namespace Fabric.Drivers;

/// <summary>How a driver that shows registers of its own puts them over accesses to config space, which go to the core all the same.</summary>
internal static class ConfigOverlay
{
    /// <summary>Copies what of a piece falls into another, both at their offsets in bytes.</summary>
    public static void Lay(ReadOnlySpan<byte> piece, long pieceAt, Span<byte> over, long overAt)
    {
        var (first, last) = (Math.Max(pieceAt, overAt), Math.Min(pieceAt + piece.Length, overAt + over.Length));
        if (first < last)
            piece[(int)(first - pieceAt)..(int)(last - pieceAt)].CopyTo(over[(int)(first - overAt)..]);
    }
}
