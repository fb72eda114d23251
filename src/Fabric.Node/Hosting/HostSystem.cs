using System.Collections.Immutable;
using System.Net;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Hosting.Logging;
using Akka.Persistence.Sql;
using Fabric.Devices;
using Fabric.Devices.Hardware;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Devices.History;
using Fabric.Devices.History.Journal;
using Fabric.Devices.Mdev;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Hardware.Linux;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts;
using Fabric.Node.Configuration;
using Fabric.Node.Security;
using Fabric.Node.Consumers;
using Fabric.Vfio.Core;

namespace Fabric.Node.Hosting;

/// <summary>
/// The devices of this machine and what is claimed of them, in an actor system of their own: local, with no remoting and no cluster. It goes
/// on while the cluster membership beside it ends and is joined anew, so that no trouble of the control plane stops a device. Their histories are
/// in a SQLite file of the host's own.
/// </summary>
internal sealed class HostSystem : IAsyncDisposable
{
    private readonly EmulatedBus bus;
    private readonly SqliteJournal journal;
    private readonly HistoryTrouble trouble;
    private readonly RunLogFile? runs;

    private HostSystem(
        EmulatedBus bus, SqliteJournal journal, HistoryTrouble trouble, DataPlaneListener listener, ActorSystem system, IActorRef devices,
        IActorRef attachments, RunLogFile? runs)
    {
        this.runs = runs;
        this.bus = bus;
        this.journal = journal;
        this.trouble = trouble;
        Listener = listener;
        System = system;
        Devices = devices;
        Attachments = attachments;
    }

    public DataPlaneListener Listener { get; }

    public ActorSystem System { get; }

    public IActorRef Devices { get; }

    public IActorRef Attachments { get; }

    /// <summary>Why histories of devices are not written down at the moment; null where they are.</summary>
    public string? HistoryTrouble => trouble.Why;

    /// <exception cref="SettingsException">See <see cref="SqliteJournal.OpenHistory"/>.</exception>
    public static HostSystem Start(FabricSettings settings, ILoggerFactory loggers, TimeProvider time, NodeCredentials? credentials = null)
    {
        var runs = settings.Node.RunLog.Length > 0 ? new RunLogFile(settings.Node.RunLog, loggers.CreateLogger("RunLog")) : null;
        var journal = SqliteJournal.OpenHistory(settings.Node.DataDirectory);
        var trouble = new HistoryTrouble();
        var bus = new EmulatedBus(BusOptions(settings.Hardware.Emulated), time);
        var dataPlane = new DataPlaneOptions();
        var listener = new DataPlaneListener(
            loggers.CreateLogger("DataPlane"),
            credentials?.Secure(dataPlane) ?? dataPlane,
            new IPEndPoint(IPAddress.Parse(settings.DataPlane.Address), settings.DataPlane.Port));
        var mdevs = MdevOptionsOf(settings);
        var system = ActorSystem.Create(
            "host", ActorSystemSetup.Create(new LoggerFactorySetup(loggers)).And(BootstrapSetup.Create().WithConfig(Hocon(journal))));
        var devices = system.ActorOf(
            HostActor.Props(new Fabric.Devices.HostOptions(
                mdevs is null ? bus : new CompositeBus(bus, MdevBus.Domain, mdevs.Bus),
                HostDrivers.Without(settings.Hardware.WithoutDrivers),
                Inventory(settings.Hardware.Linux),
                function => (function as AcceleratorVirtualFunction)?.StateBytes,
                time)
            {
                Devices = DeviceOptionsOf(settings.Devices),
                Mdev = mdevs,
                Plugins = settings.Drivers.Folder.Length > 0 ? new PluginOptions(Path.GetFullPath(settings.Drivers.Folder)) : null,
                History = JournaledHistory.Props(new HistoryOptions { OnTrouble = why => trouble.Why = why }),
            }),
            "host");
        var attachments = system.ActorOf(
            AttachmentsActor.Props(settings.Node.Name, devices, new GuestFactory(time), listener, time, runs), "attachments");
        return new HostSystem(bus, journal, trouble, listener, system, devices, attachments, runs);
    }

