namespace Fabric.Migration.Wire;

/// <summary>The HOCON that puts the wire in place. All of it needs a <see cref="WireSetup"/> in the actor system's setup.</summary>
public static class WireConfig
{
    /// <summary>Binds <see cref="IWireMessage"/>, and nothing else, to <see cref="HyperionWireSerializer"/>.</summary>
    public static readonly string Hocon = $$"""
        akka.actor {
          serializers {
            fabric-wire = "{{Name(typeof(HyperionWireSerializer))}}"
          }
          serialization-bindings {
            "{{Name(typeof(IWireMessage))}}" = fabric-wire
          }
        }

        """;

    /// <summary>
    /// <see cref="Hocon"/>, and the comparison of contracts at the cluster's door. For actor systems with
    /// <c>akka.actor.provider = cluster</c>; it must lie over Akka.Cluster's own defaults.
    /// </summary>
    public static readonly string ClusterHocon = Hocon + $$"""
        akka.actor {
          serializers {
            akka-cluster = "{{Name(typeof(WireContractDoor))}}"
          }
          serialization-identifiers {
            "{{Name(typeof(WireContractDoor))}}" = {{WireContractDoor.ClusterSerializerId}}
          }
        }

        """;

    /// <summary>
    /// Refuses, in both directions, every type that neither this contract nor Akka's own serializers claim, instead of leaving
    /// it to JSON. Add it to either of the others. Whatever is persisted must then have a serializer of its own.
    /// </summary>
    public static readonly string NothingElseHocon = $$"""
        akka.actor {
          serializers {
            json = "{{Name(typeof(FallbackRefusal))}}"
          }
        }

        """;

    private static string Name(Type type) => $"{type.FullName}, {type.Assembly.GetName().Name}";
}
