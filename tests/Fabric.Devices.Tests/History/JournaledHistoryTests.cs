using System.Collections.Concurrent;
using Akka.Actor;
using Fabric.Devices.History;
using Fabric.Devices.History.Journal;
using Fabric.Pci;

namespace Fabric.Devices.Tests.History;

public sealed class JournaledHistoryTests : DeviceTest
{
    private static readonly PciAddress Device = new(0, 0x3b, 0, 2);
    private static readonly PciAddress Other = new(0, 0x3b, 0, 3);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private static readonly DeviceStanding Sick = new("it smells", "ops", [DateTimeOffset.UnixEpoch], [], ["flr"]);

    private readonly JournalFaults journal;
    private readonly ConcurrentQueue<string?> troubles = new();
    private HistoryOptions options;

    public JournaledHistoryTests()
        : base(JournalFaults.Config)
    {
        journal = JournalFaults.Of(Sys);
        options = new HistoryOptions { OnTrouble = troubles.Enqueue };
    }

    // ---- As long as the journal works ------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_was_noted_is_read_the_newest_first()
    {
        var history = await StartAsync();

        Note(history, Device, "one", "two", "three");

        Assert.Equal(["three", "two"], await ReadAsync(history, Device, 2));
    }

    [Fact]
    public async Task A_limit_out_of_range_is_EINVAL() =>
        Assert.Equal(Fabric.Vfio.Errno.EINVAL, (await RefusedAsync(await StartAsync(), new GetDeviceHistory(Device, 1001))).Errno);

    [Fact]
    public async Task A_standing_is_acknowledged_when_it_is_in_the_journal_and_not_before()
    {
        var history = await StartAsync();
        journal.OnWrite = JournalFault.Hang;

        history.Tell(new KeepStanding(Device, Sick), TestActor);
        await ReadAsync(history, Device, 1);
        await ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
        journal.EndHangs();

        var kept = await ExpectMsgAsync<StandingKept>(cancellationToken: Cancelled);
        Assert.Same(Sick, kept.Standing);
        Assert.Single(journal.Written.OfType<StandingChanged>());
    }

    [Fact]
    public async Task What_was_noted_before_an_acknowledged_standing_is_in_the_journal_before_it()
    {
        var history = await StartAsync();

        Note(history, Device, "why");
        await AskAsync<StandingKept>(history, new KeepStanding(Device, Sick));

        Assert.Collection(journal.Written, first => Assert.IsType<EntryNoted>(first), second => Assert.IsType<StandingChanged>(second));
    }

    [Fact]
    public async Task Histories_and_standings_are_there_after_a_restart_in_the_order_in_which_they_were_made()
    {
        var history = await StartAsync();
        Note(history, Device, "one", "two");
        Note(history, Other, "elsewhere");
        Note(history, Device, "three");
        await AskAsync<StandingKept>(history, new KeepStanding(Device, Sick));

        var (again, standings) = await RestartAsync(history);

        Assert.Equal(["three", "two", "one"], await ReadAsync(again, Device));
        Assert.Equal(["elsewhere"], await ReadAsync(again, Other));
        Same(Sick, standings[Device]);
        Assert.Equal(DeviceStanding.None, standings[Other]);
    }

    [Fact]
    public async Task Whether_reset_methods_were_chosen_is_known_after_a_restart()
    {
        var history = await StartAsync();
        await AskAsync<StandingKept>(history, new KeepStanding(Device, DeviceStanding.None with { ResetMethods = [] }));
        await AskAsync<StandingKept>(history, new KeepStanding(Other, DeviceStanding.None));

        var (_, standings) = await RestartAsync(history);

        Assert.Equal((false, true), (standings[Device].ResetMethods.IsDefault, standings[Other].ResetMethods.IsDefault));
    }

    // ---- Snapshots -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_snapshot_holds_leaves_the_journal_and_is_there_after_a_restart()
    {
        options = options with { SnapshotEvery = 10 };
        var history = await StartAsync();
        for (var number = 1; number <= 25; number++)
        {
            Note(history, Device, $"{number}");
            await AskAsync<StandingKept>(history, new KeepStanding(Device, Sick with { QuarantinedFor = $"{number}" }));
        }

        // A snapshot under way when the last of these is written keeps the next from being due: more of another device makes it so.
        await AwaitConditionAsync(
            () =>
            {
                Note(history, Other, "more");
                return Task.FromResult(journal.DeletedTo >= 40);
            },
            Patience, cancellationToken: Cancelled);
        var (again, standings) = await RestartAsync(history);

        Assert.Equal(Enumerable.Range(1, 25).Reverse().Select(number => $"{number}"), await ReadAsync(again, Device));
        Assert.Equal("25", standings[Device].QuarantinedFor);
    }

