using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.Hardware;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>Loads what is in the folder and not loaded, or one plugin. Answered with <see cref="PluginsScanned"/>. One at a time.</summary>
/// <param name="Only">A plugin's name; null for all.</param>
internal sealed record ScanPlugins(string? Only) : INoSerializationVerificationNeeded;

/// <summary>Unloads a plugin that no device has. Answered with <see cref="PluginsScanned"/>.</summary>
internal sealed record DropPlugin(string Name, string By) : INoSerializationVerificationNeeded;

/// <param name="Plugins">Every plugin that is known, by name.</param>
internal sealed record PluginsScanned(ImmutableArray<PluginEntry> Plugins) : INoSerializationVerificationNeeded;

/// <param name="Names">Of its drivers, as far as they were ever known.</param>
/// <param name="Reason">Why it is not loaded; null where it is.</param>
/// <param name="Was">What was loaded, of one that is not any more.</param>
internal sealed record PluginEntry(
    string Name, Plugin? Loaded, ImmutableArray<string> Names, VfioError? Reason, string? Version = null, Plugin? Was = null)
{
    public ImmutableArray<DriverRegistration> Drivers => Loaded?.Drivers ?? [];

    public DriverPresence Presence => this switch
    {
        { Loaded: not null } => DriverPresence.Loaded,
        { Was: null } => DriverPresence.Refused,
        { Was.IsInMemory: true } => DriverPresence.Leaving,
        _ => DriverPresence.Unloaded,
    };
}

/// <summary>
/// The plugins of a host, <c>/user/host/plugins</c>. Each is loaded and tried on a thread that can be spared, with a deadline: what a plugin does
/// there keeps nobody waiting but who asked for it. What is wrong with one is said, and the others go on.
/// </summary>
internal sealed class PluginsActor : UntypedActor, IWithTimers
{
    private readonly PluginOptions options;
    private readonly ImmutableHashSet<string> inTheBox;
    private readonly LaneThreads threads;
    private readonly TimeProvider time;
    private readonly SortedDictionary<string, PluginEntry> known = new(StringComparer.Ordinal);
    private Scan? scan;
    private long lastNumber;

    /// <param name="inTheBox">Names that no plugin's driver may have.</param>
    public PluginsActor(PluginOptions options, ImmutableHashSet<string> inTheBox, LaneThreads threads, TimeProvider time) =>
        (this.options, this.inTheBox, this.threads, this.time) = (options, inTheBox, threads, time);

    private sealed record Scan(string? Only, IActorRef Asker)
    {
        /// <summary>Those whose turn has not ended, by name.</summary>
        public Dictionary<string, long> Waiting { get; } = [];

        public SortedDictionary<string, VfioResult<Plugin>> Ended { get; } = new(StringComparer.Ordinal);

        public long Listing { get; init; }
    }

    private sealed record Listed(long Number, VfioResult<(IReadOnlyList<string> Plugins, IReadOnlyList<string> Astray)> Outcome);

    private sealed record LoadEnded(string Name, long Number, VfioResult<Plugin> Outcome);

    private sealed record Late(string? Name, long Number);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(PluginOptions options, ImmutableHashSet<string> inTheBox, LaneThreads threads, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new PluginsActor(options, inTheBox, threads, time));

    /// <summary>Who waits is not left waiting by a failure of ours; what was loaded is not known any more.</summary>
    protected override void PreRestart(Exception reason, object message)
    {
        scan?.Asker.Tell(new PluginsScanned([]));
        base.PreRestart(reason, message);
    }

