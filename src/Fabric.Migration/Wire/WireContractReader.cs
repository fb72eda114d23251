using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

namespace Fabric.Migration.Wire;

/// <summary>Walks message types by reflection and collects what they are made of, or why they cannot cross.</summary>
internal sealed class WireContractReader
{
    private const string BackingFieldSuffix = ">k__BackingField";
    private const BindingFlags DeclaredInstance =
        BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    // Manifest and size as Hyperion's value serializers write them.
    private static readonly Dictionary<Type, ScalarShape> Scalars = new()
    {
        [typeof(long)] = new("long", 2, sizeof(long)),
        [typeof(short)] = new("short", 3, sizeof(short)),
        [typeof(byte)] = new("byte", 4, sizeof(byte)),
        [typeof(bool)] = new("bool", 6, sizeof(bool)),
        [typeof(string)] = new("string", 7, 0),
        [typeof(int)] = new("int", 8, sizeof(int)),
        [typeof(DateTimeOffset)] = new("DateTimeOffset", 10, 2 * sizeof(long)),
        [typeof(Guid)] = new("Guid", 11, 16),
        [typeof(float)] = new("float", 12, sizeof(float)),
        [typeof(double)] = new("double", 13, sizeof(double)),
        [typeof(decimal)] = new("decimal", 14, sizeof(decimal)),
        [typeof(char)] = new("char", 15, sizeof(char)),
        [typeof(ushort)] = new("ushort", 17, sizeof(ushort)),
        [typeof(uint)] = new("uint", 18, sizeof(uint)),
        [typeof(ulong)] = new("ulong", 19, sizeof(ulong)),
        [typeof(sbyte)] = new("sbyte", 20, sizeof(sbyte)),
    };

    private readonly List<string> faults = [];
    private readonly List<WireType> types = [];
    private readonly List<WireUnion> unions = [];
    private readonly Dictionary<Type, WireShape?> shapes = [];
    private readonly HashSet<Type> open = [];

    public IReadOnlyList<string> Faults => faults;

    /// <summary>What a type contains comes before it: Hyperion writes an array by its number only if it was built first.</summary>
    public IReadOnlyList<WireType> Types => types;

    public IReadOnlyList<WireUnion> Unions => unions;

    public void ReadMessage(Type type)
    {
        var name = WireText.Name(type);
        if (!WireContract.IsMessage(type))
            Fault($"{name} is given as a message but does not implement {nameof(IWireMessage)}.");
        else if (type.IsAbstract)
            Fault($"{name} is given as a message but is abstract; give its sealed cases.");
        else
            Shape(type, name);
    }

    private void Fault(string sentence) => faults.Add(sentence);

    private WireShape? Refuse(string where, Type type, string advice)
    {
        var what = where == WireText.Name(type) ? where : $"{where} is of type {type}, which";
        Fault($"{what} cannot cross the wire: {advice}.");
        return null;
    }

    /// <summary>The shape of <paramref name="type"/> at <paramref name="where"/>, or null once its fault is noted.</summary>
    private WireShape? Shape(Type type, string where)
    {
        if (Scalars.TryGetValue(type, out var scalar))
            return scalar;
        if (shapes.TryGetValue(type, out var known))
            return known ?? Refuse(where, type, "see its own fault");
        if (!open.Add(type))
            return Refuse(where, type, "a type may not contain itself; send a flat array instead");

        var shape = Read(type, where);
        open.Remove(type);
        shapes[type] = shape;
        return shape;
    }

    private WireShape? Read(Type type, string where)
    {
        if (Nullable.GetUnderlyingType(type) is { } underlying)
            return Shape(underlying, where) is { } of ? new OptionalShape(of) : null;
        if (type.IsArray)
            return ReadArray(type, where);
        if (type.IsEnum)
            return Listed(new WireEnum(type, Scalars[type.GetEnumUnderlyingType()]));
        if (type == typeof(TimeSpan))
            return Listed(new WireTimeSpan());
        if (Advice(type) is { } advice)
            return Refuse(where, type, advice);
        return type.IsAbstract ? ReadUnion(type, where) : ReadRecord(type);
    }

