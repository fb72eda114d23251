using System.Globalization;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>A field of a structure. Element size and no end for an array that ends the structure.</summary>
public sealed record UapiField(string Name, int Offset, int Size, bool IsTail);

/// <summary>A line of ioctls.tsv.</summary>
public sealed record UapiRow(string Kind, string Name, uint Number, string Fd, string Struct, int Size, int MinSize, IReadOnlyList<UapiField> Fields)
{
    public static IReadOnlyList<UapiRow> All { get; } =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Contract", "ioctls.tsv")).Skip(1).Select(Read)];

    public static IEnumerable<TheoryDataRow<UapiRow>> OfKind(params string[] kinds) =>
        All.Where(row => kinds.Contains(row.Kind)).Select(row => new TheoryDataRow<UapiRow>(row));

    public override string ToString() => Name;

    private static UapiRow Read(string line)
    {
        var cells = line.Split('\t');
        var number = cells[2] == "-" ? 0 : uint.Parse(cells[2].AsSpan(2), NumberStyles.HexNumber);
        return new(cells[0], cells[1], number, cells[3], cells[4], int.Parse(cells[5]), int.Parse(cells[6]), Fieldset(cells[7]));
    }

    private static UapiField[] Fieldset(string cell) => cell == "-" ? [] : [.. cell.Split(',').Select(Field)];

    private static UapiField Field(string text)
    {
        var parts = text.Split('@', ':');
        return new(parts[0].Replace("[]", ""), int.Parse(parts[1]), int.Parse(parts[2].TrimEnd('*')), parts[2].EndsWith('*'));
    }
}
