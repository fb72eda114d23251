using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>Drivers that are not in the box come and go, one change at a time; and what drivers there are.</summary>
public sealed partial class HostActor
{
    private ImmutableArray<PluginEntry> plugins = [];
    private IActorRef pluginsActor = ActorRefs.Nobody;

    /// <summary>What is done with the answer to what was asked of the plugins, at once, and when all functions have their drivers.</summary>
    private Func<PluginsScanned, Action>? onPlugins;

    /// <summary>The plugin that is being unloaded.</summary>
    private string? unloading;

    private ImmutableHashSet<string> InTheBox => [.. options.Drivers.Drivers.Select(static driver => driver.Name), DriverDeclaration.VfioPci.Name];

    /// <summary>Before any function is probed: it shall have the best driver from the start.</summary>
    private void LoadPlugins()
    {
        if (options.Plugins is not { } folder)
        {
            areDriversKnown = true;
            return;
        }

        pluginsActor = Context.ActorOf(PluginsActor.Props(folder, InTheBox, context.Threads, options.Time), "plugins");
        Scan(null, _ => () => { });
    }

    private void Scan(string? only, Func<PluginsScanned, Action> then)
    {
        onPlugins = then;
        pluginsActor.Tell(new ScanPlugins(only));
    }

    private void OnPlugins(PluginsScanned scanned)
    {
        plugins = scanned.Plugins;
        catalog = new DriverCatalog([.. options.Drivers.Drivers, .. plugins.SelectMany(static plugin => plugin.Drivers)]);
        var then = onPlugins?.Invoke(scanned);
        onPlugins = null;
        if (!started)
        {
            areDriversKnown = true;
            StartWhenKnown();
            return;
        }

        unmade.Clear();
        if (then is not null)
            RebindAll(Misplaced(askAgain: true), then, static _ => true);
    }

    private void Load(LoadDrivers command)
    {
        var requester = Sender;
        if (options.Plugins is null)
            requester.Tell(new DeviceFailed(Errno.ENOENT, "This host has no folder of drivers; name one in its settings, drivers.folder."));
        else if (IsChangingDrivers)
            requester.Tell(BusyWithDrivers);
        else if (!command.IsPlanned(
            requester,
            $"{command.Plugin ?? "whatever is not loaded"} would be loaded from {options.Plugins.Folder}, and functions that nobody holds be probed anew where "
            + "that has a better driver"))
        {
            var wanted = command.Plugin is { } name
                ? plugins.FirstOrDefault(plugin => plugin.Name == name || plugin.Names.Contains(name))?.Name ?? name
                : null;
            Scan(wanted, scanned => () => requester.Tell(OutcomeOf(wanted, scanned, options.Plugins)));
        }
    }

    private object OutcomeOf(string? wanted, PluginsScanned scanned, PluginOptions folder) =>
        wanted is null ? DescribeDrivers() : scanned.Plugins.FirstOrDefault(plugin => plugin.Name == wanted) switch
        {
            null => new DeviceFailed(Errno.ENOENT, $"There is no plugin '{wanted}' in {folder.Folder}; a plugin is named like its folder."),
            { Loaded: null, Reason: { } why } => new DeviceFailed(why.Errno, $"Plugin {wanted} is refused: {why.Sentence}"),
            _ => DescribeDrivers(),
        };

    private bool IsChangingDrivers => onPlugins is not null || unloading is not null;

    private static DeviceFailed BusyWithDrivers => new(Errno.EAGAIN, "Drivers are being loaded or unloaded already; try again.");

