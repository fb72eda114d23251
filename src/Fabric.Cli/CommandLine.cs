using System.CommandLine;
using System.CommandLine.Invocation;
using Fabric.Cli.Commands;

namespace Fabric.Cli;

/// <summary>The command <c>fabric</c>: parses, runs, and turns every ending into an exit code and at most one sentence.</summary>
internal static class CommandLine
{
    private const string RequiredCommand = "Required command was not provided.";

    public static async Task<int> RunAsync(IReadOnlyList<string> args, CliEnvironment environment, ITermination termination)
    {
        var parsed = Build(environment).Parse(args);
        var configuration = new InvocationConfiguration
        {
            Output = environment.Out,
            Error = environment.Error,
            EnableDefaultExceptionHandler = false,
            // Signals are ours: the demo needs longer to stop its daemons than the library would give it.
            ProcessTerminationTimeout = null,
        };
        if (parsed.Action is ParseErrorAction)
            return Misused(parsed, environment);
        try
        {
            return await parsed.InvokeAsync(configuration, termination.Token);
        }
        catch (CommandFailure failure)
        {
            await environment.Error.WriteLineAsync(failure.Message);
            return failure.ExitCode;
        }
        catch (OperationCanceledException) when (termination.Token.IsCancellationRequested)
        {
            return termination.ExitCode;
        }
    }

    public static RootCommand Build(CliEnvironment environment)
    {
        var root = new RootCommand("Fabric moves VFIO PCI devices, with their state, between hosts.");
        var options = new GlobalOptions(environment);
        var context = new CommandContext(environment, options);
        root.Add(options.Server);
        root.Add(options.Output);
        root.Add(DemoCommand.Build(context));
        root.Add(HostCommands.Build(context));
        root.Add(DeviceCommands.Build(context));
        root.Add(SriovCommands.Build(context));
        root.Add(InjectCommands.Build(context));
        root.Add(ClaimCommands.Build(context));
        root.Add(MigrateCommand.Build(context));
        root.Add(MigrationCommands.Build(context));
        root.Add(EventCommands.Build(context));
        return root;
    }

    private static int Misused(ParseResult parsed, CliEnvironment environment)
    {
        var path = string.Join(' ', Ancestry(parsed.CommandResult.Command).Reverse());
        var sentences = parsed.Errors.Select(error => OneLine(error.Message)).Distinct().ToList();
        // The library also complains of a missing subcommand when one is only misspelt.
        if (sentences.Count > 1)
            sentences.Remove(RequiredCommand);
        if (sentences is [RequiredCommand])
            sentences = [$"'{path}' needs a command: {string.Join(", ", parsed.CommandResult.Command.Subcommands.Select(c => c.Name))}."];
        foreach (var sentence in sentences)
            environment.Error.WriteLine(sentence);
        environment.Error.WriteLine($"See '{path} --help'.");
        return ExitCode.Usage;
    }

    private static IEnumerable<string> Ancestry(Command command)
    {
        for (Symbol? symbol = command; symbol is not null; symbol = symbol.Parents.FirstOrDefault())
            yield return symbol is RootCommand ? "fabric" : symbol.Name;
    }

    private static string OneLine(string text) => string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
}
