using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

// One of everything that may cross.
public enum Level : byte
{
    Low = 1,
    High = 200,
}

public enum Wide : ulong
{
    None,
    All = ulong.MaxValue,
}

public readonly record struct Point(int X, int Y);

public readonly record struct Label(string Text, Level Level);

public sealed record Part(string Name, Point At, byte[] Content);

public abstract record Outcome(Guid Attempt);

public sealed record Done(Guid Attempt, long Bytes) : Outcome(Attempt);

public sealed record Failed(Guid Attempt, string Reason, Level Level) : Outcome(Attempt);

public sealed record Empty : IWireMessage;

public sealed record Simple(string Id, ulong Offset, byte Width) : IWireMessage;

public sealed record WithOutcome(Outcome Outcome, Outcome[] Earlier) : IWireMessage;

public sealed record InitOnly : IWireMessage
{
    public required string Id { get; init; }

    public int Number { get; init; }

    public int Computed => Number + 1;
}

public sealed record Scalars(
    bool Bool, byte Byte, sbyte SByte, short Short, ushort UShort, int Int, uint UInt, long Long, ulong ULong, float Float, double Double,
    char Char, decimal Decimal, string Text, Guid Guid, DateTimeOffset At, TimeSpan Span, Level Level, Wide Wide, Point Point, Part Part)
    : IWireMessage;

public sealed record Optionals(
    bool? Bool, byte? Byte, sbyte? SByte, short? Short, ushort? UShort, int? Int, uint? UInt, long? Long, ulong? ULong, float? Float,
    double? Double, char? Char, decimal? Decimal, Guid? Guid, DateTimeOffset? At, TimeSpan? Span, Level? Level, Wide? Wide, Point? Point,
    Label? Label, string? Text, Part? Part, byte[]? Bytes) : IWireMessage;

public sealed record Arrays(
    bool[] Bools, byte[] Bytes, sbyte[] SBytes, short[] Shorts, ushort[] UShorts, int[] Ints, uint[] UInts, long[] Longs, ulong[] ULongs,
    float[] Floats, double[] Doubles, char[] Chars, decimal[] Decimals, string[] Texts, Guid[] Guids, DateTimeOffset[] Ats,
    TimeSpan[] Spans, Level[] Levels, Wide[] Wides, Point[] Points, Label[] Labels, Part[] Parts, int?[] OptionalInts,
    Point?[] OptionalPoints, Level?[] OptionalLevels, TimeSpan?[] OptionalSpans, Outcome[] Outcomes, byte[][] Blobs, int[][] Rows, Part[][] Groups) : IWireMessage;

// Listed nowhere.
public sealed record Stranger(string Id) : IWireMessage;

public sealed record NotAMessage(string Id);

// What may not cross. Their faults are in the contract's construction, so each is given to it alone.
public sealed record Carries<T>(T Held) : IWireMessage;

public record Unsealed(int Number) : IWireMessage;

public abstract record NoCases;

public abstract record OpenCases;

public record OpenCase(int Number) : OpenCases;

public sealed record Chain(Chain[] Next) : IWireMessage;

public sealed class PlainClass;

public struct PlainStruct;

public sealed record HiddenState(int Number) : IWireMessage
{
    private readonly int remembered = Number;

    public int Twice => remembered * 2;
}

internal static class Samples
{
    public static readonly Type[] Messages =
        [typeof(Empty), typeof(Simple), typeof(WithOutcome), typeof(InitOnly), typeof(Scalars), typeof(Optionals), typeof(Arrays)];

    public static readonly WireContract Contract = WireContract.Of(Messages);

    /// <summary>As another build would have it: one message fewer.</summary>
    public static readonly WireContract OtherContract = WireContract.Of(Messages[1..]);
}
