using System.Globalization;
using System.Text;

namespace Fabric.Migration.Wire;

/// <summary>Prints a contract so that two contracts are equal exactly when their texts are, and a change reads well in a diff.</summary>
internal static class WireText
{
    public static string Name(Type type) => type.FullName ?? type.Name;

    public static string Of(IEnumerable<WireType> types, IEnumerable<WireUnion> unions, string hyperionVersion)
    {
        var blocks = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var type in types)
        {
            switch (type)
            {
                case WireRecord record:
                    blocks[record.Name] = Block(Kind(record.Type), record.Name, record.Members.Select(m => $"{m.Name}: {m.Shape.Text}"));
                    break;
                case WireEnum e:
                    blocks[e.Name] = Block("enum", $"{e.Name}: {e.Underlying.Text}", Values(e.Type));
                    break;
                case WireTimeSpan or WireArray:
                    break; // spelled out where they are used
            }
        }

        foreach (var union in unions)
            blocks[Name(union.Type)] = Block("union", Name(union.Type), union.Cases.Select(Name));

        var text = new StringBuilder()
            .Append("# What crosses between nodes, in the order of its bytes. Nodes with different contracts do not join each other.\n")
            .Append(CultureInfo.InvariantCulture, $"format fabric-wire/1 hyperion/{hyperionVersion}\n");
        foreach (var block in blocks.Values)
            text.Append('\n').Append(block);
        return text.ToString();
    }

    private static string Kind(Type type) =>
        type.IsAssignableTo(typeof(IWireMessage)) ? "message" : type.IsValueType ? "struct" : "record";

    // Aliases share a value: the name keeps their order stable, which reflection does not promise.
    private static IEnumerable<string> Values(Type type) =>
        Enum.GetNames(type)
            .Select(name => (Name: name, Value: Convert.ToDecimal(Enum.Parse(type, name), CultureInfo.InvariantCulture)))
            .OrderBy(v => v.Value).ThenBy(v => v.Name, StringComparer.Ordinal)
            .Select(v => string.Create(CultureInfo.InvariantCulture, $"{v.Name} = {v.Value}"));

    private static string Block(string kind, string head, IEnumerable<string> lines)
    {
        var block = new StringBuilder().Append(kind).Append(' ').Append(head).Append('\n');
        foreach (var line in lines)
            block.Append("  ").Append(line).Append('\n');
        return block.ToString();
    }
}
