using System.Collections.Immutable;
using System.Globalization;
using System.Text;

namespace Fabric.Vfio.Core.Inspection;

/// <summary>A part of a device's live state (contract §11.1): a name, a value where it has one, and what is below it. Hexadecimal where that is natural.</summary>
public sealed record InspectNode(string Name, string? Value, ImmutableArray<InspectNode> Children)
{
    public static InspectNode Leaf(string name, string value) => new(name, value, []);

    public static InspectNode Leaf(string name, bool value) => Leaf(name, value ? "yes" : "no");

    public static InspectNode Leaf(string name, int value) => Leaf(name, value.ToString(CultureInfo.InvariantCulture));

    public static InspectNode Hex(string name, ulong value) => Leaf(name, string.Create(CultureInfo.InvariantCulture, $"0x{value:x}"));

    public static InspectNode Tree(string name, params ImmutableArray<InspectNode> children) => new(name, null, children);

    /// <summary>The child of this name; null where there is none.</summary>
    public InspectNode? this[string name] => Children.FirstOrDefault(child => child.Name == name);

    /// <summary>The whole tree, a line each, indented by two.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        Write(text, 0);
        return text.ToString();
    }

    private void Write(StringBuilder text, int depth)
    {
        text.Append(' ', 2 * depth).Append(Name);
        if (Value is not null)
            text.Append(": ").Append(Value);
        text.Append('\n');
        foreach (var child in Children)
            child.Write(text, depth + 1);
    }
}
