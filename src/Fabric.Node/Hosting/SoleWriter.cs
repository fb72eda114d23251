using Akka.Cluster;
using Fabric.Migration.Fleet;

namespace Fabric.Node.Hosting;

/// <summary>A SQLite journal has one control node: with a second, each would keep a history the other cannot see.</summary>
internal static class SoleWriter
{
    /// <summary>Null, or why this node must not be a control node of this fabric.</summary>
    public static string? Refusal(Member self, IEnumerable<Member> controls)
    {
        foreach (var other in controls.Where(member => !member.UniqueAddress.Equals(self.UniqueAddress)))
        {
            if (FabricMembers.JournalOf(self) == Sqlite || FabricMembers.JournalOf(other) == Sqlite)
            {
                return $"{FabricMembers.NameOf(other)} is a control node of this fabric already, and a SQLite journal can have only one. " +
                    $"For several control nodes set journal.connection to a PostgreSQL on all of them; or take the role 'control' from {FabricMembers.NameOf(self)}.";
            }
        }

        return null;
    }

    public const string Sqlite = "sqlite";
    public const string Postgres = "postgresql";
}
