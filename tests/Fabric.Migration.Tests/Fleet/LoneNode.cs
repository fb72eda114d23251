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
        var up = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Cluster.Get(Sys).RegisterOnMemberUp(up.SetResult);
        await Cluster.Get(Sys).JoinAsync(Cluster.Get(Sys).SelfAddress, TestContext.Current.CancellationToken);
        await up.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }
}
