using System.Collections.Concurrent;
using System.Reflection;
using System.Text;

namespace Fabric.Migration.Wire;

/// <summary>
/// How many bytes a message, or a part of one, takes on the wire at most: counted without writing it, for whoever cuts what is told into portions.
/// A value of fixed size counts as the largest there is, so that only texts, arrays and records are looked at.
/// </summary>
internal static class WireWeight
{
    /// <summary>The number of a type, a length, and a null or not.</summary>
    private const int Frame = 8;

    private const int Scalar = 24;

    private static readonly ConcurrentDictionary<Type, Shape> Shapes = new();

    public static int Of(object? value) => value switch
    {
        null => 1,
        string text => Frame + Encoding.UTF8.GetByteCount(text),
        byte[] bytes => Frame + bytes.Length,
        Array array when IsScalar(array.GetType().GetElementType()!) => Frame + (array.Length * Scalar),
        Array array => Frame + array.Cast<object?>().Sum(Of),
        _ when IsScalar(value.GetType()) => Scalar,
        _ => Shapes.GetOrAdd(value.GetType(), Shape.Of).Weigh(value),
    };

    private static bool IsScalar(Type type)
    {
        var held = Nullable.GetUnderlyingType(type) ?? type;
        return held.IsPrimitive || held.IsEnum || held == typeof(decimal) || held == typeof(Guid) || held == typeof(DateTimeOffset) || held == typeof(TimeSpan);
    }

    /// <param name="Fixed">Of its members of fixed size, and its frame.</param>
    /// <param name="Others">Members that have to be looked at.</param>
    private sealed record Shape(int Fixed, FieldInfo[] Others)
    {
        public static Shape Of(Type type)
        {
            var members = new List<FieldInfo>();
            // Of the bases too, whose private fields are not listed with those of the type.
            for (var owner = type; owner is not null && owner != typeof(object); owner = owner.BaseType)
                members.AddRange(owner.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly));
            return new Shape(
                Frame + (members.Count(static member => IsScalar(member.FieldType)) * Scalar),
                [.. members.Where(static member => !IsScalar(member.FieldType))]);
        }

        public int Weigh(object value)
        {
            var weight = Fixed;
            foreach (var member in Others)
                weight += WireWeight.Of(member.GetValue(value));
            return weight;
        }
    }
}
