using System.Collections.Immutable;
using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.VfioUser.Client;

/// <summary>A device that another process serves, and where it is to appear.</summary>
/// <param name="Address">In <see cref="VfioUserBus.Domain"/>.</param>
/// <param name="Socket">The path of the server's UNIX socket.</param>
public sealed record ServedElsewhere(PciAddress Address, string Socket);

/// <summary>
/// The devices that other processes serve to this host, as a bus of it: each comes when its server is reached and its description makes sense, goes
/// when its socket closes, as a function does that is pulled out, and comes back when the server is there again. None has a slot, a link or a power
/// of its own. Safe to use from any thread.
/// </summary>
public sealed class VfioUserBus : IPciBus, IDisposable
{
    /// <summary>Out of the way of real functions, of emulated ones and of mediated devices.</summary>
    public const ushort Domain = 0xfabe;

    /// <summary>Whether a domain is its own.</summary>
    public static bool Has(ushort domain) => domain == Domain;

    private readonly ClientOptions options;
    private readonly Action<ServedElsewhere, VfioError> onTrouble;
    private readonly LaneThreads threads = new();
    private readonly Lock gate = new();
    private readonly ImmutableArray<Place> places;
    private volatile IReadOnlyList<IPciFunction> there = [];
    private volatile Action<BusEvent>? sink;
    private bool hasBegun;
    private bool hasEnded;

    /// <param name="onTrouble">Told why a server is not reached, once for each reason; from a thread of the bus.</param>
    public VfioUserBus(IReadOnlyCollection<ServedElsewhere> devices, Action<ServedElsewhere, VfioError> onTrouble, ClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(devices);
        (this.onTrouble, this.options) = (onTrouble, options ?? ClientOptions.Default);
        places = [.. devices.OrderBy(static device => device.Address).Select(static device => new Place(device))];
    }

    public IReadOnlyList<IPciFunction> Functions => there;

    /// <summary>Servers are tried from then on.</summary>
    public void ReportTo(Action<BusEvent> sink)
    {
        this.sink = sink;
        lock (gate)
        {
            if (hasBegun || hasEnded)
                return;
            hasBegun = true;
        }

        foreach (var place in places)
            threads.Run(() => Try(place));
    }

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => Find(source) is null ? [] : [source];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Fail(Errno.ENODEV, "A vfio-user device has no link of its own to reset.");

    /// <summary>Its server is let go of, and not tried again while this bus lives. Its host has let it go, and knows: nobody is told.</summary>
    public VfioResult Remove(PciAddress function)
    {
        VfioUserFunction? removed;
        lock (gate)
        {
            if (Find(function) is not { } place)
                return VfioResult.Fail(Errno.ENODEV, "There is no vfio-user device at this address.");
            place.IsRemoved = true;
            removed = TakeOut(place);
        }

        removed?.Dispose();
        return VfioResult.Ok;
    }

    public void Dispose()
    {
        VfioUserFunction?[] open;
        lock (gate)
        {
            hasEnded = true;
            open = [.. places.Select(TakeOut)];
            foreach (var place in places)
                place.Again?.Dispose();
        }

        foreach (var function in open)
            function?.Dispose();
    }

    private Place? Find(PciAddress address) => places.FirstOrDefault(place => place.Device.Address == address && place.Function is not null);

    private void Try(Place place)
    {
        var found = Reach(place.Device);
        if (!found.IsOk)
        {
            TryAgain(place, found.Error);
            return;
        }

        var (server, function) = found.Value;
        lock (gate)
        {
            if (hasEnded)
            {
                function.Dispose();
                return;
            }

            place.Function = function;
            place.Trouble = default;
            there = [.. places.Select(static other => other.Function).OfType<IPciFunction>()];
        }

        sink?.Invoke(new FunctionAppeared(function));
        server.WhenEnded(why => OnEnded(place, function, why));
    }

    private VfioResult<(ServerConnection Server, VfioUserFunction Function)> Reach(ServedElsewhere device)
    {
        var server = ServerConnection.Connect(device.Socket, options, threads);
        if (!server.IsOk)
            return server.Error;
        var described = DeviceDescription.Read(server.Value);
        if (described.IsOk)
            return (server.Value, new VfioUserFunction(device.Address, server.Value, described.Value, threads));
        server.Value.Dispose();
        return described.Error;
    }

    private void OnEnded(Place place, VfioUserFunction function, VfioError why)
    {
        lock (gate)
        {
            // Taken out already, by who wanted that.
            if (place.Function != function)
                return;
            TakeOut(place);
        }

        function.Dispose();
        sink?.Invoke(new FunctionVanished(function.Address));
        TryAgain(place, why);
    }

    private void TryAgain(Place place, VfioError why)
    {
        bool isNews;
        lock (gate)
        {
            if (hasEnded || place.IsRemoved)
                return;
            isNews = place.Trouble != why;
            place.Trouble = why;
            place.Again?.Dispose();
            place.Again = options.Time.CreateTimer(_ => threads.Run(() => Try(place)), null, options.RetryInterval, Timeout.InfiniteTimeSpan);
        }

        if (isNews)
            onTrouble(place.Device, why);
    }

    /// <summary>The lock is held.</summary>
    private VfioUserFunction? TakeOut(Place place)
    {
        var function = place.Function;
        place.Function = null;
        there = [.. places.Select(static other => other.Function).OfType<IPciFunction>()];
        return function;
    }

    /// <summary>Where a device is, or is to be.</summary>
    private sealed class Place(ServedElsewhere device)
    {
        public ServedElsewhere Device => device;

        /// <summary>Null while its server is not reached.</summary>
        public VfioUserFunction? Function { get; set; }

        /// <summary>Why it was not reached the last time.</summary>
        public VfioError Trouble { get; set; }

        public ITimer? Again { get; set; }

        public bool IsRemoved { get; set; }
    }
}
