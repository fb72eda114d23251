using Akka.Actor;
using Fabric.Devices;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>A kind of request, and how one of it is made.</summary>
internal abstract record RequestKind(string Name)
{
    /// <summary>What its reply is when it succeeds.</summary>
    public required Type Reply { get; init; }

    /// <summary>It is of a session.</summary>
    public required bool IsOfSession { get; init; }

    /// <summary>It changes nothing.</summary>
    public bool IsLook => Name.StartsWith("Get", StringComparison.Ordinal) || Name is nameof(FindFeature) or nameof(ReadRegion) or nameof(MapRegion);

    /// <summary>Guests do it often.</summary>
    public bool IsFrequent => Name is nameof(ReadRegion) or nameof(WriteRegion) or nameof(GetRegionInfo) or nameof(GetIrqInfo);

    public abstract DeviceRequest Make(SessionId session, IActorRef consumer, Random random);

    public abstract void TakeOver(Spy spy);
}

internal sealed record RequestKind<T>(Func<SessionId, IActorRef, Random, T> Of) : RequestKind(typeof(T).Name)
    where T : DeviceRequest
{
    public override DeviceRequest Make(SessionId session, IActorRef consumer, Random random) => Of(session, consumer, random);

    public override void TakeOver(Spy spy) => spy.Take<T>();
}

/// <summary>Every request that a driver may meet (DeviceProtocol.cs). One that is not here is reported by the check of the protocol.</summary>
internal static class Protocol
{
    private static readonly AerRecord AnError = new(default, AerSeverity.NonFatal, 0x40_0000);

