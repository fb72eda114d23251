using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Hardware;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Tests.Lab;

/// <summary>What a host does for cores: groups, and the watch over calls, which looks when a test says so. It counts what it watches.</summary>
internal sealed class LabHost(TimeSpan callDeadline) : UntypedActor
{
    private readonly HardwareWatch watch = new(callDeadline);
    private readonly Dictionary<int, IActorRef> groups = [];
    private readonly HashSet<CallWatch> watched = [];

    /// <summary>Looks after calls now. Answered with how many mailboxes are watched.</summary>
    public sealed record Look
    {
        public static Look Instance { get; } = new();
    }

    public static Props Props(TimeSpan callDeadline) => Akka.Actor.Props.Create(() => new LabHost(callDeadline));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case WatchCalls add:
                watched.Add(add.Watch);
                watch.On(message);
                break;
            case UnwatchCalls remove:
                watched.Remove(remove.Watch);
                watch.On(message);
                break;
            case CallCameBack:
                watch.On(message);
                break;
            case Look:
                watch.On(message);
                Sender.Tell(watched.Count);
                break;
            case OpenGroup open:
                Group(open.Group).Forward(message);
                break;
            case CloseGroup close:
                Group(close.Session.Group).Forward(message);
                break;
            case AdmitToGroup admit:
                Group(admit.Group).Forward(message);
                break;
            case LeaveGroup leave:
                Group(leave.Group).Forward(message);
                break;
        }
    }

    private IActorRef Group(int number) =>
        groups.TryGetValue(number, out var group) ? group : groups[number] = Context.ActorOf(IommuGroupActor.Props(number));
}

/// <summary>Cores of one, two or three functions behind their mailboxes, with what stands around them; their supervisor is the test.</summary>
public abstract class CoreTest : DeviceTest
{
    protected static readonly TimeSpan SlowDeadline = DeviceOptions.Default.SlowCallDeadline;

    protected static readonly TimeSpan CallDeadline = DeviceOptions.Default.CallDeadline;

    private static readonly SupervisorStrategy Restarting = new OneForOneStrategy(static _ => Directive.Restart);

    private int made;

    protected CoreTest()
    {
        Host = Sys.ActorOf(LabHost.Props(CallDeadline), "lab-host");
        Consumer = CreateTestProbe("consumer");
    }

    internal IActorRef Host { get; }

    internal TestProbe Consumer { get; }

    /// <summary>One core and all that a test asks of it.</summary>
    internal sealed record Device(LabFunction Function, IActorRef Core, TestProbe Supervisor, CoreSlot Slot)
    {
        public VfioPciCore Machine => Slot.Core!;
    }

    /// <summary>A device that is a set by itself, probed.</summary>
    internal async Task<Device> AloneAsync(LabFunction? function = null, DeviceOptions? options = null)
    {
        function ??= new LabFunction();
        var device = Start(function, new VfioPciDevices(new LabBus(together: false, function), callersTakeTurns: true), ActorRefs.Nobody, options);
        await ProbedAsync(device);
        return device;
    }

    /// <summary>Three functions of one slot, probed; each in the IOMMU group that it is given.</summary>
    internal async Task<(LabBus Bus, Device[] Devices, IActorRef Set)> SetAsync(DeviceOptions? options = null, params int[] groups)
    {
        if (groups.Length == 0)
            groups = [7, 8, 9];
        var functions = groups.Select(static (group, number) => new LabFunction(number, group)).ToArray();
        var bus = new LabBus(together: true, functions);
        var registered = new VfioPciDevices(bus, callersTakeTurns: true);
        var set = Sys.ActorOf(DeviceSetActor.Props(options ?? DeviceOptions.Default), $"lab-set-{++made}");
        var devices = new List<Device>();
        foreach (var function in functions)
        {
            var device = Start(function, registered, set, options);
            await ProbedAsync(device);
            devices.Add(device);
        }

        return (bus, [.. devices], set);
    }

    internal Device Start(LabFunction function, VfioPciDevices registered, IActorRef set, DeviceOptions? options = null)
    {
        var slot = new CoreSlot(100);
        var supervisor = CreateTestProbe();
        var core = supervisor.ChildActorOf(
            VfioPciCoreActor.Props(new CoreContext(
                function, registered, "vfio-pci", options ?? DeviceOptions.Default, Threads, Time, slot, Host, set)),
            $"core-{++made}", Restarting, Cancelled);
        return new Device(function, core, supervisor, slot);
    }

    internal static async Task ProbedAsync(Device device) => Assert.Null((await UntilAsync<CoreProbed>(device.Supervisor, _ => true)).Refused);

    internal async Task<SessionId> OpenAsync(Device device, IActorRef? consumer = null, GroupSessionId? group = null) =>
        (await AskAsync<DeviceOpened>(device.Core, new OpenDevice("somebody", consumer ?? Consumer, Group: group))).Session;

    internal async Task<GroupSessionId> OpenGroupAsync(int group, IActorRef? consumer = null, string holder = "the group's holder") =>
        (await AskAsync<GroupOpened>(Host, new OpenGroup(group, holder, consumer ?? Consumer))).Session;

    /// <summary>Sends it from a probe of its own, to be answered whenever it is.</summary>
    internal TestProbe Send(Device device, object request)
    {
        var asker = CreateTestProbe();
        device.Core.Tell(request, asker);
        return asker;
    }

    /// <summary>The mailbox has handled all that it was sent before.</summary>
    internal static async Task<InspectNode> InspectAsync(Device device) => (await AskAsync<PartInspected>(device.Core, InspectPart.Instance)).State;

    /// <summary>Time goes on: the actors' timers and the clock.</summary>
    internal void Advance(TimeSpan time)
    {
        Time.Advance(time);
        Timers.Advance(time);
    }

    /// <summary>The watch looks after calls. How many mailboxes it watches.</summary>
    internal async Task<int> LookAsync() => await AskAsync<int>(Host, LabHost.Look.Instance);

    internal static string Text(InspectNode node, string name) => node[name]!.Value ?? "";

    internal static ImmutableArray<InspectNode> Sessions(InspectNode node) => node["sessions"]!.Children;

    /// <summary>Nothing more is told to it: asserted behind a message that its sender sends last.</summary>
    internal static async Task NothingMoreAsync(TestProbe probe) => await probe.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
}
