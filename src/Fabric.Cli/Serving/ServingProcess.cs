using System.Diagnostics;
using Fabric.Cli.Demo;

namespace Fabric.Cli.Serving;

/// <summary>A <c>fabricd serve</c> in the foreground: its words are ours, and it ends with us, however we end.</summary>
internal sealed class ServingProcess(string executable, TimeProvider time)
{
    /// <summary>Until what serves has let go of its device and taken its socket away.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Runs it until it ends, or until it is told to. What it says goes to the writers, line by line.</summary>
    /// <returns>Its exit code.</returns>
    /// <exception cref="CommandFailure">There is no such executable.</exception>
    /// <exception cref="OperationCanceledException">It was told to end, and has ended.</exception>
    public async Task<int> RunAsync(IReadOnlyList<string> arguments, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        if (!File.Exists(executable))
            throw new CommandFailure($"The daemon {executable} is not there: build the repository, or name another by --fabricd.");
        // Signals of the terminal are for us, who then end it in order. Should we be killed, it sees its standard input close.
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList = { "-c", "trap '' INT HUP; exec \"$@\"", "fabricd", executable, "serve", "--exit-on-stdin-close" },
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        DaemonProcess.Prepare(start.Environment);
        using var process = Process.Start(start) ?? throw new CommandFailure($"{executable} could not be started: /bin/sh gave no process.");
        var said = Task.WhenAll(PassOnAsync(process.StandardOutput, output), PassOnAsync(process.StandardError, error));
        try
        {
            await process.WaitForExitAsync(cancellation);
            await said;
            return process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            await DaemonProcess.StopAsync(process, Patience, time);
            await said;
            throw;
        }
    }

    private static async Task PassOnAsync(StreamReader from, TextWriter to)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            await to.WriteLineAsync(line);
            await to.FlushAsync();
        }
    }
}