    /// <summary>Null for a host that nothing can be made of.</summary>
    private static MdevOptions? MdevOptionsOf(FabricSettings settings) => settings.Hardware.Emulated.MdevParents is not { Length: > 0 } names
        ? null
        : new MdevOptions(
            new MdevBus([.. names.Select(EmulatedMdevParents.Create)]), new MdevDirectory(Path.Combine(settings.Node.DataDirectory, "mdev.d")));

    /// <summary>What settings say of emulated hardware.</summary>
    private static EmulatedBusOptions BusOptions(EmulatedSettings emulated) =>
        new(emulated.Accelerators, emulated.FunctionsPerAccelerator, emulated.StateBytes) 
        {
            VirtualFunctionsAtStart = emulated.VirtualFunctionsAtStart,
            Cards = [.. emulated.Cards.Select(static card => new EmulatedCard(card.Model, card.Count, VirtualFunctions: card.VirtualFunctions))],
        };

    /// <summary>The functions handed out are emulated: their PFs, which have no driver of their own, make VFs (SV-5).</summary>
    /// <param name="settings">As <see cref="SettingsLoader"/> has let them through.</param>
    internal static DeviceOptions DeviceOptionsOf(DevicesSettings settings) => new()
    {
        Core = CoreOptions.Default with { EnableSriov = true },
        CallDeadline = Time(settings.CallDeadline),
        SlowCallDeadline = Time(settings.SlowCallDeadline),
        TurnDeadline = Time(settings.TurnDeadline),
        VoteDeadline = Time(settings.VoteDeadline),
        RestartBudget = settings.RestartBudget,
        FreezeBudget = settings.FreezeBudget,
        BudgetWindow = Time(settings.BudgetWindow),
        RetryContention = settings.RetryContention is { Tries: > 0 } retry ? new RetryPolicy(retry.Tries, Time(retry.Delay), retry.Factor) : null,
        ResetOrder = settings.ResetOrder is { Length: > 0 } order ? [.. order] : null,
        ErrorInterval = Time(settings.ErrorInterval),
        ConcurrentProbes = settings.ConcurrentProbes,
    };

    private static TimeSpan Time(string text) =>
        Duration.TryParse(text, out var time) ? time : throw new SettingsException($"'{text}' is not a time.");

    public async ValueTask DisposeAsync()
    {
        await System.Terminate();
        await Listener.DisposeAsync();
        bus.Dispose();
        journal.Dispose();
        runs?.Dispose();
    }

    private static Config Hocon(SqliteJournal journal) => ConfigurationFactory.ParseString(DeviceJournalSerializer.Hocon)
        .WithFallback(ConfigurationFactory.ParseString(JournalHocon.Sqlite(journal.ConnectionString)))
        .WithFallback(ConfigurationFactory.ParseString(AkkaLogging.Hocon))
        .WithFallback(SqlPersistence.DefaultConfiguration);

    /// <summary>The real functions of this machine: shown, and left alone.</summary>
    private static ImmutableArray<DeviceStatus> Inventory(LinuxSettings linux) => !linux.Enabled
        ? []
        : [.. new SysfsInventory(linux.Sysfs).Enumerate().Select(function => new DeviceStatus(
            function.Address,
            function.Ids,
            Model: null,
            Physical: true,
            function.DriverName,
            DeviceState.Inventory,
            DeviceHealth.Unknown,
            Migration: null,
            Holder: null,
            StateBytes: null,
            function.IommuGroup,
            function.PhysicalFunction,
            [.. function.ResetMethods]))];
}

/// <summary>Why histories of devices are not written down; set by their actor, read by whoever asks for health.</summary>
internal sealed class HistoryTrouble
{
    private volatile string? why;

    public string? Why
    {
        get => why;
        set => why = value;
    }
}
