using System.Collections.Immutable;
using System.Reflection;
using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Devices.Hardware;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Tests;

/// <summary>A host on a <see cref="SlotBus"/>, in virtual time, and what it looks like inside.</summary>
public abstract class SlotTest : DeviceTest
{
    internal static readonly PciAddress One = new(0xfab0, 1, 0, 0);
    internal static readonly PciAddress Two = new(0xfab0, 1, 0, 1);
    internal static readonly PciAddress Other = new(0xfab0, 2, 0, 0);

    /// <summary>Short, so that little virtual time has to pass; in the order of the real ones.</summary>
    internal static readonly DeviceOptions Options = new()
    {
        CallDeadline = TimeSpan.FromSeconds(4),
        SlowCallDeadline = TimeSpan.FromSeconds(8),
        TurnDeadline = TimeSpan.FromSeconds(4),
        VoteDeadline = TimeSpan.FromSeconds(4),
        Core = CoreOptions.Default with { EnableSriov = true },
    };

    /// <summary>Hears nothing.</summary>
    private readonly TestProbe quiet;
    private HostActor? inside;

    internal SlotBus Bus { get; } = new();

    internal TestProbe Events { get; }

    internal TestProbe Client { get; }

    protected SlotTest()
    {
        (Events, Client, quiet) = (CreateTestProbe(), CreateTestProbe(), CreateTestProbe());
        Sys.EventStream.Subscribe(Events, typeof(DeviceStatusChanged));
        Sys.EventStream.Subscribe(Events, typeof(DeviceNoted));
        Sys.EventStream.Subscribe(Events, typeof(DeviceGone));
    }

    internal IActorRef Host(DeviceOptions? options = null, Props? history = null, params DriverRegistration[] drivers)
    {
        var made = new HostOptions(Bus, new DriverCatalog(drivers), [], _ => null, Time) { Devices = options ?? Options, History = history };
        return Sys.ActorOf(Props.CreateBy(new Seen(made, host => inside = host)), "host");
    }

    internal static DriverRegistration At(PciAddress address, Action<ScriptedDriver> script) => Scripted(own =>
    {
        if (own.At == address)
            script(own);
    });

    internal static async Task<IActorRef> FrontAsync(IActorRef host, PciAddress address) =>
        (await AskAsync<DeviceFound>(host, new FindDevice(address))).Front;

