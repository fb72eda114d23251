using System.Buffers;
using System.Collections.Frozen;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Migration.Wire;

/// <summary>
/// The closed list of what may cross between nodes: every concrete <see cref="IWireMessage"/> and every type reachable
/// through its properties. Built once, by reflection; the same types give the same <see cref="Text"/> and <see cref="Hash"/>
/// on every node. Hyperion tolerates no difference between two ends, so nodes compare hashes before they join.
/// </summary>
/// <remarks>
/// A member may be: a primitive other than <c>nint</c>, <c>string</c>, <c>decimal</c>, <see cref="Guid"/>, <see cref="DateTimeOffset"/>,
/// <see cref="TimeSpan"/>, an enum, a sealed record, a record struct, an abstract record whose cases are all sealed and in its
/// assembly, <c>T?</c> of a value type, or an array of these. Types may not contain themselves: the depth of a message is then
/// bounded by its type, and no bytes can exhaust a reader's stack.
/// </remarks>
public sealed class WireContract
{
    /// <summary>
    /// The largest message, in bytes, that is written or read: heartbeats wait for it. What can be larger is told in portions, or is bulk and goes
    /// by the data plane.
    /// </summary>
    public const int MaxMessageBytes = 1 << 18;

    private const string HashScheme = "sha256:";
    private const int HashBytes = 8;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    private readonly FrozenDictionary<Type, WireType> byType;
    private readonly Lazy<WireCodec> codec;

    private WireContract(IReadOnlyList<WireType> types, IReadOnlyList<WireUnion> unions)
    {
        Types = types;
        Unions = unions;
        byType = types.ToFrozenDictionary(t => t.Type);
        Messages = [.. types.Select(t => t.Type).Where(IsMessage).OrderBy(WireText.Name, StringComparer.Ordinal)];
        Text = WireText.Of(types, unions, HyperionVersion());
        var digest = SHA256.HashData(Encoding.UTF8.GetBytes(Text));
        Hash = HashScheme + Convert.ToHexStringLower(digest.AsSpan(0, HashBytes));
        HashPrefix = digest.AsMemory(0, HashBytes);
        codec = new Lazy<WireCodec>(() => new WireCodec(this));
    }

    /// <summary>The message types, ordered by full name.</summary>
    public IReadOnlyList<Type> Messages { get; }

    /// <summary>The contract as text: a block per type, sorted by full name; members in the order of their bytes.</summary>
    public string Text { get; }

    /// <summary><c>sha256:</c> and the first 16 hex digits of the hash of <see cref="Text"/>.</summary>
    public string Hash { get; }

    /// <summary>Every type that has a number on the wire, in the order of the numbers: what a type contains comes before it.</summary>
    internal IReadOnlyList<WireType> Types { get; }

    internal IReadOnlyList<WireUnion> Unions { get; }

    /// <summary>The bytes of <see cref="Hash"/>, which lead every message.</summary>
    internal ReadOnlyMemory<byte> HashPrefix { get; }

    /// <summary>What writes and reads these messages; compiled when first asked for.</summary>
    internal WireCodec Codec => codec.Value;

    /// <summary>The contract of every concrete <see cref="IWireMessage"/> in <paramref name="assemblies"/>.</summary>
    /// <exception cref="WireContractException">A type or member cannot cross; there is a sentence for each.</exception>
    public static WireContract From(params Assembly[] assemblies) =>
        Of([.. assemblies.SelectMany(a => a.GetTypes()).Where(t => IsMessage(t) && !t.IsAbstract)]);

    /// <summary>The contract of exactly these messages, in any order.</summary>
    /// <exception cref="WireContractException">A type or member cannot cross; there is a sentence for each.</exception>
    public static WireContract Of(params Type[] messages)
    {
        var reader = new WireContractReader();
        foreach (var message in messages.Distinct().OrderBy(WireText.Name, StringComparer.Ordinal))
            reader.ReadMessage(message);
        return reader.Faults.Count == 0 ? new WireContract(reader.Types, reader.Unions) : throw new WireContractException(reader.Faults);
    }

    /// <summary>Whether <paramref name="type"/> may be the root of what crosses.</summary>
    public bool IsMessageListed(Type type) => IsMessage(type) && byType.ContainsKey(type);

    /// <summary>Whether <paramref name="text"/>, which may be a stranger's, has the form of a <see cref="Hash"/>.</summary>
    internal static bool IsHash(string text) =>
        text.Length == HashScheme.Length + 2 * HashBytes &&
        text.StartsWith(HashScheme, StringComparison.Ordinal) &&
        text.AsSpan(HashScheme.Length).IndexOfAnyExcept(HexDigits) < 0;

    internal static bool IsMessage(Type type) => type.IsAssignableTo(typeof(IWireMessage));

    // Another Hyperion may write other bytes for the same types.
    private static string HyperionVersion() =>
        typeof(Hyperion.Serializer).Assembly.GetName().Version?.ToString(3)
        ?? throw new InvalidOperationException("The Hyperion assembly carries no version.");
}
