using System.Reflection;
using System.Runtime.CompilerServices;

namespace Fabric.Migration.Tests.Wire;

/// <summary>Makes instances of any contract type by reflection, with no member at its default, and compares them member by member.</summary>
internal sealed class WireSample
{
    private const BindingFlags DeclaredInstance =
        BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private readonly int variant;
    private int next;

    private WireSample(int variant) => (this.variant, next) = (variant, variant);

    /// <summary>Different variants hold different values; variant n holds case n, modulo their number, of every union.</summary>
    public static object Full(Type type, int variant) => new WireSample(variant).Make(type);

    /// <summary>Every member that can be null is, and every array that cannot is empty.</summary>
    public static object Bare(Type type)
    {
        var instance = Full(type, 0);
        foreach (var field in Fields(type).Where(f => !f.FieldType.IsValueType || Nullable.GetUnderlyingType(f.FieldType) is not null))
            field.SetValue(instance, field.FieldType.IsArray ? Array.CreateInstance(field.FieldType.GetElementType()!, 0) : null);
        return instance;
    }

    /// <summary>The path of the first difference, or null.</summary>
    public static string? Difference(object? left, object? right, string path = "")
    {
        if (left is null || right is null)
            return ReferenceEquals(left, right) ? null : $"{path}: {left ?? "null"} became {right ?? "null"}";
        var type = left.GetType();
        if (type != right.GetType())
            return $"{path}: {type} became {right.GetType()}";
        if (left is Array a && right is Array b)
        {
            return a.Length != b.Length
                ? $"{path}: length {a.Length} became {b.Length}"
                : First(Enumerable.Range(0, a.Length).Select(i => Difference(a.GetValue(i), b.GetValue(i), $"{path}[{i}]")));
        }

        if (IsLeaf(type))
            return left.Equals(right) ? null : $"{path}: {left} became {right}";
        return First(Fields(type).Select(f => Difference(f.GetValue(left), f.GetValue(right), $"{path}.{f.Name}")));
    }

    private static string? First(IEnumerable<string?> differences) => differences.FirstOrDefault(d => d is not null);

    private object Make(Type type)
    {
        var n = ++next;
        if (Nullable.GetUnderlyingType(type) is { } underlying)
            return Make(underlying);
        if (type.IsArray)
            return MakeArray(type.GetElementType()!);
        if (type.IsEnum)
            return Enum.GetValues(type).GetValue(Enum.GetValues(type).Length - 1)!;
        if (type == typeof(string))
            return $"text {n} é \u4e16\ud83d\ude00 {new string('x', n % 3 == 0 ? 300 : 1)}";
        if (type == typeof(Guid))
            return new Guid(n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
        if (type == typeof(DateTimeOffset))
            return new DateTimeOffset(2026, 11, 22, 10, n % 60, 30, 123, TimeSpan.FromMinutes(90));
        if (type == typeof(TimeSpan))
            return TimeSpan.FromTicks(-1_000_003L * n);
        if (type == typeof(bool))
            return true;
        if (type == typeof(char))
            return (char)('\u4e00' + n % 100);
        if (type == typeof(decimal))
            return -(n + 0.125m);
        if (type == typeof(float) || type == typeof(double))
            return Convert.ChangeType(n + 0.5, type);
        if (type.IsPrimitive)
            return Convert.ChangeType(n % 100 + 1, type);
        if (type.IsAbstract)
        {
            var cases = type.Assembly.GetTypes()
                .Where(t => t.IsSubclassOf(type) && !t.IsAbstract).OrderBy(t => t.FullName, StringComparer.Ordinal).ToArray();
            return Make(cases[variant % cases.Length]);
        }

        return MakeRecord(type);
    }

    // Without its constructor, as Hyperion will make it: a wire type's constructor may insist on what a sample does not keep.
    private object MakeRecord(Type type)
    {
        var instance = RuntimeHelpers.GetUninitializedObject(type);
        foreach (var field in Fields(type))
            field.SetValue(instance, Make(field.FieldType));
        return instance;
    }

    private Array MakeArray(Type element)
    {
        var array = Array.CreateInstance(element, 3);
        for (var i = 0; i < array.Length; i++)
            array.SetValue(Make(element), i);
        return array;
    }

    private static bool IsLeaf(Type type) =>
        type.IsPrimitive || type.IsEnum || type == typeof(string) || type == typeof(decimal) || type == typeof(Guid) ||
        type == typeof(DateTimeOffset) || type == typeof(TimeSpan);

    private static IEnumerable<FieldInfo> Fields(Type type)
    {
        for (var level = type; level is not null; level = level.BaseType)
        {
            foreach (var field in level.GetFields(DeclaredInstance))
                yield return field;
        }
    }
}
