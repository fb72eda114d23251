using System.Collections.Immutable;
using Fabric.Vfio;

namespace Fabric.Devices.Mdev;

/// <summary>A mediated device that a host is to have, whether or not it is there now.</summary>
/// <param name="AutoStart">It is made whenever its host starts; else when somebody asks for it.</param>
public sealed record MdevDefinition(Guid Uuid, string Parent, string Type, bool AutoStart);

/// <summary>Something kept where definitions are that is not one, or not one that can be used. It is left as it is.</summary>
/// <param name="File">Where it is.</param>
/// <param name="Why">What is wrong with it, as the end of a sentence.</param>
/// <param name="Uuid">Whose definition it was to be, where that can be told.</param>
public sealed record UnusableDefinition(string File, string Why, Guid? Uuid);

/// <summary>What was found.</summary>
/// <param name="Definitions">In an order that is the same at each start.</param>
public sealed record StoredDefinitions(ImmutableArray<MdevDefinition> Definitions, ImmutableArray<UnusableDefinition> Unusable);

/// <summary>Keeps the definitions of a host. Calls may take as long as a disk does; they come from several threads, for a UUID from one at a time.</summary>
public interface IMdevStore
{
    /// <summary>All there is. What cannot be read is among the unusable ones, and stops none of the others.</summary>
    StoredDefinitions Load();

    /// <summary>Kept for good when this returns, or not at all. Errors: EEXIST something is kept for it already; EIO.</summary>
    VfioResult Save(MdevDefinition definition);

    /// <summary>Forgotten for good when this returns, also where it was not there. Errors: EIO.</summary>
    VfioResult Delete(MdevDefinition definition);
}
