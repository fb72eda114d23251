using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Fabric.Vfio;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A lease as its host counts it, and what it lets a device reach.</summary>
public sealed class LeaseTests
{
    private static readonly TimeSpan Length = TimeSpan.FromSeconds(60);

    private readonly FakeTimeProvider time = new();
    private readonly Lease lease;

    public LeaseTests() => lease = new Lease(time);

    [Fact]
    public void One_that_was_never_granted_does_not_hold() => Assert.Equal((false, false), (lease.Holds, lease.WasGranted));

    [Fact]
    public void It_is_counted_from_the_request_however_late_the_answer_is()
    {
        lease.Ask(1);
        time.Advance(TimeSpan.FromSeconds(45));
        lease.Grant(1, Length);

        Assert.Equal((true, TimeSpan.FromSeconds(15)), (lease.Holds, lease.Left));
        time.Advance(TimeSpan.FromSeconds(15));
        Assert.False(lease.Holds);
    }

    [Fact]
    public void An_answer_that_comes_when_it_is_over_revives_nothing()
    {
        lease.Ask(1);
        time.Advance(Length);
        lease.Grant(1, Length);

        Assert.False(lease.Holds);
    }

    [Fact]
    public void An_answer_to_what_was_not_asked_changes_nothing()
    {
        lease.Ask(1);
        lease.Grant(2, Length);

        Assert.False(lease.WasGranted);
    }

    [Fact]
    public void Answers_that_overtake_each_other_end_it_with_the_latest_request()
    {
        lease.Ask(1);
        time.Advance(TimeSpan.FromSeconds(10));
        lease.Ask(2);
        lease.Grant(2, Length);
        lease.Grant(1, Length);

        Assert.Equal(Length, lease.Left);
    }

    [Fact]
    public void The_lease_of_a_claim_that_waits_for_its_host_always_holds() => Assert.True(Lease.None.Holds);

    [Fact]
    public void A_device_reaches_memory_while_it_holds_and_none_of_it_after()
    {
        var memory = new Bytes(16);
        IDmaTarget seen = new LeasedMemory(memory, lease);
        lease.Ask(1);
        lease.Grant(1, Length);

        Assert.True(seen.TryWrite(0, [1, 2, 3]));
        time.Advance(Length);

        Assert.Equal((false, false), (seen.TryWrite(0, [4, 5, 6]), seen.TryRead(0, new byte[3])));
        Assert.Equal([1, 2, 3], memory.Window(0, 3).ToArray());
    }

    [Fact]
    public void Looking_at_it_allocates_nothing()
    {
        lease.Ask(1);
        lease.Grant(1, Length);
        _ = lease.Holds;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            _ = lease.Holds;

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void A_host_stops_before_the_end_and_a_claim_waits_past_it()
    {
        var terms = new LeaseTerms(LeaseTerms.Default);

        Assert.Equal((10, 12, 63), (terms.RenewEvery.TotalSeconds, terms.StopBefore.TotalSeconds, terms.Wait.TotalSeconds));
    }

    private sealed class Bytes(int length) : IDmaMemory
    {
        private readonly byte[] bytes = new byte[length];

        public ulong Length => (ulong)bytes.Length;

        public Span<byte> Window(ulong offset, int length) => bytes.AsSpan((int)offset, length);
    }
}
