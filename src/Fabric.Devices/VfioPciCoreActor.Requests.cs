using Akka.Actor;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices;

/// <summary>Each request of the protocol as a call of the machine.</summary>
public sealed partial class VfioPciCoreActor
{
    private DeviceReply AnswerOf(DeviceRequest request) => request switch
    {
        GetDeviceInfo => Reply(Core.GetInfo(), static info => new DeviceInfoRead(info)),
        GetRegionInfo get => Reply(Core.GetRegionInfo(get.Index), static info => new RegionInfoRead(info)),
        GetIrqInfo get => Reply(Core.GetIrqInfo(get.Index), static info => new IrqInfoRead(info)),
        SetDeviceIrqs set => ReplyOf(Core.SetIrqs(set.Request)),
        SetTrigger set => ReplyOf(Core.SetTrigger(set.Index, set.Target)),
        GetHotResetInfo get => Reply(Core.GetHotResetInfo(OwnershipOf(SessionOf(get), [], siblings)), static info => new HotResetInfoRead(info)),
        SetIoEventFd set => ReplyOf(Core.SetIoEventFd(set.Write, set.Source)),
        FindFeature find => Reply(Core.FindFeature(find.Feature), static operations => new FeatureFound(operations)),
        SetVfToken set => ReplyOf(Core.SetVfToken(set.Token)),
        EnterLowPower enter => ReplyOf(Core.EnterLowPower(enter.Wake)),
        ExitLowPower => ReplyOf(Core.ExitLowPower()),
        GetDmaBuf get => Reply(Core.GetDmaBuf(get.Region, 0, get.Ranges.AsSpan(), get.Shown), static buffer => new DmaBufGot(buffer)),
        ReadRegion read => Read(read),
        WriteRegion write => Write(write),
        MapRegion map => Reply(Core.Map(map.Region), static mapping => new RegionMapped(mapping)),
        MapDma map => ReplyOf(Core.MapDma(map.Iova, map.Memory, map.Access)),
        UnmapDma unmap => ReplyOf(Core.UnmapDma(unmap.Iova)),
        HandleErrors handle => Handle(handle),
        ErrorDetected => new RecoveryVoted(Core.ErrorDetected(), ErrorHandler),
        LinkWasReset => Repair(),
        // No such callbacks in vfio-pci: absence is no vote (ER-2).
        RecoveryCallback => new RecoveryVoted(RecoveryVote.None, ErrorHandler),
        _ => Unknown,
    };

    private DeviceReply Read(ReadRegion read)
    {
        if (read.Length is < 0 or > DeviceLimits.MaxTransfer)
            return TooLong;
        var buffer = new byte[read.Length];
        var done = Core.Read(read.Region, read.Offset, buffer);
        return done.IsOk ? new RegionRead(buffer.AsMemory(0, done.Value)) : new DeviceFailed(done.Error);
    }

    private DeviceReply Write(WriteRegion write) => write.Data.Length > DeviceLimits.MaxTransfer
        ? TooLong
        : Reply(Core.Write(write.Region, write.Offset, write.Data.Span), static length => new RegionWritten(length));

    private DeviceDone Handle(HandleErrors handle)
    {
        SessionOf(handle).ErrorHandler = handle.Handler;
        return DeviceDone.Instance;
    }

    /// <summary>What a link reset took from config space is given back, interrupts are armed again (ER-10, CF-11).</summary>
    private RecoveryVoted Repair()
    {
        var lost = Core.RepairLost();
        if (lost != LostConfig.None)
            supervisor.Tell(new LostConfigRepaired(lost));
        return new RecoveryVoted(RecoveryVote.None);
    }

    private OpenSession SessionOf(SessionRequest request) => FindSession(request.Session)!;

    private IActorRef? ErrorHandler => sessions.Find(static session => session.ErrorHandler is not null)?.ErrorHandler;

    private static DeviceReply ReplyOf(SetIrqsResult set) =>
        set.Error.Errno == Errno.None ? new DeviceIrqsSet(set.Available) : new DeviceFailed(set.Error);

    private static DeviceReply Reply<T>(VfioResult<T> result, Func<T, DeviceReply> reply) =>
        result.IsOk ? reply(result.Value) : new DeviceFailed(result.Error);

    private static DeviceFailed Unknown { get; } = new(Errno.ENOTTY, "Neither the driver nor the core of this device knows this request.");

    private static DeviceFailed TooLong { get; } = new(Errno.EINVAL, "One access carries at most 1 MiB; split it, or map the region.");
}
