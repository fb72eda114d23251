using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Migration.Claims;

namespace Fabric.Migration.Fleet.Moves;

/// <summary>The fabric at one moment, as decisions about moves need it. What is decided from it touches nothing.</summary>
public sealed record FleetSnapshot(ImmutableArray<HostPlace> Hosts, ImmutableArray<ClaimPlace> Claims)
{
    private Dictionary<string, HostPlace>? hostsByName;
    private Dictionary<string, ClaimPlace>? claimsById;
    private ILookup<string, ClaimPlace>? claimsByGroup;

    /// <summary>What was looked up in one is not what is found in another.</summary>
    private FleetSnapshot(FleetSnapshot other) => (Hosts, Claims) = (other.Hosts, other.Claims);

    public static FleetSnapshot Of(FleetDescribed fleet)
    {
        ArgumentNullException.ThrowIfNull(fleet);
        var drained = (fleet.Moves?.Drains ?? []).ToDictionary(static drain => drain.Host, static drain => drain.RequestedBy);
        return new FleetSnapshot(
            [.. fleet.Hosts.Select(host => HostPlace.Of(host) with { DrainedBy = drained.GetValueOrDefault(host.Name) })],
            [.. fleet.Claims.Select(ClaimPlace.Of)]);
    }

    /// <summary>The same, drained as the journal says: what was told of it may be older.</summary>
    public FleetSnapshot Under(MovesState moves)
    {
        ArgumentNullException.ThrowIfNull(moves);
        return this with { Hosts = [.. Hosts.Select(host => host with { DrainedBy = moves.Drains.GetValueOrDefault(host.Name)?.RequestedBy })] };
    }

    public HostPlace? Host(string name) =>
        (hostsByName ??= Hosts.DistinctBy(static host => host.Name).ToDictionary(static host => host.Name)).GetValueOrDefault(name);

    public ClaimPlace? Claim(string id) =>
        (claimsById ??= Claims.DistinctBy(static claim => claim.Id).ToDictionary(static claim => claim.Id)).GetValueOrDefault(id);

    /// <summary>Claims that keep apart from each other; none of no group.</summary>
    public IEnumerable<ClaimPlace> OfGroup(string? group) => group is null
        ? []
        : (claimsByGroup ??= Claims.Where(static claim => claim.ApartFrom is not null).ToLookup(static claim => claim.ApartFrom!))[group];
}

/// <param name="Answers">It is a member that answers.</param>
/// <param name="Left">It is no member because its daemon was ended in good order.</param>
/// <param name="Labels"><c>key=value</c> each.</param>
/// <param name="Devices">As it told last; default where it has told nothing yet.</param>
public sealed record HostPlace(
    string Name, bool Answers, bool Left, ImmutableHashSet<string> Labels, ImmutableArray<DevicePlace> Devices)
{
    /// <summary>Of an inventory that has not changed since the last look the places have not either.</summary>
    private static readonly ConditionalWeakTable<HostInventory, DevicePlace[]> PlacesOf = [];

    public static HostPlace Of(FleetHost host)
    {
        ArgumentNullException.ThrowIfNull(host);
        return new HostPlace(
            host.Name,
            host.State == "up",
            host.Left,
            [.. host.Inventory?.Labels ?? []],
            host.Inventory is { } told
                ? ImmutableCollectionsMarshal.AsImmutableArray(PlacesOf.GetValue(
                    told, static told => [.. told.Devices.Where(static device => device.Model is not null).Select(DevicePlace.Of)]))
                : default);
    }

    /// <summary>Who asked for its drain; null where it is not drained.</summary>
    public string? DrainedBy { get; init; }

    public bool HasTold => !Devices.IsDefault;

    /// <summary>Functions of a model that nobody holds.</summary>
    public int Free(string model) => HasTold ? Devices.Count(device => device.Model == model && device.Free) : 0;

    public int Of(string model) => HasTold ? Devices.Count(device => device.Model == model) : 0;
}

/// <summary>A function that claims can have.</summary>
/// <param name="Sick">It is Unhealthy, and nobody took it out of service on purpose.</param>
/// <param name="Claim">Who holds it.</param>
public sealed record DevicePlace(string Address, string Model, bool Free, bool Sick, string? Claim)
{
    public static DevicePlace Of(DeviceEntry device)
    {
        ArgumentNullException.ThrowIfNull(device);
        var sick = device is { Health: "Unhealthy", OnPurpose: false };
        return new DevicePlace(device.Address, device.Model!, device.State == "closed", sick, device.Claim);
    }
}

/// <param name="Models">One for each device that it holds.</param>
/// <param name="Host">Where it runs, or is to run.</param>
/// <param name="MovesTo">Where a migration under way takes it.</param>
/// <param name="LastMigrations">What there was of it lately, the last one last.</param>
public sealed record ClaimPlace(
    string Id, ImmutableArray<string> Models, string Host, ClaimPhase Phase, string? MovesTo, ImmutableArray<string> Select, string? ApartFrom,
    ImmutableArray<MigrationView> LastMigrations)
{
    /// <summary>Of a claim that has told nothing new since the last look.</summary>
    private static readonly ConditionalWeakTable<ClaimView, ClaimPlace> PlaceOf = [];

    public static ClaimPlace Of(ClaimView claim)
    {
        ArgumentNullException.ThrowIfNull(claim);
        return PlaceOf.GetValue(claim, static claim => new ClaimPlace(
            claim.Id,
            [.. claim.Devices.Select(static device => device.Model)],
            claim.Host ?? "",
            claim.Phase,
            claim.Phase == ClaimPhase.Migrating ? claim.Migrations[^1].ToHost : null,
            [.. claim.Select],
            claim.ApartFrom,
            [.. claim.Migrations]));
    }

    /// <summary>It has a function, or is about to.</summary>
    public bool HasPlace => Phase is not (ClaimPhase.None or ClaimPhase.Released or ClaimPhase.Failed);

    public bool IsAt(string host) => HasPlace && (Host == host || MovesTo == host);

    /// <summary>The migration that was begun for a move.</summary>
    public MigrationView? MigrationOf(string request) => LastMigrations.LastOrDefault(migration => migration.Request == request);
}
