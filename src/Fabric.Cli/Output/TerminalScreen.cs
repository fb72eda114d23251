using System.Collections.Concurrent;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Fabric.Cli.Output;

/// <summary>A terminal: colours, frames and bars that move.</summary>
internal sealed class TerminalScreen(IAnsiConsole console) : Screen
{
    private static readonly Color[] PartColors =
        [Color.DeepSkyBlue1, Color.MediumPurple1, Color.Orange1, Color.Green3, Color.HotPink, Color.Yellow3, Color.Turquoise2];

    public override bool IsLive => true;

    public override void Banner(string title, string text) => console.Write(
        new Panel(new Markup($"[bold deepskyblue1]{Markup.Escape(title)}[/]\n[grey]{Markup.Escape(text)}[/]"))
        {
            Border = BoxBorder.Rounded,
            BorderStyle = new Style(Color.DeepSkyBlue1),
            Padding = new Padding(2, 0),
        });

    public override void Heading(string text)
    {
        console.WriteLine();
        console.Write(new Rule($"[bold deepskyblue1]{Markup.Escape(text)}[/]")
        {
            Justification = Justify.Left,
            Style = new Style(Color.Grey35),
        });
    }

    public override void Line(string text, Tone tone = Tone.Normal) => console.Write(new Text(text + "\n", StyleOf(tone)));

    /// <summary>
    /// Framed where that fits; else turned, so that its rows stand side by side; else as plain lines, which the terminal breaks.
    /// Words broken inside their cells would be read by nobody.
    /// </summary>
    public override void Table(Sheet sheet)
    {
        var shape = Fits(sheet) ? sheet : Fits(sheet.Turned()) ? sheet.Turned() : null;
        if (shape is not null)
        {
            console.Write(Framed(shape));
            return;
        }

        foreach (var line in SheetText.Lines(sheet))
            console.Profile.Out.Writer.WriteLine(line);
    }

    public override void Split(string whole, IReadOnlyList<(string Name, double Milliseconds)> parts)
    {
        console.Write(new Text(whole + "\n", StyleOf(Tone.Strong)));
        var chart = new BreakdownChart { Width = Math.Min(console.Profile.Width, 96), ValueFormatter = (value, _) => Units.Time(value) };
        for (var i = 0; i < parts.Count; i++)
            chart.AddItem(parts[i].Name, Math.Max(parts[i].Milliseconds, 0), PartColors[i % PartColors.Length]);
        console.Write(chart);
    }

    public override Task<T> ShowAsync<T>(Func<IBoard, Task<T>> work)
    {
        var details = new DetailColumn();
        return console.Progress()
            .AutoClear(false)
            .HideCompleted(false)
            .Columns(
                new SpinnerColumn(Spinner.Known.Dots) { CompletedText = "[green]✓[/]", Style = new Style(Color.DeepSkyBlue1) },
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn
                {
                    Width = 32,
                    CompletedStyle = new Style(Color.DeepSkyBlue1),
                    FinishedStyle = new Style(Color.Green3),
                    RemainingStyle = new Style(Color.Grey23),
                },
                details)
            .StartAsync(context => work(new Board(context, details)));
    }

    protected override void Field(string name, Cell value)
    {
        console.Write(new Text(name + "  ", StyleOf(Tone.Quiet)));
        console.Write(new Text(value.Text + "\n", StyleOf(value.Tone)));
    }

    private static Table Framed(Sheet sheet)
    {
        var table = new Table { Border = TableBorder.Rounded, BorderStyle = new Style(Color.Grey35) };
        foreach (var column in sheet.Columns)
            table.AddColumn(new TableColumn(new Text(column.Heading, new Style(Color.Grey70, decoration: Decoration.Bold)))
            {
                Alignment = column.Number ? Justify.Right : Justify.Left,
            });
        foreach (var row in sheet.Rows)
            table.AddRow(row.Select(cell => new Text(cell.Text, StyleOf(cell.Tone))));
        return table;
    }

    private bool Fits(Sheet sheet) => SheetText.Widths(sheet).Sum(width => width + 3) + 1 <= console.Profile.Width;

    private static Style StyleOf(Tone tone) => tone switch
    {
        Tone.Strong => new Style(decoration: Decoration.Bold),
        Tone.Quiet => new Style(Color.Grey62),
        Tone.Good => new Style(Color.Green3),
        Tone.Warning => new Style(Color.Orange1),
        Tone.Bad => new Style(Color.Red, decoration: Decoration.Bold),
        _ => Style.Plain,
    };

    private sealed class Board(ProgressContext context, DetailColumn details) : IBoard
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<string, ProgressTask> _tasks = [];

        public void Set(string row, double? fraction, string stage, string detail = "", bool ended = false)
        {
            lock (_gate)
            {
                if (!_tasks.TryGetValue(row, out var task))
                    _tasks[row] = task = context.AddTask(Markup.Escape(row), maxValue: 1);
                task.IsIndeterminate = fraction is null;
                task.Value = Math.Clamp(fraction ?? 0, 0, 1);
                details.Set(task, detail.Length > 0 ? $"{stage}  {detail}" : stage);
                if (ended)
                    task.StopTask();
            }
        }
    }

    private sealed class DetailColumn : ProgressColumn
    {
        private readonly ConcurrentDictionary<int, string> _texts = new();

        protected override bool NoWrap => true;

        public void Set(ProgressTask task, string text) => _texts[task.Id] = text;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(_texts.GetValueOrDefault(task.Id, ""), StyleOf(Tone.Quiet)) { Overflow = Overflow.Ellipsis };
    }
}