    internal static async Task<DeviceStatus> StatusAsync(IActorRef host, PciAddress address) =>
        (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices.Single(device => device.Address == address);

    internal static async Task<ImmutableArray<DeviceHistoryEntry>> HistoryAsync(IActorRef host, PciAddress address) =>
        (await AskAsync<DeviceHistoryRead>(host, new GetDeviceHistory(address, 1000))).Entries;

    /// <summary>The first status of a device from now on of which this holds.</summary>
    internal async Task<DeviceStatus> StatusAsync(PciAddress address, Predicate<DeviceStatus> condition) =>
        (await UntilAsync<DeviceStatusChanged>(Events, changed => changed.Status.Address == address && condition(changed.Status))).Status;

    internal Task<DeviceStatus> StateAsync(PciAddress address, DeviceState state) => StatusAsync(address, status => status.State == state);

    internal async Task<DeviceHistoryEntry> NoteAsync(PciAddress address, string kind) =>
        (await UntilAsync<DeviceNoted>(Events, noted => noted.Address == address && noted.Entry.Kind == kind)).Entry;

    internal void Advance(TimeSpan time)
    {
        Time.Advance(time);
        Timers.Advance(time);
    }

    /// <summary>
    /// The next message of a kind, however much virtual time it takes, up to a limit. Time goes on only where nothing comes by itself: what has
    /// to wait for real threads is not told that its deadline is over because they are slow.
    /// </summary>
    /// <param name="patience">Turns of the real clock before time goes on at all: many where nothing is known to hang.</param>
    internal async Task<T> InTimeAsync<T>(TestProbe probe, TimeSpan limit, Predicate<T>? condition = null, int patience = 10)
    {
        var step = TimeSpan.FromSeconds(2);
        for (var passed = TimeSpan.Zero; passed <= limit; passed += step)
        {
            while (await ReceiveAsync(probe, passed == TimeSpan.Zero ? patience : 10) is { } message)
            {
                if (message is T wanted && condition?.Invoke(wanted) != false)
                    return wanted;
            }

            Advance(step);
        }

        Assert.Fail($"No {typeof(T).Name} within {limit.TotalSeconds} s of virtual time.");
        return default;
    }

    /// <summary>
    /// The next message of a probe; null where none comes within a few turns of the real clock. Nothing is taken before it is there: a receive
    /// of the test kit that is given up may take a message with it.
    /// </summary>
    internal async Task<object?> ReceiveAsync(TestProbe probe, int turns = 10)
    {
        for (var i = 0; i < turns && !probe.HasMessages; i++)
            await quiet.ReceiveOneAsync(TimeSpan.FromMilliseconds(2), Cancelled);
        return probe.HasMessages ? await probe.ReceiveOneAsync(TimeSpan.FromSeconds(15), Cancelled) : null;
    }

    /// <summary>Stops an actor and waits until it, and all below it, is gone.</summary>
    internal async Task StopAsync(IActorRef actor)
    {
        var watcher = CreateTestProbe();
        watcher.Watch(actor);
        Sys.Stop(actor);
        await watcher.ExpectTerminatedAsync(actor, cancellationToken: Cancelled);
        // Its name is free when its parent has heard of it too: that comes before any question.
        await Sys.ActorSelection(actor.Path.Parent).ResolveOne(TimeSpan.FromSeconds(15), Cancelled);
    }

    // ---- Inside ----------------------------------------------------------------------------------------------------------------------

    internal HostActor Inside => inside!;

    internal static T Field<T>(object of, string name) =>
        (T)of.GetType().GetField(name, BindingFlags.Instance | BindingFlags.NonPublic)!.GetValue(of)!;

    internal VfioPciDevices Registered => Field<HostContext>(Inside, "context").Registered;

    internal int Watched => Field<System.Collections.ICollection>(Field<HardwareWatch>(Inside, "watch"), "watched").Count;

    internal static string? Value(InspectNode tree, string name)
    {
        if (tree.Name == name)
            return tree.Value;
        foreach (var child in tree.Children)
        {
            if (Value(child, name) is { } value)
                return value;
        }

        return null;
    }

    protected override void AfterAll()
    {
        Bus.Dispose();
        base.AfterAll();
    }

    /// <summary>Lets a test see the host actor that it asks.</summary>
    private sealed class Seen(HostOptions options, Action<HostActor> made) : IIndirectActorProducer
    {
        public Type ActorType => typeof(HostActor);

        public ActorBase Produce()
        {
            var host = new HostActor(options);
            made(host);
            return host;
        }

        public void Release(ActorBase actor)
        {
        }
    }
}

/// <summary>A journal that outlives hosts, and can be made to refuse or to be silent.</summary>
internal sealed class Journal
{
    private readonly Lock gate = new();

    public ImmutableDictionary<PciAddress, DeviceStanding> Standings { get; private set; } = ImmutableDictionary<PciAddress, DeviceStanding>.Empty;

    public ImmutableList<(PciAddress Address, DeviceHistoryEntry Entry)> Entries { get; private set; } = [];

    /// <summary>What is answered when a standing is to be kept; null for silence.</summary>
    public Func<PciAddress, DeviceStanding, object?> OnKeep { get; set; } = static (address, standing) => new StandingKept(address, standing);

    public Props Props() => Akka.Actor.Props.Create(() => new Writer(this));

    private sealed class Writer(Journal journal) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            lock (journal.gate)
            {
                switch (message)
                {
                    case ReadStandings:
                        Sender.Tell(new StandingsRead(journal.Standings));
                        break;
                    case KeepStanding keep:
                        if (journal.OnKeep(keep.Address, keep.Standing) is { } reply)
                        {
                            if (reply is StandingKept)
                                journal.Standings = journal.Standings.SetItem(keep.Address, keep.Standing);
                            Sender.Tell(reply);
                        }

                        break;
                    case NoteHistory note:
                        journal.Entries = journal.Entries.Add((note.Address, note.Entry));
                        break;
                    case GetDeviceHistory get:
                        Sender.Tell(new DeviceHistoryRead([.. journal.Entries.Where(entry => entry.Address == get.Address).Select(entry => entry.Entry).Reverse()]));
                        break;
                    default:
                        Unhandled(message);
                        break;
                }
            }
        }
    }
}
