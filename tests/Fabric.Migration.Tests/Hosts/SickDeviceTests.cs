using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Pci;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>Devices that are taken out of service, pulled out or reset under a claim: what the host says of it, and what can be moved still.</summary>
public sealed class SickDeviceTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const int Memory = 1 << 20;

    private static readonly PciAddress Address = PciAddress.Parse(TestHost.Device);

    private readonly TestHost alpha = new("alpha");
    private readonly TestHost beta = new("beta");

    public async ValueTask DisposeAsync()
    {
        await alpha.DisposeAsync();
        await beta.DisposeAsync();
    }

    [Fact]
    public async Task A_quarantined_device_that_can_be_read_is_told_to_its_claim()
    {
        await Attach();

        await Quarantine();

        Assert.Equal(new DeviceSick(Claim, "alpha", 1, TestHost.Device, "it smells", Readable: true), await alpha.Next<DeviceSick>());
    }

    [Fact]
    public async Task What_is_told_is_told_again_until_the_claim_has_acted()
    {
        await Attach();
        await Quarantine();

        var (first, second, third) = (await alpha.Next<DeviceSick>(), await alpha.Next<DeviceSick>(), await alpha.Next<DeviceSick>());

        Assert.Equal((first, first), (second, third));
    }

    [Fact]
    public async Task The_holder_of_a_quarantined_device_works_on()
    {
        await Attach();
        await Quarantine();
        await alpha.Next<DeviceSick>();

        Assert.Equal((true, AttachmentPhase.Running), (alpha.Consumer.Running, (await Status()).Phase));
    }

    [Fact]
    public async Task A_quarantined_device_is_moved_away_with_all_its_state_L2()
    {
        await Attach();
        alpha.Consumer.Own = [1, 2, 3];
        await Quarantine();
        await alpha.Next<DeviceSick>();

        var (stopped, loaded) = await Move(alpha, beta, TestHost.Device);
        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.Equal(alpha.Consumer.MemoryCopy, beta.Consumer.MemoryCopy);
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));
        await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        Assert.Equal<byte[]>([1, 2, 3], beta.Consumer.Own);
        Assert.Equal((false, true), (alpha.Consumer.Running, beta.Consumer.Running));
        Assert.Equal(DeviceState.Quarantined, await alpha.StateOf(TestHost.Device));
    }

    [Fact]
    public async Task A_claim_moves_to_another_function_of_its_host_with_all_its_state_L2()
    {
        await Attach();
        alpha.Consumer.Own = [1, 2, 3];
        await Quarantine();

        var (stopped, loaded) = await Move(alpha, alpha, TestHost.Sibling);
        var source = alpha.Consumers.First();
        Assert.Equal((false, false), (source.Running, alpha.Consumer.Running));
        Assert.Equal(source.MemoryCopy, alpha.Consumer.MemoryCopy);
        await alpha.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Sibling, 1));
        Assert.Equal(new Detached(Claim, "alpha", 2, TestHost.Device), await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device)));

        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.Equal((false, true, 2), (source.Running, alpha.Consumer.Running, alpha.Consumers.Count));
        await alpha.Becomes(TestHost.Sibling, DeviceState.Open);
    }

    [Fact]
    public async Task A_target_on_the_same_host_that_is_given_up_leaves_the_source_to_run()
    {
        await Attach();
        await alpha.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [TestHost.Sibling], Memory, 1000));

        await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Sibling));
        await alpha.Do<SourceRunning>(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.True(alpha.Consumers.First().Running);
        await alpha.Becomes(TestHost.Sibling, DeviceState.Closed);
    }

    [Fact]
    public async Task A_device_that_is_pulled_out_cannot_be_read_and_its_consumer_stands()
    {
        await Attach();

        await alpha.Command(new InjectRemoval(Address));

        var told = await Lost();
        Assert.Equal((Claim, "alpha", 1L, TestHost.Device, false), (told.ClaimId, told.Host, told.Generation, told.Device, alpha.Consumer.Running));
    }

    [Fact]
    public async Task A_device_that_closed_the_session_without_a_word_is_found_out()
    {
        await Attach();
        await Quarantine();

        // It is reset and probed anew: in service again, and the session is of before.
        await alpha.Command(new UnquarantineDevice(Address, "ops"));

        Assert.False((await Lost()).Readable);
        Assert.Equal((DeviceState.Closed, false), (await alpha.StateOf(TestHost.Device), alpha.Consumer.Running));
    }

    [Fact]
    public async Task A_device_that_is_reset_by_an_operator_has_not_closed_the_session()
    {
        await Attach();
        await alpha.Command(new ResetByOperator(Address, null, "ops"));

        var status = await Status();

        Assert.Equal((AttachmentPhase.Running, true), (status.Phase, alpha.Consumer.Running));
    }

    [Fact]
    public async Task What_ran_on_a_lost_device_does_not_run_again_L1()
    {
        await Attach();
        await alpha.Command(new InjectRemoval(Address));
        await Lost();

        alpha.Tell(new ResumeSource(Claim, 2, TestHost.Device, 1));

        Assert.Equal((nameof(ResumeSource), false), ((await Failure()).Command, alpha.Consumer.Running));
    }

    [Fact]
    public async Task A_lost_device_is_closed_when_it_is_asked_for_and_refuses_the_generation_L1()
    {
        await Attach();
        await alpha.Command(new InjectRemoval(Address));
        await Lost();

        Assert.Equal(new Detached(Claim, "alpha", 2, TestHost.Device), await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device)));

        alpha.Tell(new Attach(Claim, 2, [TestHost.Device], Memory, 1000));
        Assert.Contains("refuses 2", (await Failure()).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_that_is_in_service_again_can_be_started_afresh_under_the_next_generation()
    {
        await Attach();
        await Quarantine();
        await alpha.Command(new UnquarantineDevice(Address, "ops"));
        await Lost();
        await alpha.Do<Detached>(new Detach(Claim, 2, TestHost.Device));

        await alpha.Do<Attached>(new Attach(Claim, 3, [TestHost.Device], Memory, 1000));

        Assert.Equal((true, 2), (alpha.Consumer.Running, alpha.Consumers.Count));
    }

    [Fact]
    public async Task A_source_that_is_lost_in_the_pre_copy_breaks_the_transfer()
    {
        await Attach();
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [TestHost.Device], Memory, 1000));
        await alpha.Do<PreCopyProgress>(new StartPreCopy(Claim, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, 0));

        await alpha.Command(new InjectRemoval(Address));

        Assert.Equal(nameof(StartPreCopy), (await Failure()).Command);
        alpha.Tell(new ResumeSource(Claim, 2, TestHost.Device, 1));
        Assert.Equal(nameof(ResumeSource), (await Failure()).Command);
    }

    private async Task Attach() => await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));

    private Task Quarantine() => alpha.Command(new QuarantineDevice(Address, "it smells", "ops"));

    private Task<AttachmentStatus> Status() => alpha.Do<AttachmentStatus>(new ReportAttachment(Claim, 1, TestHost.Device));

    private async Task<DeviceSick> Lost()
    {
        while (true)
        {
            if (await alpha.Next<DeviceSick>() is { Readable: false } told)
                return told;
        }
    }

    private async Task<CommandFailed> Failure()
    {
        while (true)
        {
            if (await alpha.Answer() is CommandFailed failed)
                return failed;
        }
    }

    private static async Task<(SourceStopped Stopped, TargetLoaded Loaded)> Move(TestHost source, TestHost target, string to)
    {
        var prepared = await target.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [to], Memory, 1000));
        await source.Do<PreCopyProgress>(new StartPreCopy(Claim, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, 0));
        target.Tell(new StopAndCopy(Claim, 2, to, 1));
        source.Tell(new StopAndCopy(Claim, 2, TestHost.Device, 1));
        if (source != target)
            return (await source.Next<SourceStopped>(), await target.Next<TargetLoaded>());
        // Both come from one host, in no order.
        var first = await Ended(source);
        var second = await Ended(source);
        return ((first as SourceStopped ?? second as SourceStopped)!, (first as TargetLoaded ?? second as TargetLoaded)!);
    }

    private static async Task<IHostReport> Ended(TestHost host)
    {
        while (true)
        {
            if (await host.Answer() is var report and (SourceStopped or TargetLoaded or CommandFailed))
                return report;
        }
    }
}