    private void Unload(UnloadDriver command)
    {
        var requester = Sender;
        var name = command.Name;
        if (IsChangingDrivers)
            requester.Tell(BusyWithDrivers);
        else if (plugins.FirstOrDefault(plugin => plugin.Loaded is not null && (plugin.Names.Contains(name) || plugin.Name == name)) is { } plugin)
            Unload(plugin, command, requester);
        else if (InTheBox.Contains(name))
            requester.Tell(new DeviceFailed(Errno.EINVAL, $"{name} is in the box; hardware.withoutDrivers has a host do without it."));
        else
            requester.Tell(new DeviceFailed(Errno.ENOENT, $"No driver '{name}' is loaded; 'fabric driver list' shows those that are."));
    }

    private void Unload(PluginEntry plugin, UnloadDriver command, IActorRef requester)
    {
        var by = command.By;
        var users = supervised.Where(device => device.Value.Device.Driver?.Stack.Any(driver => driver.Plugin == plugin.Name) == true).ToArray();
        foreach (var (address, _) in users)
        {
            if (statuses[address] is { Holder: { } holder, Driver: var driver })
            {
                requester.Tell(new DeviceFailed(Errno.EBUSY, $"{address} has driver {driver} and is held by {holder}; release it first."));
                return;
            }
        }

        var functions = users.Select(static user => user.Key.ToString());
        if (command.IsPlanned(requester, $"plugin {plugin.Name} would be unloaded, and its functions get the next best driver", [.. functions]))
            return;
        unloading = plugin.Name;
        catalog = new DriverCatalog([.. catalog.Drivers.Where(driver => driver.Plugin != plugin.Name)]);
        RebindAll(
            users.Select(user => (user.Key, $"driver {plugin.Name} is unloaded, by {by}")),
            () => Drop(plugin.Name, by, requester),
            refused =>
            {
                // Somebody was quicker: what had gone to other drivers comes back.
                unloading = null;
                requester.Tell(new DeviceFailed(refused));
                OnPlugins(new PluginsScanned(plugins));
                RebindAll(Misplaced(askAgain: false), static () => { }, static _ => true);
                return false;
            });
    }

    private void Drop(string plugin, string by, IActorRef requester)
    {
        unloading = null;
        onPlugins = _ => () => requester.Tell(HostDone.Instance);
        pluginsActor.Tell(new DropPlugin(plugin, by));
    }

    // ---- What there is ---------------------------------------------------------------------------------------------------------------

    private DriverList DescribeDrivers()
    {
        var counts = supervised.Values
            .SelectMany(static device => device.Device.Driver?.Stack.Select(static driver => driver.Name) ?? [DriverDeclaration.VfioPci.Name])
            .CountBy(static name => name)
            .ToDictionary();
        var core = new DriverEntry(DriverDeclaration.VfioPci.Name, null, DriverPresence.Loaded)
        {
            Reason = "the core alone, where no other driver takes a function",
            Devices = counts.GetValueOrDefault(DriverDeclaration.VfioPci.Name),
        };
        // One that is registered for several kinds of functions is one driver all the same.
        var loaded = catalog.Drivers.GroupBy(static driver => driver.Name).Select(kinds =>
        {
            var driver = kinds.First();
            var models = kinds.Select(static kind => kind.Model).OfType<string>().Distinct().ToArray();
            return new DriverEntry(driver.Name, driver.Plugin, DriverPresence.Loaded)
            {
                Version = plugins.FirstOrDefault(plugin => plugin.Name == driver.Plugin)?.Version,
                Ids = [.. kinds.SelectMany(static kind => kind.Ids)],
                Model = models.Length == 0 ? null : string.Join(", ", models),
                Priority = driver.Priority,
                InFrontOf = driver.InFrontOf,
                Devices = counts.GetValueOrDefault(driver.Name),
            };
        });
        var others = plugins.Where(static plugin => plugin.Loaded is null).Select(static plugin => new DriverEntry(
            plugin.Names.IsEmpty ? null : string.Join(", ", plugin.Names), plugin.Name, plugin.Presence)
        {
            Version = plugin.Version,
            Reason = plugin.Reason?.Sentence,
        });
        return new DriverList([core, .. loaded, .. others]);
    }
}
