using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>One running <c>fabricd</c>.</summary>
internal sealed class DaemonProcess : IDisposable
{
    private const int Sigterm = 15;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    private readonly DaemonLaunch _launch;
    private readonly Process _process;
    private readonly TimeProvider _time;

    private DaemonProcess(DaemonLaunch launch, Process process, TimeProvider time)
    {
        _launch = launch;
        _process = process;
        _time = time;
        Pid = process.Id;
    }

    public int Pid { get; }

    public bool HasExited => _process.HasExited;

    private string EndpointsFile => Path.Combine(_launch.DataDirectory, "endpoints.json");

    public static DaemonProcess Start(DaemonLaunch launch, TimeProvider time)
    {
        // A predecessor's addresses in the same folder would be taken for this one's.
        File.Delete(Path.Combine(launch.DataDirectory, "endpoints.json"));
        // The shell only redirects and is replaced: a log written by the daemon itself is whole after kill -9, and goes on after us.
        // Signals of the terminal are for the demo, which then stops its daemons in order.
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList =
            {
                "-c", "trap '' INT HUP; log=$1; shift; exec \"$@\" >>\"$log\" 2>&1", "fabricd",
                launch.Log, launch.Executable, "--config", launch.Configuration,
            },
            RedirectStandardInput = true,
            UseShellExecute = false,
        };
        if (launch.Tied)
            start.ArgumentList.Add("--exit-on-stdin-close");
        Prepare(start.Environment);
        var process = Process.Start(start) ?? throw new CommandFailure($"{launch.Name} could not be started: /bin/sh gave no process.");
        return new DaemonProcess(launch, process, time);
    }

    /// <summary>Waits until the daemon has said where it listens.</summary>
    /// <exception cref="CommandFailure">It ended first.</exception>
    public async Task<EndpointsDocument> ListeningAsync(CancellationToken cancellation)
    {
        while (!File.Exists(EndpointsFile))
        {
            ThrowIfExited();
            await Task.Delay(Look, _time, cancellation);
        }

        await using var file = File.OpenRead(EndpointsFile);
        return await JsonSerializer.DeserializeAsync<EndpointsDocument>(file, ApiJson.Options, cancellation)
            ?? throw new CommandFailure($"{EndpointsFile} of {_launch.Name} says nothing. Its log is {_launch.Log}.");
    }

    /// <exception cref="CommandFailure">The daemon has ended; with the last lines of its log.</exception>
    public void ThrowIfExited()
    {
        if (!_process.HasExited)
            return;
        // The settings are ours, but for what was given to the demo: what is wrong with that is all there is to say.
        if (_process.ExitCode == Cli.ExitCode.Usage)
            throw new CommandFailure($"{_launch.Name} was refused by {LogTail.Of(_launch.Log, 1).Trim()}", Cli.ExitCode.Usage);
        throw new CommandFailure(
            $"{_launch.Name} (process {Pid}) ended by itself with exit code {_process.ExitCode}. Its log, {_launch.Log}, ends:\n"
            + LogTail.Of(_launch.Log, 10));
    }

    /// <summary>SIGKILL: the process is gone when the task ends.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>SIGTERM, and SIGKILL where that is not heeded within <paramref name="patience"/>.</summary>
    public Task StopAsync(TimeSpan patience) => StopAsync(_process, patience, _time);

    internal static async Task StopAsync(Process process, TimeSpan patience, TimeProvider time)
    {
        if (process.HasExited)
            return;
        // ESRCH, the only error possible here, says that it ended in between, which is what was asked.
        _ = Kill(process.Id, Sigterm);
        using var deadline = new CancellationTokenSource(patience, time);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
        }
    }

    public void Dispose() => _process.Dispose();

    /// <summary>What a daemon must not inherit, and what it needs to find its runtime.</summary>
    internal static void Prepare(IDictionary<string, string?> environment)
    {
        // These would overrule the address that the configuration file gives.
        environment.Remove("ASPNETCORE_URLS");
        environment.Remove("DOTNET_URLS");
        // An SDK outside the usual places is found by `dotnet`, but not by an executable of its own.
        if (environment.ContainsKey("DOTNET_ROOT"))
            return;
        var root = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));
        if (Directory.Exists(Path.Combine(root, "shared")))
            environment["DOTNET_ROOT"] = root;
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int pid, int signal);
}
