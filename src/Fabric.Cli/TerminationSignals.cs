using System.Runtime.InteropServices;

namespace Fabric.Cli;

/// <summary>
/// Turns the first SIGINT, SIGTERM or SIGHUP into a cancellation, so that a command can tidy up. The second one is left to the
/// system, which ends the process at once.
/// </summary>
internal sealed class TerminationSignals : ITermination, IDisposable
{
    private readonly CancellationTokenSource _asked = new();
    private readonly List<PosixSignalRegistration> _registrations = [];
    private int _exitCode;

    public TerminationSignals()
    {
        Register(PosixSignal.SIGINT, Cli.ExitCode.Interrupted);
        Register(PosixSignal.SIGTERM, 143);
        Register(PosixSignal.SIGHUP, 129);
    }

    public CancellationToken Token => _asked.Token;

    public int ExitCode => Volatile.Read(ref _exitCode);

    public void Dispose()
    {
        foreach (var registration in _registrations)
            registration.Dispose();
        _asked.Dispose();
    }

    private void Register(PosixSignal signal, int exitCode) =>
        _registrations.Add(PosixSignalRegistration.Create(signal, context =>
        {
            if (Interlocked.CompareExchange(ref _exitCode, exitCode, 0) != 0)
                return;
            context.Cancel = true;
            _asked.Cancel();
        }));
}
