using System.Collections.Concurrent;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Configuration;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Drivers.Mlx5;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Migration.DataPlane;
using Fabric.Migration.Hosts;
using Fabric.Vfio;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A host with a real device chain on emulated hardware, and what its attachments report. Every wait ends after 30 s.</summary>
internal sealed class TestHost : IConsumerFactory, IAsyncDisposable
{
    public const string Device = "fab0:01:00.1";
    public const string Sibling = "fab0:01:00.2";

    private readonly Channel<IHostReport> reports = Channel.CreateUnbounded<IHostReport>();
    private readonly CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
    private readonly EmulatedBus bus;
    private readonly DataPlaneListener listener = new(NullLogger.Instance);
    private readonly ActorSystem system;

    /// <param name="driver">Of the accelerator's functions; null for its own.</param>
    /// <param name="time">What leases are measured by; null for the system's.</param>
    /// <param name="cards">Beside the accelerator, from bus 2 on.</param>
    public TestHost(string name, long stateBytes = 1 << 20, DriverRegistration? driver = null, TimeProvider? time = null, params EmulatedCard[] cards)
        : this(name, functions: 2, stateBytes, driver, time, cards)
    {
    }

    public TestHost(
        string name, int functions, long stateBytes, DriverRegistration? driver = null, TimeProvider? time = null, params EmulatedCard[] cards)
    {
        patience.CancelAfter(TimeSpan.FromSeconds(30));
        Name = name;
        bus = new EmulatedBus(
            new EmulatedBusOptions(Accelerators: 1, functions, stateBytes) { Cards = [.. cards] }, TimeProvider.System);
        system = ActorSystem.Create(name, ConfigurationFactory.ParseString("akka { stdout-loglevel = OFF, loglevel = OFF }"));
        Devices = system.ActorOf(
            HostActor.Props(new HostOptions(
                bus, new DriverCatalog(driver ?? AcceleratorDriver.Registration, Mlx5Driver.Registration), [],
                function => (function as AcceleratorVirtualFunction)?.StateBytes,
                TimeProvider.System)),
            "host");
        Attachments = system.ActorOf(AttachmentsActor.Props(name, Devices, this, listener, time ?? TimeProvider.System), "attachments");
        Attachments.Tell(new UplinkConnected(system.ActorOf(Props.Create(() => new Uplink(reports.Writer)))));
    }

    public string Name { get; }

    public IEnumerable<IPciFunction> Functions => bus.Functions;

    public IActorRef Devices { get; }

    public IActorRef Attachments { get; }

    /// <summary>Every consumer that was made, in order.</summary>
    public ConcurrentQueue<ScriptedConsumer> Consumers { get; } = [];

    public bool ConsumersRefuseState { get; set; }

    public ScriptedConsumer Consumer => Consumers.Last();

    public CancellationToken Patience => patience.Token;

    public IConsumer Create(string claimId, IReadOnlyList<string?> models, long memoryBytes, int stepsPerSecond)
    {
        var created = new ScriptedConsumer((int)memoryBytes, stepsPerSecond) { RefusesState = ConsumersRefuseState };
        Consumers.Enqueue(created);
        return created;
    }

    public void Tell(IHostCommand command) => Attachments.Tell(command);

    /// <summary>Sends a command and waits for the next report of one kind.</summary>
    public Task<T> Do<T>(IHostCommand command)
        where T : IHostReport
    {
        Tell(command);
        return Next<T>();
    }

    /// <summary>As above; what failed before it is passed over, since both ends of a transfer that breaks tell of it.</summary>
    public async Task<T> Do<T>(IHostCommand command, bool ignoringFailures)
        where T : IHostReport
    {
        Tell(command);
        while (true)
        {
            if (await Answer() is var report && (report is T || !ignoringFailures || report is not CommandFailed))
                return Assert.IsType<T>(report);
        }
    }

    /// <summary>The next report of one kind; a failure in place of it fails the test.</summary>
    public async Task<T> Next<T>()
        where T : IHostReport
    {
        while (true)
        {
            switch (await reports.Reader.ReadAsync(Patience))
            {
                case T report:
                    return report;
                case CommandFailed failed:
                    throw new InvalidOperationException($"{Name} failed {failed.Command} in place of {typeof(T).Name}: {failed.Reason}");
            }
        }
    }

    /// <summary>The next report that is neither a status nor progress.</summary>
    public async Task<IHostReport> Answer()
    {
        while (true)
        {
            if (await reports.Reader.ReadAsync(Patience) is var report and not (AttachmentStatus or PreCopyProgress))
                return report;
        }
    }

    public async Task<DeviceState> StateOf(string device) =>
        (await Devices.Ask<DeviceList>(ListDevices.Instance, Patience)).Devices.Single(status => status.Address.ToString() == device).State;

    /// <summary>Completes when the host shows a device in a state: it hears of what its devices did by messages of theirs, a moment later.</summary>
    public async Task Becomes(string device, DeviceState state)
    {
        while (await StateOf(device) != state)
            Patience.ThrowIfCancellationRequested();
    }

    /// <summary>What an operator or a fault does to a device of this host.</summary>
    public async Task Command(DeviceCommand command) => Assert.IsType<HostDone>(await Devices.Ask<object>(command, Patience));

    /// <summary>As a killed daemon: nothing is said to anybody.</summary>
    public async Task KillDataPlane() => await listener.DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        await listener.DisposeAsync();
        bus.Dispose();
        patience.Dispose();
    }

    private sealed class Uplink(ChannelWriter<IHostReport> reports) : UntypedActor
    {
        protected override void OnReceive(object message) => reports.TryWrite((IHostReport)message);
    }
}
