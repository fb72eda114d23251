using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Sriov;

/// <summary>The PF's driver, as the driver of one VF sees it.</summary>
internal sealed class PfChannel(CommandedPhysicalFunction physical, CommandedVirtualFunction function) : IPfChannel
{
    /// <summary>Commands that go on by themselves at the same time.</summary>
    private const int MostAtOnce = 2;

    private readonly Lock executing = new();
    private readonly HashSet<ITimer> running = [];
    private volatile Action<PfEvent>? sink;

    public string Protocol => physical.Protocol;

    public bool IsOpen => physical.HasDriver;

    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (Refusal() is { Errno: not Errno.None } refused)
            return refused;
        lock (executing)
            return function.Execute(command, reply);
    }

    public VfioResult Submit(ReadOnlyMemory<byte> command, Memory<byte> reply, Action<VfioResult<int>> completed)
    {
        if (Refusal() is { Errno: not Errno.None } refused)
            return refused;
        lock (running)
        {
            if (running.Count == MostAtOnce)
                return VfioResult.Fail(Errno.EBUSY, "The PF's firmware has as many commands as it takes; wait for one to complete.");
            ITimer? timer = null;
            timer = physical.Time.CreateTimer(
                _ =>
                {
                    // Taken out first: who hears of the completion may give the next command.
                    lock (running)
                        running.Remove(timer!);
                    timer!.Dispose();
                    completed(Execute(command.Span, reply.Span));
                },
                null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            running.Add(timer);
            timer.Change(physical.CommandTime, Timeout.InfiniteTimeSpan);
        }

        return VfioResult.Ok;
    }

    public void ReportTo(Action<PfEvent>? sink) => this.sink = sink;

    public void Tell(PfEvent happened) => sink?.Invoke(happened);

    private VfioError Refusal()
    {
        if (!physical.HasDriver)
            return new VfioError(Errno.ENOTCONN, "The driver of the PF has gone; bring it back, then reset this device.");
        return physical.TakesCommands()
            ? default
            : new VfioError(Errno.EIO, "The PF does not answer its driver; reset it.");
    }
}
