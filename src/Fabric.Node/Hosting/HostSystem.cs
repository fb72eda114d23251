using System.Net;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Hosting.Logging;
using Akka.Persistence.Sql;
using Fabric.Devices;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Devices.History;
using Fabric.Devices.History.Journal;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts;
using Fabric.Node.Configuration;
using Fabric.Node.Security;
using Fabric.Node.Consumers;
using Fabric.Node.Serving;
using Fabric.Vfio.Core;

namespace Fabric.Node.Hosting;

/// <summary>
/// The devices of this machine and what is claimed of them, in an actor system of their own: local, with no remoting and no cluster. It goes
/// on while the cluster membership beside it ends and is joined anew, so that no trouble of the control plane stops a device. Their histories are
/// in a SQLite file of the host's own.
/// </summary>
internal sealed class HostSystem : IAsyncDisposable
{
    private static readonly TimeSpan ServingDeadline = TimeSpan.FromSeconds(10);

    private readonly HostBus bus;
    private readonly SqliteJournal journal;
    private readonly HistoryTrouble trouble;
    private readonly RunLogFile? runs;
    private readonly ILogger log;

    private HostSystem(
        HostBus bus, SqliteJournal journal, HistoryTrouble trouble, DataPlaneListener listener, ActorSystem system, IActorRef devices,
        IActorRef attachments, IActorRef serving, IActorRef binding, RunLogFile? runs, ILogger log)
    {
        this.log = log;
        this.runs = runs;
        this.bus = bus;
        this.journal = journal;
        this.trouble = trouble;
        Listener = listener;
        System = system;
        Devices = devices;
        Attachments = attachments;
        Serving = serving;
        Binding = binding;
    }

    public DataPlaneListener Listener { get; }

    public ActorSystem System { get; }

    public IActorRef Devices { get; }

    public IActorRef Attachments { get; }

    /// <summary>The sockets on which devices are served.</summary>
    public IActorRef Serving { get; }

    /// <summary>Gives real functions to vfio-pci and back.</summary>
    public IActorRef Binding { get; }

    /// <summary>Why histories of devices are not written down at the moment; null where they are.</summary>
    public string? HistoryTrouble => trouble.Why;

    /// <exception cref="SettingsException">See <see cref="SqliteJournal.OpenHistory"/>.</exception>
    public static HostSystem Start(FabricSettings settings, ILoggerFactory loggers, TimeProvider time, NodeCredentials? credentials = null)
    {
        var runs = settings.Node.RunLog.Length > 0 ? new RunLogFile(settings.Node.RunLog, loggers.CreateLogger("RunLog")) : null;
        var journal = SqliteJournal.OpenHistory(settings.Node.DataDirectory);
        var trouble = new HistoryTrouble();
        var bus = new HostBus(settings, loggers, time);
        var dataPlane = new DataPlaneOptions();
        var listener = new DataPlaneListener(
            loggers.CreateLogger("DataPlane"),
            credentials?.Secure(dataPlane) ?? dataPlane,
            new IPEndPoint(IPAddress.Parse(settings.DataPlane.Address), settings.DataPlane.Port));
        var system = ActorSystem.Create(
            "host", ActorSystemSetup.Create(new LoggerFactorySetup(loggers)).And(BootstrapSetup.Create().WithConfig(Hocon(journal))));
        var devices = system.ActorOf(
            HostActor.Props(new Fabric.Devices.HostOptions(
                bus.Whole,
                HostDrivers.Without(settings.Hardware.WithoutDrivers),
                bus.Real?.Listed ?? [],
                function => (function as AcceleratorVirtualFunction)?.StateBytes,
                time)
            {
                Devices = DeviceOptionsOf(settings.Devices),
                Mdev = bus.Mdev,
                Plugins = settings.Drivers.Folder.Length > 0 ? new PluginOptions(Path.GetFullPath(settings.Drivers.Folder)) : null,
                History = JournaledHistory.Props(new HistoryOptions { OnTrouble = why => trouble.Why = why }),
            }),
            "host");
        var attachments = system.ActorOf(
            AttachmentsActor.Props(settings.Node.Name, devices, new GuestFactory(time), listener, time, runs), "attachments");
        var serving = system.ActorOf(ServingActor.Props(devices, attachments, settings.Serving.Sockets), "serving");
        var binding = system.ActorOf(RealFunctionsActor.Props(bus.Real, devices), "real-functions");
        return new HostSystem(
            bus, journal, trouble, listener, system, devices, attachments, serving, binding, runs, loggers.CreateLogger("Host"));
    }

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
        await EndServingAsync();
        await System.Terminate();
        await Listener.DisposeAsync();
        bus.Dispose();
        journal.Dispose();
        runs?.Dispose();
    }

    /// <summary>While devices are there to be let go of. What hangs then is left to the end of the process.</summary>
    private async Task EndServingAsync()
    {
        try
        {
            await Serving.Ask<AllServingEnded>(EndAllServing.Instance, ServingDeadline);
        }
        catch (AskTimeoutException)
        {
            log.LogWarning("Some sockets of devices could not be taken away in time; the next start takes them");
        }
    }

    private static Config Hocon(SqliteJournal journal) => ConfigurationFactory.ParseString(DeviceJournalSerializer.Hocon)
        .WithFallback(ConfigurationFactory.ParseString(JournalHocon.Sqlite(journal.ConnectionString)))
        .WithFallback(ConfigurationFactory.ParseString(AkkaLogging.Hocon))
        .WithFallback(SqlPersistence.DefaultConfiguration);
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
