using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>Shows the workload going on beside whatever else happens, as one daemon sees it.</summary>
internal sealed class WorkloadTicker : IAsyncDisposable
{
    private const string Row = "workload";
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(200);

    private readonly CancellationTokenSource _end;
    private readonly Task _ticking;
    private readonly IBoard _board;
    private WorkloadResource? _last;

    public WorkloadTicker(IBoard board, FabricApi api, string claim, TimeProvider time, CancellationToken cancellation)
    {
        _board = board;
        _end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        _ticking = TickAsync(api, claim, time, _end.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        // It only shows; what goes wrong here goes wrong for the act too, which reports it.
        await _ticking.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
        if (_last is not null)
            _board.Set(Row, 1, "running", Detail(_last));
    }

    private static string Detail(WorkloadResource workload) =>
        $"{Units.Count(workload.Steps)} steps, longest gap {Units.Time(workload.LongestGapMs)}";

    private async Task TickAsync(FabricApi api, string claim, TimeProvider time, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                var workload = (await api.ClaimAsync(claim, cancellation)).Value.Workload;
                if (workload is not null)
                    _board.Set(Row, null, "running", Detail(_last = workload));
            }
            catch (CommandFailure failure) when (failure is IApiFailure { MayPass: true })
            {
                _board.Set(Row, null, "no answer", "its daemon is away");
            }

            await Task.Delay(Pace, time, cancellation);
        }
    }
}
