using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

/// <summary>What an operator has a host do with mediated devices. Those that change one are answered with <see cref="MdevDone"/>.</summary>
public interface IMdevOperation : IHostOperation;

/// <summary>What a host's devices can be made of. Answered with <see cref="MdevTypesRead"/>.</summary>
public sealed record ReadMdevTypes : IMdevOperation
{
    public string Subject => "mdev types";
}

public sealed record MdevTypesRead(MdevTypeEntry[] Types) : IWireMessage;

/// <param name="Available">How many more could be made now.</param>
public sealed record MdevTypeEntry(string Parent, string Type, string Name, string Description, int Available) : IWireMessage;

/// <summary>What a host has defined. Answered with <see cref="MdevsRead"/>.</summary>
public sealed record ReadMdevs : IMdevOperation
{
    public string Subject => "mdevs";
}

/// <param name="Unusable">What the host found among its definitions at its start, and leaves alone.</param>
public sealed record MdevsRead(MdevEntry[] Mdevs, UnusableMdev[] Unusable) : IWireMessage;

/// <summary>A mediated device; words as in the HTTP API.</summary>
/// <param name="Device">PCI address where it is there.</param>
/// <param name="Reason">Why it is not there although it should be, or what it waits for.</param>
public sealed record MdevEntry(Guid Uuid, string Parent, string Type, bool AutoStart, string State, string? Device, string? Reason) : IWireMessage;

public sealed record UnusableMdev(string File, string Why) : IWireMessage;

/// <summary>Defines one; it is not made yet.</summary>
public sealed record PlanMdev(Guid Uuid, string Parent, string Type, bool AutoStart, string By) : IMdevOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => $"mdev {Uuid}";
}

/// <summary>Has a defined one made.</summary>
public sealed record BringMdevUp(Guid Uuid, string By) : IMdevOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => $"mdev {Uuid}";
}

/// <summary>Takes one away in order. Answered with <see cref="HolderAwaited"/> where its holder takes longer than one waits.</summary>
/// <param name="ForceAfterMs">As of <see cref="TakeAway"/>.</param>
public sealed record TakeMdevDown(Guid Uuid, int? ForceAfterMs, string By) : IMdevOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => $"mdev {Uuid}";
}

/// <summary>Forgets a definition.</summary>
public sealed record DropMdev(Guid Uuid, string By) : IMdevOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => $"mdev {Uuid}";
}

/// <summary>As it is now; of one that is dropped, as it was.</summary>
public sealed record MdevDone(MdevEntry Mdev) : IWireMessage;
