using System.CommandLine;

namespace Fabric.Cli.Commands;

/// <summary>What the commands are built from.</summary>
internal sealed record CommandContext(CliEnvironment Environment, GlobalOptions Options)
{
    public Command Command(string name, string description, Func<Invocation, Task<int>> run, params Symbol[] symbols)
    {
        var command = new Command(name, description);
        foreach (var symbol in symbols)
        {
            if (symbol is Argument argument)
                command.Add(argument);
            else
                command.Add((Option)symbol);
        }

        command.SetAction(async (parsed, cancellation) =>
        {
            using var invocation = new Invocation(Environment, Options, parsed, cancellation);
            return await run(invocation);
        });
        return command;
    }
}
