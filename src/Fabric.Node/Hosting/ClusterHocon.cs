using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Journal;
using Fabric.Node.Configuration;

namespace Fabric.Node.Hosting;

/// <summary>
/// What Akka is told, in one place. Old HOCON parser: one key a line. The figures of the failure detector and of downing are a fabric's: a
/// claim whose control node died is taken up elsewhere about 13 s later, and the claim's journal is what fences the one that was thought dead.
/// </summary>
internal static class ClusterHocon
{
    private const string Cluster = """
        akka {
          actor.provider = cluster
          remote.dot-netty.tcp.maximum-frame-size = 1MiB
          remote.log-remote-lifecycle-events = WARNING
          # On Linux it would let a second daemon listen on the port of the first, and each have half of the connections.
          remote.dot-netty.tcp.tcp-reuse-addr = off
          extensions = []
          cluster {
            log-info = on
            retry-unsuccessful-join-after = 1s
            seed-node-timeout = 2s
            shutdown-after-unsuccessful-join-seed-nodes = off
            run-coordinated-shutdown-when-down = on
            failure-detector.heartbeat-interval = 500ms
            failure-detector.acceptable-heartbeat-pause = 3s
            downing-provider-class = "Akka.Cluster.SBR.SplitBrainResolverProvider, Akka.Cluster"
            down-removal-margin = 2s
            split-brain-resolver.active-strategy = keep-majority
            split-brain-resolver.stable-after = 3s
            # Control nodes alone decide which side goes on: however many hosts there are, they hold no journal.
            split-brain-resolver.keep-majority.role = control
          }
        }
        """;

    public static IEnumerable<string> For(FabricSettings settings, string? sqlite)
    {
        yield return AkkaLogging.Hocon;
        yield return Cluster;
        yield return ClaimSharding.Hocon;
        yield return $$"""
            akka.remote.dot-netty.tcp {
              hostname = "{{settings.Cluster.Address}}"
              port = {{settings.Cluster.Port}}
              enable-ssl = {{(settings.Tls.IsSet ? "on" : "off")}}
            }
            akka.cluster.seed-nodes = [{{string.Join(", ", settings.Cluster.Seeds.Select(seed => $"\"akka.{(settings.Tls.IsSet ? "ssl." : "")}tcp://fabric@{seed}\""))}}]
            akka.cluster.roles = [{{string.Join(", ", FabricMembers.RolesOf(settings.Node.Name, settings.Node.Roles, JournalKind(settings)).Select(role => $"\"{role}\""))}}]
            """;
        if (settings.IsControl)
        {
            yield return ClaimJournalSerializer.Hocon;
            yield return sqlite is null ? JournalHocon.Postgres(settings.Journal.Connection) : JournalHocon.Sqlite(sqlite);
        }
    }

    private static string? JournalKind(FabricSettings settings) =>
        !settings.IsControl ? null : settings.Journal.IsSqlite ? SoleWriter.Sqlite : SoleWriter.Postgres;
}
