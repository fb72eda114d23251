using Akka.Actor;
using Fabric.Devices.Hardware;

namespace Fabric.Devices.Tests;

/// <summary>By itself: the pool is that of the process.</summary>
[CollectionDefinition(nameof(ThreadPoolTests), DisableParallelization = true)]
[Collection(nameof(ThreadPoolTests))]
public sealed class ThreadPoolTests : DeviceTest
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private readonly CallWatch watch;
    private readonly HardwareWatch host = new(Limit);
    private readonly IActorRef supervisor = ActorRefs.Nobody;

    public ThreadPoolTests() => watch = new CallWatch(Time);

    private static Asker By => new(ActorRefs.Nobody, 0);

    private static object Check { get; } = new();

    [Fact]
    public void The_thread_that_a_hung_call_holds_is_made_up_for_until_it_comes_back()
    {
        ThreadPool.GetMinThreads(out var before, out _);
        host.On(new WatchCalls(watch, supervisor));
        watch.Enter("read", By);
        Time.Advance(Limit);
        host.On(Check);
        ThreadPool.GetMinThreads(out var during, out _);
        watch.Leave();
        host.On(Check);
        ThreadPool.GetMinThreads(out var after, out _);

        Assert.Equal((1, 0), (during - before, after - before));
    }

    [Fact]
    public void The_thread_is_given_back_though_the_mailbox_is_watched_no_more()
    {
        ThreadPool.GetMinThreads(out var before, out _);
        host.On(new WatchCalls(watch, supervisor));
        watch.Enter("read", By);
        Time.Advance(Limit);
        host.On(Check);
        watch.Leave();
        host.On(new UnwatchCalls(watch));
        host.On(Check);
        ThreadPool.GetMinThreads(out var after, out _);

        Assert.Equal(before, after);
    }
}
