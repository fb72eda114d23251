using Fabric.Hardware.Linux.Tests.Lab;
using Fabric.Linux;

namespace Fabric.Hardware.Linux.Tests;

public sealed class EventWatchTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly EventWatch watch = new();
    private readonly EventFd eventfd = EventFd.Create();

    public void Dispose()
    {
        watch.Dispose();
        eventfd.Dispose();
    }

    [Fact]
    public async Task A_signal_is_passed_on()
    {
        var heard = new Signals();
        using var watched = watch.Add(eventfd, heard);

        eventfd.Signal();
        await heard.WaitAsync(1, Patience);
        eventfd.Signal();
        await heard.WaitAsync(2, Patience);
    }

    [Fact]
    public async Task A_signal_from_before_it_was_watched_is_passed_on()
    {
        var heard = new Signals();
        eventfd.Signal();

        using var watched = watch.Add(eventfd, heard);

        await heard.WaitAsync(1, Patience);
    }

    [Fact]
    public async Task Nobody_is_told_any_more_when_it_is_not_watched()
    {
        var (heard, other) = (new Signals(), new Signals());
        using var last = EventFd.Create();
        using var watchedLast = watch.Add(last, other);
        watch.Add(eventfd, heard).Dispose();

        eventfd.Signal();
        // Another one, which goes through the same thread after it.
        last.Signal();
        await other.WaitAsync(1, Patience);

        Assert.Equal(0, heard.Count);
        Assert.Equal(1UL, eventfd.Read());
    }

    [Fact]
    public async Task Who_is_told_may_stop_watching()
    {
        var (heard, other) = (new Signals(), new Signals());
        using var last = EventFd.Create();
        IDisposable? watched = null;
        watched = watch.Add(eventfd, () =>
        {
            eventfd.Read();
            watched!.Dispose();
            heard.Signal();
        });
        eventfd.Signal();
        await heard.WaitAsync(1, Patience);
        eventfd.Signal();
        using var watchedLast = watch.Add(last, other);
        last.Signal();
        await other.WaitAsync(1, Patience);

        Assert.Equal(1, heard.Count);
    }
}
