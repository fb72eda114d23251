using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>A process that cannot outlive the test, and all that it says.</summary>
internal sealed class RunningProcess : IAsyncDisposable
{
    private const int Sigterm = 15;
    private const int Sigcont = 18;
    private const int Sigstop = 19;

    private readonly Process process;
    private readonly StringBuilder output = new();
    private readonly StringBuilder error = new();
    private readonly string name;

    private RunningProcess(string name, Process process)
    {
        this.name = name;
        this.process = process;
        process.OutputDataReceived += (_, line) => Append(output, line.Data);
        process.ErrorDataReceived += (_, line) => Append(error, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public int Pid => process.Id;

    public bool HasExited => process.HasExited;

    public string Out => Text(output);

    public string Error => Text(error);

    /// <summary>Its last lines, for the message of a test that failed.</summary>
    public string Tail => string.Join('\n', (Out + Error).Split('\n').TakeLast(20));

    public static RunningProcess Start(string executable, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(executable)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        Executables.Prepare(start.Environment);
        return new RunningProcess(Path.GetFileName(executable), Process.Start(start)!);
    }

    /// <summary>Waits until it has ended by itself.</summary>
    public async Task<Ending> EndAsync(TimeSpan? patience = null)
    {
        var limit = patience ?? Poll.Patience;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(limit);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{name} has not ended within {limit.TotalSeconds:0} s. It said last:\n{Tail}");
        }

        return new Ending(process.ExitCode, Out, Error);
    }

    /// <summary>SIGKILL: it is gone when the task ends.</summary>
    public async Task KillAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
    }

    /// <summary>SIGTERM, and its end.</summary>
    public Task<Ending> TerminateAsync()
    {
        Assert.Equal(0, Kill(process.Id, Sigterm));
        return EndAsync();
    }

    /// <summary>SIGSTOP: it stands still in the middle of whatever it does, and knows nothing of it.</summary>
    public void Pause() => Assert.Equal(0, Kill(process.Id, Sigstop));

    /// <summary>SIGCONT: it goes on where it stood, late.</summary>
    public void Continue() => Assert.Equal(0, Kill(process.Id, Sigcont));

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
            await KillAsync();
        process.Dispose();
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is null)
            return;
        lock (text)
            text.Append(line).Append('\n');
    }

    private static string Text(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int pid, int signal);
}
