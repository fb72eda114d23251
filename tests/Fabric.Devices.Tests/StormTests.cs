using System.Globalization;
using System.Text.RegularExpressions;
using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Recovery;
using Fabric.Pci;
using Fabric.Pci.Recovery;

namespace Fabric.Devices.Tests;

/// <summary>Errors by the thousand (they neither flood the event stream nor delay others), and the freeze budget.</summary>
public sealed partial class StormTests : SlotTest
{
    private static readonly TimeSpan Interval = Options.ErrorInterval;

    public StormTests()
    {
        Bus.Add(One);
        Bus.Add(Other);
    }

    // ---- The fold --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Of_a_storm_from_several_threads_nothing_is_lost_and_two_messages_are_made()
    {
        var arrived = 0;
        var fold = new ErrorFold(_ => Interlocked.Increment(ref arrived));

        Parallel.For(0, 4, thread =>
        {
            for (var i = 0; i < 2500; i++)
                fold.Add(new AerRecord(One, i % 10 == 0 ? AerSeverity.NonFatal : AerSeverity.Correctable, (uint)i));
        });

        var errors = fold.Take(One);
        Assert.Equal((9000L, 1000L, AerSeverity.NonFatal), (errors!.Value.Correctable, errors.Value.Uncorrectable, errors.Value.Worst.Severity));
        Assert.InRange(arrived, 1, 2);
        Assert.Null(fold.Take(One));
    }

    [Fact]
    public void The_worst_is_kept_and_of_equals_the_last()
    {
        var fold = new ErrorFold(static _ => { });
        fold.Add(new AerRecord(One, AerSeverity.Fatal, 1));
        fold.Add(new AerRecord(One, AerSeverity.Fatal, 2));
        fold.Add(new AerRecord(One, AerSeverity.Correctable, 3));

        var worst = fold.Take(One)!.Value.Worst;
        Assert.Equal((AerSeverity.Fatal, 2u), (worst.Severity, worst.Status));
    }

    [Fact]
    public void Devices_do_not_share_a_fold()
    {
        var fold = new ErrorFold(static _ => { });
        fold.Add(new AerRecord(One, AerSeverity.Correctable, 1));

        Assert.Null(fold.Take(Other));
        Assert.Equal(1, fold.Take(One)!.Value.Correctable);
    }

    // ---- The quiet interval ----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Ten_thousand_errors_a_second_make_one_note_an_interval_with_exact_counts()
    {
        const int Seconds = 5;
        var host = Host();
        await FrontAsync(host, One);

        for (var second = 0; second < Seconds; second++)
        {
            Parallel.For(0, 4, _ =>
            {
                for (var i = 0; i < 2500; i++)
                    Bus.Report(One, AerSeverity.Correctable, 1);
            });
            // Host and supervisor have taken what there was when this is answered.
            await FrontAsync(host, One);
            Advance(Interval);
            await FrontAsync(host, One);
        }

        var notes = (await HistoryAsync(host, One)).Where(entry => entry.Kind == "error").ToArray();
        Assert.InRange(notes.Length, Seconds, Seconds + 1);
        Assert.Equal(10_000 * Seconds, notes.Sum(Count));
        Assert.All(notes.CountBy(note => note.Time), at => Assert.Equal(1, at.Value));
    }

    [Fact]
    public async Task A_storm_puts_a_bounded_number_of_messages_on_the_event_stream_and_none_of_another_device()
    {
        var host = Host();
        await FrontAsync(host, One);
        await FrontAsync(host, Other);
        var stream = CreateTestProbe();
        foreach (var type in new[] { typeof(DeviceStatusChanged), typeof(DeviceNoted), typeof(DeviceGone) })
            Sys.EventStream.Subscribe(stream, type);

        for (var i = 0; i < 10_000; i++)
            Bus.Report(One, AerSeverity.Correctable, 1);
        await FrontAsync(host, Other);
        Advance(Interval);
        await FrontAsync(host, Other);

        var messages = await DrainAsync(stream);
        Assert.InRange(messages.Count, 1, 2);
        Assert.All(messages, message => Assert.Equal(One, Assert.IsType<DeviceNoted>(message).Address));
    }

