namespace Fabric.Cli.Tests;

/// <summary>A terminal on which somebody may press Ctrl-C.</summary>
internal sealed class Termination : ITermination, IDisposable
{
    private readonly CancellationTokenSource _asked =
        CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);

    public CancellationToken Token => _asked.Token;

    public int ExitCode => Fabric.Cli.ExitCode.Interrupted;

    public void Interrupt() => _asked.Cancel();

    public void Dispose() => _asked.Dispose();
}
