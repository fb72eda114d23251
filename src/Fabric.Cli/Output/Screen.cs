using Spectre.Console;

namespace Fabric.Cli.Output;

/// <summary>Where text for people goes: a terminal that can be redrawn, or a pipe that gets plain lines.</summary>
internal abstract class Screen
{
    /// <summary>A terminal gets the live screen; a file, a pipe, a CI log and a dumb terminal get lines.</summary>
    public static Screen On(TextWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
        var live = console.Profile.Out.IsTerminal && console.Profile.Capabilities is { Ansi: true, Interactive: true };
        return live ? new TerminalScreen(console) : new PlainScreen(writer);
    }

    /// <summary>Whether what was shown can be redrawn.</summary>
    public abstract bool IsLive { get; }

    public abstract void Banner(string title, string text);

    public abstract void Heading(string text);

    public abstract void Line(string text, Tone tone = Tone.Normal);

    public abstract void Table(Sheet sheet);

    /// <summary>What a whole is made of, in milliseconds.</summary>
    public abstract void Split(string whole, IReadOnlyList<(string Name, double Milliseconds)> parts);

    /// <summary>Shows <paramref name="work"/> while it runs.</summary>
    public abstract Task<T> ShowAsync<T>(Func<IBoard, Task<T>> work);

    /// <summary>Names and values, a line each, the values in one column; empty values are left out.</summary>
    public void Fields(params (string Name, Cell Value)[] fields)
    {
        var shown = fields.Where(field => field.Value.Text is not ("" or "-" or null)).ToList();
        var width = shown.Max(field => field.Name.Length);
        foreach (var (name, value) in shown)
            Field(name.PadRight(width), value);
    }

    protected abstract void Field(string name, Cell value);
}
