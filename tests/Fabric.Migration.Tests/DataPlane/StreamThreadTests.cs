using System.Net;
using System.Net.Sockets;
using Fabric.Migration.DataPlane;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>Streams whose calls wait in the kernel, on threads of their own, as those of a migration do.</summary>
public sealed class StreamThreadTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_its_code_awaits_goes_on_on_it()
    {
        var (before, after) = await StreamThread.RunAsync(async () =>
        {
            var first = Environment.CurrentManagedThreadId;
            await Task.Delay(1, Ct);
            return (first, Environment.CurrentManagedThreadId);
        });

        Assert.Equal(before, after);
        Assert.NotEqual(Environment.CurrentManagedThreadId, before);
    }

    [Fact]
    public async Task What_its_code_throws_is_what_its_task_tells()
    {
        var e = await Assert.ThrowsAsync<DataPlaneException>(() => StreamThread.RunAsync(async () =>
        {
            await Task.Yield();
            throw new DataPlaneException("Torn.");
        }));

        Assert.Equal("Torn.", e.Message);
    }

    [Fact]
    public async Task What_its_code_throws_before_it_waits_is_too()
    {
        await Assert.ThrowsAsync<DataPlaneException>(() => StreamThread.RunAsync(Task<int> () => throw new DataPlaneException("At once.")));
    }

    [Fact]
    public async Task What_is_left_behind_goes_on_without_it()
    {
        var released = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task left = Task.CompletedTask;
        await StreamThread.RunAsync(() =>
        {
            left = LeaveAsync();
            return Task.CompletedTask;
        });

        released.SetResult();

        await left.WaitAsync(Ct);

        async Task LeaveAsync() => await released.Task;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Memory_arrives_as_it_was(bool secured)
    {
        using var certificate = RoundTripTests.SelfSigned();
        var options = secured ? RoundTripTests.Secured(certificate) : new DataPlaneOptions();
        await using var link = await Link.OpenAsync(options, options);
        var memory = RoundTripTests.RandomBytes(64 << 20, seed: 5);
        var arrived = new byte[memory.Length];

        var reading = StreamThread.RunAsync(() => RoundTripTests.ReadMemoryAsync(link.Reader, arrived));
        var report = await StreamThread.RunAsync(async () =>
        {
            await link.Writer.WriteMemoryAsync(0, memory, Ct);
            return await link.Writer.FinishAsync(Ct);
        });
        await reading;

        Assert.Equal(memory.Length, report.Bytes);
        Assert.True(arrived.AsSpan().SequenceEqual(memory));
    }

    [Fact]
    public async Task A_read_that_waits_can_be_cancelled()
    {
        await using var link = await Link.OpenAsync();
        using var cancel = new CancellationTokenSource();
        var reading = StreamThread.RunAsync(async () => await link.Reader.ReadAsync(cancel.Token));

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.WaitAsync(Ct));
    }

    [Fact]
    public async Task A_write_that_waits_can_be_cancelled_and_takes_the_stream_with_it()
    {
        var options = new DataPlaneOptions { SocketBufferBytes = 64 * 1024 };
        await using var link = await Link.OpenAsync(options, options);
        using var cancel = new CancellationTokenSource();
        var writing = StreamThread.RunAsync(async () => await link.Writer.WriteMemoryAsync(0, new byte[64 << 20], cancel.Token));
        await HeldBackAsync(link);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing.WaitAsync(Ct));
        Assert.Equal("This side cancelled a write, and the stream with it.", await link.Writer.Lost);
    }

    [Fact]
    public async Task A_call_with_a_cancelled_token_does_not_begin()
    {
        await using var link = await Link.OpenAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => StreamThread.RunAsync(async () => await link.Reader.ReadAsync(new CancellationToken(canceled: true))));
    }

    [Fact]
    public async Task Aborting_frees_a_write_that_is_held_back()
    {
        await using var link = await Link.OpenAsync();
        var writing = StreamThread.RunAsync(async () => await link.Writer.WriteMemoryAsync(0, new byte[64 << 20], Ct));
        await HeldBackAsync(link);

        await link.Writer.AbortAsync("Enough.", Ct);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => writing);
        Assert.Equal("This side aborted: Enough.", e.Message);
    }

    [Fact]
    public async Task Disposing_frees_a_read_that_waits()
    {
        await using var link = await Link.OpenAsync();
        var reading = StreamThread.RunAsync(async () => await link.Reader.ReadAsync(Ct));
        await WaitingAsync(link);

        await link.Reader.DisposeAsync();

        await Assert.ThrowsAsync<DataPlaneException>(() => reading.WaitAsync(Ct));
    }

    [Fact]
    public async Task A_silent_source_ends_the_read()
    {
        var clock = new FakeTimeProvider();
        await using var link = await Link.OpenAsync(readerOptions: new DataPlaneOptions { Time = clock });
        var reading = StreamThread.RunAsync(async () => await link.Reader.ReadAsync(Ct));
        await WaitingAsync(link);

        clock.Advance(TimeSpan.FromSeconds(12.5));

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => reading);
        Assert.StartsWith("The peer made no progress for 10 seconds.", e.Message);
    }

    [Fact]
    public async Task A_connection_that_nobody_takes_is_given_up_at_its_deadline()
    {
        // A backlog that is full: the kernel drops what comes, and a connect hangs.
        using var listening = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listening.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listening.Listen(0);
        using var only = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await only.ConnectAsync(listening.LocalEndPoint!, Ct);
        var options = new DataPlaneOptions { IoTimeout = TimeSpan.FromMilliseconds(200) };

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => StreamThread.RunAsync(
            () => MigrationWriter.ConnectAsync(listening.LocalEndPoint!, "m-1", 0, DataPlaneToken.New(), options, Ct)));

        Assert.Equal($"No connection to {listening.LocalEndPoint} within 0.2 seconds.", e.Message);
    }

    private static async Task WaitingAsync(Link link)
    {
        while (!link.Reader.Watch.IsBusy)
            await Task.Delay(1, Ct);
    }

    /// <summary>Completes when the source has all under way that the target, which reads nothing, lets it have.</summary>
    private static async Task HeldBackAsync(Link link)
    {
        while (link.Writer.BytesSent < MigrationWriter.SliceBytes)
            await Task.Delay(1, Ct);
    }
}