    [Fact]
    public async Task Of_more_than_a_thousand_entries_the_last_thousand_are_there_after_a_restart()
    {
        options = options with { SnapshotEvery = 300 };
        var history = await StartAsync();
        Note(history, Device, [.. Enumerable.Range(1, 2500).Select(number => $"{number}")]);
        await AskAsync<StandingKept>(history, new KeepStanding(Device, Sick));

        var (again, _) = await RestartAsync(history);

        Assert.Equal(Enumerable.Range(1501, 1000).Reverse().Select(number => $"{number}"), await ReadAsync(again, Device));
    }

    // ---- A journal that fails --------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(JournalFault.Fail, "the disk is full")]
    [InlineData(JournalFault.KeepAndFail, "the connection broke")]
    [InlineData(JournalFault.Reject, "the event is too large")]
    internal async Task What_a_journal_did_not_take_is_answered_for_stays_in_memory_and_is_written_once_when_it_does(JournalFault fault, string why)
    {
        var history = await StartAsync();
        journal.OnWrite = fault;
        Note(history, Device, "one", "two");

        var refused = await AskAsync<StandingNotKept>(history, new KeepStanding(Device, Sick));

        Assert.Equal(why, refused.Why);
        await TroubleAsync(trouble => trouble?.Contains(why, StringComparison.Ordinal) == true);
        Assert.Equal(["two", "one"], await ReadAsync(history, Device));

        journal.OnWrite = JournalFault.None;
        Timers.Advance(options.RetryAtMost);
        await AskUntilKeptAsync(history, new KeepStanding(Other, Sick));
        await TroubleAsync(trouble => trouble is null);
        var (again, standings) = await RestartAsync(history);
        Assert.Equal(["two", "one"], await ReadAsync(again, Device));
        Same(Sick, standings[Device]);
    }

    [Fact]
    public async Task A_journal_that_is_known_to_fail_is_not_waited_for()
    {
        var history = await StartAsync();
        journal.OnWrite = JournalFault.Fail;
        await AskAsync<StandingNotKept>(history, new KeepStanding(Device, Sick));
        journal.OnWrite = JournalFault.Hang;

        Assert.Equal("the disk is full", (await AskAsync<StandingNotKept>(history, new KeepStanding(Other, Sick))).Why);
    }

    [Fact]
    public async Task A_journal_that_hangs_is_answered_for_within_the_deadline_and_opened_anew()
    {
        var history = await StartAsync();
        journal.OnWrite = JournalFault.Hang;
        Note(history, Device, "one");
        history.Tell(new KeepStanding(Device, Sick), TestActor);
        Assert.Equal(["one"], await ReadAsync(history, Device));

        Pass(options.Deadline);

        Assert.Contains("within 10 s", (await ExpectMsgAsync<StandingNotKept>(cancellationToken: Cancelled)).Why);
        await TroubleAsync(trouble => trouble == "the journal did not answer within 10 s");
        journal.EndHangs();
        Timers.Advance(options.RetryAtMost);
        await AskUntilKeptAsync(history, new KeepStanding(Other, Sick));
        var (again, standings) = await RestartAsync(history);
        Assert.Equal(["one"], await ReadAsync(again, Device));
        Same(Sick, standings[Device]);
    }

    [Fact]
    public async Task More_than_may_wait_goes_with_a_snapshot_and_nothing_that_memory_has_is_lost()
    {
        options = options with { UnwrittenAtMost = 100 };
        var history = await StartAsync();
        journal.OnWrite = JournalFault.Fail;
        await AskAsync<StandingNotKept>(history, new KeepStanding(Device, Sick));
        for (var number = 1; number <= 450; number++)
        {
            Note(history, Device, $"{number}");
            history.Tell(new KeepStanding(Other, Sick with { QuarantinedFor = $"{number}" }), ActorRefs.Nobody);
        }

        await ReadAsync(history, Device);
        journal.OnWrite = JournalFault.None;
        Timers.Advance(options.RetryAtMost);
        await AskUntilKeptAsync(history, new KeepStanding(Device, Sick with { QuarantinedBy = "rule" }));
        await AwaitConditionAsync(() => Task.FromResult(journal.DeletedTo > 0), Patience, cancellationToken: Cancelled);
        var (again, standings) = await RestartAsync(history);

        Assert.Equal(Enumerable.Range(1, 450).Reverse().Select(number => $"{number}"), await ReadAsync(again, Device));
        Assert.Equal(("rule", "450"), (standings[Device].QuarantinedBy, standings[Other].QuarantinedFor));
        Assert.True(journal.Written.Length < 450, $"{journal.Written.Length} events were written; most should have gone with the snapshot.");
    }

    // ---- A journal that cannot be read -----------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(JournalFault.Fail)]
    [InlineData(JournalFault.Hang)]
    internal async Task Who_asks_for_standings_is_answered_within_the_deadline_and_again_when_the_journal_can_be_read(JournalFault fault)
    {
        var before = await StartAsync();
        Note(before, Device, "old");
        await AskAsync<StandingKept>(before, new KeepStanding(Device, Sick));
        await before.GracefulStop(Patience);
        journal.OnRead = fault;
        var history = Sys.ActorOf(JournaledHistory.Props(options));
        history.Tell(ReadStandings.Instance, TestActor);
        await ReadAsync(history, Device);
        await ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);

