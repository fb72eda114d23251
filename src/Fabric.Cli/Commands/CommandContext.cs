using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;

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
            try
            {
                var ending = await run(invocation);
                if (Options.PlansOnly)
                    invocation.Complain("The command changes nothing; there was nothing to plan.");
                return ending;
            }
            catch (PlanAnswered answered)
            {
                invocation.Print(answered.Plan, ResourceViews.Show);
                return answered.Plan.Value.Possible ? ExitCode.Ok : ExitCode.RefusedByPlan;
            }
        });
        return command;
    }
}
