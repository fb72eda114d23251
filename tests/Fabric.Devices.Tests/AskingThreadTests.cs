using Akka.Actor;
using Fabric.Devices.Asking;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

public sealed class AskingThreadTests : DeviceTest
{
    /// <summary>Who opens as this is answered by those who answer nobody else.</summary>
    private const string First = "the first";

    private readonly FakeFunction function = new();

    [Fact]
    public async Task What_is_asked_is_done_on_the_thread_that_asks()
    {
        var device = ActorOf(CoreOf(function).WithDispatcher(ChainDispatcher.Of(Sys)));
        var client = (await DeviceClient.OpenAsync(device, "somebody", TestActor)).Value;

        var (before, after) = await OnThreadAsync(thread =>
        {
            Settle(thread, () => client.ReadAsync(0, 0x10, 4));
            var asked = client.ReadAsync(0, 0x10, 4);
            var isAnsweredUnpumped = asked.IsCompleted;
            Assert.True(thread.Pump());
            return (isAnsweredUnpumped, asked.IsCompleted);
        });

        Assert.Equal((false, true), (before, after));
    }

    [Fact]
    public async Task Questions_are_answered_one_after_the_other_each_with_its_own_answer()
    {
        var device = ActorOf(CoreOf(function).WithDispatcher(ChainDispatcher.Of(Sys)));
        var client = (await DeviceClient.OpenAsync(device, "somebody", TestActor)).Value;

        var read = await OnThreadAsync(thread =>
        {
            Settle(thread, () => client.ReadAsync(0, 0x10, 1));
            var seen = new List<byte>();
            for (byte value = 1; value < 100; value++)
            {
                _ = client.WriteAsync(0, 0x10, new[] { value });
                Assert.True(thread.Pump());
                var asked = client.ReadAsync(0, 0x10, 1);
                Assert.True(thread.Pump());
                Assert.True(asked.IsCompletedSuccessfully);
                seen.Add(asked.GetAwaiter().GetResult().Value.Span[0]);
            }

            return seen;
        });

        Assert.Equal(Enumerable.Range(1, 99).Select(static value => (byte)value), read);
    }

    [Fact]
    public async Task An_answer_that_comes_from_elsewhere_is_waited_for_by_nobody()
    {
        var slow = ActorOf(Props.Create(() => new Elsewhere(TestActor)));
        Task<VfioResult>? asked = null;
        var isMine = await OnThreadAsync(thread =>
        {
            asked = OpenAsync(slow);
            return thread.Pump();
        });

        Assert.True(isMine);
        var asker = await ExpectMsgAsync<IActorRef>(cancellationToken: TestContext.Current.CancellationToken);
        Assert.False(asked!.IsCompleted);
        asker.Tell(new DeviceFailed(Errno.EBUSY, "It is held."));
        asker.Tell(new DeviceFailed(Errno.EIO, "A second answer is none."));
        Assert.Equal(Errno.EBUSY, (await asked).Error.Errno);
    }

    [Fact]
    public async Task A_thread_that_is_in_a_call_when_the_answer_comes_is_overtaken()
    {
        using var calling = new ManualResetEventSlim();
        using var back = new ManualResetEventSlim();
        Action<IActorRef> tell = asking => TestActor.Tell(asking);
        var stuck = ActorOf(Props.Create(() => new Stuck(tell, calling, back)).WithDispatcher(ChainDispatcher.Of(Sys)));
        var overtaken = new TaskCompletionSource();
        Task<VfioResult>? asked = null;

        var pumping = OnThreadAsync(
            thread =>
            {
                Settle(thread, () => OpenAsync(stuck, First));
                asked = OpenAsync(stuck);
                return thread.Pump();
            },
            overtaken.SetResult);
        var asker = await ExpectMsgAsync<IActorRef>(cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(calling.Wait(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken));
        asker.Tell(new DeviceFailed(Errno.EIO, "It hangs."));

        await overtaken.Task.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        Assert.Equal(Errno.EIO, (await asked!).Error.Errno);
        back.Set();
        Assert.False(await pumping);
    }

    [Fact]
    public async Task What_was_sent_before_a_call_that_does_not_come_back_is_done_elsewhere()
    {
        using var calling = new ManualResetEventSlim();
        using var back = new ManualResetEventSlim();
        var other = ActorOf(Props.Create(() => new Elsewhere(TestActor)).WithDispatcher(ChainDispatcher.Of(Sys)));
        IActorRef? asker = null;
        Action<IActorRef> tell = asking =>
        {
            asker = asking;
            other.Tell(asking);
        };
        var stuck = ActorOf(Props.Create(() => new Stuck(tell, calling, back)).WithDispatcher(ChainDispatcher.Of(Sys)));

        var pumping = OnThreadAsync(thread =>
        {
            Settle(thread, () => OpenAsync(other, First));
            Settle(thread, () => OpenAsync(stuck, First));
            _ = OpenAsync(stuck);
            return thread.Pump();
        });
        Assert.True(calling.Wait(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken));
        asker!.Tell(new DeviceFailed(Errno.EIO, "It hangs."));

        Assert.Equal(stuck, await ExpectMsgAsync<IActorRef>(TimeSpan.FromSeconds(20), cancellationToken: TestContext.Current.CancellationToken));
        back.Set();
        Assert.False(await pumping);
    }

    private async Task<VfioResult> OpenAsync(IActorRef device, string holder = "somebody")
    {
        var opened = await DeviceClient.OpenAsync(device, holder, TestActor).ConfigureAwait(false);
        return opened.IsOk ? VfioResult.Ok : opened.Error;
    }

    /// <summary>
    /// A mailbox that still runs where its actor was made takes what comes there. From the first question on that is answered on this thread it is
    /// idle between questions.
    /// </summary>
    private static void Settle(AskingThread thread, Func<Task> ask)
    {
        Task<bool> isHere;
        do
        {
            isHere = IsAnsweredHereAsync(ask);
            Assert.True(thread.Pump());
        }
        while (!isHere.GetAwaiter().GetResult());
    }

    private static async Task<bool> IsAnsweredHereAsync(Func<Task> ask)
    {
        var here = Environment.CurrentManagedThreadId;
        await ask().ConfigureAwait(false);
        return Environment.CurrentManagedThreadId == here;
    }

    private static Task<T> OnThreadAsync<T>(Func<AskingThread, T> act, Action? overtaken = null)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                var thread = new AskingThread(_ => overtaken?.Invoke());
                thread.Enter();
                done.SetResult(act(thread));
            }
            catch (Exception failed)
            {
                done.SetException(failed);
            }
        })
        {
            IsBackground = true,
        }.Start();
        return done.Task;
    }

    /// <summary>Says who asks, and leaves the answer to others.</summary>
    private class Elsewhere : ReceiveActor
    {
        public Elsewhere(IActorRef told)
            : this(told.Tell)
        {
        }

        protected Elsewhere(Action<IActorRef> told)
        {
            Receive<OpenDevice>(static open => open.Holder == First, _ => Sender.Tell(new DeviceFailed(Errno.EBUSY, "Not yet.")));
            ReceiveAny(_ => told(Sender));
        }
    }

    /// <summary>The same, and does not come back.</summary>
    private sealed class Stuck(Action<IActorRef> told, ManualResetEventSlim calling, ManualResetEventSlim back) : Elsewhere(asker =>
    {
        told(asker);
        calling.Set();
        back.Wait(TimeSpan.FromSeconds(60));
    });
}
