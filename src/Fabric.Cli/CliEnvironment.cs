using Fabric.Cli.Output;

namespace Fabric.Cli;

/// <summary>Everything a command takes from the process around it.</summary>
/// <param name="Variable">An environment variable's value, null where it is not set.</param>
/// <param name="Directory">Where <c>fabric</c> is installed; <c>daemon/fabricd</c> stands below it.</param>
internal sealed record CliEnvironment(
    TextWriter Out, TextWriter Error, TimeProvider Time, Func<string, string?> Variable, string Directory)
{
    public static CliEnvironment OfProcess() =>
        new(Console.Out, Console.Error, TimeProvider.System, Environment.GetEnvironmentVariable, AppContext.BaseDirectory);

    public Screen OutScreen() => Screen.On(Out);

    public Screen ErrorScreen() => Screen.On(Error);
}
