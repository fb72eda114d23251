using Fabric.Devices;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>One host alone: its fence (L1), and commands that come once, twice or too late.</summary>
public sealed class AttachmentsActorTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const int Memory = 1 << 18;

    private readonly TestHost host = new("alpha");

    public ValueTask DisposeAsync() => host.DisposeAsync();

    [Fact]
    public async Task An_attached_device_is_held_and_its_consumer_works()
    {
        var attached = await host.Do<Attached>(Attach(1));

        Assert.Equal(
            (new Attached(Claim, "alpha", 1, TestHost.Device), DeviceState.Open, true),
            (attached, await host.StateOf(TestHost.Device), host.Consumer.Running));
    }

    [Fact]
    public async Task Attach_sent_twice_starts_one_consumer()
    {
        host.Tell(Attach(1));
        host.Tell(Attach(1));
        await host.Next<Attached>();
        await host.Next<Attached>();

        Assert.Equal(1, Assert.Single(host.Consumers).Starts);
    }

    [Fact]
    public async Task An_older_generation_is_refused_L1()
    {
        await host.Do<Attached>(Attach(5));

        host.Tell(Attach(4));

        Assert.Equal(Refused("Attach", 4, "alpha has seen generation 5 of this claim and refuses 4."), await host.Answer());
    }

    [Fact]
    public async Task Even_a_detach_of_an_older_generation_is_refused_L1()
    {
        await host.Do<Attached>(Attach(5));

        host.Tell(new Detach(Claim, 4, TestHost.Device));

        Assert.Equal(Refused("Detach", 4, "alpha has seen generation 5 of this claim and refuses 4."), await host.Answer());
    }

    [Fact]
    public async Task A_generation_that_ended_does_not_come_to_life_again_L1()
    {
        await host.Do<Attached>(Attach(5));
        await host.Do<Detached>(new Detach(Claim, 5, TestHost.Device));

        host.Tell(Attach(5));

        Assert.Equal(Refused("Attach", 5, "alpha has seen generation 5 of this claim and refuses 5."), await host.Answer());
    }

    [Fact]
    public async Task A_detach_of_what_never_was_fences_it_all_the_same_L1()
    {
        await host.Do<Detached>(new Detach(Claim, 5, TestHost.Device));

        host.Tell(Prepare(5, 1));

        Assert.Equal(Refused("PrepareTarget", 5, "alpha has seen generation 5 of this claim and refuses 5."), await host.Answer());
    }

    [Fact]
    public async Task A_newer_generation_is_taken_after_one_that_ended()
    {
        await host.Do<Attached>(Attach(5));
        await host.Do<Detached>(new Detach(Claim, 5, TestHost.Device));

        Assert.Equal(6, (await host.Do<TargetPrepared>(Prepare(6, 1))).Generation);
    }

    [Fact]
    public async Task A_newer_generation_need_not_wait_for_the_end_of_a_detach()
    {
        await host.Do<Attached>(Attach(5));
        host.Tell(new Detach(Claim, 5, TestHost.Device));
        host.Tell(Prepare(6, 1));
        await host.Next<Detached>();

        Assert.Equal(6, Assert.IsType<TargetPrepared>(await host.Answer()).Generation);
    }

    [Fact]
    public async Task A_newer_generation_that_follows_a_detach_at_once_stays_attached()
    {
        await host.Do<Attached>(Attach(5));
        host.Tell(new Detach(Claim, 5, TestHost.Device));
        host.Tell(new Detach(Claim, 5, TestHost.Device));
        await host.Next<Detached>();
        await host.Do<TargetPrepared>(Prepare(6, 1));

        Assert.Equal(6, (await host.Do<TargetPrepared>(Prepare(6, 1))).Generation);
    }

    [Fact]
    public async Task A_detached_device_is_free_and_its_consumer_ended()
    {
        await host.Do<Attached>(Attach(1));
        await host.Do<Detached>(new Detach(Claim, 1, TestHost.Device));
        await host.Consumer.Disposed.Task.WaitAsync(host.Patience);

        await host.Becomes(TestHost.Device, DeviceState.Closed);
        Assert.False(host.Consumer.Running);
    }

    [Fact]
    public async Task Detach_sent_twice_is_answered_as_once()
    {
        await host.Do<Attached>(Attach(1));
        host.Tell(new Detach(Claim, 1, TestHost.Device));
        host.Tell(new Detach(Claim, 1, TestHost.Device));
        await host.Next<Detached>();
        host.Tell(new Detach(Claim, 1, TestHost.Device));

        Assert.Equal(new Detached(Claim, "alpha", 1, TestHost.Device), await host.Answer());
    }

    [Fact]
    public async Task PrepareTarget_sent_twice_gives_the_same_door_and_key()
    {
        var first = await host.Do<TargetPrepared>(Prepare(2, 1));

        var again = await host.Do<TargetPrepared>(Prepare(2, 1));

        Assert.Equal((first.Endpoint, Convert.ToHexString(first.Token)), (again.Endpoint, Convert.ToHexString(again.Token)));
    }

    [Theory]
    [MemberData(nameof(OfNothing))]
    public async Task A_command_for_what_is_not_held_says_that_it_is_gone(int command)
    {
        var sent = Commands[command];
        host.Tell(sent);

        Assert.Equal(
            new CommandFailed(
                Claim, "alpha", 3, TestHost.Device, sent.GetType().Name,
                "alpha holds nothing of claim c1; what it held ended with an earlier life of its daemon, or with a failure.", Gone: true),
            await host.Answer());
    }

    [Fact]
    public async Task A_device_that_another_claim_holds_cannot_be_attached()
    {
        await host.Do<Attached>(Attach(1));

        host.Tell(new Attach("c2", 1, [TestHost.Device], Memory, 1000));

        Assert.Contains("held by claim c1", Assert.IsType<CommandFailed>(await host.Answer()).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_consumer_whose_memory_cannot_be_mapped_is_not_kept()
    {
        host.Tell(Attach(1) with { MemoryBytes = Memory + 1 });

        Assert.IsType<CommandFailed>(await host.Answer());
        await host.Consumer.Disposed.Task.WaitAsync(host.Patience);
    }

    [Fact]
    public async Task What_could_not_be_opened_is_not_opened_by_the_same_command_that_comes_later_L1()
    {
        await host.Do<Attached>(Attach(1));
        var late = new Attach("c2", 1, [TestHost.Device], Memory, 1000);
        host.Tell(late);
        Assert.IsType<CommandFailed>(await host.Answer());
        await host.Do<Detached>(new Detach(Claim, 1, TestHost.Device));

        CommandFailed refused;
        do
        {
            // The attachment that failed may be on its way out.
            host.Tell(late);
            refused = Assert.IsType<CommandFailed>(await host.Answer());
        }
        while (refused.Reason.Contains("phase", StringComparison.Ordinal));

        Assert.Equal("alpha has seen generation 1 of this claim and refuses 1.", refused.Reason);
    }

    [Fact]
    public async Task An_attach_that_was_meant_for_another_life_of_the_host_is_refused_L1()
    {
        var planned = await host.Do<TargetPlanned>(new PlanTarget(Claim, 0, [new DeviceNeed("accelerator-vf", Device: null)]));

        host.Tell(Attach(1) with { Life = planned.Life - 1 });

        Assert.Equal(
            Refused("Attach", 1, "alpha was started anew since fab0:01:00.1 was chosen there, and may have run claim c1 before; create it again.") with { Gone = true },
            await host.Answer());
    }

    [Fact]
    public async Task An_attach_that_is_meant_for_this_life_of_the_host_is_carried_out()
    {
        var planned = await host.Do<TargetPlanned>(new PlanTarget(Claim, 0, [new DeviceNeed("accelerator-vf", Device: null)]));

        Assert.NotEqual(0, planned.Life);
        await host.Do<Attached>(Attach(1) with { Life = planned.Life });
    }

    [Fact]
    public async Task A_verified_claim_stands_meanwhile_and_runs_again()
    {
        await host.Do<Attached>(Attach(1));

        var verified = await host.Do<AttachmentVerified>(new VerifyAttachment(Claim, 1, TestHost.Device));

        Assert.Equal((new VerificationResult(1, 2, 3, Damaged: 0), null, true), (verified.Result, verified.Failure, host.Consumer.Running));
    }

    [Fact]
    public async Task A_report_that_is_asked_for_tells_what_is_held()
    {
        await host.Do<Attached>(Attach(1));

        var status = await host.Do<AttachmentStatus>(new ReportAttachment(Claim, 1, TestHost.Device));

        Assert.Equal(
            (1L, TestHost.Device, "accelerator", 1L << 20, AttachmentPhase.Running),
            (status.Generation, status.Device, status.Devices.Single().Driver, status.Devices.Single().StateBytes, status.Phase));
    }

    [Fact]
    public async Task A_plan_touches_nothing()
    {
        var planned = await host.Do<TargetPlanned>(new PlanTarget(Claim, 9, [new DeviceNeed("accelerator-vf", Device: null)]));
        await host.Do<Attached>(Attach(1));

        Assert.Equal([TestHost.Device], planned.Devices);
    }

    public static TheoryData<int> OfNothing => [.. Enumerable.Range(0, 6)];

    private static readonly IHostCommand[] Commands =
    [
        new StartPreCopy(Claim, 3, TestHost.Device, 1, "127.0.0.1:1", [], 0),
        new StopAndCopy(Claim, 3, TestHost.Device, 1),
        new RunTarget(Claim, 3, TestHost.Device, 1),
        new ResumeSource(Claim, 3, TestHost.Device, 1),
        new VerifyAttachment(Claim, 3, TestHost.Device),
        new ReportAttachment(Claim, 3, TestHost.Device),
    ];

    private static Attach Attach(long generation) => new(Claim, generation, [TestHost.Device], Memory, 1000);

    private static PrepareTarget Prepare(long generation, int migration) => new(Claim, generation, migration, [TestHost.Device], Memory, 1000);

    private static CommandFailed Refused(string command, long generation, string reason) => new(Claim, "alpha", generation, TestHost.Device, command, reason, Gone: false);
}
