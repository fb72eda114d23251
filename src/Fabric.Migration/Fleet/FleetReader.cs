using Akka.Actor;
using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Fleet;

/// <summary>What is to be read of a fleet; what is not is left empty in the answer.</summary>
public sealed record FleetQuestion
{
    public static FleetQuestion AllHosts { get; } = new() { Hosts = true };

    public static FleetQuestion AllClaims { get; } = new() { Claims = true };

    public static FleetQuestion OnlyMoves { get; } = new() { Moves = true };

    public bool Hosts { get; init; }

    public bool Claims { get; init; }

    public bool Moves { get; init; }

    /// <summary>The one host of which <see cref="Hosts"/> asks; null for all.</summary>
    public string? Host { get; init; }

    /// <summary>The one claim of which <see cref="Claims"/> asks; null for all.</summary>
    public string? Claim { get; init; }

    public static FleetQuestion OfHost(string? name) => AllHosts with { Host = name };

    public static FleetQuestion OfClaim(string? id) => AllClaims with { Claim = id };
}

/// <summary>
/// Reads the fleet of a control node from any node, page by page: no answer is larger than a message may be, however large the fabric. Pages are of
/// the moments at which they were read; each host, each claim and the moves are whole.
/// </summary>
/// <param name="fleet">The control node's <see cref="FleetActor"/>.</param>
/// <param name="deadline">Of each message.</param>
/// <param name="attempts">So often a page is asked for before it is given up.</param>
public sealed class FleetReader(ICanTell fleet, TimeSpan deadline, int attempts)
{
    /// <summary>What is told anew this often while it is read changes faster than it can be read.</summary>
    private const int MostBeginnings = 20;

    /// <exception cref="AskTimeoutException">A page did not come, however often it was asked for.</exception>
    public async Task<FleetDescribed> ReadAsync(FleetQuestion question, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(question);
        var hosts = question.Hosts ? await ReadHostsAsync(question.Host, cancellation) : [];
        var claims = question.Claims ? await ReadClaimsAsync(question.Claim, cancellation) : [];
        return new FleetDescribed(hosts, claims) { Moves = question.Moves ? await ReadMovesAsync(cancellation) : null };
    }

    private async Task<FleetHost[]> ReadHostsAsync(string? only, CancellationToken cancellation)
    {
        var parts = new List<HostPart>();
        for (HostCursor? after = null; ;)
        {
            var read = await AskAsync<HostsRead>(new ReadHosts(after, only), cancellation);
            foreach (var part in read.Hosts)
            {
                // Of one whose inventory changed before all of it was read, what was read does not count.
                while (part.Telling is null or { Portion: 0 } && parts.Count > 0 && parts[^1].Host.Name == part.Host.Name)
                    parts.RemoveAt(parts.Count - 1);
                parts.Add(part);
            }

            if (read.IsLast || read.Hosts.Length == 0)
                break;
            after = new HostCursor(parts[^1].Host.Name, parts[^1].Telling);
        }

        return [.. parts.GroupBy(static part => part.Host.Name).Select(static host => Join([.. host]))];
    }

    private static FleetHost Join(HostPart[] parts) => parts.Length == 1
        ? parts[0].Host
        : parts[^1].Host with { Inventory = InventoryPortion.Join([.. parts.Select(static part => part.Host.Inventory!)]) };

    private async Task<ClaimView[]> ReadClaimsAsync(string? only, CancellationToken cancellation)
    {
        var claims = new List<ClaimView>();
        for (ClaimsRead? read = null; read is null or { IsLast: false, Claims.Length: > 0 };)
        {
            read = await AskAsync<ClaimsRead>(new ReadClaims(claims.LastOrDefault()?.Id, only), cancellation);
            claims.AddRange(read.Claims);
        }

        return [.. claims];
    }

    private async Task<MovesView?> ReadMovesAsync(CancellationToken cancellation)
    {
        var parts = new List<MovesView>();
        Telling? last = null;
        for (var beginnings = 0; last is null or { IsLast: false };)
        {
            if ((await AskAsync<MovesRead>(new ReadMoves(last), cancellation)).Portion is not { } portion)
                return null;
            if (portion.Telling.Portion == 0)
            {
                if (++beginnings > MostBeginnings)
                    throw new AskTimeoutException("The fabric's moves change faster than they can be read; ask again.");
                parts.Clear();
            }

            parts.Add(portion.Part);
            last = portion.Telling;
        }

        return MovesPortion.Join(parts);
    }

    private async Task<T> AskAsync<T>(object question, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await fleet.Ask<T>(question, deadline, cancellation);
            }
            catch (AskTimeoutException) when (attempt < attempts)
            {
                // A message was lost, or the control node stood for a moment.
            }
        }
    }
}