        Pass(options.ReadDeadline);
        Assert.Empty((await ExpectMsgAsync<StandingsRead>(cancellationToken: Cancelled)).Standings);
        await TroubleAsync(trouble => trouble?.StartsWith("it could not be read within 30 s", StringComparison.Ordinal) == true);
        Note(history, Device, "new");
        var unaware = DeviceStanding.None with { Restarts = [DateTimeOffset.UnixEpoch] };
        history.Tell(new KeepStanding(Device, unaware), TestActor);
        await ExpectMsgAsync<StandingNotKept>(cancellationToken: Cancelled);

        journal.EndHangs();
        StandingsRead? late = null;
        await AwaitConditionAsync(
            async () =>
            {
                Timers.Advance(options.RetryAtMost);
                late = (StandingsRead?)await ReceiveOneAsync(TimeSpan.FromMilliseconds(100), Cancelled);
                return late is not null;
            },
            Patience, cancellationToken: Cancelled);

        Same(Sick with { Restarts = unaware.Restarts, ResetMethods = default }, late!.Standings[Device]);
        Assert.Equal(["new", "old"], await ReadAsync(history, Device));
        await AskUntilKeptAsync(history, new KeepStanding(Other, Sick));
        var (again, standings) = await RestartAsync(history);
        Assert.Equal(["new", "old"], await ReadAsync(again, Device));
        Assert.Equal("it smells", standings[Device].QuarantinedFor);
    }

    // ---- Speed -----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(JournalFault.None)]
    [InlineData(JournalFault.Hang)]
    internal async Task A_storm_of_notes_does_not_keep_a_question_waiting(JournalFault fault)
    {
        const int storm = 100_000;
        var history = await StartAsync();
        journal.OnWrite = fault;
        var began = TimeProvider.System.GetTimestamp();
        for (var number = 1; number <= storm; number++)
            Note(history, number % 2 == 0 ? Device : Other, "error");

        await ReadAsync(history, Device);

        // Ten times as fast as ten thousand a second would come; it takes a tenth of a second on an idle machine.
        var took = TimeProvider.System.GetElapsedTime(began);
        TestContext.Current.TestOutputHelper?.WriteLine($"{storm} notes and a question: {took.TotalMilliseconds:0} ms");
        Assert.True(took < TimeSpan.FromSeconds(storm / 10_000), $"{storm} notes took {took}.");
    }

    /// <summary>In small steps: a timer that repeats goes off once a step.</summary>
    private void Pass(TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += options.Deadline / 10)
            Timers.Advance(options.Deadline / 10);
    }

    private async Task<IActorRef> StartAsync()
    {
        var history = Sys.ActorOf(JournaledHistory.Props(options));
        await AskAsync<StandingsRead>(history, ReadStandings.Instance);
        return history;
    }

    private async Task<(IActorRef History, IReadOnlyDictionary<PciAddress, DeviceStanding> Standings)> RestartAsync(IActorRef history)
    {
        await history.GracefulStop(Patience);
        var again = Sys.ActorOf(JournaledHistory.Props(options));
        return (again, (await AskAsync<StandingsRead>(again, ReadStandings.Instance)).Standings);
    }

    private static void Note(IActorRef history, PciAddress device, params string[] messages)
    {
        foreach (var message in messages)
            history.Tell(new NoteHistory(device, new DeviceHistoryEntry(DateTimeOffset.UnixEpoch, "tested", message)));
    }

    private static async Task<string[]> ReadAsync(IActorRef history, PciAddress device, int limit = 1000) =>
        [.. (await AskAsync<DeviceHistoryRead>(history, new GetDeviceHistory(device, limit))).Entries.Select(entry => entry.Message)];

    /// <summary>A journal that was opened anew takes what waited first; who asks before it is open is refused, and asks again.</summary>
    private async Task AskUntilKeptAsync(IActorRef history, KeepStanding keep) => await AwaitConditionAsync(
        async () =>
        {
            Timers.Advance(options.RetryAfter);
            return await history.Ask<object>(keep, Patience, Cancelled) is StandingKept;
        },
        Patience, cancellationToken: Cancelled);

    /// <summary>Until this is what it says of its journal, null that all is well.</summary>
    private Task TroubleAsync(Predicate<string?> condition) =>
        AwaitConditionAsync(() => Task.FromResult(troubles.Any(trouble => condition(trouble))), Patience, cancellationToken: Cancelled);

    private static void Same(DeviceStanding expected, DeviceStanding actual)
    {
        Assert.Equal((expected.QuarantinedFor, expected.QuarantinedBy), (actual.QuarantinedFor, actual.QuarantinedBy));
        Assert.Equal(expected.Restarts.AsEnumerable(), actual.Restarts);
        Assert.Equal(expected.Freezes.AsEnumerable(), actual.Freezes);
        Assert.Equal(expected.ResetMethods.IsDefault ? null : expected.ResetMethods.AsEnumerable(), actual.ResetMethods.IsDefault ? null : actual.ResetMethods);
    }
}
