using System.Globalization;

namespace Fabric.Cli.Output;

/// <summary>Plain lines, for pipes and logs: no colour, nothing redrawn, every line complete.</summary>
internal sealed class PlainScreen(TextWriter writer) : Screen
{
    public override bool IsLive => false;

    public override void Banner(string title, string text)
    {
        writer.WriteLine(title);
        writer.WriteLine(text);
    }

    public override void Heading(string text)
    {
        writer.WriteLine();
        writer.WriteLine($"== {text}");
    }

    public override void Line(string text, Tone tone = Tone.Normal) => writer.WriteLine(text);

    public override void Table(Sheet sheet)
    {
        foreach (var line in SheetText.Lines(sheet))
            writer.WriteLine(line);
    }

    public override void Split(string whole, IReadOnlyList<(string Name, double Milliseconds)> parts)
    {
        var sum = string.Join(" + ", parts.Select(part => $"{part.Name} {Units.Time(part.Milliseconds)}"));
        writer.WriteLine($"{whole} = {sum}");
    }

    public override Task<T> ShowAsync<T>(Func<IBoard, Task<T>> work) => work(new Board(writer));

    protected override void Field(string name, Cell value) => writer.WriteLine($"{name}  {value.Text}");

    /// <summary>A line when the stage changes, and one for each quarter of the way: a log is not a film.</summary>
    private sealed class Board(TextWriter writer) : IBoard
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<string, (string Stage, int Quarter)> _shown = [];

        public void Set(string row, double? fraction, string stage, string detail = "", bool ended = false)
        {
            var quarter = fraction is { } part ? (int)(Math.Clamp(part, 0, 1) * 4) : 0;
            lock (_gate)
            {
                if (_shown.TryGetValue(row, out var last) && last.Stage == stage && last.Quarter >= quarter)
                    return;
                _shown[row] = (stage, quarter);
                var percent = fraction is { } of && of is > 0 and < 1 ? string.Create(CultureInfo.InvariantCulture, $" {of:P0}") : "";
                writer.WriteLine($"{row}: {stage}{percent}{(detail.Length > 0 ? $", {detail}" : "")}");
            }
        }
    }
}