    public static IReadOnlyList<RequestKind> Kinds { get; } =
    [
        Kind<OpenDevice, DeviceOpened>(static (_, consumer, _) => new OpenDevice("another", consumer)),
        Kind<CloseDevice, DeviceDone>(static (session, _, _) => new CloseDevice(session)),
        Kind<GetDeviceInfo, DeviceInfoRead>(static (session, _, _) => new GetDeviceInfo(session)),
        Kind<GetRegionInfo, RegionInfoRead>(static (session, _, random) => new GetRegionInfo(session, random.Next(-1, 11))),
        Kind<GetIrqInfo, IrqInfoRead>(static (session, _, random) => new GetIrqInfo(session, random.Next(-1, 6))),
        Kind<SetDeviceIrqs, DeviceIrqsSet>(static (session, _, random) => new SetDeviceIrqs(session, new SetIrqs(
            (uint)random.Next(6), 0, (uint)random.Next(2), IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger))),
        Kind<SetTrigger, DeviceDone>(static (session, _, random) => new SetTrigger(session, (IrqIndex)random.Next(-1, 6), null)),
        Kind<ResetDevice, DeviceDone>(static (session, _, _) => new ResetDevice(session)),
        Kind<GetHotResetInfo, HotResetInfoRead>(static (session, _, _) => new GetHotResetInfo(session)),
        Kind<HotResetDevice, DeviceDone>(static (session, _, _) => new HotResetDevice(session, [])),
        Kind<SetIoEventFd, DeviceDone>(static (session, _, random) => new SetIoEventFd(
            session, new IoEvent(random.Next(-1, 8), (ulong)random.Next(64), 4, 1), null)),
        Kind<DeviceIoctl, DeviceIoctlDone>(static (session, _, random) => new DeviceIoctl(session, (uint)random.Next(256), default)),
        Kind<FindFeature, FeatureFound>(static (session, _, random) => new FindFeature(session, (CoreFeature)random.Next(20))),
        Kind<UseFeature, FeatureUsed>(static (session, _, random) => new UseFeature(
            session, (ushort)random.Next(20, 100), random.Next(2) == 0 ? FeatureOperations.Get : FeatureOperations.Set, default)),
        Kind<SetVfToken, DeviceDone>(static (session, _, _) => new SetVfToken(session, Guid.Empty)),
        Kind<EnterLowPower, DeviceDone>(static (session, _, _) => new EnterLowPower(session, null)),
        Kind<ExitLowPower, DeviceDone>(static (session, _, _) => new ExitLowPower(session)),
        Kind<GetDmaBuf, DmaBufGot>(static (session, _, random) => new GetDmaBuf(
            session, random.Next(6), [new DmaBufRange(0, (ulong)random.Next(0x2000))])),
        Kind<ReadRegion, RegionRead>(static (session, _, random) => new ReadRegion(session, random.Next(-1, 11), Offset(random), random.Next(64))),
        Kind<WriteRegion, RegionWritten>(static (session, _, random) => AWrite(session, random)),
        Kind<MapRegion, RegionMapped>(static (session, _, random) => new MapRegion(session, random.Next(-1, 9))),
        Kind<MapDma, DeviceDone>(static (session, _, random) => new MapDma(
            session, (ulong)random.Next(16) << 12 | 1UL << 40, new GuestMemory(random.Next(3) * 0x1000))),
        Kind<UnmapDma, DeviceDone>(static (session, _, random) => new UnmapDma(session, (ulong)random.Next(16) << 12 | 1UL << 40)),
        Kind<GetMigrationFlags, MigrationFlagsRead>(static (session, _, _) => new GetMigrationFlags(session)),
        Kind<SetMigrationState, MigrationStateSet>(static (session, _, random) => new SetMigrationState(session, (MigrationState)random.Next(-1, 9))),
        Kind<GetMigrationState, MigrationStateRead>(static (session, _, _) => new GetMigrationState(session)),
        Kind<GetMigrationDataSize, MigrationDataSizeRead>(static (session, _, _) => new GetMigrationDataSize(session)),
        Kind<OptIntoPrecopyInfoV2, DeviceDone>(static (session, _, _) => new OptIntoPrecopyInfoV2(session)),
        Kind<StartDmaLogging, DeviceDone>(static (session, _, random) => new StartDmaLogging(session, 0, (ulong)random.Next(4) << 20)),
        Kind<StopDmaLogging, DeviceDone>(static (session, _, _) => new StopDmaLogging(session)),
        Kind<ReportDmaLogging, DmaLoggingReported>(static (session, _, _) => new ReportDmaLogging(session)),
        Kind<HandleErrors, DeviceDone>(static (session, _, _) => new HandleErrors(session, null)),
        Kind<ErrorDetected, RecoveryVoted>(static (_, _, _) => new ErrorDetected(ChannelState.Normal, AnError)),
        Kind<MmioEnabled, RecoveryVoted>(static (_, _, _) => new MmioEnabled()),
        Kind<SlotReset, RecoveryVoted>(static (_, _, _) => new SlotReset()),
        Kind<ResumeOperation, RecoveryVoted>(static (_, _, _) => new ResumeOperation()),
        // More would be made, or refused: none is what there are.
        Kind<SetVirtualFunctions, VirtualFunctionsSet>(static (_, _, _) => new SetVirtualFunctions(0)),
    ];

    /// <summary>Requests of the protocol without a kind.</summary>
    public static IEnumerable<Type> Missing => typeof(DeviceRequest).Assembly.GetExportedTypes()
        .Where(static type => type.IsAssignableTo(typeof(DeviceRequest)) && !type.IsAbstract)
        // Those are asked of the host.
        .Where(static type => type != typeof(OpenGroup) && type != typeof(CloseGroup))
        .Where(static type => Kinds.All(kind => kind.Name != type.Name));

    private static RequestKind<TRequest> Kind<TRequest, TReply>(Func<SessionId, IActorRef, Random, TRequest> make)
        where TRequest : DeviceRequest
        where TReply : DeviceReply => new(make) { Reply = typeof(TReply), IsOfSession = typeof(TRequest).IsAssignableTo(typeof(SessionRequest)) };

    private static ulong Offset(Random random) => random.Next(10) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(0x1010);

    private static WriteRegion AWrite(SessionId session, Random random)
    {
        var data = new byte[random.Next(16)];
        random.NextBytes(data);
        return new WriteRegion(session, random.Next(-1, 11), Offset(random), data);
    }
}
