using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Migration;
using Xunit;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>A host with one device on it, the driver in front, and what a check sees and does at it.</summary>
internal sealed class Lab
{
    /// <summary>Virtual time in which everything has its answer: longer than any deadline of a host.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(600);

    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(5);

    /// <summary>Turns in which neither driver nor core has anything to do, before it is taken that only time helps.</summary>
    private const int IdleTurns = 20;

    /// <summary>Turns of real threads: 30 s.</summary>
    private const int AllTurns = 6_000;

    private readonly int memoryBytes;

    private Lab(World world, TappedFunction function, IActorRef host, Behind behind, int memoryBytes) =>
        (World, Function, Host, Behind, this.memoryBytes) = (world, function, host, behind, memoryBytes);

    public World World { get; }

    public TappedFunction Function { get; }

    public IActorRef Host { get; }

    public Behind Behind { get; }

    public IActorRef Front { get; private set; } = ActorRefs.Nobody;

    /// <summary>Before the driver sees a request; what it throws the driver throws.</summary>
    public Action<DeviceRequest>? Tap { get; set; }

    /// <param name="registration">Null for the core alone.</param>
    public static async Task<Lab> StartAsync(World world, TestedDevice device, DriverRegistration? registration, int memoryBytes)
    {
        var function = new TappedFunction(device.Function);
        foreach (var hardware in new object?[] { device.Function, device.Bus }.OfType<IDisposable>())
            world.Own(hardware);
        var behind = new Behind();
        Lab? lab = null;
        DriverCatalog drivers = registration is null ? new() : new(WithSpy(registration, function.Ids, behind, request => lab?.Tap?.Invoke(request)));
        var host = world.System.ActorOf(HostActor.Props(new HostOptions(
            new TappedBus(function, device.Bus), drivers, [], static _ => null, world.Time)));
        lab = new Lab(world, function, host, behind, memoryBytes);
        var found = await lab.AskHostAsync<DeviceFound>(new FindDevice(function.Address)).ConfigureAwait(false);
        Assert.True(found.Status.Driver == registration?.Name, $"The function has the driver {found.Status.Driver}, not {registration?.Name}.");
        lab.Front = found.Front;
        return lab;
    }

    public async Task<GuestDevice> OpenAsync()
    {
        var consumer = World.System.ActorOf(Props.Create(static () => new Holder()));
        var memory = new GuestMemory(memoryBytes);
        var session = (await ExpectAsync<DeviceOpened>(new OpenDevice("the guest", consumer)).ConfigureAwait(false)).Session;
        var guest = new GuestDevice(this, session, consumer, memory);
        if (memoryBytes > 0)
            await ExpectAsync<DeviceDone>(new MapDma(session, GuestDevice.MemoryIova, memory)).ConfigureAwait(false);
        await guest.EnableAsync().ConfigureAwait(false);
        return guest;
    }

    // ---- Asking ----------------------------------------------------------------------------------------------------------------------

    public ReplyRef Send(DeviceRequest request)
    {
        var asker = World.NewAsker();
        Front.Tell(request, asker);
        return asker;
    }

    public async Task<DeviceReply> AskAsync(DeviceRequest request) => (DeviceReply)await AnswerAsync(Send(request), request).ConfigureAwait(false);

    public async Task<T> ExpectAsync<T>(DeviceRequest request)
        where T : DeviceReply
    {
        var reply = await AskAsync(request).ConfigureAwait(false);
        Assert.True(reply is T, $"{request} was answered with {reply}");
        return (T)reply;
    }

    public async Task<T> AskHostAsync<T>(HostRequest request)
    {
        var reply = await TryHostAsync(request).ConfigureAwait(false);
        Assert.True(reply is T, $"{request} was answered with {reply}");
        return (T)reply;
    }

    public async Task<object> TryHostAsync(HostRequest request)
    {
        var asker = World.NewAsker();
        Host.Tell(request, asker);
        return await AnswerAsync(asker, request).ConfigureAwait(false);
    }

