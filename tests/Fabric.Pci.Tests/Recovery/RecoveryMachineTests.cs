using CsCheck;
using Fabric.Pci.Recovery;
using static Fabric.Pci.Recovery.RecoveryVote;

namespace Fabric.Pci.Tests.Recovery;

public sealed class RecoveryMachineTests
{
    private static readonly RecoveryInput.Votes NoVotes = new([]);
    private static readonly RecoveryInput.LinkReset LinkWorks = new(Recovered);

    private static readonly Gen<RecoveryVote> AnyVote = Gen.Enum<RecoveryVote>();

    private static readonly Gen<Script> AnyScript = Gen.Select(
        Gen.Bool.Select(frozen => frozen ? ChannelState.Frozen : ChannelState.Normal),
        AnyVote.Array[0, 6],
        AnyVote.Array[0, 6],
        AnyVote,
        AnyVote.Array[0, 6],
        (channel, detected, mmio, link, slot) => new Script(channel, detected, mmio, link, slot));

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    public void Recovery_starts_by_announcing_the_channel_state_with_the_status_CanRecover(ChannelState channel)
    {
        var machine = RecoveryMachine.Start(channel);

        Assert.Equal((new RecoveryEffect.ErrorDetected(channel), CanRecover), (machine.Next, machine.Status));
    }

