using Fabric.Cli.Output;

namespace Fabric.Cli;

/// <summary>Everything a command takes from the process around it.</summary>
/// <param name="Variable">An environment variable's value, null where it is not set.</param>
/// <param name="User">Who runs the command, <c>user@host</c>: what histories show.</param>
/// <param name="Directory">Where <c>fabric</c> is installed; <c>daemon/fabricd</c> stands below it.</param>
internal sealed record CliEnvironment(
    TextWriter Out, TextWriter Error, TimeProvider Time, Func<string, string?> Variable, string User, string Directory)
{
    public static CliEnvironment OfProcess() =>
        new(
            Console.Out, Console.Error, TimeProvider.System, Environment.GetEnvironmentVariable,
            $"{Environment.UserName}@{Environment.MachineName}", AppContext.BaseDirectory);

    /// <summary><see cref="User"/> in the letters that a header takes.</summary>
    public string Requester =>
        new([.. User.Select(static letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_' or '@' or '.' ? letter : '_')]);

    public Screen OutScreen() => Screen.On(Out);

    public Screen ErrorScreen() => Screen.On(Error);
}