    /// <summary>
    /// The first answer. Time goes on only where something waits for it: not where real threads are slow. A driver that waits is let wait, shorter
    /// steps first; one that does not come back is given up by its host when it is time.
    /// </summary>
    public async Task<object> AnswerAsync(ReplyRef asker, object request)
    {
        var (step, passed, idle) = (TimeSpan.FromMilliseconds(1), TimeSpan.Zero, 0);
        for (var turns = 0; turns < AllTurns && passed < Limit; turns++)
        {
            if (asker.First.IsCompleted)
                return await asker.First.ConfigureAwait(false);
            var state = await TryInspectAsync().ConfigureAwait(false);
            var waits = state is not null && Drivers(state).Any(static driver => driver["waits for"]?.Value == "a delay of its own");
            idle = state is null || IsIdle(state) ? idle + 1 : 0;
            if (!waits && (await HasAsync(asker).ConfigureAwait(false) || idle < IdleTurns))
                continue;
            World.Advance(step);
            passed += step;
            step = step < TimeSpan.FromSeconds(1) ? step * 2 : step;
        }

        Assert.Fail($"{request} has no answer after {passed.TotalSeconds:0} s of virtual time. {await TryInspectAsync().ConfigureAwait(false)}");
        return asker;
    }

    private static async Task<bool> HasAsync(ReplyRef asker)
    {
        await ((Task)asker.First).WaitAsync(Turn).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return asker.First.IsCompleted;
    }

    // ---- Looking ---------------------------------------------------------------------------------------------------------------------

    /// <summary>Every mailbox of the device has handled what it was sent before this.</summary>
    public async Task<InspectNode> InspectAsync() =>
        (await AskHostAsync<DeviceInspected>(new InspectDevice(Function.Address)).ConfigureAwait(false)).State;

    public async Task<DeviceStatus> StatusAsync()
    {
        await InspectAsync().ConfigureAwait(false);
        var list = await AskHostAsync<DeviceList>(ListDevices.Instance).ConfigureAwait(false);
        return list.Devices.Single(device => device.Address == Function.Address);
    }

    public async Task<IReadOnlyList<DeviceHistoryEntry>> HistoryAsync()
    {
        await InspectAsync().ConfigureAwait(false);
        return (await AskHostAsync<DeviceHistoryRead>(new GetDeviceHistory(Function.Address, 1000)).ConfigureAwait(false)).Entries;
    }

    public async Task<MigrationState> StateAsync(GuestDevice guest) =>
        (await ExpectAsync<MigrationStateRead>(new GetMigrationState(guest.Session)).ConfigureAwait(false)).State;

    /// <summary>Null where it does not answer soon: somebody of it hangs.</summary>
    private async Task<InspectNode?> TryInspectAsync()
    {
        var asker = World.NewAsker();
        Host.Tell(new InspectDevice(Function.Address), asker);
        for (var turns = 0; turns < IdleTurns; turns++)
        {
            if (await HasAsync(asker).ConfigureAwait(false))
                return ((await asker.First.ConfigureAwait(false)) as DeviceInspected)?.State;
        }

        return null;
    }

    private static IEnumerable<InspectNode> Drivers(InspectNode state) => state.Children.Where(static part => part.Name == "driver");

    private static bool IsIdle(InspectNode state) => state["core"]?["busy with"]?.Value is null or "nothing";

    /// <summary>Bound to its function whatever it says of ids: what it matches is not what is tried.</summary>
    private static DriverRegistration WithSpy(DriverRegistration tried, PciIds ids, Behind behind, Action<DeviceRequest> tap) => WithSpy(tried, behind) with
    {
        Ids = [DriverId.Of(ids)],
        Create = context => tried.Create(context with { Tap = tap }),
    };

    private static DriverRegistration WithSpy(DriverRegistration tried, Behind behind) => tried with
    {
        Behind = tried.Behind is { } next
            ? WithSpy(next, behind)
            : new DriverRegistration("spy", tried.Ids, null, context => Props.Create(() => new Spy(context, behind))),
    };

    private sealed class Holder : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}
