using System.Collections.Concurrent;
using System.Collections.Frozen;
using Hyperion;
using Hyperion.SerializerFactories;
using Hyperion.ValueSerializers;

namespace Fabric.Migration.Wire;

/// <summary>
/// Stands in front of Hyperion's own factories, which would serialise delegates, LINQ iterators and any object. It is asked for
/// every type that Hyperion has not met, builds nothing itself, and throws for what the contract does not list.
/// </summary>
internal sealed class ClosedListFactory(WireContract contract) : ValueSerializerFactory
{
    // Also what Hyperion compiles a writer for but never writes: T? and unions. It has scalars and their arrays built in.
    private readonly FrozenSet<Type> allowed =
        contract.Types.SelectMany(t => new[] { t.Type }.Concat(DeclaredBy(t))).Concat(contract.Unions.Select(u => u.Type)).ToFrozenSet();

    public override bool CanSerialize(Serializer serializer, Type type) => Pass(type);

    public override bool CanDeserialize(Serializer serializer, Type type) => Pass(type);

    public override ValueSerializer BuildSerializer(
        Serializer serializer, Type type, ConcurrentDictionary<Type, ValueSerializer> typeMapping) =>
        throw new WireRefusedException($"{type} is listed, so Hyperion builds its serializer, not {nameof(ClosedListFactory)}.");

    private bool Pass(Type type)
    {
        if (allowed.Contains(type))
            return false; // on to Hyperion's own factories
        throw new WireRefusedException(
            type.IsAssignableTo(typeof(Delegate))
                ? $"{type} is a delegate; code does not cross the wire."
                : $"{type} is not listed by the wire contract.");
    }

    private static IEnumerable<Type> DeclaredBy(WireType type) => type switch
    {
        WireRecord record => record.Members.Select(m => m.Type),
        WireArray array => [array.Type.GetElementType()!],
        _ => [],
    };
}
