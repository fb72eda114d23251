using Fabric.Cli.Demo;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Cli.Tests.Demo;

public sealed class FailoverClockTests
{
    [Fact]
    public void Parts_are_the_times_between_milestones_up_to_the_last()
    {
        var time = new FakeTimeProvider();
        var clock = new FailoverClock(time);
        time.Advance(TimeSpan.FromSeconds(2));
        clock.Reach("API up");
        time.Advance(TimeSpan.FromSeconds(3));
        clock.Reach("migration done");
        time.Advance(TimeSpan.FromSeconds(1));
        clock.Reach("cluster joined");

        var failover = clock.Stop("control", "migration done");

        Assert.Equal(5, failover.Seconds);
        Assert.Equal([new FailoverPart("API up", 2), new FailoverPart("migration done", 3)], failover.Parts);
    }
}