    protected override void PostStop()
    {
        foreach (var entry in known.Values)
            entry.Loaded?.Unload(Context.System);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ScanPlugins wanted:
                Begin(wanted);
                break;
            case Listed listed when scan is { } current && listed.Number == current.Listing:
                OnListed(current, listed);
                break;
            case LoadEnded ended when scan is { } current && current.Waiting.GetValueOrDefault(ended.Name) == ended.Number:
                Timers.Cancel(ended.Number);
                End(current, ended.Name, ended.Outcome);
                break;
            case LoadEnded { Outcome.IsOk: true } late:
                late.Outcome.Value.Unload(Context.System);
                break;
            case Late { Name: null } late when scan is { } current && late.Number == current.Listing:
                var unread = new VfioError(Errno.ETIMEDOUT, $"The folder of drivers, {options.Folder}, could not be read in time.");
                OnListed(current, new Listed(late.Number, unread));
                break;
            case Late { Name: { } name } late when scan is { } current && current.Waiting.GetValueOrDefault(name) == late.Number:
                End(current, name, new VfioError(
                    Errno.ETIMEDOUT,
                    $"Its own code has not come back within {options.Deadline.TotalSeconds:0.#} s; its thread is lost until the daemon ends."));
                break;
            case Listed or LoadEnded or Late:
                break;
            case DropPlugin drop:
                Drop(drop);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Begin(ScanPlugins wanted)
    {
        var (self, number, wish) = (Self, ++lastNumber, options);
        scan = new Scan(wanted.Only, Sender) { Listing = number };
        Timers.StartSingleTimer(number, new Late(null, number), options.Deadline);
        threads.Run(() => self.Tell(new Listed(number, Guarded(() => PluginFiles.List(wish)))));
    }

    private void OnListed(Scan current, Listed listed)
    {
        Timers.Cancel(listed.Number);
        scan = current with { Listing = 0 };
        // What was refused and is there no more is forgotten.
        foreach (var gone in known.Values.Where(static entry => entry.Loaded is null).ToArray())
        {
            if (gone.Was?.IsInMemory != true && (!listed.Outcome.IsOk || !listed.Outcome.Value.Plugins.Contains(gone.Name)))
                known.Remove(gone.Name);
        }

        if (!listed.Outcome.IsOk)
        {
            Refuse(options.Folder, listed.Outcome.Error);
            Finish();
            return;
        }

        foreach (var astray in listed.Outcome.Value.Astray)
            Refuse(astray, new VfioError(Errno.EINVAL, "It lies beside the plugins; put it into a folder of its own."));
        foreach (var name in listed.Outcome.Value.Plugins)
        {
            if ((current.Only is null || current.Only == name) && known.GetValueOrDefault(name)?.Loaded is null)
                Load(scan, name);
        }

        if (scan.Waiting.Count == 0)
            Finish();
    }

    private void Load(Scan current, string name)
    {
        var (self, number, wish, folder) = (Self, ++lastNumber, options, Path.Combine(options.Folder, name));
        current.Waiting[name] = number;
        Timers.StartSingleTimer(number, new Late(name, number), options.Deadline);
        threads.Run(() =>
        {
            var loaded = Guarded(() => PluginLoader.Load(folder, wish));
            if (!loaded.IsOk)
            {
                self.Tell(new LoadEnded(name, number, loaded));
                return;
            }

            var begun = Guarded(() =>
            {
                loaded.Value.Try(why => self.Tell(new LoadEnded(name, number, why is null ? loaded : new VfioError(Errno.EIO, why))));
                return loaded;
            });
            if (!begun.IsOk)
                self.Tell(new LoadEnded(name, number, begun));
        });
    }

    /// <summary>Nothing may be thrown on a thread that is lent.</summary>
    private static VfioResult<T> Guarded<T>(Func<VfioResult<T>> call)
    {
        try
        {
            return call();
        }
        catch (Exception thrown)
        {
            return new VfioError(Errno.EIO, $"It failed: {DriverClass.Words(thrown)}");
        }
    }

    private void End(Scan current, string name, VfioResult<Plugin> outcome)
    {
        current.Waiting.Remove(name);
        current.Ended[name] = outcome;
        if (current.Waiting.Count > 0)
            return;
        // In the order of their names: which of two comes first does not depend on who was quicker.
        foreach (var (plugin, ended) in current.Ended)
        {
            if (!ended.IsOk)
                Refuse(plugin, ended.Error);
            else if (Duplicate(ended.Value) is { } taken)
            {
                ended.Value.Unload(Context.System);
                Refuse(plugin, taken);
            }
            else
            {
                var loaded = ended.Value;
                known[plugin] = new PluginEntry(plugin, loaded, [.. loaded.Drivers.Select(static driver => driver.Name)], null, loaded.Version);
                Tell(plugin, "loaded", $"{loaded.Version}, with {string.Join(", ", loaded.Drivers.Select(Described))}");
            }
        }

        Finish();
    }

    private static string Described(DriverRegistration driver) =>
        $"{driver.Name} ({(driver.Ids.IsEmpty ? "by driver_override only" : string.Join(' ', driver.Ids))})";

    private VfioError? Duplicate(Plugin plugin)
    {
        var seen = new HashSet<string>();
        foreach (var driver in plugin.Drivers)
        {
            if (inTheBox.Contains(driver.Name))
                return new VfioError(Errno.EEXIST, $"Its driver is named {driver.Name}, as one in the box; give it another name.");
            if (!seen.Add(driver.Name))
                return new VfioError(Errno.EEXIST, $"Two of its drivers are named {driver.Name}; give each a name of its own.");
            if (known.Values.FirstOrDefault(entry => entry.Drivers.Any(other => other.Name == driver.Name)) is { } other)
                return new VfioError(
                    Errno.EEXIST, $"Its driver is named {driver.Name}, as that of plugin {other.Name}; unload that one, or give it another name.");
        }

        return null;
    }

    private void Refuse(string plugin, VfioError why)
    {
        known[plugin] = new PluginEntry(plugin, null, known.GetValueOrDefault(plugin)?.Names ?? [], why);
        Tell(plugin, "refused", why.Sentence);
    }

    private void Drop(DropPlugin drop)
    {
        if (known.TryGetValue(drop.Name, out var entry) && entry.Loaded is { } plugin)
        {
            plugin.Unload(Context.System);
            known[drop.Name] = entry with { Loaded = null, Was = plugin, Reason = new VfioError(Errno.ENOENT, $"unloaded by {drop.By}") };
            Tell(drop.Name, "unloaded", $"by {drop.By}");
        }

        Sender.Tell(new PluginsScanned([.. known.Values]));
    }

    private void Finish()
    {
        scan!.Asker.Tell(new PluginsScanned([.. known.Values]));
        scan = null;
    }

    private void Tell(string plugin, string kind, string message)
    {
        if (kind == "refused")
            Context.GetLogger().Warning("Plugin {0} is refused: {1}", plugin, message);
        else
            Context.GetLogger().Info("Plugin {0} is {1}: {2}", plugin, kind, message);
        Context.System.EventStream.Publish(new DriverNoted(time.GetUtcNow(), plugin, kind, message));
    }
}
