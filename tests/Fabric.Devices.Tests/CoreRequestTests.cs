using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>Every request of the protocol at a core: what it does to the machine, how it is refused, and that a closed session gets nothing.</summary>
public sealed class CoreRequestTests : CoreTest
{
    private static readonly Guid Token = new("83f8bfd2-5a1b-43a5-8dc5-2d3ba3e3a9a6");

    /// <param name="Right">A request that the device carries out, or that the core never does.</param>
    /// <param name="Holds">What must be so after it.</param>
    /// <remarks>Wrong is one that the machine refuses, where there is one.</remarks>
    private sealed record Case(Func<SessionId, DeviceRequest> Right, Func<DeviceReply, Device, bool> Holds)
    {
        public Func<SessionId, DeviceRequest>? Wrong { get; init; }

        public Errno Errno { get; init; }
    }

    private static Case Refused(Func<SessionId, DeviceRequest> request, Errno errno) =>
        new(request, (reply, _) => reply is DeviceFailed failed && failed.Error.Errno == errno);

    private static readonly Dictionary<Type, Case> Cases = new()
    {
        [typeof(OpenDevice)] = Refused(_ => new OpenDevice("the next", ActorRefs.Nobody), Errno.EBUSY),
        [typeof(CloseDevice)] = new(session => new CloseDevice(session), (reply, device) => reply is DeviceDone && !device.Machine.IsOpen),
        [typeof(GetDeviceInfo)] = new(session => new GetDeviceInfo(session), (reply, _) => reply is DeviceInfoRead { Info.Irqs: 5 }),
        [typeof(GetRegionInfo)] = new(session => new GetRegionInfo(session, 0), (reply, _) => reply is RegionInfoRead { Info.Size: 0x1000 })
        {
            Wrong = session => new GetRegionInfo(session, 99), Errno = Errno.EINVAL,
        },
        [typeof(GetIrqInfo)] = new(session => new GetIrqInfo(session, (int)IrqIndex.Msi), (reply, _) => reply is IrqInfoRead { Info.Count: 4 })
        {
            Wrong = session => new GetIrqInfo(session, 99), Errno = Errno.EINVAL,
        },
        [typeof(SetDeviceIrqs)] = new(
            session => new SetDeviceIrqs(session, MsiVectors(2)),
            (reply, device) => reply is DeviceIrqsSet { Available: 0 } && device.Function.Vectors == 2)
        {
            Wrong = session => new SetDeviceIrqs(session, MsiVectors(5)), Errno = Errno.EINVAL,
        },
        [typeof(SetTrigger)] = new(session => new SetTrigger(session, IrqIndex.Err, new FakeTarget()), (reply, _) => reply is DeviceDone)
        {
            Wrong = session => new SetTrigger(session, (IrqIndex)99, null), Errno = Errno.EINVAL,
        },
        [typeof(ResetDevice)] = new(session => new ResetDevice(session), (reply, device) => reply is DeviceDone && device.Function.Resets == 2),
        [typeof(GetHotResetInfo)] = Refused(session => new GetHotResetInfo(session), Errno.ENODEV),
        [typeof(HotResetDevice)] = Refused(session => new HotResetDevice(session, []), Errno.ENODEV) with
        {
            Wrong = session => new HotResetDevice(session, [new GroupSessionId(7, 1)]), Errno = Errno.EINVAL,
        },
        [typeof(SetIoEventFd)] = new(session => new SetIoEventFd(session, new IoEvent(0, 0x10, 4, 1), new Silent()), (reply, _) => reply is DeviceDone)
        {
            Wrong = session => new SetIoEventFd(session, new IoEvent(0, 0x10, 4, 1), null), Errno = Errno.ENODEV,
        },
        [typeof(DeviceIoctl)] = Refused(session => new DeviceIoctl(session, 99, default), Errno.ENOTTY),
        [typeof(FindFeature)] = new(
            session => new FindFeature(session, CoreFeature.LowPowerEntry), (reply, _) => reply is FeatureFound { Operations: FeatureOperations.Set })
        {
            Wrong = session => new FindFeature(session, CoreFeature.BusMaster), Errno = Errno.ENOTTY,
        },
        [typeof(UseFeature)] = Refused(session => new UseFeature(session, 99, FeatureOperations.Get, default), Errno.ENOTTY),
        [typeof(SetVfToken)] = new(session => new SetVfToken(session, Token), (reply, device) => reply is DeviceDone && device.Machine.Match(Token).IsOk),
        [typeof(EnterLowPower)] = new(session => new EnterLowPower(session, null), (reply, device) => reply is DeviceDone && Sleeps(device)),
        [typeof(ExitLowPower)] = new(session => new ExitLowPower(session), (reply, device) => reply is DeviceDone && !Sleeps(device)),
        [typeof(GetDmaBuf)] = new(
            session => new GetDmaBuf(session, 0, [new DmaBufRange(0, 0x1000)]), (reply, _) => reply is DmaBufGot { Buffer.Bar: 0 })
        {
            Wrong = session => new GetDmaBuf(session, 99, [new DmaBufRange(0, 0x1000)]), Errno = Errno.ENODEV,
        },
        [typeof(ReadRegion)] = new(session => new ReadRegion(session, 0, 1, 2), (reply, _) => reply is RegionRead { Data.Span: [7, 14] })
        {
            Wrong = session => new ReadRegion(session, 99, 0, 4), Errno = Errno.EINVAL,
        },
        [typeof(WriteRegion)] = new(
            session => new WriteRegion(session, 0, 8, new byte[] { 1, 2 }),
            (reply, device) => reply is RegionWritten { Length: 2 } && device.Function.Inner.BarByte(0, 9) == 2)
        {
            Wrong = session => new WriteRegion(session, 99, 0, new byte[4]), Errno = Errno.EINVAL,
        },
        [typeof(MapRegion)] = new(session => new MapRegion(session, 0), (reply, _) => reply is RegionMapped { Mapping.Length: 0x1000 })
        {
            Wrong = session => new MapRegion(session, RegionIndex.Config), Errno = Errno.EINVAL,
        },
        [typeof(MapDma)] = new(
            session => new MapDma(session, 0x1000, new FakeMemory(0x1000)), (reply, device) => reply is DeviceDone && device.Machine.DmaMappings == 1)
        {
            Wrong = session => new MapDma(session, 0x1001, new FakeMemory(0x1000)), Errno = Errno.EINVAL,
        },
        [typeof(UnmapDma)] = Refused(session => new UnmapDma(session, 0x1000), Errno.ENOENT),
        [typeof(GetMigrationFlags)] = Refused(session => new GetMigrationFlags(session), Errno.ENOTTY),
        [typeof(SetMigrationState)] = Refused(session => new SetMigrationState(session, MigrationState.Stop), Errno.ENOTTY),
        [typeof(GetMigrationState)] = Refused(session => new GetMigrationState(session), Errno.ENOTTY),
        [typeof(GetMigrationDataSize)] = Refused(session => new GetMigrationDataSize(session), Errno.ENOTTY),
        [typeof(OptIntoPrecopyInfoV2)] = Refused(session => new OptIntoPrecopyInfoV2(session), Errno.ENOTTY),
        [typeof(StartDmaLogging)] = Refused(session => new StartDmaLogging(session, 0, 0x1000), Errno.ENOTTY),
        [typeof(StopDmaLogging)] = Refused(session => new StopDmaLogging(session), Errno.ENOTTY),
        [typeof(ReportDmaLogging)] = Refused(session => new ReportDmaLogging(session), Errno.ENOTTY),
        [typeof(ErrorDetected)] = new(
            _ => new ErrorDetected(ChannelState.Frozen, AnError), (reply, _) => reply is RecoveryVoted { Vote: RecoveryVote.CanRecover, Handler: null }),
        [typeof(MmioEnabled)] = new(_ => new MmioEnabled(), (reply, _) => reply is RecoveryVoted { Vote: RecoveryVote.None }),
        [typeof(SlotReset)] = new(_ => new SlotReset(), (reply, _) => reply is RecoveryVoted { Vote: RecoveryVote.None }),
        [typeof(ResumeOperation)] = new(_ => new ResumeOperation(), (reply, _) => reply is RecoveryVoted { Vote: RecoveryVote.None }),
        [typeof(LinkWasReset)] = new(_ => LinkWasReset.Instance, (reply, _) => reply is RecoveryVoted { Vote: RecoveryVote.None }),
        [typeof(HandleErrors)] = new(session => new HandleErrors(session, ActorRefs.Nobody), (reply, _) => reply is DeviceDone),
        [typeof(SetVirtualFunctions)] = new(_ => new SetVirtualFunctions(0), (reply, _) => reply is VirtualFunctionsSet { Change.Count: 0 }),
        [typeof(OpenGroup)] = Refused(_ => new OpenGroup(7, "astray", ActorRefs.Nobody), Errno.ENOTTY),
        [typeof(CloseGroup)] = Refused(_ => new CloseGroup(new GroupSessionId(7, 1)), Errno.ENOTTY),
    };

