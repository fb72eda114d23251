using System.Collections.Concurrent;
using Akka.Actor;
using CsCheck;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>
/// Random walks over three functions of one slot: opens, closes, deaths, resets, hangs, late returns, failures, in any order and without waiting for
/// each other. When all consumers are gone and hardware is well nothing is left over, and everybody has been answered once.
/// </summary>
[Collection(nameof(ThreadPoolTests))]
public sealed class CoreWalkTests : CoreTest
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private static readonly Gen<Step[]> Walks = Gen.Select(
        Gen.Frequency(
            (8, Gen.Const(Do.Open)), (3, Gen.Const(Do.OpenGroup)), (4, Gen.Const(Do.OpenByGroup)), (2, Gen.Const(Do.CloseGroup)), (6, Gen.Const(Do.Close)),
            (2, Gen.Const(Do.Die)), (4, Gen.Const(Do.Reset)), (3, Gen.Const(Do.HotReset)), (2, Gen.Const(Do.ResetByHost)), (2, Gen.Const(Do.ResetSetByHost)),
            (2, Gen.Const(Do.CyclePower)), (2, Gen.Const(Do.EndSessions)), (2, Gen.Const(Do.Vectors)), (2, Gen.Const(Do.Dma)), (2, Gen.Const(Do.LowPower)),
            (2, Gen.Const(Do.Read)), (2, Gen.Const(Do.SlowWrite)), (1, Gen.Const(Do.HotResetInfo)), (1, Gen.Const(Do.Error)), (2, Gen.Const(Do.Hold)),
            (2, Gen.Const(Do.Throw)), (1, Gen.Const(Do.FailResets)), (3, Gen.Const(Do.Release)), (2, Gen.Const(Do.PassTurnDeadline)),
            (2, Gen.Const(Do.PassSlowDeadline)), (2, Gen.Const(Do.PassCallDeadline)), (2, Gen.Const(Do.ProbeAnew)), (12, Gen.Const(Do.Settle))),
        Gen.Int[0, 2], Gen.Int[0, 99], static (what, device, number) => new Step(what, device, number)).Array[10, 80];

    private static readonly Point[] Points =
        [Point.ConfigRead, Point.ConfigWrite, Point.RegionRead, Point.Reset, Point.ConnectDma, Point.BusReset, Point.Power];

    private enum Do
    {
        Open,
        OpenGroup,
        OpenByGroup,
        CloseGroup,
        Close,
        Die,
        Reset,
        HotReset,
        ResetByHost,
        ResetSetByHost,
        CyclePower,
        EndSessions,
        Vectors,
        Dma,
        LowPower,
        Read,
        SlowWrite,
        HotResetInfo,
        Error,
        Hold,
        Throw,
        FailResets,
        Release,
        PassTurnDeadline,
        PassSlowDeadline,
        PassCallDeadline,
        ProbeAnew,
        Settle,
    }

    private readonly record struct Step(Do What, int Device, int Number);

    [Fact]
    public Task Whatever_happens_nothing_is_left_over_when_all_consumers_are_gone() =>
        Walks.SampleAsync(WalkAsync, iter: 300, threads: 1, print: static walk => string.Join("\n", walk));

    private async Task WalkAsync(Step[] walk)
    {
        var (bus, devices, set) = await SetAsync();
        await using var world = new World(this, bus, devices);
        foreach (var step in walk)
            await world.StepAsync(step);
        await world.HealAsync();
        await world.AssertNothingIsLeftAsync();
        foreach (var device in devices)
            Sys.Stop(device.Core);
        Sys.Stop(set);
    }

    /// <summary>Waits for one answer, and counts them.</summary>
    private sealed class Tally : UntypedActor
    {
        private readonly Asked asked;

        public Tally(Asked asked) => this.asked = asked;

        protected override void OnReceive(object message) => asked.On(message);
    }

    private sealed class Asked(string what, Action<object> then)
    {
        private readonly TaskCompletionSource first = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int answers;

        public int Answers => Volatile.Read(ref answers);

        public Task First => first.Task;

        public void On(object message)
        {
            if (Interlocked.Increment(ref answers) == 1)
                then(message);
            first.TrySetResult();
        }

        public override string ToString() => $"{what}: {Answers} answers";
    }

    private sealed class World(CoreWalkTests test, LabBus bus, Device[] devices) : IAsyncDisposable
    {
        private readonly List<Asked> asks = [];
        private readonly List<IActorRef> tallies = [];
        private readonly List<Hold> holds = [];
        private readonly ConcurrentQueue<(int Device, SessionId Session)> opened = new();
        private readonly ConcurrentQueue<GroupSessionId> groups = new();
        private readonly IActorRef[] consumers = [test.NewConsumer(), test.NewConsumer(), test.NewConsumer()];

        public async Task StepAsync(Step step)
        {
            var (device, number) = (devices[step.Device], step.Number);
            var consumer = consumers[number % consumers.Length];
            switch (step.What)
            {
                case Do.Open:
                    Open(step.Device, consumer, null);
                    break;
                case Do.OpenGroup:
                    Ask(test.Host, new OpenGroup(7 + step.Device, "the group's holder", consumer), answer =>
                    {
                        if (answer is GroupOpened group)
                            groups.Enqueue(group.Session);
                    });
                    break;
                case Do.OpenByGroup when groups.ElementAtOrDefault(number % Math.Max(1, groups.Count)) is { Value: > 0 } group:
                    Open(number % 10 == 0 ? step.Device : group.Group - 7, consumer, group);
                    break;
                case Do.CloseGroup when groups.ElementAtOrDefault(number % Math.Max(1, groups.Count)) is { Value: > 0 } group:
                    Ask(test.Host, new CloseGroup(group));
                    break;
                case Do.Die:
                    consumers[number % consumers.Length] = test.NewConsumer();
                    test.Sys.Stop(consumer);
                    break;
                case Do.ResetByHost:
                    Ask(device.Core, new ResetCore(ResetScope.Function));
                    break;
                case Do.ResetSetByHost:
                    Ask(device.Core, new ResetCore(ResetScope.DeviceSet));
                    break;
                case Do.CyclePower:
                    Ask(device.Core, new ResetCore(ResetScope.Power));
                    break;
                case Do.EndSessions:
                    Ask(device.Core, new EndSessions("the walk says so"));
                    break;
                case Do.Error:
                    Ask(device.Core, new ErrorDetected(ChannelState.Frozen, AnError));
                    Ask(device.Core, LinkWasReset.Instance);
                    break;
                case Do.Hold when holds.Count < 3:
                    var held = Points[number % Points.Length];
                    holds.Add((held is Point.BusReset or Point.Power ? bus.Traps : device.Function.Traps).HoldNext(held));
                    break;
                case Do.Throw:
                    var broken = Points[number % Points.Length];
                    (broken is Point.BusReset or Point.Power ? bus.Traps : device.Function.Traps).ThrowNext(broken);
                    break;
                case Do.FailResets:
                    device.Function.OnReset = number % 2 == 0
                        ? static () => VfioResult.Fail(Errno.EAGAIN, "Somebody else resets it.")
                        : static () => VfioResult.Fail(Errno.EIO, "It failed.");
                    break;
                case Do.Release:
                    Release();
                    device.Function.OnReset = static () => VfioResult.Ok;
                    break;
                case Do.PassTurnDeadline:
                    test.Advance(DeviceOptions.Default.TurnDeadline / 2);
                    break;
                case Do.PassSlowDeadline:
                    test.Advance(SlowDeadline);
                    break;
                case Do.PassCallDeadline:
                    test.Advance(CallDeadline);
                    test.Host.Tell(LabHost.Look.Instance, test.Consumer);
                    break;
                case Do.ProbeAnew when holds.Count == 0:
                    device.Core.Tell(ProbeAnew.Instance, device.Supervisor);
                    break;
                case Do.Settle when holds.Count == 0:
                    await AnsweredAsync();
                    break;
                default:
                    if (opened.ElementAtOrDefault(number % Math.Max(1, opened.Count)) is { Session.Value: > 0 } session)
                        AskSession(step, session.Device, session.Session);
                    break;
            }
        }

        private void AskSession(Step step, int device, SessionId session)
        {
            DeviceRequest? request = step.What switch
            {
                Do.Close => new CloseDevice(session),
                Do.Reset => new ResetDevice(session),
                Do.HotReset => new HotResetDevice(session, step.Number % 2 == 0 ? [] : [.. groups]),
                Do.Vectors => new SetDeviceIrqs(session, new SetIrqs(
                    (uint)IrqIndex.Msi, 0, 2, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger,
                    Events: new[] { EventRef.Of(new FakeTarget()), EventRef.Of(new FakeTarget()) })),
                Do.Dma => new MapDma(session, (ulong)step.Number << 12, new FakeMemory(0x1000)),
                Do.LowPower => step.Number % 2 == 0 ? new EnterLowPower(session, null) : new ExitLowPower(session),
                Do.Read => new ReadRegion(session, step.Number % 2 == 0 ? 0 : RegionIndex.Config, 0x40, 4),
                Do.SlowWrite => new WriteRegion(session, RegionIndex.Config, LabFunction.PowerControl, new[] { (byte)(step.Number % 2 == 0 ? 0 : 3) }),
                Do.HotResetInfo => new GetHotResetInfo(session),
                _ => null,
            };
            if (request is not null)
                Ask(devices[device].Core, request);
        }

        private void Open(int device, IActorRef consumer, GroupSessionId? group) =>
            Ask(devices[device].Core, new OpenDevice("somebody", consumer, Group: group), answer =>
            {
                if (answer is DeviceOpened open)
                    opened.Enqueue((device, open.Session));
            });

        private void Ask(IActorRef whom, object request, Action<object>? then = null)
        {
            var asked = new Asked(request.ToString()!, then ?? (static _ => { }));
            asks.Add(asked);
            tallies.Add(test.Sys.ActorOf(Props.Create(() => new Tally(asked))));
            whom.Tell(request, tallies[^1]);
        }

        private async Task AnsweredAsync()
        {
            foreach (var asked in asks)
            {
                try
                {
                    await asked.First.WaitAsync(Patience, Cancelled);
                }
                catch (TimeoutException)
                {
                    Assert.Fail($"{asked}");
                }
            }
        }

        private void Release()
        {
            foreach (var device in devices)
                device.Function.Traps.Clear();
            bus.Traps.Clear();
            foreach (var hold in holds)
                hold.Release();
            holds.Clear();
        }

        /// <summary>Hardware is well, everybody is gone, what is out of service is put back.</summary>
        public async Task HealAsync()
        {
            Release();
            foreach (var device in devices)
                device.Function.OnReset = static () => VfioResult.Ok;
            await AnsweredAsync();
            foreach (var consumer in consumers)
                test.Sys.Stop(consumer);
            foreach (var device in devices)
            {
                var deadline = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
                while (true)
                {
                    var state = await InspectAsync(device);
                    if (Text(state, "phase") == "Ready" && Sessions(state).IsEmpty)
                        break;
                    if (Text(state, "phase") == "Fenced" && Text(state, "busy with") == "nothing")
                        device.Core.Tell(ProbeAnew.Instance, device.Supervisor);
                    Assert.True(Environment.TickCount64 < deadline, $"{device.Function.Address} does not come to rest:\n{state}");
                    await Task.Yield();
                }
            }
        }

        public async Task AssertNothingIsLeftAsync()
        {
            foreach (var (device, number) in devices.Select(static (device, number) => (device, number)))
            {
                Assert.Empty(device.Machine.CheckInvariants());
                Assert.Null(device.Function.Overlap);
                Assert.Equal((false, 0, false), (device.Machine.IsOpen, device.Function.Vectors, device.Function.HasDma));
                await GroupIsFreeAsync(7 + number);
                // Neither a turn nor a lent member is left: the set is to be had for both kinds.
                Assert.True((await AskAsync<CoreWasReset>(device.Core, new ResetCore(ResetScope.DeviceSet))).Outcome.IsOk);
                var session = (await AskAsync<DeviceOpened>(device.Core, new OpenDevice("after", test.Consumer))).Session;
                await AskAsync<DeviceDone>(device.Core, new CloseDevice(session));
            }

            Assert.Equal(0, await test.LookAsync());
            Assert.All(asks, static asked => Assert.True(asked.Answers == 1, $"{asked}"));
        }

        /// <summary>As soon as it has heard of the death of its holder.</summary>
        private async Task GroupIsFreeAsync(int number)
        {
            var deadline = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
            while (true)
            {
                var answer = await test.Host.Ask<DeviceReply>(new OpenGroup(number, "after", test.Consumer), Patience, Cancelled);
                if (answer is GroupOpened group)
                {
                    await AskAsync<DeviceDone>(test.Host, new CloseGroup(group.Session));
                    return;
                }

                Assert.True(Environment.TickCount64 < deadline, $"{answer}");
                await Task.Yield();
            }
        }

        public ValueTask DisposeAsync()
        {
            Release();
            foreach (var tally in tallies)
                test.Sys.Stop(tally);
            foreach (var consumer in consumers)
                test.Sys.Stop(consumer);
            return ValueTask.CompletedTask;
        }
    }

    private IActorRef NewConsumer() => Sys.ActorOf(Props.Create(() => new Nobody()));

    private sealed class Nobody : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}
