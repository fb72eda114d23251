using System.Collections.Concurrent;
using Fabric.Devices.Hardware;

namespace Fabric.Devices.Tests;

/// <summary>Threads for what may hang, and the lane of one device on them.</summary>
public sealed class LaneThreadsTests : DeviceTest
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly LaneThreads threads = new();

    [Fact]
    public async Task A_call_that_hangs_keeps_no_other_from_running()
    {
        using var hang = new ManualResetEventSlim();
        for (var i = 0; i < 20; i++)
            threads.Run(hang.Wait);
        var ran = new TaskCompletionSource();

        threads.Run(ran.SetResult);

        await ran.Task.WaitAsync(Patience, Cancelled);
        hang.Set();
    }

    [Fact]
    public async Task It_is_never_a_thread_of_the_pool()
    {
        var isPool = new TaskCompletionSource<bool>();

        threads.Run(() => isPool.SetResult(Thread.CurrentThread.IsThreadPoolThread));

        Assert.False(await isPool.Task.WaitAsync(Patience, Cancelled));
    }

    [Fact]
    public async Task One_after_the_other_share_threads_and_each_runs_once()
    {
        const int Calls = 2_000;
        var ran = new ConcurrentDictionary<int, int>();
        var used = new ConcurrentDictionary<int, bool>();
        for (var i = 0; i < Calls; i++)
        {
            var (number, done) = (i, new TaskCompletionSource());
            threads.Run(() =>
            {
                ran.AddOrUpdate(number, 1, static (_, times) => times + 1);
                used[Environment.CurrentManagedThreadId] = true;
                done.SetResult();
            });
            await done.Task.WaitAsync(Patience, Cancelled);
        }

        Assert.Equal((Calls, true), (ran.Count, ran.Values.All(static times => times == 1)));
        Assert.InRange(used.Count, 1, 50);
    }

    [Fact]
    public async Task Calls_of_many_devices_at_once_each_run_once()
    {
        const int Devices = 8;
        const int Calls = 1_000;
        var ran = new int[Devices * Calls];
        using var all = new CountdownEvent(Devices * Calls);
        await Task.WhenAll(Enumerable.Range(0, Devices).Select(device => Task.Run(() =>
        {
            for (var call = 0; call < Calls; call++)
            {
                var number = (device * Calls) + call;
                threads.Run(() =>
                {
                    Interlocked.Increment(ref ran[number]);
                    all.Signal();
                });
            }
        }, Cancelled)));

        Assert.True(all.Wait(Patience, Cancelled));
        Assert.All(ran, static times => Assert.Equal(1, times));
    }

    [Fact]
    public async Task A_mailbox_hears_of_the_end_of_its_call_and_how_long_it_took()
    {
        var mailbox = CreateTestProbe();
        var lane = new HardwareLane(threads, Time, new Lock());
        using var release = new ManualResetEventSlim();

        lane.Start(1, () => { release.Wait(); return 7; }, mailbox);
        Time.Advance(TimeSpan.FromSeconds(3));
        release.Set();

        Assert.Equal(new LaneReturned(1, 7, null, TimeSpan.FromSeconds(3)), await NextAsync<LaneReturned>(mailbox));
    }

    [Fact]
    public async Task A_mailbox_hears_of_what_its_call_threw()
    {
        var mailbox = CreateTestProbe();
        var failure = new InvalidOperationException("broken");

        new HardwareLane(threads, Time, new Lock()).Start<int>(1, () => throw failure, mailbox);

        Assert.Same(failure, (await NextAsync<LaneReturned>(mailbox)).Failure);
    }

    [Fact]
    public async Task Calls_of_two_incarnations_of_a_mailbox_do_not_overlap()
    {
        var mailbox = CreateTestProbe();
        var hardware = new Lock();
        using var release = new ManualResetEventSlim();
        var entered = new TaskCompletionSource();
        new HardwareLane(threads, Time, hardware).Start(1, () => { entered.SetResult(); release.Wait(); return 1; }, mailbox);
        await entered.Task.WaitAsync(Patience, Cancelled);

        new HardwareLane(threads, Time, hardware).Start(2, () => release.IsSet ? 2 : -1, mailbox);
        release.Set();

        // Told when the hardware is free again, and so in either order.
        LaneReturned[] returned = [(LaneReturned)mailbox.ReceiveOne(Patience, Cancelled), (LaneReturned)mailbox.ReceiveOne(Patience, Cancelled)];
        Assert.Equal([(1, 1), (2, 2)], returned.Select(static one => (one.Number, (int)one.Result!)).Order());
    }
}