    private NamedShape Listed(WireType type)
    {
        types.Add(type);
        return new NamedShape(type.Type, [type.Type]);
    }

    private WireShape? ReadArray(Type type, string where)
    {
        if (!type.IsSZArray)
            return Refuse(where, type, "use a flat array and send its dimensions");
        if (Shape(type.GetElementType()!, where) is not { } element)
            return null;
        if (element is not ScalarShape)
            types.Add(new WireArray(type, element)); // arrays of scalars have a form of their own, without a number
        return new ArrayShape(type, element);
    }

    private WireShape? ReadUnion(Type type, string where)
    {
        var cases = type.Assembly.GetTypes()
            .Where(t => !t.IsAbstract && t.IsSubclassOf(type)).OrderBy(WireText.Name, StringComparer.Ordinal).ToArray();
        if (cases.Length == 0)
            return Refuse(where, type, $"it is abstract and {type.Assembly.GetName().Name} holds no case of it");
        if (cases.Count(c => Shape(c, WireText.Name(c)) is not null) != cases.Length)
            return null;
        unions.Add(new WireUnion(type, cases));
        return new NamedShape(type, cases);
    }

    private NamedShape? ReadRecord(Type type)
    {
        var name = WireText.Name(type);
        var before = faults.Count;
        var members = new List<WireMember>();
        foreach (var field in Fields(type))
        {
            if (PropertyOf(field) is not { } property)
                Fault($"{name} holds the field {field.Name}, which would cross unseen; make it a property, or compute it.");
            else if (Shape(field.FieldType, $"{name}.{property}") is { } shape)
                members.Add(new WireMember(name, property, field.FieldType, shape));
        }

        return faults.Count == before ? Listed(new WireRecord(type, members)) : null;
    }

    // Hyperion's order: all instance fields up the hierarchy, by name.
    private static IEnumerable<FieldInfo> Fields(Type type)
    {
        var fields = new List<FieldInfo>();
        for (var level = type; level is not null; level = level.BaseType)
            fields.AddRange(level.GetFields(DeclaredInstance));
        return fields.OrderBy(f => f.Name, StringComparer.Ordinal);
    }

    private static string? PropertyOf(FieldInfo field) =>
        field.IsPrivate && field.Name.StartsWith('<') && field.Name.EndsWith(BackingFieldSuffix, StringComparison.Ordinal) &&
        field.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false)
            ? field.Name[1..^BackingFieldSuffix.Length]
            : null;

    /// <summary>What to do instead, or null if <paramref name="type"/> is a record that may cross.</summary>
    private static string? Advice(Type type)
    {
        if (type == typeof(object))
            return "anything could be in it; use an abstract record with sealed cases";
        if (type.IsAssignableTo(typeof(Delegate)))
            return "code does not cross; send data";
        if (type.IsInterface)
            return "an interface is open to anyone; use an abstract record with sealed cases";
        if (type == typeof(nint) || type == typeof(nuint) || type.IsPointer || type.IsFunctionPointer)
            return "it means nothing on another host; use long or ulong";
        if (type == typeof(DateTime))
            return "it does not say which instant it is; use DateTimeOffset";
        if (type.IsGenericType)
            return "use an array, or a record without type parameters";
        if (!IsRecord(type))
            return "use a sealed record or a record struct";
        if (!type.IsSealed && !type.IsAbstract)
            return "seal it, so that nothing else can stand in its place";
        return null;
    }

    // Compilers mark neither kind of record; these two methods are theirs alone.
    private static bool IsRecord(Type type) => type.IsValueType
        ? type.GetMethod("PrintMembers", DeclaredInstance, [typeof(StringBuilder)]) is not null
        : type.GetMethod("<Clone>$", DeclaredInstance, []) is not null;
}
