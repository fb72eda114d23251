namespace Fabric.Cli.Output;

/// <summary>Rows under headings, as values: how they are drawn is the screen's business.</summary>
internal sealed class Sheet(params Column[] columns)
{
    private readonly List<Cell[]> _rows = [];

    public IReadOnlyList<Column> Columns { get; } = columns;

    public IReadOnlyList<IReadOnlyList<Cell>> Rows => _rows;

    public void Add(params Cell[] cells)
    {
        if (cells.Length != Columns.Count)
            throw new ArgumentException($"a row of {cells.Length} cells under {Columns.Count} headings", nameof(cells));
        _rows.Add(cells);
    }

    /// <summary>The same with a column for each row: the first column's cells become the headings.</summary>
    public Sheet Turned()
    {
        var turned = new Sheet([Columns[0], .. _rows.Select(row => new Column(row[0].Text))]);
        for (var i = 1; i < Columns.Count; i++)
            turned.Add([new Cell(Columns[i].Heading, Tone.Quiet), .. _rows.Select(row => row[i])]);
        return turned;
    }
}
