using System.Threading.Tasks.Sources;
using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices.Asking;

/// <summary>
/// Who asks, as the device sees him: takes one answer to each request. A chain answers once (the kit and the watch see to that), which is why it
/// can be used again; one whose deadline ran is not.
/// </summary>
internal sealed class Question(AskingThread thread, IActorRefProvider provider) : MinimalActorRef, IValueTaskSource<DeviceReply>, IThreadPoolWorkItem
{
    private ManualResetValueTaskSourceCore<DeviceReply> source;
    private DeviceReply? reply;
    private TimeSpan deadline;
    private Timer? timer;
    private int isOpen;

    public override ActorPath Path { get; } = provider.TempPath();

    public override IActorRefProvider Provider => provider;

    public bool IsOpen => Volatile.Read(ref isOpen) != 0;

    public ValueTask<DeviceReply> Open(TimeSpan within)
    {
        deadline = within;
        Volatile.Write(ref isOpen, 1);
        return new ValueTask<DeviceReply>(this, source.Version);
    }

    /// <summary>It was not answered at once: from now on its deadline runs.</summary>
    public void Await()
    {
        if (!IsOpen)
            return;
        timer = new Timer(static question => ((Question)question!).PassDeadline(), this, deadline, Timeout.InfiniteTimeSpan);
        // It was answered just now: whoever takes the answer did not see the timer, perhaps.
        if (!IsOpen)
            timer.Dispose();
    }

    /// <summary>Whoever waits goes on, on this thread.</summary>
    public void Complete()
    {
        timer?.Dispose();
        var told = reply!;
        reply = null;
        source.SetResult(told);
    }

    void IThreadPoolWorkItem.Execute() => Complete();

    public DeviceReply GetResult(short token)
    {
        var told = source.GetResult(token);
        source.Reset();
        if (timer is null)
            thread.Return(this);
        return told;
    }

    public ValueTaskSourceStatus GetStatus(short token) => source.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        source.OnCompleted(continuation, state, token, flags);

    protected override void TellInternal(object message, IActorRef sender)
    {
        if (message is DeviceReply told && Interlocked.Exchange(ref isOpen, 0) == 1)
            Answer(told);
    }

    private void PassDeadline()
    {
        if (Interlocked.Exchange(ref isOpen, 0) == 1)
            Answer(new DeviceFailed(Errno.ETIMEDOUT, $"The device did not answer within {deadline.TotalSeconds} s."));
    }

    private void Answer(DeviceReply told)
    {
        reply = told;
        thread.Answer(this);
    }
}
