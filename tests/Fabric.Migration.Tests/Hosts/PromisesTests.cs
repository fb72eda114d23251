using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>Which of several free functions a claim is offered while others are about to take theirs.</summary>
public sealed class PromisesTests
{
    private const string First = "fab0:01:00.1";
    private const string Second = "fab0:01:00.2";

    private readonly FakeTimeProvider time = new();
    private readonly Promises promises;

    public PromisesTests() => promises = new Promises(time);

    [Fact]
    public void Another_claim_is_offered_another_function_first()
    {
        Promise("c1", First);

        Assert.Equal([Second, First], Offered("c2"));
    }

    [Fact]
    public void The_same_claim_is_offered_the_same_again()
    {
        Promise("c1", First);

        Assert.Equal([First, Second], Offered("c1"));
    }

    [Fact]
    public void What_is_promised_to_others_is_still_offered() => Assert.Equal([First, Second], OfferedAfterAll());

    [Fact]
    public void A_promise_that_was_not_taken_up_ends()
    {
        Promise("c1", First);
        time.Advance(TimeSpan.FromSeconds(6));

        Assert.Equal([First, Second], Offered("c2"));
    }

    private string[] OfferedAfterAll()
    {
        Promise("c1", First);
        Promise("c2", Second);
        return Offered("c3");
    }

    private void Promise(string claim, string device) => promises.Note(new TargetPlanned(claim, "alpha", 1, [device], []));

    private string[] Offered(string claim) =>
        [.. promises.OrderedFor(claim, new DeviceList([Device(First), Device(Second)])).Devices.Select(static device => device.Address.ToString())];

    private static DeviceStatus Device(string address) => new(
        PciAddress.Parse(address), new PciIds(0x1b36, 0xfab1), "accelerator-vf", Physical: false, "accelerator-vf", DeviceState.Closed, DeviceHealth.Healthy, null, null, 1, null, null, ["flr"]);
}
