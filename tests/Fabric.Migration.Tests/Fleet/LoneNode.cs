using Akka.Cluster;
using Akka.Configuration;
using Akka.TestKit.Xunit;
using Fabric.Migration.Fleet;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>A fabric of one node, alpha, control and host: what it tells its fleet it tells itself.</summary>
public abstract class LoneNode() : TestKit(Config, "fabric")
{
    private static Config Config { get; } = ConfigurationFactory.ParseString($$"""
        akka {
          loglevel = OFF
          stdout-loglevel = OFF
          actor.provider = cluster
          remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
          cluster.roles = [{{string.Join(',', FabricMembers.RolesOf("alpha", [FabricMembers.ControlRole, FabricMembers.HostRole], null).Select(role => $"\"{role}\""))}}]
          coordinated-shutdown.run-by-actor-system-terminate = off
        }
        """);

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        var cluster = Cluster.Get(Sys);
        await cluster.JoinAsync(cluster.SelfAddress, TestContext.Current.CancellationToken);
        // What a node reads of its members comes a moment after the event of its own arrival.
        await AwaitConditionAsync(
            () => Task.FromResult(cluster.State.Members.Any(static member => member.Status == MemberStatus.Up)),
            TimeSpan.FromSeconds(30), cancellationToken: TestContext.Current.CancellationToken);
    }
}
