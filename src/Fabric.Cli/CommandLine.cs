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
        root.Add(options.Certificate);
        root.Add(options.Key);
        root.Add(options.Authority);
        root.Add(DemoCommand.Build(context));
        AddCommands(root, context);
        root.Add(PlanCommand(environment, options));
        return root;
    }

    /// <summary>The same commands below <c>plan</c>: what would change something is asked for its plan, by the checks that it makes itself.</summary>
    private static Command PlanCommand(CliEnvironment environment, GlobalOptions options)
    {
        var plan = new Command("plan", "Say what any changing command would do, and why not; nothing is changed. 0: it would, 3: it would be refused.");
        AddCommands(plan, new CommandContext(environment, options with { PlansOnly = true }));
        return plan;
    }

    private static void AddCommands(Command root, CommandContext context)
    {
        root.Add(ServeCommand.Build(context));
        root.Add(HostCommands.Build(context));
        root.Add(RebalanceCommand.Build(context));
        root.Add(BreakerCommands.Build(context));
        root.Add(DeviceCommands.Build(context));
        root.Add(DriverCommands.Build(context));
        root.Add(SriovCommands.Build(context));
        root.Add(MdevCommands.Build(context));
        root.Add(InjectCommands.Build(context));
        root.Add(ClaimCommands.Build(context));
        root.Add(MigrateCommand.Build(context));
        root.Add(MigrationCommands.Build(context));
        root.Add(EventCommands.Build(context));
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
