using System.Collections.Frozen;
using Hyperion;

namespace Fabric.Migration.Wire;

/// <summary>
/// Allows the contract's types by both names Hyperion asks with: its writer uses the assembly-qualified name, its reader a
/// short form of its own. The stock <see cref="TypeFilter"/> knows only the second and so refuses whatever is written.
/// </summary>
public sealed class WireTypeFilter : ITypeFilter
{
    private readonly FrozenSet<string> writersNames;
    private readonly TypeFilter readersNames;

    public WireTypeFilter(WireContract contract)
    {
        writersNames = contract.Types.Select(t => t.Type.AssemblyQualifiedName!).ToFrozenSet(StringComparer.Ordinal);
        readersNames = contract.Types.Aggregate(TypeFilterBuilder.Create(), (builder, t) => builder.Include(t.Type)).Build();
    }

    public bool IsAllowed(string typeName) => writersNames.Contains(typeName) || readersNames.IsAllowed(typeName);
}
