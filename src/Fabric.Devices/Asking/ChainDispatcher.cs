using Akka.Actor;
using Akka.Dispatch;

namespace Fabric.Devices.Asking;

/// <summary>
/// Where the mailboxes of a device's chain run: on the thread that asks, where that is an <see cref="AskingThread"/>; else where every actor
/// does. It is the same mailbox either way: one message at a time, in order, whoever runs it.
/// </summary>
internal sealed class ChainDispatcher : MessageDispatcher
{
    private const string Name = "fabric-device-chain";

    private readonly MessageDispatcher everybodys;

    private ChainDispatcher(Settings settings, MessageDispatcher everybodys)
        : base(settings)
    {
        this.everybodys = everybodys;
        (Id, Throughput, ThroughputDeadlineTime) = (Name, everybodys.Throughput, everybodys.ThroughputDeadlineTime);
    }

    /// <summary>The name of the one of a system, for the props of its drivers and cores.</summary>
    public static string Of(ActorSystem system)
    {
        if (!system.Dispatchers.HasDispatcher(Name))
            system.Dispatchers.RegisterConfigurator(Name, new Settings(system.Dispatchers));
        return Name;
    }

    protected override void ExecuteTask(IRunnable run)
    {
        if (AskingThread.Current is { } asking)
            asking.Take(run, everybodys);
        else
            everybodys.Schedule(run);
    }

    protected override void Shutdown()
    {
        // It has no thread of its own.
    }

    private sealed class Settings(Dispatchers dispatchers)
        : MessageDispatcherConfigurator(dispatchers.DefaultDispatcherConfig, dispatchers.Prerequisites)
    {
        private ChainDispatcher? made;

        /// <summary>Made once, or twice where two ask at the same moment: either serves.</summary>
        public override MessageDispatcher Dispatcher() => made ??= new ChainDispatcher(this, dispatchers.DefaultGlobalDispatcher);
    }
}