    [Theory]
    [InlineData(ChannelState.PermanentFailure)]
    [InlineData((ChannelState)0)]
    public void A_channel_that_cannot_be_recovered_is_refused(ChannelState channel) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => RecoveryMachine.Start(channel));

    [Fact]
    public void A_non_fatal_error_that_all_can_recover_from_resets_nothing_ER_11() =>
        Assert.Equal(
            "ErrorDetected(Normal) MmioEnabled Resume Finished(Recovered)",
            Run(new Script(ChannelState.Normal, Detected: [CanRecover, CanRecover])));

    [Fact]
    public void A_frozen_channel_gets_mmio_enabled_first_then_a_link_reset_and_no_slot_reset_when_all_can_recover_ER_10() =>
        Assert.Equal(
            "ErrorDetected(Frozen) MmioEnabled ResetLink Resume Finished(Recovered)",
            Run(new Script(ChannelState.Frozen, Detected: [CanRecover, CanRecover])));

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    public void NeedReset_at_detection_skips_mmio_enabled_and_gets_slot_reset(ChannelState channel) =>
        Assert.Equal(
            $"ErrorDetected({channel}) ResetLink SlotReset Resume Finished(Recovered)",
            Run(new Script(channel, Detected: [CanRecover, NeedReset, CanRecover], Slot: [Recovered])));

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    public void NeedReset_at_mmio_enabled_gets_link_reset_and_slot_reset(ChannelState channel) =>
        Assert.Equal(
            $"ErrorDetected({channel}) MmioEnabled ResetLink SlotReset Resume Finished(Recovered)",
            Run(new Script(channel, Detected: [CanRecover], Mmio: [NeedReset])));

    [Fact]
    public void One_function_without_a_driver_fails_a_frozen_channel_but_its_link_is_still_reset_ER_12() =>
        Assert.Equal(
            "ErrorDetected(Frozen) ResetLink PermanentFailure Finished(Failed)",
            Run(new Script(ChannelState.Frozen, Detected: [CanRecover, NoAerDriver])));

    [Fact]
    public void One_function_without_a_driver_fails_a_normal_channel_without_any_reset_ER_12() =>
        Assert.Equal(
            "ErrorDetected(Normal) PermanentFailure Finished(Failed)",
            Run(new Script(ChannelState.Normal, Detected: [NoAerDriver, CanRecover])));

    [Theory]
    [InlineData(ChannelState.Normal, "ErrorDetected(Normal) PermanentFailure Finished(Failed)")]
    [InlineData(ChannelState.Frozen, "ErrorDetected(Frozen) ResetLink PermanentFailure Finished(Failed)")]
    public void Disconnect_at_detection_fails_the_recovery(ChannelState channel, string expected) =>
        Assert.Equal(expected, Run(new Script(channel, Detected: [Disconnect])));

    [Theory]
    [InlineData(ChannelState.Normal, "ErrorDetected(Normal) MmioEnabled PermanentFailure Finished(Failed)")]
    [InlineData(ChannelState.Frozen, "ErrorDetected(Frozen) MmioEnabled ResetLink PermanentFailure Finished(Failed)")]
    public void CanRecover_at_mmio_enabled_is_not_good_enough(ChannelState channel, string expected) =>
        Assert.Equal(expected, Run(new Script(channel, Detected: [CanRecover], Mmio: [CanRecover])));

    [Fact]
    public void A_vote_of_Recovered_at_detection_skips_mmio_enabled() =>
        Assert.Equal(
            "ErrorDetected(Normal) Resume Finished(Recovered)", Run(new Script(ChannelState.Normal, Detected: [Recovered])));

    [Fact]
    public void No_votes_at_all_count_as_CanRecover_then_Recovered_ER_2() =>
        Assert.Equal(
            "ErrorDetected(Frozen) MmioEnabled ResetLink Resume Finished(Recovered)", Run(new Script(ChannelState.Frozen)));

    [Theory]
    [InlineData(None)]
    [InlineData(CanRecover)]
    [InlineData(NeedReset)]
    [InlineData(Disconnect)]
    [InlineData(NoAerDriver)]
    public void Any_link_reset_that_is_not_Recovered_fails_the_recovery(RecoveryVote link) =>
        Assert.Equal(
            "ErrorDetected(Frozen) MmioEnabled ResetLink PermanentFailure Finished(Failed)",
            Run(new Script(ChannelState.Frozen, Detected: [CanRecover], Link: link)));

    [Theory]
    [InlineData(CanRecover)]
    [InlineData(NeedReset)]
    [InlineData(Disconnect)]
    [InlineData(NoAerDriver)]
    public void Any_vote_at_slot_reset_that_merges_to_other_than_Recovered_fails_the_recovery(RecoveryVote slot) =>
        Assert.Equal(
            "ErrorDetected(Normal) ResetLink SlotReset PermanentFailure Finished(Failed)",
            Run(new Script(ChannelState.Normal, Detected: [NeedReset], Slot: [Recovered, slot])));

    [Fact]
    public void The_same_votes_in_another_walk_order_take_another_path_ER_20()
    {
        var recoveredLast = Run(new Script(ChannelState.Normal, Detected: [CanRecover, Recovered]));
        var recoveredFirst = Run(new Script(ChannelState.Normal, Detected: [Recovered, CanRecover]));

        Assert.Equal("ErrorDetected(Normal) Resume Finished(Recovered)", recoveredLast);
        Assert.Equal("ErrorDetected(Normal) MmioEnabled Resume Finished(Recovered)", recoveredFirst);
    }

    [Fact]
    public void The_same_votes_at_slot_reset_in_another_walk_order_have_another_outcome_ER_20()
    {
        var afterReset = RecoveryMachine.Start(ChannelState.Normal).Step(new RecoveryInput.Votes([NeedReset])).Step(LinkWorks);

        Assert.IsType<RecoveryEffect.Resume>(afterReset.Step(new RecoveryInput.Votes([CanRecover, Recovered])).Next);
        Assert.IsType<RecoveryEffect.PermanentFailure>(afterReset.Step(new RecoveryInput.Votes([Recovered, CanRecover])).Next);
    }

    [Fact]
    public void Votes_on_resume_are_not_looked_at()
    {
        var resuming = RecoveryMachine.Start(ChannelState.Normal).Step(NoVotes).Step(NoVotes);

        Assert.Equal(
            new RecoveryEffect.Finished(RecoveryOutcome.Recovered), resuming.Step(new RecoveryInput.Votes([Disconnect])).Next);
    }

    [Fact]
    public void Votes_on_permanent_failure_are_not_looked_at()
    {
        var failing = RecoveryMachine.Start(ChannelState.Normal).Step(new RecoveryInput.Votes([Disconnect]));

        Assert.Equal(new RecoveryEffect.Finished(RecoveryOutcome.Failed), failing.Step(new RecoveryInput.Votes([Recovered])).Next);
    }

    [Fact]
    public void A_default_array_of_votes_is_no_votes() =>
        Assert.IsType<RecoveryEffect.MmioEnabled>(
            RecoveryMachine.Start(ChannelState.Normal).Step(new RecoveryInput.Votes(default)).Next);

    [Fact]
    public void A_link_reset_that_was_not_asked_for_is_refused() =>
        Assert.Throws<InvalidOperationException>(() => RecoveryMachine.Start(ChannelState.Frozen).Step(LinkWorks));

    [Fact]
    public void Votes_do_not_answer_a_link_reset()
    {
        var resetting = RecoveryMachine.Start(ChannelState.Normal).Step(new RecoveryInput.Votes([NeedReset]));

        Assert.Throws<InvalidOperationException>(() => resetting.Step(NoVotes));
    }

    [Fact]
    public void A_finished_recovery_takes_no_more_input()
    {
        var finished = RecoveryMachine.Start(ChannelState.Normal).Step(NoVotes).Step(NoVotes).Step(NoVotes);

        Assert.Throws<InvalidOperationException>(() => finished.Step(NoVotes));
    }

    [Fact]
    public void A_step_leaves_the_machine_it_was_taken_from_as_it_was()
    {
        var started = RecoveryMachine.Start(ChannelState.Frozen);
        started.Step(new RecoveryInput.Votes([Disconnect]));

        Assert.Equal(RecoveryMachine.Start(ChannelState.Frozen), started);
    }

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    public void Error_detected_stores_the_announced_channel_state(ChannelState channel) =>
        Assert.Equal(channel, RecoveryMachine.Start(channel).Next.StoredChannel);

    [Fact]
    public void Slot_reset_and_resume_store_a_normal_channel_and_nothing_else_stores_any()
    {
        Assert.Equal(ChannelState.Normal, new RecoveryEffect.SlotReset().StoredChannel);
        Assert.Equal(ChannelState.Normal, new RecoveryEffect.Resume().StoredChannel);
        Assert.All<RecoveryEffect>(
            [
                new RecoveryEffect.MmioEnabled(), new RecoveryEffect.ResetLink(), new RecoveryEffect.PermanentFailure(),
                new RecoveryEffect.Finished(RecoveryOutcome.Failed),
            ],
            effect => Assert.Null(effect.StoredChannel));
    }

    [Fact]
    public void Every_recovery_performs_the_steps_of_the_contract_in_their_order() =>
        AnyScript.Sample(script => Assert.Equal(Contract(script), Run(script)));

    /// <summary>§4.3 written as the straight-line text it is in the contract, as an oracle for the machine.</summary>
    private static string Contract(Script script)
    {
        var trace = new List<string>();
        var status = script.Detected.Aggregate(CanRecover, VoteMerge.Merge);
        trace.Add($"ErrorDetected({script.Channel})");
        if (status == CanRecover)
        {
            trace.Add("MmioEnabled");
            status = script.Mmio.Aggregate(Recovered, VoteMerge.Merge);
        }

        var linkFailed = false;
        if (status == NeedReset || script.Channel == ChannelState.Frozen)
        {
            trace.Add("ResetLink");
            linkFailed = script.Link != Recovered;
        }

        if (!linkFailed && status == NeedReset)
        {
            trace.Add("SlotReset");
            status = script.Slot.Aggregate(Recovered, VoteMerge.Merge);
        }

        trace.Add(linkFailed || status != Recovered ? "PermanentFailure Finished(Failed)" : "Resume Finished(Recovered)");
        return string.Join(' ', trace);
    }

    private static string Run(Script script)
    {
        var trace = new List<string>();
        var machine = RecoveryMachine.Start(script.Channel);
        while (true)
        {
            trace.Add(machine.Next switch
            {
                RecoveryEffect.ErrorDetected detected => $"ErrorDetected({detected.State})",
                RecoveryEffect.Finished finished => $"Finished({finished.Outcome})",
                var effect => effect.GetType().Name,
            });
            if (machine.Next is RecoveryEffect.Finished)
                return string.Join(' ', trace);
            machine = machine.Step(script.Answer(machine.Next));
        }
    }

    /// <summary>What every function in scope votes at each broadcast, and what the link reset comes to.</summary>
    private sealed record Script(
        ChannelState Channel,
        RecoveryVote[] Detected,
        RecoveryVote[] Mmio,
        RecoveryVote Link,
        RecoveryVote[] Slot)
    {
        public Script(
            ChannelState Channel,
            RecoveryVote[]? Detected = null,
            RecoveryVote[]? Mmio = null,
            RecoveryVote? Link = null,
            RecoveryVote[]? Slot = null)
            : this(Channel, Detected ?? [], Mmio ?? [], Link ?? Recovered, Slot ?? [])
        {
        }

        public RecoveryInput Answer(RecoveryEffect effect) => effect switch
        {
            RecoveryEffect.ErrorDetected => new RecoveryInput.Votes([.. Detected]),
            RecoveryEffect.MmioEnabled => new RecoveryInput.Votes([.. Mmio]),
            RecoveryEffect.ResetLink => new RecoveryInput.LinkReset(Link),
            RecoveryEffect.SlotReset => new RecoveryInput.Votes([.. Slot]),
            _ => NoVotes,
        };
    }
}
