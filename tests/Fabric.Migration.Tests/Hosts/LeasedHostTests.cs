using Fabric.Devices;
using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>One host that holds a claim under a lease, on a real device chain and a clock that the test moves.</summary>
public sealed class LeasedHostTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const int LeaseMs = 60_000;

    private static readonly Attach Attach = new(Claim, 1, [TestHost.Device], 1 << 18, 1000, LeaseMs: LeaseMs);
    private static readonly LeaseTerms Terms = LeaseTerms.OfMs(LeaseMs);

    private readonly FakeTimeProvider time = new();
    private readonly TestHost host;

    public LeasedHostTests() => host = new TestHost("alpha", time: time);

    public ValueTask DisposeAsync() => host.DisposeAsync();

    [Fact]
    public async Task Nothing_is_opened_before_the_lease_was_granted()
    {
        await host.Do<RenewLease>(Attach);

        Assert.Equal(DeviceState.Closed, await host.StateOf(TestHost.Device));
        Assert.Empty(host.Consumers);
    }

    [Fact]
    public async Task What_waited_for_the_lease_is_carried_out_when_it_is_granted()
    {
        await Leased();

        Assert.Equal((DeviceState.Open, true), (await host.StateOf(TestHost.Device), host.Consumer.Running));
    }

    [Fact]
    public async Task A_grant_that_comes_when_the_lease_would_be_over_opens_nothing()
    {
        var asked = await host.Do<RenewLease>(Attach);
        time.Advance(Terms.Length);
        host.Tell(Grant(asked));

        // It is asked for anew.
        Assert.NotEqual(asked.Request, (await host.Next<RenewLease>()).Request);
        Assert.Empty(host.Consumers);
    }

    [Fact]
    public async Task It_is_renewed_in_good_time()
    {
        await Leased();
        time.Advance(Terms.RenewEvery);

        Assert.Equal((Claim, TestHost.Device, 1L), await host.Next<RenewLease>() is var asked ? (asked.ClaimId, asked.Device, asked.Generation) : default);
    }

    [Fact]
    public async Task A_host_that_cannot_renew_it_closes_the_function_before_its_end()
    {
        await Leased();
        time.Advance(Terms.Length - Terms.StopBefore);
        await host.Next<Detached>();

        Assert.False(host.Consumer.Running);
        await host.Becomes(TestHost.Device, DeviceState.Closed);
    }

    [Fact]
    public async Task What_was_closed_so_is_not_begun_again_under_the_same_generation_L1()
    {
        await Leased();
        time.Advance(Terms.Length - Terms.StopBefore);
        await host.Next<Detached>();
        host.Tell(Attach);

        Assert.Equal("alpha has seen generation 1 of this claim and refuses 1.", Assert.IsType<CommandFailed>(await host.Answer()).Reason);
    }

    [Fact]
    public async Task Whoever_asks_for_what_was_closed_so_hears_that_it_is_gone()
    {
        await Leased();
        time.Advance(Terms.Length - Terms.StopBefore);
        await host.Next<Detached>();
        host.Tell(new ReportAttachment(Claim, 1, TestHost.Device));

        Assert.True(Assert.IsType<CommandFailed>(await host.Answer()).Gone);
    }

    [Fact]
    public async Task A_claim_that_waits_for_its_host_asks_for_no_lease()
    {
        await host.Do<Attached>(Attach with { LeaseMs = 0 });
        time.Advance(Terms.Length);

        await host.Do<AttachmentStatus>(new ReportAttachment(Claim, 1, TestHost.Device));
        Assert.True(host.Consumer.Running);
    }

    private async Task Leased()
    {
        var asked = await host.Do<RenewLease>(Attach);
        host.Tell(Grant(asked));
        await host.Next<Attached>();
    }

    private static LeaseGranted Grant(RenewLease asked) => new(asked.ClaimId, 1, asked.Device, asked.Request);
}
