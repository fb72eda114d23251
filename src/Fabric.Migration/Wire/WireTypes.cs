namespace Fabric.Migration.Wire;

/// <summary>What a member may hold.</summary>
internal abstract record WireShape(string Text);

/// <summary>What Hyperion writes bare as a member, without a manifest. <c>Size</c> in bytes; 0 for a string, which carries its own.</summary>
internal sealed record ScalarShape(string Text, byte Manifest, int Size) : WireShape(Text);

/// <summary>A listed type; <c>Cases</c> are the types that may stand there: itself, or the cases of a union.</summary>
internal sealed record NamedShape(Type Type, IReadOnlyList<Type> Cases) : WireShape(WireText.Name(Type))
{
    /// <summary>Nullable annotations are not enforced: <c>default</c> of a struct leaves nulls where they deny them.</summary>
    public bool CanBeNull => !Type.IsValueType;
}

/// <summary><c>T?</c> of a value type.</summary>
internal sealed record OptionalShape(WireShape Of) : WireShape(Of.Text + "?");

internal sealed record ArrayShape(Type Type, WireShape Element) : WireShape(Element.Text + "[]");

internal sealed record WireMember(string Owner, string Name, Type Type, WireShape Shape)
{
    public string Path { get; } = $"{Owner}.{Name}";
}

/// <summary>A type with a number on the wire: its position among Hyperion's known types.</summary>
internal abstract record WireType(Type Type)
{
    public string Name { get; } = WireText.Name(Type);
}

/// <summary><c>Members</c> in the order of their bytes.</summary>
internal sealed record WireRecord(Type Type, IReadOnlyList<WireMember> Members) : WireType(Type);

internal sealed record WireEnum(Type Type, ScalarShape Underlying) : WireType(Type);

internal sealed record WireTimeSpan() : WireType(typeof(TimeSpan));

internal sealed record WireArray(Type Type, WireShape Element) : WireType(Type);

/// <summary>An abstract record and its sealed cases. It has no number: only its cases are ever written.</summary>
internal sealed record WireUnion(Type Type, IReadOnlyList<Type> Cases);
