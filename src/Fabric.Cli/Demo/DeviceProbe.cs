using Fabric.Cli.Api;
using Fabric.Cli.Output;

namespace Fabric.Cli.Demo;

/// <summary>Asks a host of its own device while the control plane is away: devices need none.</summary>
internal sealed class DeviceProbe : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(200);

    private readonly CancellationTokenSource _end;
    private readonly Task _asking;
    private int _answers;

    public DeviceProbe(IBoard board, FabricApi api, string host, string address, TimeProvider time, CancellationToken cancellation)
    {
        _end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        _asking = AskAsync(board, api, host, address, time, _end.Token);
    }

    /// <summary>How often the host has answered that the device is open.</summary>
    public int Answers => Volatile.Read(ref _answers);

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        // It only shows; what goes wrong here goes wrong for the act too, which reports it.
        await _asking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    private async Task AskAsync(
        IBoard board, FabricApi api, string host, string address, TimeProvider time, CancellationToken cancellation)
    {
        var row = $"{host}/{address}";
        while (true)
        {
            try
            {
                var device = (await api.DeviceAsync(host, address, cancellation)).Value;
                if (device.State == "open")
                    Interlocked.Increment(ref _answers);
                board.Set(row, 1, device.State, device.MigrationState ?? "");
            }
            catch (CommandFailure failure) when (failure is IApiFailure { MayPass: true })
            {
                board.Set(row, null, "no answer");
            }

            await Task.Delay(Pace, time, cancellation);
        }
    }
}
