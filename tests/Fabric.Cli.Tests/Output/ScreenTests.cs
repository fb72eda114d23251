using Fabric.Cli.Output;
using Spectre.Console;

namespace Fabric.Cli.Tests.Output;

public sealed class ScreenTests
{
    [Fact]
    public void What_is_no_terminal_gets_plain_lines()
    {
        using var writer = new StringWriter();

        Assert.IsType<PlainScreen>(Screen.On(writer));
    }

    [Fact]
    public async Task A_pipe_is_not_told_every_percent()
    {
        using var writer = new StringWriter();

        await new PlainScreen(writer).ShowAsync(board =>
        {
            for (var percent = 0; percent <= 100; percent++)
                board.Set("demo.1", percent / 100.0, "pre-copy");
            return Task.FromResult(0);
        });

        Assert.Equal(5, writer.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public void Text_of_others_is_never_markup()
    {
        var (screen, written) = Terminal();
        var sheet = new Sheet("name");
        sheet.Add("[red]x[/]");

        screen.Banner("[b]", "[/]");
        screen.Heading("[a]");
        screen.Line("[b]");
        screen.Fields(("[c]", "[d]"));
        screen.Table(sheet);

        Assert.Contains("[red]x[/]", written.ToString());
    }

    [Fact]
    public async Task A_terminal_shows_rows_with_brackets_in_their_names()
    {
        var (screen, written) = Terminal();

        await screen.ShowAsync(board =>
        {
            board.Set("host-a [1]", null, "starting");
            board.Set("host-a [1]", 1, "ready", "in [no] time");
            return Task.FromResult(0);
        });

        Assert.Contains("in [no] time", written.ToString());
    }

    [Fact]
    public void A_pipe_gets_a_split_as_a_sum()
    {
        using var writer = new StringWriter();

        new PlainScreen(writer).Split("Downtime, 41.2 ms", [("quiesce", 1.2), ("copy", 40)]);

        Assert.Equal("Downtime, 41.2 ms = quiesce 1.2 ms + copy 40.0 ms\n", writer.ToString());
    }

    [Theory]
    [InlineData(60, "│ xxxxxxxx │ xxxxxxxx │")]
    [InlineData(30, "│ b │ xxxxxxxx │")]
    [InlineData(10, "xxxxxxxx  xxxxxxxx  xxxxxxxx")]
    public void A_table_too_wide_is_turned_and_then_left_to_the_terminal(int width, string shown)
    {
        var (screen, written) = Terminal(width);
        var sheet = new Sheet("a", "b", "c", "d", "e");
        sheet.Add("xxxxxxxx", "xxxxxxxx", "xxxxxxxx", "xxxxxxxx", "xxxxxxxx");

        screen.Table(sheet);

        Assert.Contains(shown, Uncoloured(written));
    }

    private static string Uncoloured(StringWriter written) =>
        System.Text.RegularExpressions.Regex.Replace(written.ToString(), "\u001b\\[[0-9;]*m", "");

    private static (TerminalScreen Screen, StringWriter Written) Terminal(int width = 80)
    {
        var written = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            Interactive = InteractionSupport.Yes,
            Out = new AnsiConsoleOutput(written),
        });
        console.Profile.Width = width;
        return (new TerminalScreen(console), written);
    }
}