    public static TheoryData<string> Requests() => [.. Protocol(typeof(DeviceRequest)).Select(static type => type.Name)];

    public static TheoryData<string> SessionRequests() => [.. Protocol(typeof(SessionRequest)).Select(static type => type.Name)];

    public static TheoryData<string> RefusedRequests() =>
        [.. Cases.Where(static entry => entry.Value.Wrong is not null).Select(static entry => entry.Key.Name)];

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task Every_request_reaches_the_machine_and_has_its_answer(string request)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);

        var reply = await AskAnyAsync(device, CaseOf(request).Right(session));

        Assert.True(CaseOf(request).Holds(reply, device), $"{reply}");
        Assert.Empty(device.Machine.CheckInvariants());
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task Every_request_of_a_driver_is_answered_with_its_number(string request)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);

        var reply = await AskAsync<CoreReplied>(device.Core, new CoreCall(42, CaseOf(request).Right(session)));

        Assert.Equal(42, reply.Number);
        Assert.True(CaseOf(request).Holds(reply.Reply, device), $"{reply}");
    }

    [Theory]
    [MemberData(nameof(RefusedRequests))]
    public async Task What_the_machine_refuses_comes_back_with_its_errno_and_a_sentence(string request)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);

        var refused = await RefusedAsync(device.Core, CaseOf(request).Wrong!(session));

        Assert.Equal(CaseOf(request).Errno, refused.Errno);
        Assert.NotEmpty(refused.Sentence);
    }

    [Theory]
    [MemberData(nameof(SessionRequests))]
    public async Task Every_request_of_a_closed_session_is_ENODEV_and_touches_nothing(string request)
    {
        var device = await AloneAsync();
        var stale = await OpenAsync(device);
        await AskAsync<DeviceDone>(device.Core, new CloseDevice(stale));
        await OpenAsync(device);
        var before = (device.Function.Resets, device.Machine.Inspect().ToString());

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(device.Core, CaseOf(request).Right(stale))).Errno);

        Assert.Equal(before, (device.Function.Resets, device.Machine.Inspect().ToString()));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task No_request_reaches_a_device_that_hangs(string request)
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        var hold = device.Function.Traps.HoldNext(Point.Reset);
        var reset = Send(device, new ResetDevice(session));
        await hold.Entered;
        // The lane may be faster than the mailbox, which sets the deadline after it.
        await InspectAsync(device);
        Advance(SlowDeadline);
        await NextAsync<DeviceFailed>(reset);
        var touched = device.Function.Traps.HoldNext(Point.ConfigRead);

        var reply = await AskAnyAsync(device, CaseOf(request).Right(session));

        Assert.True(
            reply is DeviceFailed { Error.Errno: Errno.EIO } or RecoveryVoted { Vote: RecoveryVote.None }, $"{reply}");
        touched.Release();
        hold.Release();
    }

    [Fact]
    public async Task An_ioeventfd_a_mapping_and_a_vector_can_be_taken_away_again()
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        foreach (var (type, back) in new (Type, DeviceRequest)[]
        {
            (typeof(SetIoEventFd), new SetIoEventFd(session, new IoEvent(0, 0x10, 4, 1), null)),
            (typeof(MapDma), new UnmapDma(session, 0x1000)),
            (typeof(SetDeviceIrqs), new SetDeviceIrqs(session, new SetIrqs((uint)IrqIndex.Msi, 0, 0, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger))),
        })
        {
            await AskAnyAsync(device, Cases[type].Right(session));
            Assert.True(await AskAnyAsync(device, back) is DeviceDone or DeviceIrqsSet, type.Name);
        }

        Assert.Equal((0, 0), (device.Machine.DmaMappings, device.Function.Vectors));
    }

    [Fact]
    public async Task A_handler_of_errors_is_named_with_every_vote_until_it_is_taken_back_DM_1()
    {
        var device = await AloneAsync();
        var session = await OpenAsync(device);
        await AskAsync<DeviceDone>(device.Core, new HandleErrors(session, Consumer));
        Assert.Equal(Consumer.Ref, (await AskAsync<RecoveryVoted>(device.Core, new SlotReset())).Handler);

        await AskAsync<DeviceDone>(device.Core, new HandleErrors(session, null));

        Assert.Null((await AskAsync<RecoveryVoted>(device.Core, new SlotReset())).Handler);
    }

    private static SetIrqs MsiVectors(int count) => new(
        (uint)IrqIndex.Msi, 0, (uint)count, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger,
        Events: Enumerable.Range(0, count).Select(static _ => EventRef.Of(new FakeTarget())).ToArray());

    private static bool Sleeps(Device device) => device.Machine.Inspect()["power"]!["low power engaged"]!.Value == "yes";

    private static Case CaseOf(string request) => Cases.SingleOrDefault(entry => entry.Key.Name == request).Value
        ?? throw new InvalidOperationException($"{request} is a request of the protocol that no test sends: add it to the cases.");

    private static async Task<DeviceReply> AskAnyAsync(Device device, DeviceRequest request) =>
        await device.Core.Ask<DeviceReply>(request, TimeSpan.FromSeconds(15), Cancelled);

    private static ImmutableArray<Type> Protocol(Type kind) =>
        [.. typeof(DeviceRequest).Assembly.GetTypes().Where(type => !type.IsAbstract && type.IsAssignableTo(kind)).OrderBy(static type => type.Name)];

    private sealed class Silent : IEventSource, IDisposable
    {
        public IDisposable Subscribe(IEventTarget listener) => this;

        public void Dispose()
        {
        }
    }
}
