using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Claims;

/// <summary>A claim that is to start afresh elsewhere when its host is lost: when it grants, and what it waits for.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimLeaseTests(ClaimLab lab)
{
    private const int LeaseMs = 60_000;

    private static readonly LeaseTerms Terms = LeaseTerms.OfMs(LeaseMs);

    [Fact]
    public async Task A_grant_is_in_the_journal_before_the_host_hears_of_it_L1()
    {
        var claim = await Run();
        claim.Tell(Ask(claim));
        await claim.Until("alpha LeaseGranted");

        Assert.True(Array.IndexOf(claim.Log, "journal HostLeased") < Array.IndexOf(claim.Log, "alpha LeaseGranted"), string.Join('\n', claim.Log));
    }

    [Fact]
    public async Task A_grant_that_the_journal_does_not_take_is_not_told_L1()
    {
        var claim = await Run();
        claim.Fail("HostLeased", JournalFault.Fail);
        claim.Tell(Ask(claim));
        await claim.Until("life 2");

        Assert.DoesNotContain("alpha LeaseGranted", claim.Log);
    }

    [Theory]
    [InlineData("beta", ClaimUnderTest.Device)]
    [InlineData("alpha", "fab0:01:00.2")]
    public async Task Nobody_is_granted_a_lease_where_the_claim_does_not_run_L1(string host, string device)
    {
        var claim = await Run();
        claim.Tell(Ask(claim) with { Host = host, Device = device });
        claim.Tell(Ask(claim));
        await claim.Until("alpha LeaseGranted");

        Assert.Single(claim.Journal, "HostLeased");
    }

    [Fact]
    public async Task A_claim_that_waits_for_its_host_grants_nothing()
    {
        var claim = await lab.NewClaim().Run();
        claim.Tell(Ask(claim));
        await claim.View();

        Assert.DoesNotContain("HostLeased", claim.Journal);
    }

    [Fact]
    public async Task It_starts_afresh_elsewhere_when_the_last_lease_and_a_margin_have_passed_L1()
    {
        var time = new FakeTimeProvider();
        var claim = await Run(time);
        claim.Tell(Ask(claim));
        await claim.Until("alpha LeaseGranted");
        claim.Instead = (host, command) => host == "alpha" ? [] : null;
        time.Advance(Terms.Wait - TimeSpan.FromMilliseconds(1));
        await claim.Until("alpha ReportAttachment", count: 2);
        Assert.DoesNotContain("RestartStarted", claim.Journal);

        time.Advance(TimeSpan.FromMilliseconds(1));
        await claim.Until("journal ClaimStarted", count: 2);

        Assert.Equal(("beta", 3L), ((await claim.View()).Host, (await claim.View()).Generation));
    }

    [Fact]
    public async Task One_that_is_taken_up_waits_as_if_a_lease_had_been_granted_then_L1()
    {
        var time = new FakeTimeProvider();
        var claim = await Run(time);
        claim.Instead = (host, command) => host == "alpha" ? [] : null;
        time.Advance(Terms.Wait - TimeSpan.FromMilliseconds(1));
        claim.Tell(ClaimUnderTest.Kill);
        await claim.Until("life 2");
        await claim.View();
        time.Advance(Terms.Wait - TimeSpan.FromMilliseconds(1));
        await claim.Until("alpha ReportAttachment", count: 2);
        Assert.DoesNotContain("RestartStarted", claim.Journal);

        time.Advance(TimeSpan.FromMilliseconds(1));
        await claim.Until("journal ClaimStarted", count: 2);
    }

    [Fact]
    public async Task The_commit_is_the_first_lease_of_the_target()
    {
        var time = new FakeTimeProvider();
        var claim = await Run(time);
        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");
        claim.Tell(Ask(claim) with { Host = "beta", Generation = 2 });
        await claim.Until("beta LeaseGranted");

        Assert.Single(claim.Journal, "HostLeased");
    }

    [Fact]
    public async Task A_host_that_comes_back_without_the_claim_has_lost_it_and_it_starts_afresh()
    {
        var claim = await Run();
        claim.Tell(claim.Failure("alpha", new ReportAttachment(claim.Id, 1, ClaimUnderTest.Device), gone: true));
        await claim.Until("journal ClaimStarted", count: 2);

        Assert.Equal(ClaimPhase.Running, (await claim.View()).Phase);
    }

    [Fact]
    public async Task Its_lease_is_shown()
    {
        var claim = await Run();
        claim.Tell(Ask(claim));
        await claim.Until("alpha LeaseGranted");
        var view = await claim.View();

        Assert.Equal((HostLossPolicy.Restart, LeaseMs, Terms.Length), (view.OnHostLoss, view.Lease!.LengthMs, view.Lease.EndsAt - view.Lease.GrantedAt));
    }

    private async Task<ClaimUnderTest> Run(TimeProvider? time = null)
    {
        var claim = lab.NewClaim(time);
        await claim.Ask<ClaimAccepted>(claim.CreateOnAlpha with { OnHostLoss = HostLossPolicy.Restart, LeaseMs = LeaseMs });
        await claim.Until("journal ClaimStarted");
        return claim;
    }

    private static RenewLease Ask(ClaimUnderTest claim) => new(claim.Id, "alpha", 1, ClaimUnderTest.Device, Request: 1);
}