    [Fact]
    public async Task A_request_to_another_device_waits_behind_no_more_than_two_messages_of_a_storm()
    {
        var host = Host();
        await FrontAsync(host, One);
        var front = await FrontAsync(host, Other);
        var session = await OpenAsync(front, TestActor);
        using var stop = new CancellationTokenSource();
        var reported = 0L;
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var storm = Enumerable.Range(0, 3).Select(_ => Task.Run(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                Bus.Report(One, AerSeverity.Correctable, 1);
                Interlocked.Increment(ref reported);
                begun.TrySetResult();
            }
        })).ToArray();
        await begun.Task;

        for (var i = 0; i < 200; i++)
        {
            await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
            await AskAsync<DeviceFound>(host, new FindDevice(Other));
        }

        await stop.CancelAsync();
        await Task.WhenAll(storm);
        Advance(Interval);
        await FrontAsync(host, Other);
        Advance(Interval);
        var notes = (await HistoryAsync(host, One)).Where(entry => entry.Kind == "error").ToArray();
        Assert.InRange(notes.Length, 1, 3);
        Assert.Equal(reported, notes.Sum(Count));
    }

    [Fact]
    public async Task An_uncorrectable_error_among_correctable_ones_is_recovered_from_at_once()
    {
        var host = Host();
        await FrontAsync(host, One);
        for (var i = 0; i < 1000; i++)
            Bus.Report(One, AerSeverity.Correctable, 1);

        Bus.Report(One, AerSeverity.NonFatal);

        // No time has passed.
        await NoteAsync(One, "recovering");
        await NoteAsync(One, "recovered");
        Assert.Equal(1001, (await HistoryAsync(host, One)).Where(entry => entry.Kind == "error").Sum(Count));
    }

    [Fact]
    public async Task Errors_of_a_device_out_of_service_are_counted_and_not_recovered()
    {
        var host = Host();
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "a whim", "me"));

        Client.Send(host, new InjectAer(One, AerSeverity.Fatal));

        Assert.Contains("out of service", (await NextAsync<RecoveryReport>(Client)).Steps[0], StringComparison.Ordinal);
        Assert.Empty(Bus.LinkResets);
        Assert.Contains(await HistoryAsync(host, One), entry => entry.Kind == "error");
    }

    [Fact]
    public async Task An_error_that_waits_for_a_recovery_which_puts_its_device_out_of_service_is_not_recovered()
    {
        var heard = CreateTestProbe();
        var host = Host(drivers: At(One, own => own.Take<ErrorDetected>(_ => heard.Ref.Tell(own.Asker))));
        await FrontAsync(host, One);
        Bus.Report(One, AerSeverity.NonFatal);
        var ballot = await NextAsync<IActorRef>(heard);
        // A second one while the first is recovered from; then somebody takes the device out.
        Bus.Report(One, AerSeverity.Fatal);
        Advance(Interval);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "a whim", "me"));

        ballot.Tell(new RecoveryVoted(RecoveryVote.CanRecover));
        await AskAsync<DeviceList>(host, ListDevices.Instance);
        Client.Send(host, new InjectAer(Other, AerSeverity.NonFatal));
        await NextAsync<RecoveryReport>(Client);

        Assert.Empty(Bus.LinkResets);
    }

    // ---- The freeze budget -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Five_freezes_an_hour_are_survived_and_the_sixth_is_not()
    {
        var host = Host();
        await FrontAsync(host, One);
        for (var i = 0; i < 5; i++)
            await RecoverAsync(host, One);
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, One)).Health);

        Client.Send(host, new InjectAer(One, AerSeverity.NonFatal));

        var status = await StateAsync(One, DeviceState.Quarantined);
        Assert.Contains("more than 5 freezes within an hour", status.Reason, StringComparison.Ordinal);
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, Other)).Health);
    }

    [Fact]
    public async Task A_freeze_counts_for_an_hour_and_no_longer()
    {
        var host = Host();
        await FrontAsync(host, One);

        // Five an hour, for a day.
        for (var i = 0; i < 24 * 5; i++)
        {
            await RecoverAsync(host, One);
            await PassAsync(TimeSpan.FromMinutes(12.1), host);
        }

        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, One)).Health);
    }

    [Fact]
    public async Task Errors_of_a_port_spend_the_budget_of_everything_below_it()
    {
        var host = Host();
        await FrontAsync(host, One);
        for (var i = 0; i < 5; i++)
            await RecoverAsync(host, SlotBus.PortOf(One));

        Client.Send(host, new InjectAer(SlotBus.PortOf(One), AerSeverity.NonFatal));

        await StateAsync(One, DeviceState.Quarantined);
    }

    [Fact]
    public async Task Errors_of_a_neighbour_do_not_spend_the_budget()
    {
        Bus.Add(Two);
        var host = Host();
        await FrontAsync(host, Two);
        for (var i = 0; i < 6; i++)
        {
            Client.Send(host, new InjectAer(Two, AerSeverity.NonFatal));
            await InTimeAsync<RecoveryReport>(Client, TimeSpan.FromSeconds(30));
            Advance(Interval);
        }

        Assert.Equal(DeviceState.Quarantined, (await StatusAsync(host, Two)).State);
        Assert.Equal(DeviceHealth.Healthy, (await StatusAsync(host, One)).Health);
    }

    [Fact]
    public async Task Corrected_errors_spend_no_budget_however_many_there_are()
    {
        var host = Host();
        await FrontAsync(host, One);
        for (var i = 0; i < 20; i++)
        {
            Bus.Report(One, AerSeverity.Correctable);
            await FrontAsync(host, Other);
            Advance(Interval);
        }

        Assert.Equal(DeviceHealth.Healthy, (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.Health);
    }

    private async Task RecoverAsync(IActorRef host, PciAddress source)
    {
        Client.Send(host, new InjectAer(source, AerSeverity.NonFatal));
        Assert.NotEqual(false, (await NextAsync<RecoveryReport>(Client)).Recovered);
        await PassAsync(Interval, host);
    }

    private async Task PassAsync(TimeSpan time, IActorRef host)
    {
        await FrontAsync(host, Other);
        Advance(time);
        await FrontAsync(host, Other);
    }

    private async Task<List<object>> DrainAsync(TestProbe probe)
    {
        var messages = new List<object>();
        while (await ReceiveAsync(probe, turns: 20) is { } message)
            messages.Add(message);
        return messages;
    }

    /// <summary>How many errors a note tells of.</summary>
    private static long Count(DeviceHistoryEntry note) =>
        Several().Match(note.Message) is { Success: true } match ? long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : 1;

    [GeneratedRegex("^(\\d+) errors")]
    private static partial Regex Several();
}
