using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Hardware;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Devices.Tests;

/// <summary>Calls that a mailbox makes on its own thread: who gives one up, and that whoever waits for it is answered once.</summary>
public sealed class CallWatchTests : DeviceTest
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private readonly CallWatch watch;
    private readonly HardwareWatch host = new(Limit);
    private readonly TestProbe asker;
    private readonly TestProbe supervisor;

    public CallWatchTests()
    {
        watch = new CallWatch(Time);
        (asker, supervisor) = (CreateTestProbe(), CreateTestProbe());
    }

    private Asker By => new(asker, 0);

    [Fact]
    public void A_call_within_its_limit_is_not_given_up()
    {
        watch.Enter("read", By);
        Time.Advance(Limit - TimeSpan.FromTicks(1));

        Assert.Null(watch.FenceIfOlder(Limit));
        Assert.True(watch.Leave());
    }

    [Fact]
    public void A_call_at_its_limit_is_given_up_with_what_it_is_and_how_old()
    {
        watch.Enter("read", By);
        Time.Advance(Limit);

        Assert.Equal(new FencedCall("read", By, Limit), watch.FenceIfOlder(Limit));
        Assert.True(watch.IsFenced);
        Assert.False(watch.Leave());
    }

    [Fact]
    public void A_call_is_given_up_once()
    {
        watch.Enter("read", By);
        Time.Advance(Limit);
        watch.FenceIfOlder(Limit);

        Assert.Null(watch.FenceIfOlder(Limit));
    }

    [Fact]
    public void Where_there_is_no_call_none_is_given_up()
    {
        Time.Advance(Limit);

        Assert.Null(watch.FenceIfOlder(Limit));
    }

    [Fact]
    public void The_age_of_a_call_is_its_own_and_not_that_of_the_one_before()
    {
        watch.Enter("first", By);
        Time.Advance(Limit);
        watch.Leave();
        watch.Enter("second", By);

        Assert.Null(watch.FenceIfOlder(Limit));
    }

    [Fact]
    public void After_a_call_that_was_given_up_the_next_is_watched_again()
    {
        watch.Enter("first", By);
        Time.Advance(Limit);
        watch.FenceIfOlder(Limit);
        watch.Leave();
        watch.Enter("second", By);
        Assert.False(watch.IsFenced);
        Time.Advance(Limit);

        Assert.Equal("second", watch.FenceIfOlder(Limit)!.Request);
    }

    [Fact]
    public void Nobody_is_told_of_a_hang_who_has_his_answer()
    {
        watch.Enter("command", By);
        Assert.True(watch.TryAnswer());
        Time.Advance(Limit);

        Assert.True(watch.FenceIfOlder(Limit)!.Asker.Requester.IsNobody());
    }

    [Fact]
    public void What_was_given_up_is_not_answered_any_more()
    {
        watch.Enter("command", By);
        Time.Advance(Limit);
        watch.FenceIfOlder(Limit);

        Assert.False(watch.TryAnswer());
    }

    [Fact]
    public void An_answer_outside_of_a_call_is_nobody_elses_business() => Assert.True(watch.TryAnswer());

    // ---- Races -----------------------------------------------------------------------------------------------------------------------

    /// <summary>Two threads at the same moment, a hundred thousand times: the call comes back, and the watch gives it up.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_call_that_comes_back_at_its_limit_has_one_answer(bool answersInTheMidst)
    {
        const int Rounds = 100_000;
        var time = new FakeTimeProvider();
        var raced = new CallWatch(time);
        using var start = new Barrier(2);
        var (answers, fenced, wrong, who) = (0, 0, 0, asker.Ref);
        var mailbox = new Thread(() =>
        {
            for (var round = 0; round < Rounds; round++)
            {
                raced.Enter(round, new Asker(who, round + 1));
                start.SignalAndWait(Cancelled);
                var mine = answersInTheMidst && raced.TryAnswer();
                var inTime = raced.Leave();
                if (answersInTheMidst ? mine : inTime)
                    Interlocked.Increment(ref answers);
                start.SignalAndWait(Cancelled);
                start.SignalAndWait(Cancelled);
            }
        });
        mailbox.Start();
        for (var round = 0; round < Rounds; round++)
        {
            start.SignalAndWait(Cancelled);
            // Sometimes a moment later than the mailbox, sometimes earlier.
            Thread.SpinWait(round % 50);
            if (raced.FenceIfOlder(TimeSpan.Zero) is { } call)
            {
                fenced++;
                if (call.Asker == new Asker(who, round + 1))
                    Interlocked.Increment(ref answers);
                wrong += (int)call.Request == round ? 0 : 1;
            }

            start.SignalAndWait(Cancelled);
            var soFar = Volatile.Read(ref answers);
            wrong += soFar == round + 1 ? 0 : 1;
            start.SignalAndWait(Cancelled);
        }

        mailbox.Join();
        Assert.Equal((Rounds, 0), (answers, wrong));
        Assert.InRange(fenced, 1, Rounds - 1);
    }

    // ---- The host's watch over them --------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_host_answers_for_a_mailbox_that_cannot_and_tells_its_supervisor()
    {
        host.On(new WatchCalls(watch, supervisor));
        watch.Enter(new GetDeviceInfo(new SessionId(1)), By);
        Time.Advance(Limit);

        host.On(Check);

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(asker)).Error.Errno);
        Assert.Equal(new HardwareHung("GetDeviceInfo", Limit), await NextAsync<HardwareHung>(supervisor));
        watch.Leave();
        host.On(Check);
    }

    [Fact]
    public async Task The_answer_to_a_drivers_call_has_its_number()
    {
        host.On(new WatchCalls(watch, supervisor));
        watch.Enter("reset", new Asker(asker, 42));
        Time.Advance(Limit);

        host.On(Check);

        Assert.Equal(42, (await NextAsync<CoreReplied>(asker)).Number);
        watch.Leave();
        host.On(Check);
    }

    [Fact]
    public async Task A_mailbox_that_is_watched_no_more_is_left_alone()
    {
        host.On(new WatchCalls(watch, supervisor));
        host.On(new UnwatchCalls(watch));
        watch.Enter("read", By);
        Time.Advance(Limit);

        host.On(Check);

        Assert.False(watch.IsFenced);
        await asker.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    private static object Check { get; } = new();
}
