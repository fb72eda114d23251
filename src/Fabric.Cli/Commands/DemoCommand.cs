using System.CommandLine;
using Fabric.Cli.Demo;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric demo</c></summary>
internal static class DemoCommand
{
    private const int TailLines = 20;

    public static Command Build(CommandContext context)
    {
        var stateSize = new Option<ByteSize>("--state-size")
        {
            Description = "Device state of each emulated function.",
            HelpName = "SIZE",
            DefaultValueFactory = _ => new ByteSize(64 << 20),
            CustomParser = result =>
            {
                if (ByteSize.TryParse(result.Tokens[0].Value, out var size))
                    return size;
                result.AddError($"'{result.Tokens[0].Value}' is no state size: write 64MiB or 1GiB, {ByteSize.Bounds}.");
                return null;
            },
        };
        var journal = new Option<string?>("--journal")
        {
            Description = "Connection string of a PostgreSQL: three control nodes instead of one on SQLite.",
            HelpName = "\"Host=…\"",
        };
        var downtime = Numbers.Option("--downtime-ms", "Longest stop of the workload, in ms; default 300.", "N");
        var pace = Numbers.Option("--pace", "Steps of the workload in a second; default 20000.", "N");
        var fabricd = new Option<string?>("--fabricd")
        {
            Description = "The daemon to start; default the one beside fabric.",
            HelpName = "PATH",
        };
        var json = new Option<bool>("--json") { Description = "Print the report alone, as JSON, on standard output; same as -o json." };
        var keep = new Option<bool>("--keep") { Description = "Leave the daemons up after the report." };
        return context.Command(
            "demo",
            "Start a fabric on this machine, migrate a device in use, kill hosts and the control node meanwhile, and report.",
            invocation =>
            {
                var options = new DemoOptions(
                    invocation.Value(stateSize)!,
                    invocation.Value(journal) is { Length: > 0 } connection ? connection : null,
                    invocation.Value(pace),
                    invocation.Value(downtime) ?? 300,
                    Path.GetFullPath(invocation.Value(fabricd) ?? Path.Combine(invocation.Environment.Directory, "daemon", "fabricd")),
                    invocation.Value(keep));
                return RunAsync(invocation, options, invocation.Value(json) || invocation.Format == OutputFormat.Json);
            },
            stateSize, journal, downtime, pace, fabricd, json, keep);
    }

    private static async Task<int> RunAsync(Invocation invocation, DemoOptions options, bool json)
    {
        var screen = json ? invocation.Environment.ErrorScreen() : invocation.OutScreen;
        var time = invocation.Environment.Time;
        await using var fabric = DemoFabric.Create(options, time);
        var record = new DemoRecord(options, time);
        screen.Banner(
            "Fabric",
            $"A device in use moves between hosts; hosts and control nodes die. State {options.StateSize}, journal "
            + $"{(options.Journal is null ? "SQLite" : "PostgreSQL")}, downtime limit {options.DowntimeMs} ms.");
        var (report, exitCode) = await PlayAsync(new Stage(fabric, options, screen, time, record), invocation.Cancellation);

        fabric.Left = options.Keep && record.IsComplete;
        // Of what was wrongly asked for everything has been said.
        fabric.KeepsLogs = exitCode == ExitCode.Failed;
        if (fabric.Left)
            report = report with { Daemons = fabric.Running };
        ReportView.Show(screen, report);
        if (json)
            await invocation.Environment.Out.WriteLineAsync(JsonText.Document(report));
        if (fabric.Left)
            ShowLeft(screen, fabric);
        else if (fabric.KeepsLogs)
            ShowLogs(screen, fabric);
        // A log ends with the verdict; a person is told what the prompt still waits for.
        if (!fabric.Left && screen.IsLive)
            screen.Line("Stopping the daemons.", Tone.Quiet);
        return exitCode;
    }

    private static async Task<(DemoReport Report, int ExitCode)> PlayAsync(Stage stage, CancellationToken cancellation)
    {
        try
        {
            await DemoScript.PlayAsync(stage, cancellation);
            var report = stage.Record.Report();
            return (report, report.Ok ? ExitCode.Ok : ExitCode.Failed);
        }
        catch (CommandFailure failure)
        {
            return (stage.Record.Report(failure.Message), failure.ExitCode == ExitCode.Usage ? ExitCode.Usage : ExitCode.Failed);
        }
        catch (OperationCanceledException)
        {
            stage.Screen.Line("Interrupted: the daemons are being stopped.", Tone.Warning);
            throw;
        }
    }

    private static void ShowLeft(Screen screen, DemoFabric fabric)
    {
        screen.Heading("Left running");
        var sheet = new Sheet("daemon", "api", Column.OfNumbers("process"));
        foreach (var daemon in fabric.Running)
            sheet.Add(daemon.Name, daemon.Api, $"{daemon.Pid}");
        screen.Table(sheet);
        screen.Line($"Look around: fabric device list --server {fabric.Running[0].Api}");
        screen.Line($"Stop: kill {string.Join(' ', fabric.Running.Select(daemon => daemon.Pid))} && rm -r {fabric.Folder}");
    }

    private static void ShowLogs(Screen screen, DemoFabric fabric)
    {
        screen.Heading("Logs");
        foreach (var (name, path) in fabric.Logs)
        {
            screen.Line($"{name}: {path}");
            // Where nobody can look into the folder afterwards, as in CI, the last lines are all there is.
            if (!screen.IsLive)
                screen.Line(LogTail.Of(path, TailLines));
        }
    }
}
