using Akka.Actor;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices;

/// <summary>The vfio-pci core of one function behind a mailbox: sessions, their holders' lives, and replies. The machine itself is <see cref="VfioPciCore"/>.</summary>
public sealed class VfioPciCoreActor : UntypedActor
{
    private readonly VfioPciCore core;
    private Session? session;
    private long lastSession;
    private (IActorRef Requester, Func<DeviceReply, object> Envelope, Exception Cause)? failed;

    public VfioPciCoreActor(IPciFunction function, long firstSession)
    {
        core = VfioPciCore.Register(function).Value;
        lastSession = firstSession;
    }

    private sealed record Session(SessionId Id, string Holder, IActorRef Consumer);

    /// <param name="firstSession">Sessions are numbered on from here, so that a core that was started anew never gives an old number again.</param>
    public static Props Props(IPciFunction function, long firstSession) =>
        Akka.Actor.Props.Create(() => new VfioPciCoreActor(function, firstSession));

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case CoreCall call:
                Serve(call.Request, reply => new CoreReplied(call.Number, reply));
                break;
            case DeviceRequest request:
                Serve(request, static reply => reply);
                break;
            case Terminated gone when session is not null && gone.ActorRef.Equals(session.Consumer):
                Close("its holder died");
                break;
            case Terminated:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>
    /// The session ends with the core. The request that it failed at is answered only now, when its supervisor knows: what its requester
    /// does next must meet what became of the device.
    /// </summary>
    protected override void PostStop()
    {
        try
        {
            if (session is not null)
                Close(failed is null ? "the device was taken away" : "the device failed");
        }
        finally
        {
            if (failed is { } told)
                told.Requester.Tell(told.Envelope(new DeviceFailed(new VfioError(Errno.EIO, $"The device failed: {told.Cause.Message} It is reset; open it again."))));
        }
    }

    private void Serve(DeviceRequest request, Func<DeviceReply, object> envelope)
    {
        try
        {
            Sender.Tell(envelope(Answer(request)));
        }
        catch (Exception cause)
        {
            failed = (Sender, envelope, cause);
            throw;
        }
    }

    private DeviceReply Answer(DeviceRequest request) => request switch
    {
        OpenDevice open => Open(open),
        SessionRequest of => session is null || of.Session != session.Id ? Stale : AnswerSession(of),
        ErrorDetected => new RecoveryVoted(core.ErrorDetected()),
        // No such callbacks in vfio-pci: absence is no vote (ER-2).
        RecoveryCallback => new RecoveryVoted(RecoveryVote.None),
        _ => Unknown,
    };

    private DeviceReply AnswerSession(SessionRequest request) => request switch
    {
        GetDeviceInfo => Reply(core.GetInfo(), static info => new DeviceInfoRead(info)),
        GetRegionInfo get => Reply(core.GetRegionInfo(get.Index), static info => new RegionInfoRead(info)),
        GetIrqInfo get => Reply(core.GetIrqInfo(get.Index), static info => new IrqInfoRead(info)),
        SetTrigger set => Reply(core.SetTrigger(set.Index, set.Target)),
        ReadRegion read => Read(read),
        WriteRegion write => Write(write),
        MapRegion map => Reply(core.Map(map.Region), static mapping => new RegionMapped(mapping)),
        MapDma map => Reply(core.MapDma(map.Iova, map.Memory)),
        UnmapDma unmap => Reply(core.UnmapDma(unmap.Iova)),
        ResetDevice => Reset(),
        CloseDevice => Close("closed by its holder"),
        _ => Unknown,
    };

    private DeviceReply Open(OpenDevice open)
    {
        if (session is not null)
            return new DeviceFailed(new VfioError(Errno.EBUSY, $"The device is held by {session.Holder}; release it there first."));
        var opened = core.Open();
        if (!opened.IsOk)
            return new DeviceFailed(opened.Error);
        session = new Session(new SessionId(++lastSession), open.Holder, open.Consumer);
        Context.Watch(open.Consumer);
        Context.Parent.Tell(new SessionOpened(open.Holder));
        return new DeviceOpened(session.Id);
    }

    private DeviceDone Close(string why)
    {
        core.Close();
        Context.Unwatch(session!.Consumer);
        Context.Parent.Tell(new SessionClosed(session.Id, session.Holder, why));
        session = null;
        return DeviceDone.Instance;
    }

    private DeviceReply Reset()
    {
        var reset = core.Reset();
        Context.Parent.Tell(new FunctionReset(reset.IsOk, "asked for by its holder"));
        return Reply(reset);
    }

    private DeviceReply Read(ReadRegion read)
    {
        if (read.Length is < 0 or > DeviceLimits.MaxTransfer)
            return TooLong;
        var buffer = new byte[read.Length];
        return Reply(core.Read(read.Region, read.Offset, buffer), length => new RegionRead(buffer.AsMemory(0, length)));
    }

    private DeviceReply Write(WriteRegion write) => write.Data.Length > DeviceLimits.MaxTransfer
        ? TooLong
        : Reply(core.Write(write.Region, write.Offset, write.Data.Span), static length => new RegionWritten(length));

    private static DeviceReply Reply(VfioResult result) => result.IsOk ? DeviceDone.Instance : new DeviceFailed(result.Error);

    private static DeviceReply Reply<T>(VfioResult<T> result, Func<T, DeviceReply> reply) =>
        result.IsOk ? reply(result.Value) : new DeviceFailed(result.Error);

    private static DeviceFailed Stale { get; } = new(new VfioError(Errno.ENODEV, "This session is closed; open the device again."));

    private static DeviceFailed Unknown { get; } = new(new VfioError(Errno.ENOTTY, "Neither the driver nor the core of this device knows this request."));

    private static DeviceFailed TooLong { get; } = new(new VfioError(Errno.EINVAL, "One access carries at most 1 MiB; split it, or map the region."));
}
