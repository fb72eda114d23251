namespace Fabric.Cli.Output;

/// <summary>A <see cref="Sheet"/> as lines of text, in columns two spaces apart.</summary>
internal static class SheetText
{
    private const string Gap = "  ";

    public static IEnumerable<string> Lines(Sheet sheet)
    {
        var layout = sheet.Columns.Zip(Widths(sheet)).ToList();
        yield return Line(layout, sheet.Columns.Select(column => column.Heading.ToUpperInvariant()));
        foreach (var row in sheet.Rows)
            yield return Line(layout, row.Select(cell => cell.Text));
    }

    /// <summary>The widest text of each column, its heading included, in characters.</summary>
    public static IEnumerable<int> Widths(Sheet sheet) => sheet.Columns.Select(
        (column, at) => sheet.Rows.Select(row => row[at].Text.Length).Append(column.Heading.Length).Max());

    private static string Line(IReadOnlyList<(Column Column, int Width)> layout, IEnumerable<string> texts) =>
        string.Join(Gap, texts.Zip(layout, (text, at) => at.Column.Number ? text.PadLeft(at.Width) : text.PadRight(at.Width))).TrimEnd();
}
